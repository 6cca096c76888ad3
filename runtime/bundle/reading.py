"""Reads and writes a bundle's manifest, and verifies it and the files that it lists."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BundleError, one_line
from .contract import check_contract
from .graph_file import find_forbidden
from .manifest import (
    COUNT_MAX,
    FORMAT_MINOR,
    FORMAT_VERSION,
    RANK_MAX,
    GraphFile,
    GraphSpec,
    Int8Decoder,
    Manifest,
    TensorSpec,
    has_control_characters,
    is_shape_entry,
)

MANIFEST_NAME = "manifest.json"
MANIFEST_BYTES_MAX = 1 << 24
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".nemo", ".tar", ".safetensors")
_DIGEST = re.compile(rb'("digest"\s*:\s*")([^"]*)"')
_PLAIN_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def load_manifest(bundle: Path) -> Manifest:
    """Read and check a bundle's manifest; the graph files are checked when they are opened (`graph_path`).

    Raises BundleError, whose one line names the field.
    """
    path = bundle / MANIFEST_NAME
    if not path.is_file():
        raise BundleError(_describe_other(bundle))
    try:
        content = _read_manifest(path)
        raw = msgspec.json.decode(content)
        _check_version(path, raw)
        manifest = msgspec.convert(raw, Manifest)
        json.loads(content, object_pairs_hook=_reject_duplicates)
        _check_consistency(manifest)
    except msgspec.ValidationError as error:
        # The file's own field names may contain line breaks.
        raise BundleError(f"{path}: {one_line(error)}; export the voice again") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path}: damaged ({error}); export the voice again") from error
    checked = _DIGEST.search(content)  # may be another field with this name
    if checked is None or checked[2].decode() != manifest.digest or with_digest(content) != content:
        raise BundleError(f"{path}: was changed after it was written (digest mismatch); export the voice again")
    return manifest


def list_bundle_files(manifest: Manifest) -> frozenset[str]:
    """List the names of all files of a bundle, the manifest included."""
    entries = msgspec.to_builtins(manifest)
    del entries["voice"]["provenance"], entries["text"]["lexicon"]  # "file" and "sha256" may be words there
    return frozenset({MANIFEST_NAME, *_files_in(entries)})


def find_bundle_files(folder: Path) -> frozenset[str] | None:
    """Find the names of the files in `folder` that belong to a bundle; None if it does not contain one.

    Also recognizes bundles that `load_manifest` rejects, such as those of a newer format or with a changed number.
    """
    try:
        raw = msgspec.json.decode(_read_manifest(folder / MANIFEST_NAME))
        msgspec.convert(raw, _Identity)
        names = frozenset({MANIFEST_NAME, *_files_in(raw)})
    except (OSError, BundleError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    is_bundle = len(names) > 1 and all(_PLAIN_FILE_NAME.fullmatch(name) for name in names)
    return names if is_bundle else None


class _Identity(msgspec.Struct):
    """Identifies a manifest of this project, in every version of the format."""

    format_version: int
    digest: str
    generator: str
    graphs: dict[str, Any]


def _files_in(value: Any) -> Iterator[str]:
    """Yield the names of all files that a part of a manifest lists: each is in an object with its SHA-256."""
    if isinstance(value, dict) and isinstance(value.get("file"), str) and "sha256" in value:
        yield value["file"]
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from _files_in(entry)


def _describe_other(path: Path) -> str:
    """Explain why a path without a manifest is not a bundle, and the way out."""
    if path.parts[:1] == ("hf:",):
        name, _, revision = "/".join(path.parts[1:]).partition("@")
        fetch = f"hf download {name}{' --revision ' * bool(revision)}{revision} --local-dir voice/"
        return f"{path}: only trt-infer and tacoglow serve fetch from the hub; for other commands: {fetch}"
    if path.is_file() and path.name == MANIFEST_NAME:
        return f"{path}: not a bundle but a file of one; give the folder: {path.parent}"
    if path.is_file() and path.suffix in CHECKPOINT_SUFFIXES:
        export = "export-onnx --tacotron2 T.pt --waveglow W.pt -o voice/"
        return f"{path}: not a bundle but a checkpoint; export it first: {export}"
    if path.is_file():
        return f"{path}: not a bundle: it is a file; give a folder that export-onnx has written"
    hint = f"it does not contain {MANIFEST_NAME}" if path.exists() else "no such folder"
    return f"{path}: not a bundle: {hint}; write one with: export-onnx --demo -o {path}"


def _read_manifest(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MANIFEST_BYTES_MAX + 1)
    if len(content) > MANIFEST_BYTES_MAX:
        raise BundleError(f"{path}: larger than {MANIFEST_BYTES_MAX >> 20} MiB; export the voice again")
    return content


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise msgspec.ValidationError(f"Object contains the field `{twice}` twice")
    return fields


def write_manifest(folder: Path, manifest: Manifest, **changes: Any) -> Manifest:
    """Write the manifest, with its digest, into a bundle's folder; returns it. changes: fields to replace."""
    manifest = msgspec.structs.replace(manifest, **changes)
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode the manifest as JSON, with its digest filled in."""
    return with_digest(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def with_digest(content: bytes) -> bytes:
    """Return a manifest's content with a correct digest; content whose digest is correct is returned unchanged.

    The digest is the SHA-256 of the content with 64 zeros in place of the digest.
    """
    blank = _DIGEST.sub(rb"\g<1>" + b"0" * 64 + b'"', content, count=1)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return _DIGEST.sub(rb"\g<1>" + digest + b'"', content, count=1)


def graph_path(bundle: Path, name: str, graph: GraphFile) -> Path:
    """Return the path of the graph's file.

    Raises BundleError if its SHA-256 is not the one in the manifest, or if it has what no voice's graph has.
    """
    path = bundle / graph.file
    if not path.is_file():
        raise BundleError(f"{path}: missing, the bundle needs its {name}; export the voice again")
    digest = file_sha256(path)
    if digest != graph.sha256:
        raise BundleError(
            f"{path}: SHA-256 is {digest[:12]}…, the manifest says {graph.sha256[:12]}…: "
            "the file was changed or truncated; export the voice again"
        )
    if isinstance(graph, (GraphSpec, Int8Decoder)) and (forbidden := find_forbidden(path)) is not None:
        raise BundleError(f"{path}: {forbidden}; export the voice again")
    return path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_version(path: Path, raw: Any) -> None:
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version {version} is newer than the {FORMAT_VERSION} that this version reads; "
            "upgrade: pip install -U tacoglow"
        )
    if version != FORMAT_VERSION:
        raise BundleError(f"{path}: format_version should be {FORMAT_VERSION}, got {version!r}; export the voice again")
    minor = raw.get("format_minor")
    if isinstance(minor, int) and minor > FORMAT_MINOR:
        raise BundleError(
            f"{path}: format_minor {minor} is newer than the {FORMAT_MINOR} that this version reads; "
            "upgrade: pip install -U tacoglow"
        )


def _check_consistency(manifest: Manifest) -> None:
    """Check what the types alone cannot. Raises msgspec.ValidationError that names the field, as decoding does."""
    for field in ("name", "language"):
        if has_control_characters(getattr(manifest.voice, field)):
            raise msgspec.ValidationError(f"expected no control characters - at `$.voice.{field}`")
    _check_dimensions(manifest)
    _check_files(manifest, manifest.graphs, "$.graphs")
    if manifest.torchscript is not None:
        _check_files(manifest, manifest.torchscript.graphs, "$.torchscript.graphs")
    _check_file_name(manifest.text.tables, "$.text.tables")
    if manifest.int8_decoder is not None:
        _check_file_name(manifest.int8_decoder, "$.int8_decoder")
    for name, graph in manifest.graphs.items():
        for tensor in (*graph.inputs, *graph.outputs):
            _check_shape(tensor, manifest, f"$.graphs.{name}")
    _check_decoder(manifest)
    synthesis = manifest.synthesis
    if max(synthesis.first_segment_frames, synthesis.segment_frames) > synthesis.window_frames:
        raise msgspec.ValidationError("a segment should fit into window_frames - at `$.synthesis`")
    group_size = manifest.vocoder.group_size
    if group_size is not None and manifest.audio.hop_length % group_size:
        raise msgspec.ValidationError("hop_length should be a multiple of group_size - at `$.vocoder.group_size`")
    check_contract(manifest)


def _check_dimensions(manifest: Manifest) -> None:
    for letter, span in manifest.dimensions.items():
        if not 1 <= span.min <= span.typical <= span.max <= COUNT_MAX**2:
            raise msgspec.ValidationError(
                f"expected 1 <= min <= typical <= max <= {COUNT_MAX**2} - at `$.dimensions.{letter}`"
            )
        if not is_shape_entry(letter) or len(letter) != 1:
            raise msgspec.ValidationError("expected a capital letter as the name - at `$.dimensions`")
    for letter in "BTFS":
        if letter not in manifest.dimensions:
            raise msgspec.ValidationError(f"the range of {letter} is missing - at `$.dimensions`")
    if max(manifest.range("T").max, manifest.range("S").min) > COUNT_MAX:
        raise msgspec.ValidationError(
            f"expected T up to {COUNT_MAX}, and S from at most {COUNT_MAX} - at `$.dimensions`"
        )


def _check_shape(tensor: TensorSpec, manifest: Manifest, place: str) -> None:
    if not 1 <= len(tensor.shape) <= RANK_MAX:
        raise msgspec.ValidationError(f"{tensor.name!r}: expected a shape of 1 to {RANK_MAX} dimensions - at `{place}`")
    for entry in tensor.shape:
        if isinstance(entry, str) and not (is_shape_entry(entry) and entry[0] in manifest.dimensions):
            raise msgspec.ValidationError(
                f"shape entry {entry!r} of {tensor.name!r} has no range in `dimensions` - at `{place}`"
            )
        if isinstance(entry, int) and not 1 <= entry <= COUNT_MAX:
            raise msgspec.ValidationError(f"{tensor.name!r}: expected sizes from 1 to {COUNT_MAX} - at `{place}`")


def _check_decoder(manifest: Manifest) -> None:
    step = manifest.graphs["decoder_step"].tensors
    for source, target in manifest.decoder.states.items():
        if source not in step or target not in step or step[source].shape != step[target].shape:
            raise msgspec.ValidationError(
                f"state {source!r} -> {target!r}: expected two decoder_step tensors with the same shape "
                "- at `$.decoder.states`"
            )
    decoder, bands = manifest.decoder, manifest.audio.n_mel_channels
    if decoder.max_frames % decoder.frames_per_step:
        raise msgspec.ValidationError("max_frames should be a multiple of frames_per_step - at `$.decoder.max_frames`")
    if "mel_frame" not in step or step["mel_frame"].shape != ("B", decoder.frames_per_step * bands):
        raise msgspec.ValidationError(
            "mel_frame should be [B, frames_per_step * n_mel_channels] - at `$.graphs.decoder_step`"
        )


def _check_files(manifest: Manifest, graphs: Mapping[str, GraphFile], place: str) -> None:
    missing = [name for name in manifest.graph_names if name not in graphs]
    if missing:
        raise msgspec.ValidationError(f"graph {missing[0]!r} is missing - at `{place}`")
    for name, graph in graphs.items():
        _check_file_name(graph, f"{place}.{name}")


def _check_file_name(entry: GraphFile, place: str) -> None:
    if not _PLAIN_FILE_NAME.fullmatch(entry.file):
        raise msgspec.ValidationError(f"{entry.file!r} is not a plain file name - at `{place}.file`")
