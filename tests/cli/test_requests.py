"""What the commands refuse, and that they then leave files alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TEXT, TRT_INFER, Outcome, Run, assert_rejected, unchanged

MAX_FRAMES = 40  # frame limit of the tiny voice


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


def test_debug_shows_the_traceback(run: Run, workdir: Path) -> None:
    plain, debug = run("trt-infer", "voice", ""), run("trt-infer", "voice", "", "--debug")
    assert "Traceback" in debug.err
    assert "in split_into_pieces" in debug.err
    assert (debug.code, debug.last) == (plain.code, plain.last)


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
