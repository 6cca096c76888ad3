"""`tacoglow say` and the client examples, run as commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import to_int16

from .server import ROOT, TritonServer

pytest.importorskip("tritonclient.grpc")

EXAMPLES = ROOT / "examples" / "serving"
CODE = "import sys; from tacoglow.cli import main; sys.argv[0] = 'tacoglow'; main()"
TEXT = "I missed you, and the rest."
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "grpc"])


def say(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", CODE, "say", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=120)


@PROTOCOLS
def test_wav_file(server: TritonServer, voice: Synthesizer, tmp_path: Path, protocol: str) -> None:
    path = tmp_path / "out.wav"
    options = ["--seed", 4, "--sigma", 0.3, "--denoise", 0.1, "--max-frames", 30]
    done = say(TEXT, "--url", getattr(server, protocol), "-o", path, "--wav", "float32", *options)
    assert done.returncode == 0, done.stderr
    rate, samples = wavfile.read(path)
    expected = voice.say(TEXT, 4, SpeechOptions(sigma=0.3, denoise=0.1, max_frames=30))
    assert rate == expected.sampling_rate
    np.testing.assert_array_equal(samples, expected.samples)


@PROTOCOLS
def test_stream_on_standard_output(server: TritonServer, voice: Synthesizer, protocol: str) -> None:
    done = say(TEXT, "--url", getattr(server, protocol), "--seed", 4, "--stream", "--raw", "-o", "-")
    assert done.returncode == 0, done.stderr
    expected = to_int16(np.concatenate(list(voice.stream(TEXT, 4))))
    np.testing.assert_array_equal(np.frombuffer(done.stdout, "<i2"), expected)


def test_warnings_are_printed(server: TritonServer, tmp_path: Path) -> None:
    done = say("Hi ☃.", "--url", server.http, "-o", tmp_path / "out.wav", "--max-frames", 2)
    assert done.returncode == 0
    warning, saved = done.stderr.decode().splitlines()
    assert warning == "warning: not spoken, this voice has no symbol for: '☃'; cut off: Hi ☃."
    assert saved.startswith(f"{tmp_path / 'out.wav'}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "http://127.0.0.1:9"], "http://127.0.0.1:9: no server answers there"),
        (["--url", "grpc://127.0.0.1:9", "--stream"], "grpc://127.0.0.1:9: no server answers there"),
        (["--url", "127.0.0.1:8000"], "expected http://HOST:8000 or grpc://HOST:8001"),
        (["--url", "http://127.0.0.1:port"], "expected http://HOST:8000"),
        (["--url", "http://127.0.0.1:9", "--raw"], "--raw: needs --stream"),
        (["--url", "http://127.0.0.1:9", "-o", "-"], "-o -: standard output needs --stream"),
        (["--url", "http://127.0.0.1:9", "--seed", "-1"], "seed: expected an integer"),
        (["--url", "http://127.0.0.1:9", "--sigma", "-1"], "sigma: expected a number"),
    ],
)
def test_invalid_request_is_rejected_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"before")
    done = say(TEXT, "-o", kept, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert message in line
    assert kept.read_bytes() == b"before"


def test_rejected_request_keeps_an_existing_file(server: TritonServer, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"before")
    for arguments in ([], ["--stream"]):
        done = say("☃", "--url", server.http, "-o", kept, *arguments)
        assert done.returncode == 2
        assert f"error: {server.http}: text: nothing of" in done.stderr.decode()
        assert kept.read_bytes() == b"before"


def test_python_example(server: TritonServer, voice: Synthesizer, tmp_path: Path) -> None:
    path = tmp_path / "hello.wav"
    command: list[str | Path] = [sys.executable, EXAMPLES / "speak.py", server.grpc.removeprefix("grpc://"), TEXT, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rate, samples = wavfile.read(path)
    expected = voice.say(TEXT, 7)
    assert (rate, len(samples)) == (expected.sampling_rate, len(expected.samples))
    assert done.stdout.count("s of audio") == 1 + len(list(voice.stream(TEXT, 7)))


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_curl_example(server: TritonServer, voice: Synthesizer, tmp_path: Path) -> None:
    wav, pcm = tmp_path / "hello.wav", tmp_path / "stream.pcm"
    command: list[str | Path] = ["sh", EXAMPLES / "speak.sh", server.http, TEXT, wav, pcm]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rate, samples = wavfile.read(wav)
    expected = voice.say(TEXT, 7)
    assert rate == expected.sampling_rate
    np.testing.assert_array_equal(samples, to_int16(expected.samples))
    stream = to_int16(np.concatenate(list(voice.stream(TEXT, 7))))
    np.testing.assert_array_equal(np.frombuffer(pcm.read_bytes(), "<i2"), stream)
