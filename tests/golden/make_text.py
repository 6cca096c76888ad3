"""Writes text_english.json: the token ids of NVIDIA's published front end for over 1,000 texts.

    python make_text.py CHECKOUT SENTENCES

CHECKOUT is a clone of https://github.com/NVIDIA/tacotron2, SENTENCES a text file with one sentence per line (the
committed file has 500 lines of LJ Speech, which is in the public domain). The reference runs with the installed inflect
and Unidecode; the cases use only characters whose transliteration has not changed since Unidecode 1.0.22, the version
that NVIDIA pins. A case is {"text", "ids"}, or {"text", "error"} if the reference raises an error.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

OUTPUT = Path(__file__).with_name("text_english.json")

# Runs in the checkout, where `text` is a top-level package; reads texts from stdin and writes cases to stdout. The
# reference compares symbols with the pad by "is not", which is true even for pads on CPython 3.11 and 3.12; on other
# versions it acts as "!=". The replaced function uses "!=" on all versions.
REFERENCE = """
import json, sys
import text as reference
from text import text_to_sequence

reference._should_keep_symbol = lambda s: s in reference._symbol_to_id and s not in ("_", "~")

def case(text):
    try:
        return {"text": text, "ids": text_to_sequence(text, ["english_cleaners"])}
    except Exception as error:
        return {"text": text, "error": type(error).__name__}

json.dump([case(text) for text in json.load(sys.stdin)], sys.stdout)
"""

QUIRKS = {
    "money": """$1|$2|$0|$0.00|$1.00|$1.01|$1.5|$1.50|$2.01|$0.01|$.5|$.01|$0.99|$1,000|$1,234,567.89|$007
        $1.2.3|$1.2.3.4|$,5|$1,.5|$1.,5|$.,5|$5.|$5,|$$5|$ 5|$|$a|US$20|$1-$2|$100th|$3 million|$12.345
        costs $20.|($7)""",
    "pounds": "£1|£1,000|£1.50|£,5|£|£5m|5£|€5|¥100|¢5",
    "commas": "1,000|1,000,000|1,2|12,|,12|1,,2|1,|10,00|1,2,3,4|1,000.50|1, 000|0,1|,,,|1,2a,3",
    "decimals": "3.5|0.5|.5|5.|1.2.3|1.2.3.4|10.0.0.1|3.14159|00.10|1..2|1.5th|2.5.|v1.0|3.1415926535.",
    "ordinals": """1st|2nd|3rd|4th|11th|12th|13th|20th|21st|22nd|100th|101st|111th|1000th|1,000th|1001st
        2nd2nd|1th|3st|0th|00th|007th|1ST|21St|1984th|1 st|1std|1stnd|12345678th|th|st""",
    "years": """999|1000|1001|1009|1010|1099|1100|1101|1110|1200|1900|1901|1905|1910|1984|1999|2000|2001
        2005|2009|2010|2011|2019|2020|2100|2101|2500|2999|3000|3001|01999|1984.|1984-85|1990s|'68|1,984
        1984.5|in 1066, 1492 and 1776""",
    "numbers": """0|00|007|1|10|13|21|99|100|101|110|111|200|999|10000|12345|100000|1000000|1000001
        123456789|1234567890123|000000000000000000000000000000000000000000001
        999999999999999999999999999999999999|1000000000000000000000000000000000000
        1234567890123456789012345678901234567890th|-5|+5|5%|#5|1/2|12:30|1e5|a1b2|555-1234|1 2 3""",
    "abbreviations": """Mr. Smith|Mrs. Smith|mr smith|MR. X|Dr.|Drs. A|St. Ives|st.|est.|1st. Mr.|Co.
        co.co.|St.Co.|Co.St.|Jr.|Maj. Gen. Rev. Lt. Hon. Sgt. Capt. Esq. Ltd. Col. Ft.|Mr..|Mrs.Mr.Dr.
        (Mr. A)|a-st.|a_st.|9st.|e.g.|U.S.|Ms. A|Prof. B|Mr.Smith|Smith & Co., Ltd.""",
    "braces": """Turn left on {HH AW1 S S T AH0 N} Street.|{HH AW1}|{hh aw1}|{HH  AW1  }|{ HH}|{}|{ }|{}x}
        {{HH}|{{HH}}|{HH {AW1} S}|{HH|HH}|}{|}{HH}|{HH}{AW1}|{HH} {AW1}|a{HH}b{AW1}c|{XX}|{HH XX AW1}|{AH}
        {AH3}|{@HH}|{_}|{~}|{$5}|{Mr.}|a {1} b|{HH,AW1}|{B}B{b}|$5{HH}$5|St.{HH}St.|{HH}}|{HH}{}|{}{HH}
        1{HH}000|1,{HH}000|{A B C D}""",
    "unicode": """Café|naïve façade|Ærøskøbing|ß|“quoted”|‘single’|it’s|em—dash|en–dash|ellipsis…|日本
        Москва|Ελλάδα|ﬁne|１２３|①|２nd|á̈|İstanbul|º|™|©|²|＄5|٣|Ω|a\u0301|\u200b|x\u200by|\ufeffBOM
        \u00a0nbsp\u00a0|soft\u00adhyphen""",
    "symbols": """_|~|a_b|a~b|__init__|~5|_{HH}_|"|@|#|%|^|&|*|+|=|<|>|[a]|\\|/|`|-|--|!|'|(|)|,|.|:|;|?
        @HH|A|z|AbC|HELLO""",
}
WHITESPACE = [  # used unchanged, while the cases above are stripped
    "", " ", "  ", "\t", "\n", " a ", "a  b", "a\tb", "a\nb", "a\r\nb", "a\n\n\nb", "\na", "a\n", "a\x0bb",
    "a\x1cb", "a\x85b", "a\u2028b", "1 \n 2", "Mr.\nX", "{HH\nAW1}", "{HH}\nlost", "a\n{HH}", "a{HH}\n{AW1}",
    "{HH}\n", "\n{HH}\n", "{HH}\r{AW1}", "a {HH} b\nc {AW1} d", "{\nHH}", "{HH\n}", "x\n{HH",
    "{HH}\u2028{AW1}", "{HH\tAW1}", "\x00", "a\x00b", "\x7f", "\ud800", "a\udfffb",
]  # fmt: skip
NASTY = [*"01234567890123456789$£.,.,{}_~-'\" \n\t|stndrhmaA@é—☃"]
NASTY += ["st", "nd", "rd", "th", "Mr.", "st.", "co.", " {HH AW1} ", "{XX}", "$1", ",000", "19", "200"]


def texts(sentences: Path) -> list[str]:
    """Return the texts of all cases: the sentences, the quirks, and 200 random texts from the nasty alphabet."""
    lines = [line for cases in QUIRKS.values() for line in cases.split("\n")]
    quirks = [case.strip() for line in lines for case in line.split("|")]
    rng = random.Random(148)
    nasty = ["".join(rng.choices(NASTY, k=rng.randint(2, 30))) for _ in range(200)]
    return [*sentences.read_text(encoding="utf-8").splitlines(), *quirks, "|", *WHITESPACE, *nasty]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("sentences", type=Path)
    arguments = parser.parse_args()
    reference = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REFERENCE],
        cwd=arguments.checkout,
        input=json.dumps(texts(arguments.sentences)),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.dumps(case, separators=(",", ":")) for case in json.loads(reference.stdout)]
    OUTPUT.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
