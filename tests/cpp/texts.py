"""Generated texts for comparing the front ends of Python and C++: numbers, amounts, titles, phones, other scripts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from string import ascii_letters

WORDS = "the a cat sat Mr. Mrs. Dr. St. Co. No. Nos. e.g. a.m. p.m. U.S. Inc. etc. said Ltd. STREET über naïve".split()
LETTERS = ascii_letters + " "
NUMBERS = ["0", "7", "12", "100", "1000", "1,234", "1,000,000", "1905", "2000", "2007", "2010", "2999", "3000", "12345"]
MARKS = [".", "!", "?", "…", ",", ";", ":", "—", "–", "--", "-", "...", "?!", ")", "(", '"', "'", "”", "’", "»", "]"]
PHONES = ["{HH AW1 S}", "{AH0}", "{}", "{x", "y}", "{HH  AW1}", "{ZZ9 T}", "{}x}"]
UNUSUAL = (
    "ß£€¥½²™ΑΣς İıſKﬁéñøåЖя中文字。！？「」『』，、；：한글ไทยहिन्दी🎉😀\u200b\u0301\u00a0\u2003\u2028\x1c\x85\t\n\r"
    "\U0001d400\U000e0041\U0001f1e9٣४_~@#%&*+=<>/\\|^`"
)


def generated_texts(count: int, seed: int) -> Iterator[str]:
    """Yield texts without NUL; the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield "".join(_part(draw) for _ in range(draw.choice((1, 1, 2, 3, 5, 12))))


def _part(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.35:
        return draw.choice(WORDS) + draw.choice(("", " ", " ", "  "))
    if kind < 0.50:
        return _number(draw) + draw.choice(("", " ", " ", ". ", ","))
    if kind < 0.65:
        return draw.choice(MARKS) + draw.choice(("", " "))
    if kind < 0.72:
        return draw.choice(PHONES) + draw.choice(("", " "))
    if kind < 0.85:
        return "".join(draw.choice(UNUSUAL) for _ in range(draw.randint(1, 4)))
    if kind < 0.9:
        first, last = draw.choice(((1, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0x10FFFF)))
        return chr(draw.randint(first, last))
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 9)))


def _number(draw: random.Random) -> str:
    digits = "".join(draw.choice("0123456789") for _ in range(draw.choice((1, 2, 3, 4, 4, 5, 7, 12, 36, 37, 50))))
    number = draw.choice((draw.choice(NUMBERS), digits, f"{digits[:3]}.{digits[-2:]}", f"{digits},{digits[:3]}"))
    prefix = draw.choice(("", "", "", "$", "£", "$.", "$,"))
    return prefix + number + draw.choice(("", "", "", "st", "nd", "rd", "th", "TH", "%", ".5.", ",,1"))


# Notations of text/english, and of the issues that its rules came from.
NOTATIONS = [
    "Jan. 5", "on March 3rd, 2024", "5 May 1999", "the 21st of June", "2026-11-25T14:30:00Z", "2026-02-31",
    "May 1-3", "March 3-5 pm", "May 10 - 12 came", "1h 30m", "5m 30s", "5 min 30 s", "5 h 2 m tall", "100m 9s",
    "3/14/2015", "31/12/99", "1.2.2003", "Sat. 4 July", "Tues., Sept. 9", "5 p.m. EST", "7 p.m. Bring", "at 5 PM.",
    "12:30", "1:23:45", "09:05:07.250 UTC", "9-5", "8:30-9:15 a.m.", "10.30am", "$3.2M", "$10k", "£3.20", "€5", "5 €",
    "¥1,000", "US$5.05", "$0.99", "$1.005", "5¢", "3 USD", "$5-10", "$5–$10", "-5 °C", "−3%", "+4", "±2", "22,1 °C",
    "20℃", "20°", "3,5 kg", "0.05%", "3.05 km", "10kg", "5-mile", "100 km/h", "9.8 m/s²", "5 ft.", '6\' 2"', "5m³",
    "8 GB", "4K", "1.5M users", "10k", "3 million", "2bn", "1/2 cup", "2 3/4", "9/11", "24/7", "½", "2½", "5/8 in",
    "1/1000", "and/or", "1,234", "2,024 files", "1.234,5", "1,2,3", "1.2.3", "v2.0.1", "Python 3.11", "007", "02134",
    "1905", "2005", "1980s", "'90s", "1990s–2000s", "21st", "1,000th", "No. 5", "Nos. 3-7", "#4", "p. 9", "pp. 3-4",
    "https://example.com/a?b=1", "www.a-b.org/", "me.you+x@host.co.uk", "file_2.tar.gz", "3.co", "192.168.0.1",
    "1.2.3.4", "+1 (212) 555-1234", "555-1234", "212.555.1234", "123-45-6789", "AT&T", "C++", "C#", "w/o", "w/ milk",
    "c/o", "x^2", "2^3", "~50", "5 x 4", "3*4", "5 < 6", "a > 3", "7-3 = 4", "5+3=8", "50% & rising", "Acme Inc. She",
    "St. Mary", "Main St. is", "Elm St.", "e.g. this", "i.e. that", "etc. But", "Ltd.", "Jr.", "vs.", "approx. 200",
    "Dr. No.", "Ph.D.", "U.S. Army", "U.S. He", "a.m. today", "p.m. Monday", "J. R. R. Tolkien", "1. First", "a) b",
    "…", "™", "®", "№ 5", "§ 3", "≥ 5", "→", "•", "½¼", "²", "5Ω", "µ", "№", "’tis", "“Hi.”", "‘a’", "–", "—", "--",
    "ﬁne", "Gru\u0308ße", "cafe\u0301", "\u00ad", "\u2044", "①", "Ⅳ", "㎏", "[pause 0.5s]", "[pause:200ms]", "[pause]",
    "{HH AW1 S}", "Nguyen", "NGUYEN's", "New York Times", "new york", "US", "us", "boxes", "naïve", "don’t", "Café’s",
    "it's", "Chapter One",
]  # fmt: skip
GAPS = [
    " ",
    " ",
    " ",
    " ",
    "",
    ". ",
    ", ",
    "; ",
    ": ",
    "! ",
    "? ",
    "\n",
    "\n\n",
    "\r\n",
    " (",
    ") ",
    " - ",
    "-",
    "/",
    "'",
    '"',
    "\t",
]
LEXICON = """\
# names
Nguyen = win
New York Times = {N UW1 Y AO1 R K} times
new york = big apple
US = U S
us = {AH1 S}
box = {B AA1 K S}
Café = caff
don't = do not
e.g = example
5 = five-ish
naïve = ny eve
"""


def english_texts(count: int, seed: int) -> Iterator[str]:
    """Yield texts of notations, words and whatever `generated_texts` has; the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield "".join(_english_part(draw) + draw.choice(GAPS) for _ in range(draw.choice((1, 2, 3, 5, 9, 20))))


def _english_part(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.5:
        return draw.choice(NOTATIONS)
    if kind < 0.58:
        notation = draw.choice(NOTATIONS)
        at = draw.randrange(len(notation) + 1)
        added: str = draw.choice([*"0123456789.,:/-–' $€°%a", ""])
        return notation[:at] + added + notation[at + draw.randrange(2) :]
    if kind < 0.68:
        return f"{draw.choice(('', '$', '€', '£', '-', '+', '~'))}{_digits(draw)}{draw.choice(UNITS)}"
    if kind < 0.85:
        return draw.choice([*WORDS, *"He went home and then it was over The end of a long day".split()])
    return _part(draw)


UNITS = " kg|km/h|%| °C|°| million|M|k|bn|MB|st|th|s|:30|/4|-7|–9| ft|'|\" |.5|,5|,000| p.m.| USD| x 3|".split("|")


def _digits(draw: random.Random) -> str:
    return "".join(draw.choice("0123456789") for _ in range(draw.choice((1, 1, 2, 2, 3, 4, 4, 5, 7, 10, 16))))


SAY_AS = "characters spell-out digits telephone cardinal number ordinal fraction unit currency date time other".split()
FORMATS = ["", ' format="mdy"', ' format="dmy"', ' format="yyyymmdd"', ' format="ym"', ' format="d"', ' format="?"']
RATES = "slow fast x-fast medium 120% +20% -20% 1.5 0 9 50".split()
VOLUMES = "loud soft silent +6dB -3dB 80% 150 +10% 900%".split()
BREAKS = ['time="500ms"', 'time="1.5s"', 'strength="weak"', 'strength="none"', 'time="9s"', ""]
PHONEMES = [
    'alphabet="x-arpabet" ph="HH AH0 L OW1"',
    'alphabet="ipa" ph="x"',
    'alphabet="arpabet" ph="b3 ?"',
    'ph="AH0"',
    'alphabet="x-cmu" ph="ah0 ZZ9"',
]


def ssml_documents(count: int, seed: int) -> Iterator[str]:
    """Yield SSML documents, a few of them with errors; the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        content = "".join(_element(draw, 0) for _ in range(draw.choice((1, 2, 3, 6))))
        document = f"<speak>{content}</speak>"
        if draw.random() < 0.04:
            at = draw.randrange(len(document))
            document = document[:at] + draw.choice('<>&"/') + document[at + 1 :]
        if draw.random() < 0.01:
            document = "<!DOCTYPE speak>" + document
        yield document


def _element(draw: random.Random, depth: int) -> str:
    if depth > 4 or draw.random() < 0.4:
        return _escaped(_english_part(draw) + draw.choice(GAPS))
    inside = "".join(_element(draw, depth + 1) for _ in range(draw.randrange(3)))
    kind = draw.randrange(10)
    if kind == 0:
        return f"<break {draw.choice(BREAKS)}/>"
    if kind == 1:
        return f'<prosody rate="{draw.choice(RATES)}">{inside}</prosody>'
    if kind == 2:
        return f'<prosody volume="{draw.choice(VOLUMES)}" rate="{draw.choice(RATES)}">{inside}</prosody>'
    if kind == 3:
        return f'<sub alias="{_escaped(_english_part(draw))}">{inside}</sub>'
    if kind == 4:
        return f"<phoneme {draw.choice(PHONEMES)}>{inside}</phoneme>"
    if kind in (5, 6):
        inside = inside if draw.random() < 0.2 else _escaped(draw.choice((draw.choice(NOTATIONS), _digits(draw))))
        return f'<say-as interpret-as="{draw.choice(SAY_AS)}"{draw.choice(FORMATS)}>{inside}</say-as>'
    name = draw.choice(("p", "s", "p", "s", "sentence", "w", "emphasis", "audio", "desc"))
    return f"<{name}>{inside}</{name}>"


def _escaped(text: str) -> str:
    """The text as XML; control characters, which XML refuses, become spaces."""
    text = "".join(" " if character < " " and character not in "\t\n\r" else character for character in text)
    return (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace('"', "&quot;")
        .replace("\ufffe", "")
        .replace("\uffff", "")
    )
