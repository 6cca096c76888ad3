"""What `trt-infer` and `tacoglow inspect` say of damaged bundles, and of what is not a bundle."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tacoglow.runtime.bundle.reading import with_digest

from .conftest import GRAPH_NAMES, TEXT, Damage, Run, assert_rejected, cut, unchanged


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
