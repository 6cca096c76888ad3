"""The manifest: its settings, its bounds, and newer formats, which are rejected with a fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacoglow.runtime.bundle.manifest import Manifest
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, load_manifest, with_digest
from tacoglow.runtime.errors import BundleError

EXPORTED = {  # docs/design.md states them
    "window_frames": 768,
    "smallest_token_bucket": 32,
    "first_segment_frames": 8,
    "segment_frames": 64,
    "context_frames": 12,
}


@pytest.fixture
def load_changed(tiny_bundle: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Manifest]:
    def load(change: Callable[[dict[str, Any]], object]) -> Manifest:
        content = json.loads((tiny_bundle / MANIFEST_NAME).read_text())
        change(content)
        (tmp_path / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))
        return load_manifest(tmp_path)

    return load


Load = Callable[[Callable[[dict[str, Any]], object]], Manifest]


def test_export_writes_the_synthesis_settings(tiny_bundle: Path) -> None:
    content = json.loads((tiny_bundle / MANIFEST_NAME).read_text())
    assert (content["format_version"], content["format_minor"]) == (1, 0)
    assert content["synthesis"] == EXPORTED


def test_an_unknown_vocoder_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"Invalid value 'melgan' - at `\$\.vocoder\.kind`"):
        load_changed(lambda content: content["vocoder"].update(kind="melgan"))


def test_settings_are_read_from_the_manifest(load_changed: Load) -> None:
    manifest = load_changed(lambda content: content["synthesis"].update(window_frames=100, segment_frames=50))
    assert (manifest.synthesis.window_frames, manifest.synthesis.segment_frames) == (100, 50)


def test_newer_minor_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"format_minor 1 is newer than the 0 that this version reads; upgrade"):
        load_changed(lambda content: content.update(format_minor=1, something_new=True))


def test_segment_longer_than_a_window_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"a segment should fit into window_frames - at `\$\.synthesis`"):
        load_changed(lambda content: content["synthesis"].update(window_frames=63))


HUGE = 10**400
BOUNDS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "sampling_rate": (lambda c: c["audio"].update(sampling_rate=2**31), r"audio\.sampling_rate"),
    "hop_length": (lambda c: c["audio"].update(hop_length=2**40), r"audio\.hop_length"),
    "mel_fmax": (lambda c: c["audio"].update(mel_fmax=1e300), r"audio\.mel_fmax"),
    "max_frames": (lambda c: c["decoder"].update(max_frames=10**12), r"decoder\.max_frames"),
    "postnet_frames": (lambda c: c["decoder"].update(postnet_frames=-1), r"decoder\.postnet_frames"),
    "400 digits": (lambda c: c["decoder"].update(prenet_dim=HUGE), r"manifest\.json"),
    "window_frames": (lambda c: c["synthesis"].update(window_frames=2**21), r"synthesis\.window_frames"),
    "a range": (lambda c: c["dimensions"]["F"].update(max=2**41), r"dimensions\.F"),
    "tokens": (lambda c: c["dimensions"]["T"].update(max=2**21), r"expected T up to 1048576"),
    "a missing range": (lambda c: c["dimensions"].pop("S"), r"range of S is missing"),
    "a name of a range": (lambda c: c["dimensions"].update(b=c["dimensions"]["B"]), r"capital letter"),
    "a fixed size": (lambda c: c["graphs"]["encoder"]["outputs"][0]["shape"].__setitem__(2, 2**30), r"sizes from 1 to"),
    "a factor": (lambda c: c["graphs"]["waveglow"]["outputs"][0]["shape"].__setitem__(1, "F*1000000"), r"F\*1000000"),
    "a factor of 0": (lambda c: c["graphs"]["waveglow"]["outputs"][0]["shape"].__setitem__(1, "F*0"), r"F\*0"),
    "five dimensions": (lambda c: c["graphs"]["encoder"]["outputs"][0]["shape"].extend([1, 1]), r"1 to 4 dimensions"),
    "a type": (lambda c: c["graphs"]["encoder"]["outputs"][0].update(dtype="int32"), r"'memory' is missing, or has"),
    "an extra tensor": (
        lambda c: c["graphs"]["postnet"]["inputs"].append({"name": "x", "dtype": "bool", "shape": ["B"]}),
        r"expected 2 tensors, got 3 - at `\$\.graphs\.postnet\.inputs`",
    ),
    "a state": (lambda c: c["decoder"]["states"].pop("decoder_input"), r"mel_frame is not among the states"),
}


@pytest.mark.parametrize(("change", "message"), BOUNDS.values(), ids=BOUNDS)
def test_value_out_of_bounds_is_rejected(
    load_changed: Load, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        load_changed(change)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 2000, "damaged"),
        (b'{"a":' * 100_000, "damaged"),
        (b" " * (1 << 24) + b"{}", "larger than 16 MiB"),
        (b"9" * 5000, "out of range"),
    ],
    ids=["lists", "objects", "17 MiB", "digits"],
)
def test_hostile_manifest_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(BundleError, match=message) as caught:
        load_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_field_that_occurs_twice_is_rejected(tiny_bundle: Path, tmp_path: Path) -> None:
    """Parsers differ in which of the two they use, so two runtimes could read different manifests."""
    content = (tiny_bundle / MANIFEST_NAME).read_text()
    twice = content.replace('"hop_length": 256', '"hop_length": 128, "hop_length": 256')
    assert twice != content
    (tmp_path / MANIFEST_NAME).write_bytes(with_digest(twice.encode()))
    with pytest.raises(BundleError, match="`hop_length` twice"):
        load_manifest(tmp_path)
