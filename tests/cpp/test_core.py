"""The C++ runtime's own code under the sanitizers: noise, manifest, text, and the decoder loop on fake backends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacoglow.runtime.bundle.manifest import graph_names
from tacoglow.runtime.bundle.reading import load_manifest, with_digest
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.vocoder import plan_windows
from tacoglow.tests.bad_manifests import wrongly_accepted
from tacoglow.tests.pretend_driver import driver as pretend_driver

from .conftest import SEVERAL_FRAMES_PER_STEP

GRAPH_NAMES = graph_names("waveglow")

FUZZ_SECONDS = int(os.environ.get("TACOGLOW_FUZZ_SECONDS", "3"))  # `make fuzz` sets it
FAKE_BACKENDS = ("fake", "fake-text", "fake-apart", "fake-gpu")  # of cpp/checks/fake_voice.cpp
SYNTHESIS_OTHERS = {
    "window_frames": 9,
    "smallest_token_bucket": 3,
    "first_segment_frames": 2,
    "segment_frames": 5,
    "context_frames": 1,
}


def check(programs: Path, *arguments: object, stdin: bytes = b"", **variables: str) -> bytes:
    """Return the output of `checks`; a failure shows the sanitizer's report. variables: of its environment."""
    command = [str(programs / "checks" / "checks"), *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, check=False, env=os.environ | variables
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


def check_on_gpu(programs: Path, *arguments: object) -> bytes:
    """The same, under the pretended driver."""
    return check(programs, *arguments, LD_LIBRARY_PATH=str(pretend_driver.folder()))


@pytest.mark.parametrize(("seed", "utterance", "first"), [(0, 0, 0), (7, 3, 1000), (2**64 - 1, 2**40, 2**33)])
@pytest.mark.parametrize(("units", "group_size"), [(512, 8), (16, 8), (200, 6), (300, 5)])
def test_noise_equals_python(
    programs: Path, seed: int, utterance: int, first: int, units: int, group_size: int
) -> None:
    count = 5
    values = np.frombuffer(check(programs, "noise", seed, utterance, first, count, units, group_size), np.float32)
    noise = Noise(seed, utterance)
    dropout, z = noise.prenet_dropout(first, count, 1, units), noise.z(first, count, group_size)
    np.testing.assert_array_equal(values[: count * units], dropout.ravel())
    np.testing.assert_allclose(values[count * units :], z.ravel(), rtol=3e-7)  # cos may differ in its last bit


def test_windows_are_those_of_python(programs: Path) -> None:
    rng, cases = np.random.default_rng(3), []
    for _ in range(300):
        frames = int(rng.integers(1, 400))
        start = int(rng.integers(0, frames))
        stop = int(rng.integers(start + 1, frames + 1))
        before, after = map(int, rng.integers(0, 40, 2))
        sizes = sorted({int(size) for size in rng.integers(1, 200, rng.integers(1, 6))})
        cases.append((start, stop, frames, before, after, sizes))
    lines = [" ".join(map(str, (*numbers, *sizes))) for *numbers, sizes in cases]
    got = check(programs, "windows", stdin="\n".join(lines).encode()).decode().splitlines()
    expected = [[end for _, end in plan_windows(*case)] for case in cases]
    assert [list(map(int, line.split())) for line in got] == expected
    assert any(len(ends) > 3 for ends in expected)


def test_late_reading_and_streaming_do_not_change_speech(programs: Path, tiny_bundle: Path) -> None:
    assert check(programs, "loop", tiny_bundle) == b"ok\n"


@SEVERAL_FRAMES_PER_STEP
def test_late_reading_with_several_frames_per_step(programs: Path, reduced_bundle: Path) -> None:
    assert check(programs, "loop", reduced_bundle) == b"ok\n"


def test_steps_and_segments_allocate_no_more_the_longer_they_run(programs: Path, tiny_bundle: Path) -> None:
    command = [str(programs / "checks" / "allocations"), str(tiny_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


def check_tensorrt(programs: Path, bundle: Path, plans: Path) -> None:
    """Simulate TensorRT 8.5, 8.6 and 11: batches and streams in three threads equal those of the fake backend."""
    for graph in GRAPH_NAMES:
        (plans / f"{graph}.plan").write_text(graph)
    assert check_on_gpu(programs, "tensorrt", bundle, plans) == b"ok\n"


def test_tensorrt_on_the_pretended_driver(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    check_tensorrt(programs, tiny_bundle, tmp_path)


@SEVERAL_FRAMES_PER_STEP
def test_tensorrt_with_several_frames_per_step(programs: Path, reduced_bundle: Path, tmp_path: Path) -> None:
    check_tensorrt(programs, reduced_bundle, tmp_path)


def write_manifest(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a changed copy of a bundle's manifest, with a valid digest, to this folder."""
    content = json.loads((bundle / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_bytes(with_digest(json.dumps(content).encode()))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("audio"), "lacks the field 'audio'"),
        (lambda m: m.update(format_version=2), "format_version 2 is newer than the 1 that this version reads"),
        (lambda m: m.update(format_minor=1), "format_minor 1 is newer than the 0 that this version reads; upgrade"),
        (lambda m: m.update(format_minor=-1), "$.format_minor: expected a whole number from 0"),
        (
            lambda m: m.update(synthesis=SYNTHESIS_OTHERS | {"segment_frames": 0}),
            "$.synthesis.segment_frames: expected",
        ),
        (lambda m: m.update(synthesis={"window_frames": 9}), "$.synthesis: lacks the field 'smallest_token_bucket'"),
        (lambda m: m.update(format_version="1"), "$.format_version: expected a whole number"),
        (lambda m: m["audio"].update(hop_length=0), "$.audio.hop_length: expected a whole number from 1 to"),
        (lambda m: m["audio"].update(hop_length=256.5), "$.audio.hop_length: expected a whole number"),
        (lambda m: m["audio"].update(hop_length=2**64 - 1), "$.audio.hop_length: expected a whole number"),
        (lambda m: m["audio"].update(n_mel_channels=17), "mel_frame is not [B, frames_per_step * n_mel_channels]"),
        (lambda m: m["decoder"].update(frames_per_step=7), "max_frames: expected a multiple of frames_per_step"),
        (lambda m: m["decoder"].update(frames_per_step=2), "mel_frame is not [B, frames_per_step"),
        (lambda m: m["vocoder"].update(group_size=7), "$.vocoder.group_size: expected a divisor of hop_length"),
        (lambda m: m["decoder"].update(gate_threshold=1), "gate_threshold: expected a probability"),
        (
            lambda m: m["decoder"].update(prenet_dim=9),
            "tensor 'prenet_dropout' is missing, or has a different dtype or shape",
        ),
        (lambda m: m["decoder"]["states"].pop("decoder_input"), "mel_frame is not among the states"),
        (
            lambda m: m["decoder"]["states"].update(decoder_cell="memory"),
            "does not list tensor 'memory'|expected float32 tensors with the same shape",
        ),
        (
            lambda m: m["decoder"]["states"].update(memory_mask="gate_logit"),
            "expected float32 tensors with the same shape",
        ),
        (lambda m: m["graphs"].pop("postnet"), "lacks the field 'postnet'"),
        (lambda m: m["graphs"]["postnet"].update(file="../postnet.onnx"), "file: expected a plain file name"),
        (
            lambda m: m["graphs"]["encoder"]["inputs"].pop(),
            "$.graphs.encoder.inputs: tensor 'token_lengths' is missing",
        ),
        (
            lambda m: m["graphs"]["encoder"]["inputs"].append({"name": "x", "dtype": "bool", "shape": [1]}),
            "expected 2 tensors, got 3",
        ),
        (lambda m: m["graphs"]["encoder"]["inputs"][0].update(shape=["B", "Q"]), "a letter with a range"),
        (lambda m: m["graphs"]["encoder"]["inputs"][0].update(shape=["B", "T*0"]), "LETTER*NUMBER"),
        (lambda m: m["dimensions"].pop("T"), "lacks the range of T"),
        (lambda m: m["dimensions"]["T"].update(max=2**40), "exceeds what this runtime supports"),
        (lambda m: m["dimensions"]["T"].update(min=0), "$.dimensions.T.min: expected a whole number from 1"),
    ],
)
def test_invalid_manifest_error_names_the_field(
    programs: Path, tiny_bundle: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    answer = check(programs, "manifest", write_manifest(tiny_bundle, tmp_path, change)).decode()
    assert answer.startswith("rejected with 1: ")
    assert any(part in answer for part in message.split("|")), answer
    assert len(answer.splitlines()) == 1


def test_bad_manifests_are_rejected_as_in_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    def accepts(folder: Path) -> bool:
        answer = check(programs, "manifest", folder)
        assert len(answer.splitlines()) == 1
        return answer == b"ok\n"

    assert accepts(tiny_bundle)
    assert wrongly_accepted(accepts, tiny_bundle, tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version":1'])
def test_not_a_manifest(programs: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert check(programs, "manifest", tmp_path).startswith(b"rejected with 1: ")


@pytest.mark.parametrize(
    ("old", "new"), [(b"tiny", b"tinx"), (b'"digest": "', b'"digest": "0'), (b'"digest"', b'"digist"')]
)
def test_changed_manifest_is_rejected(
    programs: Path, tiny_bundle: Path, tmp_path: Path, old: bytes, new: bytes
) -> None:
    content = (tiny_bundle / "manifest.json").read_bytes()
    assert old in content
    (tmp_path / "manifest.json").write_bytes(content.replace(old, new, 1))
    assert "was changed after it was written" in check(programs, "manifest", tmp_path).decode()


@pytest.mark.parametrize("padding", [0, 7, 20, 33, 46, 59])
def test_digest_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path, padding: int) -> None:
    """Manifests of many lengths, whose voice name looks like the digest field."""

    def change(content: dict[str, Any]) -> None:
        content["voice"]["name"] = '"digest" : "' + "x" * padding

    folder = write_manifest(tiny_bundle, tmp_path, change)
    assert load_manifest(folder).voice.name.startswith('"digest"')
    assert check(programs, "manifest", folder) == b"ok\n"


def test_exported_manifest_is_valid(programs: Path, tiny_bundle: Path) -> None:
    assert check(programs, "manifest", tiny_bundle) == b"ok\n"


def test_synthesis_settings_come_from_the_manifest(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = write_manifest(tiny_bundle, tmp_path, lambda m: m.update(synthesis=SYNTHESIS_OTHERS))
    assert [int(part) for part in check(programs, "synthesis", folder).split()] == list(SYNTHESIS_OTHERS.values())


def test_fuzzed_manifests_only_raise_errors(programs: Path, tiny_bundle: Path) -> None:
    command = [programs / "checks" / "fuzz_manifest", FUZZ_SECONDS, 1, tiny_bundle / "manifest.json"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300 + 2 * FUZZ_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 100


def fuzz_calls(program: Path, bundle: Path, folder: Path, *backends: str) -> int:
    """Return the number of calls, which a crash, a leak or a wrong status would have ended."""
    command = [program, FUZZ_SECONDS, 1, bundle, folder, *backends]
    limit = 300 + 2 * FUZZ_SECONDS
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=limit, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return int(done.stdout.split()[0])


def test_fuzzed_calls(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert fuzz_calls(programs / "checks" / "fuzz_api", tiny_bundle, tmp_path) >= 1000


def test_fuzzed_calls_on_fake_backends(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert fuzz_calls(programs / "checks" / "fuzz_fake", tiny_bundle, tmp_path, *FAKE_BACKENDS) >= 1000


def test_fuzzed_calls_with_the_thread_sanitizer(thread_programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert fuzz_calls(thread_programs / "checks" / "fuzz_fake", tiny_bundle, tmp_path, *FAKE_BACKENDS) >= 1000
