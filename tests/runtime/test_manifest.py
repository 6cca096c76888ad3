"""Manifest versions: older bundles load with the same settings, newer ones are rejected with a fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacoglow.runtime.bundle import MANIFEST_NAME, load_manifest, with_digest
from tacoglow.runtime.errors import BundleError
from tacoglow.runtime.manifest import FORMAT_MINOR, Manifest, SynthesisSettings, WaveGlowSettings

# Settings of bundles of format 1.0, when they were constants of the runtime.
FORMAT_1_0 = {
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
    assert (content["format_version"], content["format_minor"]) == (1, FORMAT_MINOR) == (1, 3)
    assert content["synthesis"] == FORMAT_1_0


def test_format_1_0_loads_with_default_settings(load_changed: Load) -> None:
    manifest = load_changed(lambda content: (content.pop("format_minor"), content.pop("synthesis")))
    assert manifest.format_minor == 0
    assert manifest.synthesis == SynthesisSettings(**FORMAT_1_0)


def test_format_1_2_is_of_waveglow(load_changed: Load) -> None:
    manifest = load_changed(lambda content: (content.update(format_minor=2), content["vocoder"].pop("kind")))
    assert isinstance(manifest.vocoder, WaveGlowSettings)
    assert manifest.graph_names == ("encoder", "decoder_step", "postnet", "waveglow", "denoiser")


def test_an_unknown_vocoder_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"Invalid value 'melgan' - at `\$\.vocoder\.kind`"):
        load_changed(lambda content: content["vocoder"].update(kind="melgan"))


def test_settings_are_read_from_the_manifest(load_changed: Load) -> None:
    manifest = load_changed(lambda content: content["synthesis"].update(window_frames=100, segment_frames=50))
    assert (manifest.synthesis.window_frames, manifest.synthesis.segment_frames) == (100, 50)


def test_newer_minor_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"format_minor 4 is newer than the 3 that this version reads; upgrade"):
        load_changed(lambda content: content.update(format_minor=4, something_new=True))


def test_segment_longer_than_a_window_is_rejected(load_changed: Load) -> None:
    with pytest.raises(BundleError, match=r"a segment should fit into window_frames - at `\$\.synthesis`"):
        load_changed(lambda content: content["synthesis"].update(window_frames=63))
