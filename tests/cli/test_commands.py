"""The commands as users call them: output files, messages, and rejected input."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import typer
from scipy.io import wavfile

from tacoglow import SpeechOptions, Synthesizer
from tacoglow.cli.main import COMMANDS as COMMAND_NAMES
from tacoglow.cli.main import EXAMPLES, OTHER_NAMES, _add_command
from tacoglow.export import bundle as bundle_module
from tacoglow.runtime.bundle.manifest import graph_names
from tacoglow.runtime.bundle.reading import with_digest
from tacoglow.runtime.errors import ExportError
from tacoglow.tests import tolerances

from .conftest import COMMANDS, TRT_INFER, Outcome, Run

GRAPH_NAMES = graph_names("waveglow")

if TYPE_CHECKING:
    from ..conftest import TinyCheckpoints


TEXT = "Hello world, I missed you."
MAX_FRAMES = 40  # frame limit of the tiny voice
Damage = Callable[[Path], object]


def listing(folder: Path) -> dict[str, bytes]:
    """Relative path -> digest of the content, for everything in a folder, including hidden files."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).digest() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    before = listing(folder)
    yield
    assert listing(folder) == before


def assert_rejected(outcome: Outcome, *parts: str) -> None:
    """One line `error: …` that contains the parts, exit code 2, no traceback."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert [line for line in outcome.err.splitlines() if "rror" in line] == [outcome.last]
    assert outcome.last.startswith("error: ")
    assert outcome.out == ""
    for part in parts:
        assert part in outcome.last


# Invalid requests: the arguments after the bundle, and the parts of the error message.
REQUESTS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "empty text": ([""], ("text", "empty", "give")),
    "whitespace": ([" \n\t "], ("text", "empty", "give")),
    "unknown characters": (["\N{PARTY POPPER}\N{SNOWMAN}"], ("text", "no symbol for", "give")),
    "lone surrogate": (["\udcff"], ("text", "give")),
    "neither text nor file": ([], ("TEXT", "-i FILE", "standard input")),
    "both text and file": ([TEXT, "-i", "phrases.txt"], ("TEXT", "-i FILE", "not both")),
    "missing file": (["-i", "missing.txt"], ("missing.txt", "No such file")),
    "folder as file": (["-i", "voice"], ("voice", "directory")),
    "empty file": (["-i", "empty.txt"], ("empty.txt", "no phrase", "write one")),
    "blank lines": (["-i", "blank.txt"], ("blank.txt", "no phrase", "write one")),
    "strict, not UTF-8": (["-i", "latin1.txt", "--strict"], ("latin1.txt:1: ", "UTF-8", "byte 3")),
    "strict, unknown characters": (["-i", "bad.txt", "--strict"], ("bad.txt:1: text", "no symbol for")),
    "strict without a list": ([TEXT, "--strict"], ("--strict", "needs -i")),
    "resume without a list": ([TEXT, "--resume"], ("--resume", "needs -i")),
    "list format without a list": ([TEXT, "--format", "lines"], ("--format", "needs -i")),
    "resume of one file": (["-i", "phrases.txt", "-o", "x.wav", "--resume"], ("--resume", "x.wav", "folder")),
    "raw without a stream": ([TEXT, "--raw"], ("--raw", "--stream")),
    "plot of a stream": ([TEXT, "--stream", "--plot", "x.png"], ("--plot", "--stream")),
    "report beside samples": ([TEXT, "--stream", "--json", "-o", "-"], ("--json", "-o -")),
    "raw samples named wav": ([TEXT, "--stream", "--raw", "-o", "x.wav"], ("--raw", "x.wav", ".pcm")),
    "unknown audio suffix": ([TEXT, "-o", "x.mp5"], ("x.mp5", "unknown audio format", ".wav")),
    "suffix against format": ([TEXT, "-o", "x.wav", "--audio-format", "flac"], ("x.wav", "--audio-format", "flac")),
    "output in the bundle": ([TEXT, "-o", "voice/manifest.wav"], ("voice/manifest.wav", "in the bundle", "-o")),
    "output folder is the bundle": (["-i", "phrases.txt", "-o", "voice"], ("voice", "in the bundle", "-o")),
    "plot in the bundle": ([TEXT, "--plot", "voice/p.png"], ("voice/p.png", "in the bundle", "--plot")),
    "output is the input": (["-i", "list.wav", "-o", "list.wav"], ("list.wav", "-i reads", "-o")),
    "plot is the output": ([TEXT, "-o", "p", "--plot", "./p"], ("p", "unsupported plot format")),
    "output in a missing folder": ([TEXT, "-o", "none/hello.wav"], ("none/hello.wav", "folder does not exist", "-o")),
    "output is a folder": ([TEXT, "-o", "voice"], ("voice", "is a folder", "-o")),
    "output below a file": ([TEXT, "-o", "phrases.txt/hello.wav"], ("phrases.txt/hello.wav", "not a folder", "-o")),
    "folder is a file": (["-i", "phrases.txt", "-o", "blank.txt"], ("blank.txt", "not a folder", "-o")),
    "folder below a file": (["-i", "phrases.txt", "-o", "blank.txt/out"], ("blank.txt/out", "not a folder", "-o")),
    "plot in a missing folder": ([TEXT, "--plot", "none/p.png"], ("none/p.png", "folder does not exist", "--plot")),
    "plot with an unknown suffix": ([TEXT, "--plot", "plot.xyz"], ("plot.xyz", ".xyz", ".png")),
    "plot without a suffix": ([TEXT, "--plot", "plot"], ("plot", ".png")),
    "unknown backend": ([TEXT, "--backend", "cray"], ("backend", "cray", "onnxruntime")),
    "negative sigma": ([TEXT, "--sigma=-0.1"], ("sigma", "-0.1", "0 to 10")),
    "sigma nan": ([TEXT, "--sigma", "nan"], ("sigma", "nan", "0 to 10")),
    "sigma is not a number": ([TEXT, "--sigma", "low"], ("--sigma", "number", "--help")),
    "negative denoise": ([TEXT, "--denoise=-1"], ("denoise", "-1", "0 to 10")),
    "denoise infinite": ([TEXT, "--denoise", "inf"], ("denoise", "inf", "0 to 10")),
    "gate threshold 0": ([TEXT, "--gate-threshold", "0"], ("gate threshold", "between 0 and 1", "0.0")),
    "gate threshold 1": ([TEXT, "--gate-threshold", "1"], ("gate threshold", "between 0 and 1", "1.0")),
    "gate threshold nan": ([TEXT, "--gate-threshold", "nan"], ("gate threshold", "between 0 and 1", "nan")),
    "zero frames": ([TEXT, "--max-frames", "0"], ("max frames", f"1 to {MAX_FRAMES}", "got 0")),
    "too many frames": ([TEXT, "--max-frames", "41"], ("max frames", f"1 to {MAX_FRAMES}", "41", "--max-frames")),
    "negative seed": ([TEXT, "--seed=-1"], ("seed", "0 to 2**64 - 1", "-1")),
    "seed too large": ([TEXT, "--seed", str(2**64)], ("seed", "0 to 2**64 - 1", str(2**64))),
    "seed is not a number": ([TEXT, "--seed", "abc"], ("--seed", "integer", "--help")),
    "many threads": ([TEXT, "--threads", "2147483648"], ("threads: expected 1 to", "2147483648")),
    "many retries": ([TEXT, "--retries", "2147483647"], ("retries", "0 to 100", "2147483647")),
    "rate too high": ([TEXT, "--rate", "2.1"], ("rate", "0.5 to 2", "2.1")),
    "negative volume": ([TEXT, "--volume=-1"], ("volume", "0 to 4", "-1")),
    "long silence": ([TEXT, "--sentence-silence", "11"], ("sentence silence", "0 to 10 seconds", "11")),
    "long pause": (["One [pause 11s] two."], ("[pause 11s]", "0 to 10 seconds", "[pause 0.5s]")),
    "silence of a mel": (["--vocoder-only", "m.npy", "--sentence-silence", "1"], ("--sentence-silence", "-only")),
    "text and mel": ([TEXT, "--vocoder-only", "m.npy"], ("--vocoder-only", "replaces the text")),
    "list and mel": (["-i", "phrases.txt", "--vocoder-only", "m.npy"], ("--input", "--vocoder-only")),
    "bundle and server": ([TEXT, "--url", "http://x:1"], ("--url", "TEXT alone")),
    "model without a server": ([TEXT, "--model", "anna"], ("--model", "needs --url")),
    "timeout without a server": ([TEXT, "--timeout", "3"], ("--timeout", "needs --url")),
    "list for a server": (["-i", "phrases.txt", "--url", "http://x:1"], ("--input", "a server cannot")),
    "plot by a server": (["--plot", "x.png", "--url", "http://x:1"], ("--plot", "a server cannot")),
    "backend of a server": (["--backend", "auto", "--url", "http://x:1"], ("--backend", "a server cannot")),
    "times of unknown format": ([TEXT, "--timestamps", "t.txt"], ("--timestamps", ".srt", ".txt")),
    "times in a missing folder": ([TEXT, "--timestamps", "no/t.srt"], ("no/t.srt", "folder does not", "--timestamps")),
    "times are the output": ([TEXT, "-o", "t.wav", "--timestamps", "./t.wav"], ("--timestamps", ".wav")),
    "times in the bundle": ([TEXT, "--timestamps", "voice/manifest.json"], ("in the bundle", "--timestamps")),
    "one file of times for a folder": (["-i", "phrases.txt", "--timestamps", "t.srt"], ("--timestamps", "give json")),
    "zero threads": ([TEXT, "--threads", "0"], ("--threads", "1", "--help")),
    "unknown wav format": ([TEXT, "--wav", "mp3"], ("--wav", "mp3", "int16", "float32")),
    "unknown option": ([TEXT, "--loud"], ("--loud", "--help")),
    "too many arguments": ([TEXT, "again"], ("again", "--help")),
}


@pytest.mark.parametrize(("arguments", "parts"), REQUESTS.values(), ids=REQUESTS)
def test_invalid_requests_are_rejected(run: Run, workdir: Path, arguments: list[str], parts: tuple[str, ...]) -> None:
    for name, content in {
        "phrases.txt": b"One.\nTwo.\n",
        "empty.txt": b"",
        "blank.txt": b" \n\t\n",
        "latin1.txt": "caf\xe9.".encode("latin-1"),
        "bad.txt": "\N{SNOWMAN}\nFine.\n".encode(),
        "list.wav": b"One.\n",
    }.items():
        (workdir / name).write_bytes(content)
    with unchanged(workdir):
        assert_rejected(run("trt-infer", "voice", *arguments), *parts)


def test_steered_speech(run: Run, workdir: Path) -> None:
    """Also as a stream, which has the same samples up to rounding to 16 bits."""
    text = "Hello. [pause 0.25s] I missed you. And the rest."
    options = ["--rate", 0.5, "--volume", 2, "--sentence-silence", 0.5, "--max-frames", 20, "--wav", "float32"]
    options.append("--trim-silence")
    assert run("trt-infer", "voice", text, "-o", "whole.wav", *options).code == 0
    assert run("trt-infer", "voice", text, "-o", "streamed.wav", "--stream", *options).code == 0
    expected = Synthesizer.load("voice", threads=1).say(
        text, options=SpeechOptions(rate=0.5, volume=2.0, sentence_silence=0.5, trim_silence=True, max_frames=20)
    )
    assert len(expected.utterances) == 3
    rate, whole = wavfile.read("whole.wav")
    assert run("trt-infer", "voice", text, "-o", "t.wav", "--stream", "--timestamps", "t.vtt", *options).code == 0
    assert run("trt-infer", "voice", text, "-o", "t.wav", "--timestamps", "t.json", *options).code == 0
    words = json.loads(Path("t.json").read_text())["words"]
    assert [(word["text"], word["start"]) for word in words] == [(w.text, round(w.start, 3)) for w in expected.words]
    assert Path("t.vtt").read_text().splitlines()[3::3] == ["Hello.", "I missed you.", "And the rest."]
    np.testing.assert_allclose(whole, expected.samples, atol=tolerances.WINDOWS)
    np.testing.assert_allclose(wavfile.read("streamed.wav")[1], whole, atol=0.05)
    first, second, third = expected.utterances
    assert second.start - first.start - len(first.samples) == rate // 4
    assert third.start - second.start - len(second.samples) == rate // 2


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "ulaw"])
def test_speech_of_which_nothing_is_left_is_told(run: Run, workdir: Path, audio_format: str) -> None:
    silent, told = ["--trim-silence", "--volume", 0], "no speech is left"
    for options in ([], ["--stream"]):
        path = Path(f"{len(options)}.{audio_format}")
        done = run("trt-infer", "voice", "Hi.", "-o", path, *options, *silent)
        assert (done.code, done.last) == (0, f"warning: {path}: {told}")
        assert (path.stat().st_size == 0) == (audio_format == "ulaw")  # which has no header, so that it is valid
    Path("list.txt").write_text("Hi.\nNo.\n")
    done = run("trt-infer", "voice", "-i", "list.txt", "-o", "out", "--audio-format", audio_format, *silent)
    names = [f"out/000{line}.{audio_format}" for line in (1, 2)]
    assert [line for line in done.err.splitlines() if told in line] == [f"warning: {name}: {told}" for name in names]
    for options in ([], ["--stream"]):
        done = run("trt-infer", "voice", "-i", "list.txt", "-o", f"x.{audio_format}", *options, *silent)
        lines = [f"warning: list.txt:{line}: {told}" for line in (1, 2)]
        assert [line for line in done.err.splitlines() if told in line] == lines
    done = run("trt-infer", "voice", "Hi.", "-o", f"heard.{audio_format}", "--trim-silence")
    assert (done.code, "warning" in done.err) == (0, False)


@pytest.mark.parametrize("options", [[], ["--stream"], ["-i", "list.txt"]], ids=["whole", "stream", "list"])
@pytest.mark.parametrize("audio_format", ["mp3", "aac", "opus", "flac"])
def test_words_are_heard_at_their_times_in_every_format(
    run: Run, workdir: Path, audio_format: str, options: list[str]
) -> None:
    """The decoded audio is laid over the samples: times are later than the samples' by as much as it is."""
    av = pytest.importorskip("av")
    text = "Hello there. Who is it?"
    Path("list.txt").write_text(text + "\n")
    text_option, starts = ([] if "-i" in options else [text]), []
    for name in ("t.wav", f"t.{audio_format}"):
        arguments = [*text_option, *options, "-o", name, "--timestamps", "t.json", "--gate-threshold", 0.999999]
        assert run("trt-infer", "voice", *arguments).code == 0
        starts.append(np.array([word["start"] for word in json.loads(Path("t.json").read_text())["words"]]))
    rate, samples = wavfile.read("t.wav")
    with av.open(f"t.{audio_format}") as container:
        frames = list(container.decode(audio=0))
    decoded = np.concatenate([frame.to_ndarray().ravel() for frame in frames])
    seconds = np.arange(len(samples) * frames[0].sample_rate // rate) / frames[0].sample_rate
    reference = np.interp(seconds * rate, np.arange(len(samples)), samples)
    spectrum = np.fft.rfft(decoded, 1 << 20) * np.fft.rfft(reference, 1 << 20).conj()
    late = int(np.fft.irfft(spectrum)[:8192].argmax()) / frames[0].sample_rate
    np.testing.assert_allclose(starts[1] - starts[0], [late] * 5, atol=0.002)


def test_unwritable_output(run: Run, workdir: Path) -> None:
    """This is noticed only when the file is written: nobody can create a file in /proc, not even root."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc")
    with unchanged(workdir):
        assert_rejected(run("trt-infer", "voice", TEXT, "-o", "/proc/hello.wav"), "/proc/hello.wav", "written")
        assert_rejected(run("trt-infer", "voice", TEXT, "-o", "h.wav", "--plot", "/proc/p.png"), "/proc/p.png")
        (workdir / "h.wav").unlink()  # complete, because it is written before the plot


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(run: Run, workdir: Path) -> None:
    (workdir / "locked").mkdir(mode=0o555)
    assert_rejected(run("trt-infer", "voice", TEXT, "-o", "locked/hello.wav"), "locked/hello.wav", "permission", "-o")
    assert_rejected(run("export-onnx", "--demo", "-o", "locked/voice"), "locked/voice", "-o")


def edit_manifest(bundle: Path, *keys: str, value: Any) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_bytes(with_digest(json.dumps(manifest).encode()))


def edited(*keys: str, value: Any) -> Damage:
    return lambda bundle: edit_manifest(bundle, *keys, value=value)


def cut(name: str, keep: float = 0.5) -> Damage:
    def damage(bundle: Path) -> None:
        path = bundle / name
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return damage


def cut_with_valid_hash(bundle: Path) -> None:
    """Truncate a graph and store the SHA-256 of the truncated file."""
    cut("postnet.onnx")(bundle)
    digest = sha256((bundle / "postnet.onnx").read_bytes()).hexdigest()
    edit_manifest(bundle, "graphs", "postnet", "sha256", value=digest)


def flip_a_bit(bundle: Path) -> None:
    path = bundle / "waveglow.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    **{
        f"{name} cut": (cut(f"{name}.onnx"), (f"voice/{name}.onnx", "SHA-256", "export the voice again"))
        for name in GRAPH_NAMES
    },
    "graph empty": (cut("encoder.onnx", keep=0.0), ("voice/encoder.onnx", "SHA-256", "export the voice again")),
    "graph changed": (flip_a_bit, ("voice/waveglow.onnx", "SHA-256", "export the voice again")),
    "graph cut before it was hashed": (cut_with_valid_hash, ("voice/postnet.onnx", "export the voice again")),
    "graph missing": (
        lambda bundle: (bundle / "decoder_step.onnx").unlink(),
        ("voice/decoder_step.onnx", "missing", "export the voice again"),
    ),
    "graph not listed": (edited("graphs", value={}), ("graphs", "encoder", "export the voice again")),
    "graph in another folder": (
        edited("graphs", "postnet", "file", value="../postnet.onnx"),
        ("../postnet.onnx", "graphs.postnet.file", "export the voice again"),
    ),
    "graph at an absolute path": (
        edited("graphs", "postnet", "file", value="/etc/passwd"),
        ("/etc/passwd", "graphs.postnet.file", "export the voice again"),
    ),
    "manifest missing": (
        lambda bundle: (bundle / "manifest.json").unlink(),
        ("voice", "manifest.json", "export-onnx"),
    ),
    "manifest cut": (cut("manifest.json"), ("voice/manifest.json", "damaged", "export the voice again")),
    "manifest empty": (cut("manifest.json", keep=0.0), ("voice/manifest.json", "damaged", "export the voice again")),
    "manifest binary": (
        lambda bundle: (bundle / "manifest.json").write_bytes(b"\xff\xfe\x00"),
        ("voice/manifest.json", "damaged", "export the voice again"),
    ),
    "manifest is not an object": (
        lambda bundle: (bundle / "manifest.json").write_text("[1, 2]"),
        ("voice/manifest.json", "format_version", "export the voice again"),
    ),
    "newer format": (
        edited("format_version", value=99),
        ("voice/manifest.json", "format_version 99", "newer", "pip install -U tacoglow"),
    ),
    "format is not a number": (
        edited("format_version", value="1"),
        ("format_version", "'1'", "export the voice again"),
    ),
    "wrong type": (
        edited("audio", "sampling_rate", value="16 kHz"),
        ("voice/manifest.json", "audio.sampling_rate", "int", "str", "export the voice again"),
    ),
    "impossible value": (edited("vocoder", "group_size", value=0), ("vocoder.group_size", "export the voice again")),
    "unknown field": (edited("audio", "loudness", value=1), ("audio", "loudness", "export the voice again")),
    "unknown cleaner": (edited("text", "cleaners", value=["soap"]), ("soap",)),
}


@pytest.mark.parametrize(("damage", "parts"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_bundles_are_rejected(run: Run, workdir: Path, damage: Damage, parts: tuple[str, ...]) -> None:
    damage(workdir / "voice")
    with unchanged(workdir):
        assert_rejected(run("trt-infer", "voice", TEXT, "-o", "hello.wav", "--denoise", "0.1"), *parts)


@pytest.mark.parametrize("damage", ["waveglow cut", "graph missing", "manifest cut", "newer format"])
def test_inspect_rejects_damaged_bundles(run: Run, workdir: Path, damage: str) -> None:
    change, parts = DAMAGES[damage]
    change(workdir / "voice")
    assert_rejected(run("tacoglow", "inspect", "voice"), *parts)


def test_inspect_checks_every_file(run: Run, workdir: Path, int8_bundle: Path) -> None:
    shutil.copytree(int8_bundle, workdir / "int8")
    files = sorted({path.name for path in (workdir / "int8").iterdir()} - {"README.md", "manifest.json"})
    assert {"decoder_step.int8.onnx", "text_tables.json"} < set(files)
    for name in files:
        path = workdir / "int8" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"?")
        assert_rejected(run("tacoglow", "inspect", "int8"), f"int8/{name}", "SHA-256", "export the voice again")
        path.unlink()
        assert_rejected(run("tacoglow", "inspect", "int8"), f"int8/{name}", "missing", "export the voice again")
        path.write_bytes(content)
    assert "decoder_step with 8-bit weights" in run("tacoglow", "inspect", "int8").out


def test_not_a_bundle(run: Run, workdir: Path) -> None:
    (workdir / "phrases.txt").write_text("Hi.\n")
    (workdir / "t.pt").touch()
    with unchanged(workdir):
        for bundle in ("nowhere", "phrases.txt", "."):
            assert_rejected(run("trt-infer", bundle, TEXT), bundle, "not a bundle", "export-onnx")
            assert_rejected(run("tacoglow", "inspect", bundle), bundle, "not a bundle", "export-onnx")
        assert_rejected(run("trt-infer", "nowhere", "-i", "phrases.txt", "-o", "out"), "nowhere", "not a bundle")
        assert_rejected(run("tacoglow", "say", "Hello."), "Hello.", "not a bundle", "no such folder")
        file = run("trt-infer", "voice/manifest.json", TEXT)
        assert_rejected(file, "voice/manifest.json", "a file of one; give the folder: voice")
        assert_rejected(run("trt-infer", "t.pt", TEXT), "t.pt", "a checkpoint", "export-onnx --tacotron2")


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


def test_debug_shows_the_traceback(run: Run, workdir: Path) -> None:
    plain, debug = run("trt-infer", "voice", ""), run("trt-infer", "voice", "", "--debug")
    assert "Traceback" in debug.err
    assert "in split_into_pieces" in debug.err
    assert (debug.code, debug.last) == (plain.code, plain.last)


class TestInfer:
    def test_wav_file(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", TEXT, "-o", "hello.wav")
        assert outcome.code == 0, outcome.err
        assert outcome.out == ""
        assert outcome.err.splitlines()[0] == "CPU (onnxruntime)"
        assert outcome.last.startswith("hello.wav: ")
        rate, samples = wavfile.read(workdir / "hello.wav")
        assert rate == 16000
        assert samples.dtype == np.int16
        assert len(samples) > 0
        assert len(samples) % 256 == 0
        assert np.abs(samples).max() > 1000

    def test_tacoglow_infer_equals_trt_infer(self, run: Run, workdir: Path) -> None:
        run("trt-infer", "voice", TEXT, "-o", "a.wav")
        assert run("tacoglow", "infer", "voice", TEXT, "-o", "b.wav").code == 0
        assert (workdir / "a.wav").read_bytes() == (workdir / "b.wav").read_bytes()

    def test_speech_depends_on_the_seed(self, run: Run, workdir: Path) -> None:
        for name, seed in (("a", 7), ("b", 7), ("c", 8), ("d", 2**64 - 1)):
            assert run("trt-infer", "voice", TEXT, "-o", f"{name}.wav", "--seed", seed).code == 0
        a, b, c, d = ((workdir / f"{name}.wav").read_bytes() for name in "abcd")
        assert a == b
        assert len({a, c, d}) == 3

    def test_options_change_the_audio(self, run: Run, workdir: Path) -> None:
        options = {
            "plain": [],
            "sigma": ["--sigma", "0.4"],
            "denoise": ["--denoise", "0.5"],
            "threads": ["--threads", "1"],
        }
        spoken = {}
        for name, arguments in options.items():
            assert run("trt-infer", "voice", TEXT, "-o", "x.wav", *arguments).code == 0
            spoken[name] = wavfile.read(workdir / "x.wav")[1].astype(float)
        assert np.abs(spoken["sigma"] - 2 * spoken["plain"]).mean() < np.abs(spoken["plain"]).mean()
        assert not np.array_equal(spoken["denoise"], spoken["plain"])
        assert np.array_equal(spoken["threads"], spoken["plain"])

    def test_float32(self, run: Run, workdir: Path) -> None:
        run("trt-infer", "voice", TEXT, "-o", "short.wav")
        assert run("trt-infer", "voice", TEXT, "-o", "float.wav", "--wav", "float32").code == 0
        floats, shorts = (wavfile.read(workdir / f"{name}.wav")[1] for name in ("float", "short"))
        assert floats.dtype == np.float32
        assert np.abs(np.clip(floats, -1, 1) * 32767 - shorts).max() <= 0.5 + 1e-3

    def test_json(self, run: Run, workdir: Path) -> None:
        report = json.loads(run("trt-infer", "voice", TEXT, "-o", "hello.wav", "--seed", "3", "--json").out)
        assert report["backend"] == "onnxruntime"
        (spoken,) = report["utterances"]
        assert spoken["text"] == TEXT
        assert spoken["file"] == "hello.wav"
        assert spoken["seed"] == 3
        assert spoken["sampling_rate"] == 16000
        samples = wavfile.read(workdir / "hello.wav")[1]
        assert spoken["audio_seconds"] == len(samples) / 16000
        assert [256 * frames for frames in spoken["frames"]] == [len(samples)]
        assert set(spoken["stop_reasons"]) <= {"gate", "frame_limit"}
        assert set(spoken["seconds"]) == {"encoder", "decoder", "postnet", "vocoder"}
        assert report["units"]["rtf"] == "seconds of audio per second of computing"
        assert spoken["rtf"] == pytest.approx(spoken["audio_seconds"] / sum(spoken["seconds"].values()), rel=1e-3)

    def test_gate_stop(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", TEXT, "-o", "x.wav", "--gate-threshold", "0.0001", "--json")
        assert json.loads(outcome.out)["utterances"][0]["stop_reasons"] == ["gate"]
        assert "frames, so" not in outcome.err

    def test_frame_limit_stop(self, run: Run, workdir: Path) -> None:
        limit = ["--max-frames", "5", "--gate-threshold", "0.999999"]
        outcome = run("trt-infer", "voice", TEXT, "-o", "x.wav", *limit, "--json")
        assert outcome.code == 0
        spoken = json.loads(outcome.out)["utterances"][0]
        assert spoken["stop_reasons"] == ["frame_limit"]
        assert spoken["frames"] == [5]
        warned = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
        assert len(warned) == 1
        assert "within 5 frames" in warned[0]
        assert "--gate-threshold" in warned[0]

    def test_dropped_characters_warn_once(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", "Hello \N{SNOWMAN} world % \N{SNOWMAN}.", "-o", "x.wav")
        assert outcome.code == 0
        assert len([line for line in outcome.err.splitlines() if line.startswith("warning: not spoken")]) == 1

    def test_long_text_is_split(self, run: Run, workdir: Path) -> None:
        sentences = [
            "One is first.",
            "Two is next.",
            "Three comes after that, and then four, and last of all comes five.",
        ]
        outcome = run("trt-infer", "voice", " ".join(sentences), "-o", "long.wav", "--json")
        assert outcome.code == 0
        spoken = json.loads(outcome.out)["utterances"][0]
        frames = spoken["frames"]
        assert len(frames) > len(sentences)  # the last one exceeds the token limit
        assert min(frames) > 0
        pauses = len(wavfile.read(workdir / "long.wav")[1]) - sum(frames) * 256
        assert 0 < pauses <= (len(frames) - 1) * 0.5 * 16000

    def test_phrases(self, run: Run, workdir: Path) -> None:
        phrases = ["Hello.", "I missed you.", "Hello.", "Good bye."]
        (workdir / "phrases.txt").write_text("\ufeff" + "\n\n".join(phrases) + "\r\n", encoding="utf-8")
        outcome = run("trt-infer", "voice", "-i", "phrases.txt", "-o", "deep/out", "--plot", "plots", "--json")
        assert outcome.code == 0, outcome.err
        names = ["0001", "0002", "0003", "0004"]
        assert sorted(path.stem for path in (workdir / "deep/out").iterdir()) == [*names, "spoken"]
        assert sorted(path.name for path in (workdir / "plots").iterdir()) == [f"{name}.png" for name in names]
        reports = json.loads(outcome.out)["utterances"]
        assert [report["text"] for report in reports] == phrases
        assert [report["file"] for report in reports] == [f"deep/out/{name}.wav" for name in names]
        for phrase, name in zip(phrases, names, strict=True):
            run("trt-infer", "voice", phrase, "-o", "alone.wav")
            assert (workdir / "alone.wav").read_bytes() == (workdir / f"deep/out/{name}.wav").read_bytes()

    def test_input_file_of_one_phrase_writes_a_folder(self, run: Run, workdir: Path) -> None:
        (workdir / "phrases.txt").write_text("Hello.")
        assert run("trt-infer", "voice", "-i", "phrases.txt").code == 0
        assert sorted(path.name for path in (workdir / "speech").iterdir()) == ["0001.wav", "spoken.jsonl"]

    def test_default_output(self, run: Run, workdir: Path) -> None:
        assert run("trt-infer", "voice", TEXT).code == 0
        assert (workdir / "speech.wav").is_file()

    @pytest.mark.parametrize("text", [TEXT, "A first sentence, which is long enough. And then there is a second one."])
    def test_plot(self, run: Run, workdir: Path, text: str) -> None:
        assert run("trt-infer", "voice", text, "-o", "x.wav", "--plot", "x.png").code == 0
        assert (workdir / "x.png").read_bytes().startswith(b"\x89PNG\r\n")

    def test_replaced_wav_has_default_permissions(self, run: Run, workdir: Path) -> None:
        (workdir / "hello.wav").write_text("old")
        (workdir / "new").touch()
        assert run("trt-infer", "voice", TEXT, "-o", "hello.wav").code == 0
        assert wavfile.read(workdir / "hello.wav")[0] == 16000
        assert (workdir / "hello.wav").stat().st_mode == (workdir / "new").stat().st_mode

    def test_pipe_is_written_directly(self, run: Run, workdir: Path) -> None:
        os.mkfifo(workdir / "pipe")
        reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
        assert run("trt-infer", "voice", TEXT, "-o", "pipe").code == 0
        content, _ = reader.communicate()
        run("trt-infer", "voice", TEXT, "-o", "hello.wav")
        assert content == (workdir / "hello.wav").read_bytes()
        assert (workdir / "pipe").is_fifo()


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


class TestInspectAndDoctor:
    def test_inspect(self, run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        outcome = run("tacoglow", "inspect", "voice")
        assert outcome.code == 0
        for part in (
            *GRAPH_NAMES,
            "tiny",
            "16000 Hz",
            "[B, F*256]",
            "token_ids",
            "1 to 40",
            "memory_mask",
            "stop frame",
        ):
            assert part in outcome.out

    def test_doctor(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        outcome = run("tacoglow", "doctor")
        assert outcome.code == 0
        for part in ("onnxruntime", "torch", "tensorrt", "pip install 'tacoglow[gpu-cu13]'", "available"):
            assert part in outcome.out

    def test_inspect_as_json(self, run: Run, workdir: Path) -> None:
        report = json.loads(run("tacoglow", "inspect", "voice", "--json").out)
        assert report["manifest"] == json.loads((workdir / "voice/manifest.json").read_bytes())
        assert report["graph_bytes"] == {name: (workdir / f"voice/{name}.onnx").stat().st_size for name in GRAPH_NAMES}
        assert report["engines"] == []

    def test_doctor_as_json(self, run: Run) -> None:
        report = json.loads(run("tacoglow", "doctor", "--json").out)
        assert report["backends"]["onnxruntime"] is None
        assert report["backends"]["tensorrt"]  # the reason
        parts = {part["part"]: part for part in report["parts"]}
        assert parts["numpy"]["version"] == np.__version__
        assert parts["av"]["install"] == "pip install 'tacoglow[formats]'"

    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_every_help_has_examples(self, run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        for name in COMMAND_NAMES:
            outcome = run("tacoglow", name, "-h")
            assert outcome.code == 0
            assert f"tacoglow {name} " in outcome.out.split("Examples:")[1]
            assert outcome.out == run("tacoglow", name, "--help").out
            assert max(map(len, outcome.out.splitlines())) <= int(columns)

    @pytest.mark.parametrize("name", COMMAND_NAMES)
    def test_examples_are_valid(self, name: str) -> None:
        for example in EXAMPLES[OTHER_NAMES.get(name, name)]:
            app = typer.Typer()
            _add_command(app, name, name)
            arguments = shlex.split(example.split(" | ")[0])
            typer.main.get_command(app).make_context(name, arguments)  # raises for a wrong command line
            assert "$" not in example.replace(r"\$", "")  # a shell would replace it

    def test_panels_and_flags(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "120")
        shown = run("trt-infer", "--help").out
        titles = [line.split()[1] for line in shown.splitlines() if line.startswith("╭─")]
        assert titles == ["Arguments", "Options", "Text", "Voice", "Speech", "Output", "Hardware"]
        assert "<bool>" not in shown + run("tacoglow", "--help").out
        for command in COMMANDS:
            assert "--version" in run(command, "--help").out

    def test_completion_of_backends(self) -> None:
        words = {"_TRT_INFER_COMPLETE": "complete_bash", "COMP_WORDS": "trt-infer --backend onnx", "COMP_CWORD": "2"}
        done = subprocess.run(
            [sys.executable, "-c", TRT_INFER], env=os.environ | words, capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == ["onnxruntime-cuda", "onnxruntime"]

    def test_version_and_help(self, run: Run) -> None:
        for command in COMMANDS:
            assert run(command, "--version").out.startswith("tacoglow ")
        assert "inspect" in run("tacoglow", "--help").out
        for command in COMMANDS:
            outcome = run(command)
            assert outcome.code in (0, 2)  # older versions of typer exit with 0 after the help
            assert "Usage" in outcome.out + outcome.err
        assert_rejected(run("tacoglow", "frobnicate"), "frobnicate", "tacoglow --help")


def test_command_in_its_own_process(workdir: Path) -> None:
    def speak(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", TRT_INFER, "voice", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = speak(TEXT, "-o", "hello.wav")
    assert done.returncode == 0, done.stderr
    with unchanged(workdir):
        assert_rejected(Outcome(*(lambda p: (p.returncode, p.stdout, p.stderr))(speak(""))), "text", "empty")
    done = speak("", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "TextError" in done.stderr
