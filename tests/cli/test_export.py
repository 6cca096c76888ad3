"""`export-onnx` as users call it: bundles, and what is refused."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tacoglow.export import bundle as bundle_module
from tacoglow.runtime.errors import ExportError

from .conftest import GRAPH_NAMES, TEXT, Damage, Run, assert_rejected, cut, unchanged

if TYPE_CHECKING:
    from ..conftest import TinyCheckpoints


@pytest.fixture
def checkpoints(workdir: Path, tiny_checkpoints: TinyCheckpoints) -> Path:
    """The working directory, with the tiny voice's checkpoints added as t.pt, w.pt and voice.json."""
    for name, source in (("t.pt", "tacotron2"), ("w.pt", "waveglow"), ("voice.json", "voice")):
        shutil.copy(getattr(tiny_checkpoints, source), workdir / name)
    return workdir


OWN = ("--tacotron2", "t.pt", "--waveglow", "w.pt")


def change_config(name: str, **changes: Any) -> Damage:
    """Rewrite a checkpoint with changed entries in its config."""

    def damage(folder: Path) -> None:
        content = torch.load(folder / name, weights_only=True)
        torch.save({**content, "config": content["config"] | changes}, folder / name)

    return damage


def fewer_mel_bands(folder: Path) -> None:
    content = torch.load(folder / "w.pt", weights_only=True)
    state = content["state_dict"]
    bands = content["config"]["n_mel_channels"] = 8
    state["upsample.weight"] = state["upsample.weight"][:bands, :bands].clone()
    state["upsample.bias"] = state["upsample.bias"][:bands].clone()
    for key in [key for key in state if "cond_layers" in key and key.endswith("weight_v")]:
        state[key] = state[key][:, : bands * content["config"]["n_group"]].clone()
    torch.save(content, folder / "w.pt")


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def voice_file(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "voice.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))

    return damage


def different_rates(folder: Path) -> None:
    change_config("t.pt", audio={"sampling_rate": 22050})(folder)
    change_config("w.pt", sampling_rate=16000)(folder)


def nothing(folder: Path) -> None:
    pass


CONFIG = [*OWN, "--config", "voice.json"]
EXPORTS: dict[str, tuple[Damage, list[str], tuple[str, ...]]] = {
    "missing checkpoint": (nothing, ["--tacotron2", "no.pt", "--waveglow", "w.pt"], ("no.pt", "no such file", "give")),
    "folder as checkpoint": (nothing, ["--tacotron2", "voice", "--waveglow", "w.pt"], ("voice", "a folder", "give")),
    "truncated checkpoint": (cut("t.pt"), [*OWN], ("t.pt", "truncated")),
    "truncated second checkpoint": (cut("w.pt", keep=0.9), [*OWN], ("w.pt", "truncated")),
    "empty checkpoint": (cut("t.pt", keep=0.0), [*OWN], ("t.pt", "truncated")),
    "text as checkpoint": (write("t.pt", b"hello\n"), [*OWN], ("t.pt", "not a PyTorch checkpoint")),
    "list as checkpoint": (
        lambda folder: torch.save([1, 2, 3], folder / "t.pt"),
        [*OWN],
        ("t.pt", "list"),
    ),
    "checkpoints swapped": (nothing, ["--tacotron2", "w.pt", "--waveglow", "t.pt"], ("w.pt", "waveglow")),
    "no checkpoint": (nothing, [], ("--tacotron2", "--waveglow", "--demo")),
    "one checkpoint": (nothing, ["--tacotron2", "t.pt"], ("--waveglow", "a vocoder")),
    "two sources": (nothing, [*OWN, "--demo"], ("--tacotron2", "--demo", "one of")),
    "unknown source": (nothing, ["--pretrained", "acme"], ("--pretrained", "acme", "nvidia")),
    "unknown precision": (nothing, [*OWN, "--precision", "int4"], ("--precision", "int4", "fp16")),
    "zero tokens": (nothing, [*OWN, "--max-tokens", "0"], ("--max-tokens", "--help")),
    "control character in the name": (
        voice_file(name="a\r\nb"),
        CONFIG,
        ("voice.json", "name", "control", "'a\\r\\nb'"),
    ),
    "sampling rates differ": (
        different_rates,
        [*OWN],
        ("sampling_rate does not match", "tacotron2 says 22050", "waveglow says 16000", "trained on the same"),
    ),
    "mel bands differ": (fewer_mel_bands, [*OWN], ("n_mel_channels does not match", "16", "8", "trained on the same")),
    "voice file missing": (nothing, [*OWN, "--config", "no.json"], ("no.json", "no such")),
    "voice file empty": (write("voice.json", b""), CONFIG, ("voice.json", "not JSON")),
    "voice file binary": (write("voice.json", b"\xff\xfe"), CONFIG, ("voice.json", "not JSON")),
    "voice file is a list": (write("voice.json", b"[]"), CONFIG, ("voice.json", "object", "list")),
    "audio is a list": (voice_file(audio=[]), CONFIG, ("voice.json", "'audio'", "object", "list")),
    "rate is not a number": (
        voice_file(audio={"sampling_rate": "16k"}),
        CONFIG,
        ("audio.sampling_rate", "number", "16k"),
    ),
    "rate of 0": (voice_file(audio={"sampling_rate": 0}), CONFIG, ("sampling_rate", "voice file says 0")),
    "window of 0": (voice_file(audio={"filter_length": 0}), CONFIG, ("filter_length", "voice file says 0")),
    "window of half a sample": (
        voice_file(audio={"filter_length": 0.5}),
        CONFIG,
        ("filter_length", "voice file says 0.5"),
    ),
    "window too long": (voice_file(audio={"filter_length": 10**6}), CONFIG, ("filter_length", "1000000")),
    "hop differs": (voice_file(audio={"hop_length": 300}), CONFIG, ("hop", "300")),
    "symbols are not a list": (
        voice_file(text={"symbols": "abc"}),
        CONFIG,
        ("voice.json", "text.symbols", "list of strings"),
    ),
    "wrong number of symbols": (
        voice_file(text={"symbols": list("abc")}),
        CONFIG,
        ("embedding has 148 rows", "voice file has 3", "give"),
    ),
    "symbols twice": (voice_file(text={"symbols": ["a"] * 148}), CONFIG, ("symbol", "'a'")),
    "unknown cleaner": (voice_file(text={"cleaners": ["soap"]}), CONFIG, ("soap", "english_cleaners")),
    "sigma is not a number": (voice_file(waveglow={"sigma": None}), CONFIG, ("waveglow.sigma", "number", "None")),
    "sigma is not finite": (voice_file(waveglow={"sigma": float("nan")}), CONFIG, ("waveglow.sigma", "number", "nan")),
    "output is a file": (nothing, [*OWN, "-o", "t.pt"], ("t.pt", "not a bundle", "-o")),
    "output below a file": (nothing, [*OWN, "-o", "t.pt/out"], ("t.pt/out", "cannot be written", "-o")),
    "output is a folder without a bundle": (nothing, [*OWN, "-o", "full"], ("full", "not a bundle", "-o", "--force")),
    "output is the working directory": (nothing, [*OWN, "-o", "."], (".", "current folder", "-o")),
    "too many frames": (nothing, [*OWN, "--max-frames", "100000000000"], ("max-frames", "1 to 1048576")),
}


@pytest.mark.parametrize(("damage", "arguments", "parts"), EXPORTS.values(), ids=EXPORTS)
def test_invalid_exports_are_rejected(
    run: Run, checkpoints: Path, damage: Damage, arguments: list[str], parts: tuple[str, ...]
) -> None:
    (checkpoints / "full").mkdir()
    (checkpoints / "full" / "thesis.txt").write_text("must not be lost")
    damage(checkpoints)
    with unchanged(checkpoints):
        # By default the output is an existing bundle, which must not change.
        output = [] if "-o" in arguments else ["-o", "voice"]
        assert_rejected(run("export-onnx", *arguments, *output), *parts)


def test_export_that_fails_late_changes_nothing(run: Run, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ExportError("parity: waveglow: audio differs")

    monkeypatch.setattr(bundle_module, "measure_parity", fail)
    with unchanged(checkpoints):
        assert_rejected(run("export-onnx", *OWN, "-o", "voice"), "parity: waveglow")
        assert_rejected(run("export-onnx", *OWN, "-o", "new"), "parity: waveglow")


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Limit every file to `free` bytes: longer writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(run: Run, checkpoints: Path) -> None:
    with unchanged(checkpoints):
        with full_disk(1000):
            spoken = run("trt-infer", "voice", TEXT, "-o", "hello.wav")
        assert_rejected(spoken, "hello.wav", "cannot be written", "too large")
        for free in (1000, 50_000):  # the first graph fails, and a later one
            with full_disk(free):
                exported = run("export-onnx", *OWN, "-o", "voice")
            assert_rejected(exported, "voice", "cannot be written", "too large")


class TestExport:
    def test_exported_bundle_is_usable(self, run: Run, checkpoints: Path) -> None:
        shutil.rmtree("voice")
        outcome = run("export-onnx", *CONFIG, "-o", "voice")
        assert outcome.code == 0, outcome.err
        assert outcome.out == ""
        for name in GRAPH_NAMES:
            words = [line.split()[1] for line in outcome.err.splitlines() if line.startswith(name)]
            assert [word for word in words if word in ("written:", "checked")] == ["written:", "checked"]
        assert sorted(path.name for path in (checkpoints / "voice").iterdir()) == sorted(
            [*(f"{name}.onnx" for name in GRAPH_NAMES), "README.md", "manifest.json", "text_tables.json"]
        )
        assert not list(checkpoints.glob(".*"))
        assert "trt-infer voice" in outcome.last
        assert run("trt-infer", "voice", TEXT, "-o", "hello.wav").code == 0

    def test_limits_are_in_the_manifest(self, run: Run, checkpoints: Path) -> None:
        limits = ["--max-batch", "1", "--max-tokens", "9", "--max-frames", "6"]
        outcome = run("export-onnx", *CONFIG, "-o", "voice", *limits)
        assert outcome.code == 0, outcome.err
        dimensions = json.loads((checkpoints / "voice/manifest.json").read_bytes())["dimensions"]
        assert [dimensions[letter]["max"] for letter in "BTF"] == [1, 9, 6]
        (checkpoints / "phrases.txt").write_text("One.\nTwo.\nA third phrase, which is too long.\n")
        assert run("trt-infer", "voice", "-i", "phrases.txt", "-o", "out").code == 0
        assert len(list((checkpoints / "out").glob("*.wav"))) == 3

    @pytest.mark.full
    def test_empty_folder_and_old_bundle_are_replaced(self, run: Run, checkpoints: Path) -> None:
        (checkpoints / "empty").mkdir()
        (checkpoints / "voice/mine.txt").touch()
        for output in ("empty", "voice"):
            outcome = run("export-onnx", *CONFIG, "-o", output)
            assert outcome.code == 0
            assert ("holds a bundle, which the new one will replace" in outcome.err) == (output == "voice")
            assert len(list((checkpoints / output).iterdir())) == len(GRAPH_NAMES) + (4 if output == "voice" else 3)
        assert (checkpoints / "voice/mine.txt").exists()
        assert not list(checkpoints.glob(".*"))

    def test_default_name_without_a_voice_file(self, run: Run, checkpoints: Path) -> None:
        assert run("export-onnx", *OWN, "-o", "new/deep").code == 0
        manifest = json.loads((checkpoints / "new/deep/manifest.json").read_bytes())
        assert manifest["voice"]["name"] == "t"
        assert manifest["audio"]["sampling_rate"] == 22050
