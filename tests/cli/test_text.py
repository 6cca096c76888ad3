"""`tacoglow text`, normalizers, --version and shell completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.text import TextError, find_normalizer, normalizers, text_to_sequence
from tacoglow.text import __name__ as text_package

RUN = "import sys; from tacoglow import cli; sys.argv[0] = '{0}'; cli.{1}()"


def run(*arguments: str, program: str = "tacoglow", function: str = "main", **variables: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", RUN.format(program, function), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    return done.returncode, done.stdout, done.stderr


def shout(text: str) -> str:
    return text.replace("&", " and ")


def fail(text: str) -> str:
    raise OSError("no grammar\nhere")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normalizers as installed packages offer them."""
    values = {
        "shout": f"{__name__}:shout",
        "fail": f"{__name__}:fail",
        "number": "builtins:len",
        "absent": f"{text_package}.nowhere:f",
    }
    entries = [EntryPoint(name, value, normalizers.GROUP) for name, value in values.items()]
    monkeypatch.setattr(normalizers, "entry_points", lambda group: entries if group == normalizers.GROUP else [])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_text_shows_what_is_spoken() -> None:
    code, out, err = run("text", "Dr. Smith 🙂 paid $5.")
    assert (code, err) == (0, "")
    ids = text_to_sequence("doctor smith paid five dollars.")
    assert out.splitlines() == [
        f"{len(ids)} tokens",
        "  spoken  doctor smith paid five dollars.",
        f"  ids     {' '.join(map(str, ids))}",
        "warning: not spoken, this voice has no symbol for: '🙂'",
    ]


def test_text_of_a_bundle_as_json(tiny_bundle: Path) -> None:
    text = "One. [pause 1s] " + "A longer sentence of some words here. " * 3
    code, out, _ = run("text", text, "--bundle", str(tiny_bundle), "--json")
    assert code == 0
    pieces = json.loads(out)["pieces"]
    expected = Synthesizer.load(tiny_bundle, "onnxruntime").say(text).utterances
    assert [piece["ids"] for piece in pieces] == [list(utterance.token_ids) for utterance in expected]
    assert pieces[0]["spoken"] == "one."
    assert pieces[0]["pause_after"] == 1.0
    assert len(pieces) > 2


def test_cleaners_can_be_tried() -> None:
    _, out, _ = run("text", "Back at 9:00.", "--cleaners", "english_cleaners_extended")
    assert "spoken  back at nine o'clock.\n" in out
    code, _, err = run("text", "Back.", "--cleaners", "nonsense")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown cleaner 'nonsense'" in err


def test_normalizer_rewrites_every_text(tiny_bundle: Path, installed: None) -> None:
    plain = Synthesizer.load(tiny_bundle, "onnxruntime").say("You and I.")
    named = Synthesizer.load(tiny_bundle, "onnxruntime", normalizer="shout")
    given = Synthesizer.load(tiny_bundle, "onnxruntime", normalizer=shout)
    for voice in (named, given):
        np.testing.assert_array_equal(voice.say("You & I.").samples, plain.samples)
        np.testing.assert_allclose(np.concatenate(list(voice.stream("You & I."))), plain.samples, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "unknown 'other'; known: absent, fail, number, shout"),
        ("absent", "'absent': cannot be loaded: ModuleNotFoundError"),
        ("fail", "'fail': failed on 'Hi.': OSError: no grammar here"),
        ("number", "'number': expected a string, got int"),
    ],
)
def test_bad_normalizer_is_one_line(installed: None, name: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        find_normalizer(name)("Hi.")
    assert f"normalizer{'' if name == 'other' else ' '}" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "function"),
    [("tacoglow", "main"), ("trt-infer", "trt_infer_main"), ("export-onnx", "export_onnx_main")],
)
def test_version_and_completion(program: str, function: str) -> None:
    assert run("--version", program=program, function=function)[1].startswith("tacoglow ")
    variables = {
        f"_{program.upper().replace('-', '_')}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"{program} inf" if program == "tacoglow" else f"{program} --out",
        "COMP_CWORD": "1",
    }
    found = run(program=program, function=function, **variables)[1].split()
    assert found == (["infer"] if program == "tacoglow" else ["--output"])


def test_lexicon_of_a_file(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Nguyen = win\n", encoding="utf-8")
    assert "mister win's." in run("text", "Mr. Nguyen's.", "--lexicon", str(words))[1]
    words.write_text("Nguyen win\n", encoding="utf-8")
    code, _, error = run("text", "Mr. Nguyen's.", "--lexicon", str(words))
    assert code == 2
    assert "words.txt: line 1: expected 'word = spoken'" in error
