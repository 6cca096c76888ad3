"""`manifest.json`: the one contract between exporters, this runtime, the C++ runtime and servers.

Dimension letters in shapes: B batch, T tokens, F frames, S samples. An entry of a shape is a number, a letter, or a
letter times a number ("F*32"). Every letter has a range in `dimensions`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .errors import BundleError

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
GRAPH_NAMES = ("encoder", "decoder_step", "postnet", "waveglow", "denoiser")
_SHAPE_ENTRY = re.compile(r"([A-Z])(?:\*(\d+))?")
_DIGEST = re.compile(rb'("digest"\s*:\s*")[^"]*"')
_SAFE_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

Precision = Literal["fp32", "fp16", "bf16"]
DType = Literal["float32", "int32", "bool"]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Voice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    language: str = ""
    provenance: dict[str, str] = {}


class AudioFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sampling_rate: Count  # Hz
    hop_length: Count  # samples a frame
    filter_length: Count  # samples of the STFT that the mels were made with, and of the denoiser's
    win_length: Count  # samples
    n_mel_channels: Count
    mel_fmin: float  # Hz
    mel_fmax: float  # Hz


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    symbols: tuple[str, ...]  # in id order
    cleaners: tuple[str, ...]


class DecoderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    gate_threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)]  # probability
    frames_per_step: Count = 1  # what one decoder step makes; its gate and its attention are one for all of them
    max_frames: Count  # the frame limit of one utterance, a multiple of frames_per_step
    prenet_layers: Count
    prenet_dim: Count
    postnet_frames: int  # frames to either side of a frame that its postnet output depends on
    states: dict[str, str]  # input of one step -> output of the step before it


class VocoderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group_size: Count  # samples that one position of z stands for
    sigma: Annotated[float, msgspec.Meta(ge=0)]  # default standard deviation of z
    # The receptive field: frames before and after a frame that its samples depend on.
    frames_before: Annotated[int, msgspec.Meta(ge=0)]
    frames_after: Annotated[int, msgspec.Meta(ge=0)]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def resolve(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        """The shape in numbers, each letter replaced by its value in dims."""
        return tuple(entry if isinstance(entry, int) else _evaluate(entry, dims) for entry in self.shape)

    @property
    def letters(self) -> set[str]:
        """The dimension letters that the shape depends on."""
        return {entry.partition("*")[0] for entry in self.shape if isinstance(entry, str)}


class GraphFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    file: str
    sha256: str


class GraphSpec(GraphFile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def tensors(self) -> dict[str, TensorSpec]:
        return {tensor.name: tensor for tensor in (*self.inputs, *self.outputs)}


class DimRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    min: int
    typical: int
    max: int


class TensorParity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_abs_error: float
    tolerance: float


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the exported graphs differ from the PyTorch modules on the same inputs."""

    graphs: dict[str, dict[str, TensorParity]]  # graph -> output -> error
    pipeline: dict[str, TensorParity]  # mel, audio
    stop_frames: tuple[int, int]  # PyTorch's, the exported graphs'


class TorchScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same graphs as TorchScript modules: inputs and outputs are those of `Manifest.graphs`, by position."""

    graphs: dict[str, GraphFile]
    parity: Parity | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format_version: int
    digest: str  # SHA-256 of this file with 64 zeros in place of the digest: a flipped bit must not change a voice
    generator: str  # what wrote it, with its version
    voice: Voice
    audio: AudioFormat
    text: Text
    decoder: DecoderSettings
    vocoder: VocoderSettings
    precision: Precision
    opset: int
    dimensions: dict[str, DimRange]
    graphs: dict[str, GraphSpec]
    parity: Parity | None = None
    torchscript: TorchScript | None = None  # added by export-torchscript

    def range(self, letter: str) -> DimRange:
        return self.dimensions[letter]


def _evaluate(entry: str, dims: Mapping[str, int]) -> int:
    match = _SHAPE_ENTRY.fullmatch(entry)
    if match is None or match[1] not in dims:
        raise BundleError(f"shape entry {entry!r}: expected a number, a dimension letter, or LETTER*NUMBER")
    return dims[match[1]] * int(match[2] or 1)


def match_shape(spec: TensorSpec, shape: tuple[int, ...], dims: dict[str, int]) -> bool:
    """Whether `shape` fits the spec; letters that are new are added to dims, known ones must agree."""
    if len(shape) != len(spec.shape):
        return False
    for entry, size in zip(spec.shape, shape, strict=True):
        if isinstance(entry, str):
            match = _SHAPE_ENTRY.fullmatch(entry)
            factor = int(match[2] or 1) if match else 0
            if match is None or size % factor or dims.setdefault(match[1], size // factor) * factor != size:
                return False
        elif entry != size:
            return False
    return True


def load_manifest(bundle: Path) -> Manifest:
    """Read and check a bundle's manifest; the graphs' files are checked when they are opened (`graph_path`).

    Raises BundleError in one line that names the field.
    """
    path = bundle / MANIFEST_NAME
    if not path.is_file():
        hint = "no such folder" if not bundle.exists() else f"it holds no {MANIFEST_NAME}"
        raise BundleError(f"{bundle}: not a bundle: {hint}; write one with: export-onnx --demo -o {bundle}")
    try:
        content = path.read_bytes()
        raw = msgspec.json.decode(content)
        _check_version(path, raw)
        manifest = msgspec.convert(raw, Manifest)
        _check_graphs(manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path}: {error}; export the voice again") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: is damaged ({error}); export the voice again") from error
    if sealed(content) != content:
        raise BundleError(f"{path}: was changed after it was written: its digest does not fit; export the voice again")
    return manifest


def _check_version(path: Path, raw: Any) -> None:
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version {version} is newer than the {FORMAT_VERSION} that this version reads; "
            "upgrade: pip install -U tacoglow"
        )
    if version != FORMAT_VERSION:
        raise BundleError(f"{path}: format_version should be {FORMAT_VERSION}, got {version!r}; export the voice again")


def _check_graphs(manifest: Manifest) -> None:
    """What the types alone do not say. Raises msgspec.ValidationError with the place, as decoding does."""
    for letter, span in manifest.dimensions.items():
        if not 1 <= span.min <= span.typical <= span.max:
            raise msgspec.ValidationError(f"expected 1 <= min <= typical <= max - at `$.dimensions.{letter}`")
    _check_files(manifest.graphs, "$.graphs")
    if manifest.torchscript is not None:
        _check_files(manifest.torchscript.graphs, "$.torchscript.graphs")
    for name, graph in manifest.graphs.items():
        for tensor in graph.tensors.values():
            for entry in tensor.shape:
                match = _SHAPE_ENTRY.fullmatch(entry) if isinstance(entry, str) else None
                if isinstance(entry, str) and (match is None or match[1] not in manifest.dimensions):
                    raise msgspec.ValidationError(
                        f"shape entry {entry!r} of {tensor.name!r} has no range in `dimensions` - at `$.graphs.{name}`"
                    )
    step = manifest.graphs["decoder_step"].tensors
    for source, target in manifest.decoder.states.items():
        if source not in step or target not in step or step[source].shape != step[target].shape:
            raise msgspec.ValidationError(f"state {source!r} -> {target!r} is no pair - at `$.decoder.states`")
    decoder, bands = manifest.decoder, manifest.audio.n_mel_channels
    if decoder.max_frames % decoder.frames_per_step:
        raise msgspec.ValidationError("max_frames should be a multiple of frames_per_step - at `$.decoder.max_frames`")
    if "mel_frame" not in step or step["mel_frame"].shape != ("B", decoder.frames_per_step * bands):
        raise msgspec.ValidationError(
            "mel_frame should be [B, frames_per_step * n_mel_channels] - at `$.graphs.decoder_step`"
        )
    if manifest.audio.hop_length % manifest.vocoder.group_size:
        raise msgspec.ValidationError("hop_length should be a multiple of group_size - at `$.vocoder.group_size`")


def _check_files(graphs: Mapping[str, GraphFile], place: str) -> None:
    missing = [name for name in GRAPH_NAMES if name not in graphs]
    if missing:
        raise msgspec.ValidationError(f"graph {missing[0]!r} is missing - at `{place}`")
    for name, graph in graphs.items():
        if not _SAFE_FILE.fullmatch(graph.file):
            raise msgspec.ValidationError(f"{graph.file!r} is no plain file name - at `{place}.{name}.file`")


def graph_path(bundle: Path, name: str, graph: GraphFile) -> Path:
    """The graph's file, after checking that it is the one that the manifest was written for."""
    path = bundle / graph.file
    if not path.is_file():
        raise BundleError(f"{path}: the bundle's {name} graph is missing; export the voice again")
    digest = file_sha256(path)
    if digest != graph.sha256:
        raise BundleError(
            f"{path}: SHA-256 is {digest[:12]}…, the manifest says {graph.sha256[:12]}…: "
            "the file was changed or cut short; export the voice again"
        )
    return path


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    return sealed(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def sealed(content: bytes) -> bytes:
    """A manifest's content with the digest that fits the rest; one that differs from its own sealing was changed."""
    blank = _DIGEST.sub(rb"\g<1>" + b"0" * 64 + b'"', content, count=1)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return _DIGEST.sub(rb"\g<1>" + digest + b'"', content, count=1)
