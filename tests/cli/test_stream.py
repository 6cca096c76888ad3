"""Output of `trt-infer --stream` to a pipe and to a file."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.output.wav_writer import to_int16

from .conftest import TRT_INFER

TEXT = "I missed you, and the rest."


def command(bundle: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", TRT_INFER, str(bundle), *arguments]


@pytest.fixture(scope="module")
def expected(tiny_bundle: Path) -> np.ndarray:
    voice = Synthesizer.load(tiny_bundle, threads=1)
    return to_int16(np.concatenate(list(voice.stream(TEXT, seed=4))))


def test_raw_samples_on_standard_output(tiny_bundle: Path, expected: np.ndarray) -> None:
    done = subprocess.run(
        command(tiny_bundle, TEXT, "--seed", "4", "--stream", "--raw", "-o", "-", "--threads", "1"),
        capture_output=True,
        check=True,
    )
    np.testing.assert_array_equal(np.frombuffer(done.stdout, "<i2"), expected)
    first, last = done.stderr.decode().splitlines()
    assert first == "CPU (onnxruntime)"
    rate = load_manifest(tiny_bundle).audio.sampling_rate
    assert last.startswith(f"standard output: {len(expected) / rate:.2f} s of audio in ")


def test_silence_on_standard_output_is_told(tiny_bundle: Path) -> None:
    options = ("--trim-silence", "--volume", "0", "--stream", "--raw", "-o", "-")
    done = subprocess.run(command(tiny_bundle, "Hi.", *options), capture_output=True, check=True)
    assert done.stderr.decode().splitlines()[1:] == ["warning: standard output: no speech is left"]


def test_wav_on_standard_output_has_an_unknown_length(tiny_bundle: Path, expected: np.ndarray) -> None:
    done = subprocess.run(
        command(tiny_bundle, TEXT, "--seed", "4", "--stream", "-o", "-", "--threads", "1"),
        capture_output=True,
        check=True,
    )
    header, data = done.stdout[:44], done.stdout[44:]
    assert header[:4] + header[8:16] == b"RIFFWAVEfmt "
    assert struct.unpack("<I", header[40:44]) == (0xFFFFFFFF,)
    np.testing.assert_array_equal(np.frombuffer(data, "<i2"), expected)


@pytest.mark.parametrize("wav", ["int16", "float32"])
def test_wav_file_has_its_length_at_the_end(tiny_bundle: Path, tmp_path: Path, expected: np.ndarray, wav: str) -> None:
    path = tmp_path / "out.wav"
    arguments = [TEXT, "--seed", "4", "--stream", "-o", str(path), "--wav", wav, "--threads", "1"]
    subprocess.run(command(tiny_bundle, *arguments), capture_output=True, check=True)
    rate, samples = wavfile.read(io.BytesIO(path.read_bytes()))
    assert rate == load_manifest(tiny_bundle).audio.sampling_rate
    np.testing.assert_array_equal(samples if wav == "int16" else to_int16(samples), expected)


def test_closing_the_pipe_stops_synthesis(tiny_bundle: Path) -> None:
    """The text would take an hour; the process ends without an error once its reader closes the pipe."""
    text = " ".join([TEXT] * 20_000)
    phrases = "\n".join(text[start : start + 100_000] for start in range(0, len(text), 100_000))
    source = tiny_bundle.parent / "long.txt"
    source.write_text(phrases)
    arguments = ["-i", str(source), "--stream", "--raw", "-o", "-", "--threads", "1"]
    process = subprocess.Popen(command(tiny_bundle, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(4096)) == 4096
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
