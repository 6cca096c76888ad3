"""C++ converts texts to the same ids and pieces as Python."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tacoglow.export.text_tables import FILE_NAME, text_tables, write_text_tables
from tacoglow.runtime.bundle.reading import file_sha256, load_manifest, with_digest
from tacoglow.runtime.pieces import split_into_pieces
from tacoglow.tests.text_shapes import RATIO, SHAPES
from tacoglow.text import FrontEnd, Lexicon, MarkupError, TextError, parse_lexicon, parse_ssml

from .texts import LEXICON, english_texts, generated_texts, ssml_documents

LATIN = tuple("_ abcdefghijklmnopqrstuvwxyzßüéσς.,!?0123456789")


def run_checks(programs: Path, command: str, bundle: Path, raw: bytes, **options: object) -> str:
    """Run `checks` on texts that NUL separates, and return its output. options: those of cpp/checks/text_check.hpp."""
    given = [f"{name}={int(value) if isinstance(value, bool) else value}" for name, value in options.items()]
    done = subprocess.run(
        [str(programs / "checks" / "checks"), command, str(bundle), *given],
        input=raw,
        capture_output=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def describe_in_cpp(programs: Path, bundle: Path, texts: Iterable[str], **options: object) -> list[dict[str, Any]]:
    raw = b"".join(text.encode() + b"\0" for text in texts)
    return [json.loads(line) for line in run_checks(programs, "text", bundle, raw, **options).split("\n") if line]


def describe_in_python(front_end: FrontEnd, text: str, max_tokens: int, **options: Any) -> dict[str, Any]:
    try:
        split = split_into_pieces(front_end, text, max_tokens, **options)
    except TextError as error:
        return {"error": str(error)}
    pieces = [[p.text, list(p.ids), p.pause, p.pause_before, p.rate, p.volume] for p in split.pieces]
    return {"pieces": pieces, "dropped": list(split.dropped), "remarks": list(split.remarks)}


def differences(
    programs: Path, bundle: Path, texts: Sequence[str], max_tokens: int, lexicon: Path | None = None, **options: Any
) -> list[tuple[str, Any, Any]]:
    """The texts that C++ and Python read differently, with both answers; errors need not be the same."""
    front_end = load_manifest(bundle).text.front_end()
    own: dict[str, Any] = {"max_tokens": max_tokens, **options}
    in_cpp, in_python = dict(own), dict(own)
    if lexicon is not None:
        in_cpp["lexicon"] = lexicon
        in_python["lexicon"] = Lexicon(parse_lexicon(lexicon.read_text("utf-8")))
    answers = describe_in_cpp(programs, bundle, texts, **in_cpp)
    found = []
    for given, got in zip(texts, answers, strict=True):
        expected = describe_in_python(front_end, given, **in_python)
        if not ("error" in got if "error" in expected else got == expected):
            found.append((given, got, expected))
    return found


def bundle_with(bundle: Path, folder: Path, **text: object) -> Path:
    """Write a manifest with other text settings, and the tables, to this folder."""
    content = json.loads((bundle / "manifest.json").read_text())
    content["text"].update(text)
    (folder / "manifest.json").write_bytes(with_digest(json.dumps(content).encode()))
    (folder / FILE_NAME).write_bytes((bundle / FILE_NAME).read_bytes())
    return folder


GOLDEN = [
    "Hello, World! Dr. Smith paid $5.50 for 2 books on Jan. 1st, 1999. He was glad.",
    "In 2005 we paid £1,000,000 and $1.5; 101st of 1,001 items, 3.14159, 1.2.3 and 007.",
    "Turn left on {HH AW1 S S T AH0 N} Street. {} {x}y} {HH",
    "Ünïcödé — “quotes” … ½ ™ 中文 Ωμέγα ΟΔΥΣΣΕΥΣ İstanbul",
    "1" * 36 + " " + "9" * 37 + "th",
    "Mr. A. B. Smith, e.g. in Washington D.C. No. 5. No. I won't. He left at 5 p.m. today. It ended at 5 p.m. Today!",
    '"Stop!" he said. "Go." He went... perhaps? 你好。再见！「好。」是。',
    "Wait [pause:0.5s] go [PAUSE: 250ms] on[pause:1]. [pause:] [pause:for it] [pause::1s] [pause :1s] [pause:\t.5 s]",
    "Wait [pause:11s].", f"One [pause:{' ' * 8}1s] two [pause:{' ' * 9}1s] three.",
    "", "   ", "🎉", "_~", "\u0301", "a" * 300, "word " * 100, "St.Co. ſt. x_st. ést.",
]  # fmt: skip


@pytest.mark.parametrize("max_tokens", [5, 40, 256])
def test_golden_texts(programs: Path, tiny_bundle: Path, max_tokens: int) -> None:
    assert differences(programs, tiny_bundle, GOLDEN, max_tokens) == []


@pytest.mark.parametrize(
    "cleaners",
    [["basic_cleaners"], ["transliteration_cleaners"], ["expand_abbreviations", "expand_numbers"], ["lowercase"], []],
)
def test_golden_texts_with_other_cleaners(
    programs: Path, tiny_bundle: Path, tmp_path: Path, cleaners: list[str]
) -> None:
    for symbols in (load_manifest(tiny_bundle).text.symbols, LATIN):
        folder = bundle_with(tiny_bundle, tmp_path, cleaners=cleaners, symbols=symbols, final_mark=".")
        assert differences(programs, folder, [*GOLDEN, *generated_texts(200, 3)], 40) == []


# Settings of a voice, and options of a request, for the texts of a generator.
READERS: dict[str, tuple[dict[str, Any], Callable[[int, int], Iterator[str]], dict[str, Any]]] = {
    "english": ({}, generated_texts, {}),
    "extended": ({"cleaners": ["english_cleaners_extended"]}, english_texts, {}),
    "lexicon": ({"cleaners": ["english_cleaners_extended"]}, english_texts, {"lexicon": True}),
    "ssml": ({"cleaners": ["english_cleaners_extended"]}, ssml_documents, {"lexicon": True, "ssml": True}),
    "own": (
        {
            "cleaners": ["basic_cleaners"],
            "symbols": LATIN,
            "lexicon": {"Nguyen": "win", "US": "U S", "Ab": "x", "aB": "y"},
        },
        english_texts,
        {"sentence_silence": 0.2},
    ),
}


def differences_of(
    programs: Path, bundle: Path, folder: Path, name: str, count: int, seed: int
) -> list[tuple[str, Any, Any]]:
    settings, generate, options = READERS[name]
    (folder / "lexicon.txt").write_text(LEXICON, "utf-8")
    own = options | ({"lexicon": folder / "lexicon.txt"} if "lexicon" in options else {})
    texts = list(generate(count, seed))
    return differences(programs, bundle_with(bundle, folder, final_mark=".", **settings), texts, 60, **own)


@pytest.mark.parametrize("name", READERS)
def test_generated_texts(programs: Path, tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    assert differences_of(programs, tiny_bundle, tmp_path, name, 1000, 1) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", READERS)
def test_many_generated_texts(programs: Path, tiny_bundle: Path, tmp_path: Path, name: str, seed: int) -> None:
    assert differences_of(programs, tiny_bundle, tmp_path, name, 10_000, 100 + seed) == []


def test_remarks_are_those_of_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = bundle_with(tiny_bundle, tmp_path, untrained=["@AH0", "@S"])
    document = (
        '<speak><x>{AH0 S}</x> <say-as interpret-as="date">it\'s</say-as>'
        '<prosody rate="9" pitch="high">b</prosody></speak>'
    )
    assert differences(programs, folder, [document], 60, ssml=True) == []
    (answer,) = describe_in_cpp(programs, folder, [document], ssml=1)
    assert answer["remarks"][0] == "ssml: <x> is not known; its text is spoken"
    assert answer["remarks"][-1].startswith("this voice was never trained on the phone 'AH0', phone 'S'")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<speak>a & b</speak>", "ssml: line 1, column 11: not well-formed (invalid token); write & as &amp;"),
        ("<!DOCTYPE a><speak>a</speak>", "ssml: a DTD is not accepted"),
        ("<speak>" + "<p>" * 40 + "</p>" * 40 + "</speak>", "ssml: elements are nested deeper than 32"),
        ("<p>a</p>", "ssml: expected a document in <speak>, got <p>"),
        ('<speak><break time="11s"/>a</speak>', "ssml: <break time='11s'>: expected 0 to 10 seconds"),
        ('<speak><prosody rate="?">a</prosody></speak>', "ssml: <prosody rate='?'>: expected one of x-slow, slow"),
        ("<speak>&a;</speak>", "undefined entity"),
        ("<speak>" + "a" * 200_000 + "</speak>", "ssml: expected at most 200000 characters"),
    ],
)
def test_documents_that_cannot_be_read(programs: Path, tiny_bundle: Path, document: str, message: str) -> None:
    (answer,) = describe_in_cpp(programs, tiny_bundle, [document], ssml=True)
    assert message in answer["error"]
    with pytest.raises(MarkupError, match=re.escape(message)):
        parse_ssml(document)


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ("a = b\nc", "lexicon: line 2: expected 'word = spoken', got 'c'"),
        ("a = b\na = c", "lexicon: line 2: 'a' has an entry already"),
        (f"a = {'b' * 201}", "lexicon: 'a': expected at most 200 characters, got 201"),
        ("a = " + "b " * 99, "lexicon: makes "),
    ],
)
def test_lexicons_that_cannot_be_read(
    programs: Path, tiny_bundle: Path, tmp_path: Path, lexicon: str, message: str
) -> None:
    (tmp_path / "lexicon.txt").write_text(lexicon)
    (answer,) = describe_in_cpp(programs, tiny_bundle, ["a " * 9000], lexicon=tmp_path / "lexicon.txt")
    assert message in answer["error"]


# Shapes that only the splitter or the lexicon could be slow on.
FURTHER_SHAPES = [
    *(
        ")",
        ".)",
        "),",
        "]),",
        "[pause 1].",
        "[pause 1]a",
        "[pause ",
        "\u0301",
        "e\u0301",
        "Σ",
        "Σ.",
        "。",
        "。」",
        "5 p.m.   ",
    ),
    *("New York ", "’s ", "ß", "—", "a-", "1\n", "~1", "x 1", "A.", "a.b "),
]


def repeat(shape: str, size: int) -> str:
    return shape * (size // len(shape))


# Contents of SSML documents, by their size in characters.
DOCUMENTS: dict[str, Callable[[int], str]] = {
    "format": lambda size: f'<say-as interpret-as="date" format="{"m" * size}">1</say-as>',
    "elements under a format": lambda size: (
        f'<say-as interpret-as="date" format="{"x" * (size // 2)}">{repeat("<w/>", size // 2)}1</say-as>'
    ),
    **{
        shape: partial(repeat, shape)
        for shape in (
            *("<p>a</p>", "<w>a</w>", '<prosody rate="80%">a</prosody>', 'a<break time="0.01s"/>', "a<!-- -->"),
            *('<sub alias="b">a</sub>', '<say-as interpret-as="cardinal">1</say-as>', "&amp;", "<![CDATA[a]]>"),
        )
    },
}


def write_text(shape: str, size: int) -> str:
    return repeat(shape, size) + "x"


def write_document(shape: str, size: int) -> str:
    return f"<speak>{DOCUMENTS[shape](size)}</speak>"


@pytest.mark.parametrize(
    ("name", "length"), [("english", 3000), ("extended", 400), ("lexicon", 400), ("own", 3000), ("ssml", 20_000)]
)
def test_time_is_linear(programs: Path, tiny_bundle: Path, tmp_path: Path, name: str, length: int) -> None:
    settings, _, options = READERS[name]
    (tmp_path / "lexicon.txt").write_text(LEXICON, "utf-8")
    own = options | ({"lexicon": tmp_path / "lexicon.txt"} if "lexicon" in options else {})
    folder = bundle_with(tiny_bundle, tmp_path, **settings)
    write = write_document if "ssml" in options else write_text
    slow = list(DOCUMENTS if "ssml" in options else dict.fromkeys([*SHAPES, *FURTHER_SHAPES]))
    least = max(1e-4, 5e-8 * length)  # seconds for a short text: a long one also needs memory from the system
    for _ in range(3):  # what is slow by chance is not so again
        sizes = (length, length, length, 8 * length)  # the least of three: a slow one would hide what is quadratic
        texts = [write(shape, size) for shape in slow for size in sizes]
        raw = b"".join(text.encode() + b"\0" for text in texts)
        times = list(map(float, run_checks(programs, "text_times", folder, raw, max_tokens=60, **own).split()))
        ratios = [times[i + 3] / max(min(times[i : i + 3]), least) for i in range(0, len(times), len(sizes))]
        slow = [shape for shape, ratio in zip(slow, ratios, strict=True) if ratio >= RATIO]
        if not slow:
            return
    raise AssertionError(f"eight times the text takes more than {RATIO} times as long: {slow}")


def test_entries_in_capitals_take_no_longer(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """A text has their words, but not their case."""
    times = {}
    for letter in "aA":
        lexicon = tmp_path / f"{letter}.txt"
        lexicon.write_text("".join(f"{' '.join(letter * n)} = x\n" for n in range(1, 50)))
        times[letter] = float(run_checks(programs, "text_times", tiny_bundle, b"a " * 5000 + b"\0", lexicon=lexicon))
    assert times["A"] < RATIO * times["a"]


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x28\xa1"])
def test_text_must_be_utf8(programs: Path, tiny_bundle: Path, raw: bytes) -> None:
    assert "is not valid UTF-8" in json.loads(run_checks(programs, "text", tiny_bundle, raw + b"\0"))["error"]


def test_errors_say_what_is_wrong(programs: Path, tiny_bundle: Path) -> None:
    empty, unspeakable = describe_in_cpp(programs, tiny_bundle, [" ", "☃"])
    assert empty["error"] == "text: the text is empty"
    assert "nothing of it can be spoken; this voice has no symbol for: ☃; give at least" in unspeakable["error"]


def change_tables(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    tables = json.loads(json.dumps(text_tables()))
    change(tables)
    bundle_with(bundle, folder)
    (folder / FILE_NAME).write_text(json.dumps(tables))
    entry = {"file": FILE_NAME, "sha256": file_sha256(folder / FILE_NAME)}
    content = json.loads((folder / "manifest.json").read_text())
    content["text"]["tables"] = entry
    (folder / "manifest.json").write_bytes(with_digest(json.dumps(content).encode()))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(format=2), "$.format: expected 1"),
        (lambda t: t.pop("lower"), "lacks the field 'lower'"),
        (lambda t: t["numbers"]["units"].pop(), "$.numbers.units: expected 10 items"),
        (lambda t: t["cased"].reverse(), "$.cased: expected ascending ranges"),
        (lambda t: t["digits"].append(-1), "$.digits: expected whole numbers from 0"),
        (lambda t: t["transliteration"].append([1, 2, 3]), "expected two items"),
        (lambda t: t["abbreviations"].append(["", "x"]), "expected at least one character"),
        (lambda t: t["pauses"].update(fade=-1), "$.pauses.fade: expected a number from 0"),
        (lambda t: t["patterns"].pop("dates.iso"), "lacks the pattern dates.iso"),
        (lambda t: t["patterns"].update({"dates.iso": ["a*?", ""]}), "pattern dates.iso: at character 2: unsupported"),
        (lambda t: t["patterns"].update({"dates.iso": ["(?:a|)*", ""]}), "repeats what may be empty"),
        (lambda t: t["normalization"]["canonical"].reverse(), "expected as many texts as characters"),
    ],
)
def test_invalid_tables_are_rejected(
    programs: Path, tiny_bundle: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = change_tables(tiny_bundle, tmp_path, change)
    answer = run_checks(programs, "text", folder, b"a\0")
    assert answer.startswith("rejected with 1: ")
    assert message in answer


def test_changed_tables_are_rejected(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = bundle_with(tiny_bundle, tmp_path)
    (folder / FILE_NAME).write_text("{}")
    assert "SHA-256: expected" in run_checks(programs, "text", folder, b"a\0")


def test_tables_are_deterministic(tmp_path: Path) -> None:
    first, again = write_text_tables(tmp_path), write_text_tables(tmp_path)
    assert first == again
    assert (tmp_path / first.file).stat().st_size < 650_000
