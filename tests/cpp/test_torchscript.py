"""C++ on LibTorch gives the same speech as Python on ONNX Runtime, and rejects damaged modules."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tacoglow.runtime.bundle.reading import file_sha256
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests.tolerances import TORCHSCRIPT

from .test_speak import TEXT, edit_manifest, require_rejected, speak, speak_ids, speak_in_python

BACKEND = ("--backend", "torchscript")

pytestmark = [
    pytest.mark.builds,
    pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning"),
]


@pytest.mark.parametrize(("text", "seed"), [(TEXT, 0), ("Speak.", 3), ("One, two, three.", 2**64 - 1)])
def test_tiny_voice_equals_python(
    torch_programs: Path, tiny_torchscript: Path, tmp_path: Path, text: str, seed: int
) -> None:
    expected = speak_in_python(tiny_torchscript, text, seed)
    got = speak_ids(torch_programs, tiny_torchscript, tmp_path, list(expected.token_ids), seed, *BACKEND)
    assert got.mel.shape == expected.mel.shape
    np.testing.assert_allclose(got.mel, expected.mel, rtol=0, atol=TORCHSCRIPT)
    np.testing.assert_allclose(got.samples, expected.samples, rtol=0, atol=TORCHSCRIPT)


def test_options_equal_python(torch_programs: Path, tiny_torchscript: Path, tmp_path: Path) -> None:
    options = SpeechOptions(sigma=0.4, denoise=0.1, gate_threshold=0.9, max_frames=31)
    expected = speak_in_python(tiny_torchscript, TEXT, 5, options)
    flags = ("--sigma", 0.4, "--denoise", 0.1, "--gate-threshold", 0.9, "--max-frames", 31, *BACKEND)
    got = speak_ids(torch_programs, tiny_torchscript, tmp_path, list(expected.token_ids), 5, *flags)
    np.testing.assert_allclose(got.samples, expected.samples, rtol=0, atol=TORCHSCRIPT)


def test_several_frames_per_step(torch_programs: Path, reduced_bundle: Path, tmp_path: Path) -> None:
    expected = speak_in_python(reduced_bundle, TEXT, 2, SpeechOptions(max_frames=13))
    ids, flags = list(expected.token_ids), ("--max-frames", 13, *BACKEND)
    got = speak_ids(torch_programs, reduced_bundle, tmp_path, ids, 2, *flags)
    np.testing.assert_allclose(got.samples, expected.samples, rtol=0, atol=TORCHSCRIPT)


def truncate_module(bundle: Path) -> None:
    path = bundle / "waveglow.ts"
    path.write_bytes(path.read_bytes()[:1000])


def swap_modules(bundle: Path) -> None:
    """Swap two modules and adjust their digests, so that only their tensors do not match the manifest."""
    for name, other in (("postnet", "denoiser"), ("denoiser", "postnet")):
        (bundle / f"{name}.new").write_bytes((bundle / f"{other}.ts").read_bytes())
    for name in ("postnet", "denoiser"):
        (bundle / f"{name}.new").rename(bundle / f"{name}.ts")
        update_digest(bundle, name)


def replace_by_text(bundle: Path) -> None:
    (bundle / "encoder.ts").write_text("not a module")
    update_digest(bundle, "encoder")


def update_digest(bundle: Path, graph: str) -> None:
    digest = file_sha256(bundle / f"{graph}.ts")
    edit_manifest(bundle, lambda content: content["torchscript"]["graphs"][graph].update(sha256=digest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda bundle: edit_manifest(bundle, lambda content: content.pop("torchscript")),
            "contains no TorchScript modules; add them with: tacoglow export-torchscript",
        ),
        (lambda bundle: (bundle / "encoder.ts").unlink(), "encoder.ts: file not found"),
        (truncate_module, "waveglow.ts: SHA-256: expected"),
        (replace_by_text, "encoder.ts: LibTorch"),
        (swap_modules, "postnet: LibTorch cannot run this module"),
    ],
)
def test_damaged_module_is_rejected(
    torch_programs: Path, tiny_torchscript: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_torchscript, bundle)
    damage(bundle)
    require_rejected(speak(torch_programs, bundle, tmp_path, "--ids", "12 13", *BACKEND), message, tmp_path)
