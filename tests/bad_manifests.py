"""Manifests that every runtime rejects; Python's and the C++ one are held against this one list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tacoglow.runtime.bundle.reading import MANIFEST_NAME, with_digest

COUNT_MAX = 1 << 20
Place = tuple[str | int, ...]

# Place of a number -> values just outside of its bounds.
_OUTSIDE: dict[Place, tuple[Any, ...]] = {
    **{
        ("audio", name): (0, -1, COUNT_MAX + 1, 2**31, 2**40, 2**64, 256.5, True, "256", None)
        for name in ("sampling_rate", "hop_length", "filter_length", "win_length", "n_mel_channels")
    },
    ("audio", "mel_fmin"): (-1.0, COUNT_MAX + 1, 1e300, "0"),
    ("audio", "mel_fmax"): (-1.0, COUNT_MAX + 1, 1e300, "0"),
    ("decoder", "gate_threshold"): (0, 1, -0.5, 2**40, "0.5"),
    ("decoder", "max_frames"): (0, -1, COUNT_MAX + 1, 10**12),
    ("decoder", "prenet_layers"): (0, COUNT_MAX + 1),
    ("decoder", "prenet_dim"): (0, COUNT_MAX + 1),
    ("decoder", "postnet_frames"): (-1, COUNT_MAX + 1),
    ("vocoder", "group_size"): (0, 7, COUNT_MAX + 1),
    ("vocoder", "sigma"): (-0.1, 10.1, 1e300, "1"),
    ("vocoder", "frames_before"): (-1, COUNT_MAX + 1),
    ("vocoder", "frames_after"): (-1, COUNT_MAX + 1),
    ("vocoder", "kind"): ("melgan", 7),
    ("synthesis", "window_frames"): (0, COUNT_MAX + 1),
    ("synthesis", "smallest_token_bucket"): (0, COUNT_MAX + 1),
    ("synthesis", "first_segment_frames"): (0, 769),
    ("synthesis", "segment_frames"): (0, 769),
    ("synthesis", "context_frames"): (-1, COUNT_MAX + 1),
    ("precision",): ("fp8", 16),
    ("format_version",): (0, 2, -1, "1"),
    ("format_minor",): (1000, -1, "1"),
    ("dimensions", "T", "min"): (0, -1, 1000),  # above typical
    ("dimensions", "T", "typical"): (0, 10**6),  # below min, above max
    ("dimensions", "T", "max"): (0, 2**40, 2**64),
    ("dimensions", "S", "min"): (0, 2**40),
    ("graphs", "encoder", "file"): ("../encoder.onnx", "a/b", "a\\b", ".hidden", "-x", "", 7),
    ("graphs", "encoder", "inputs", 0, "dtype"): ("float64", 1),
    ("graphs", "encoder", "inputs", 0, "shape"): ([], ["B", 0], ["B", "T*0"], ["B", "Q"], ["B", 1, 1, 1, 1], [[]]),
    ("voice", "name"): ("a\r\nx-injected: b", "a\x1b[2J", "a\x7f", "a\x9b2J", "a\u2028b", 7),
    ("voice", "language"): ("en\n", 7),
    ("text", "tables", "file"): ("../tables.json", "a/b", "/etc/passwd", ".hidden", ""),
}
# Place of an object or field -> its field that is stated twice.
# Fields that one of the runtimes could fill in by itself; a manifest that lacks them is rejected all the same.
_REQUIRED: list[Place] = [
    ("format_version",),
    ("format_minor",),
    ("synthesis",),
    ("synthesis", "context_frames"),
    ("text", "tables"),
    ("decoder", "frames_per_step"),
    ("vocoder", "kind"),
]
_TWICE = ["format_version", "digest", "audio", "hop_length", "sigma", "file", "sha256", "symbols", "T"]


def bad_manifests(bundle: Path) -> dict[str, bytes]:
    """Description -> content with a correct digest, made of the manifest of a WaveGlow voice with text tables."""
    text = (bundle / MANIFEST_NAME).read_text()
    bad = {
        f"{'.'.join(map(str, place))}={value!r}": json.dumps(_replace(json.loads(text), place, value))
        for place, values in _OUTSIDE.items()
        for value in values
    }
    for place in _REQUIRED:
        bad[f"without {'.'.join(map(str, place))}"] = json.dumps(_remove(json.loads(text), place))
    for name in _TWICE:
        start = text.index(f'"{name}":')
        bad[f"{name} twice"] = f'{text[:start]}"{name}": null, {text[start:]}'
    bad["another bundle's digest, after a field with its own"] = json.dumps(_with_digest_of_another(json.loads(text)))
    bad["another bundle's digest, with an escape in its name"] = text.replace('"digest"', '"d\\u0069gest"', 1)
    return {name: with_digest(content.encode()) for name, content in bad.items()}


def _replace(manifest: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    _parent(manifest, place)[place[-1]] = value
    return manifest


def _remove(manifest: dict[str, Any], place: Place) -> dict[str, Any]:
    del _parent(manifest, place)[place[-1]]
    return manifest


def _with_digest_of_another(manifest: dict[str, Any]) -> dict[str, Any]:
    first = {"voice": {**manifest.pop("voice"), "provenance": {"digest": ""}}}  # which `with_digest` fills in
    return {**first, **manifest}


def _parent(manifest: dict[str, Any], place: Place) -> Any:
    parent: Any = manifest
    for key in place[:-1]:
        parent = parent[key]
    assert place[-1] in (parent if isinstance(parent, dict) else range(len(parent))), place
    return parent


def wrongly_accepted(accepts: Callable[[Path], bool], bundle: Path, folder: Path) -> list[str]:
    """The bad manifests that a runtime accepts. folder: to write them to."""
    accepted = []
    for name, content in bad_manifests(bundle).items():
        (folder / MANIFEST_NAME).write_bytes(content)
        if accepts(folder):
            accepted.append(name)
    return accepted
