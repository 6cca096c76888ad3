"""The schema of `manifest.json`: the contract between exporters, this runtime, the C++ runtime and servers.

Dimension letters in shapes: B batch, T tokens, F frames, S samples. An entry of a shape is a number, a letter, or a
letter times a number ("F*32"). Every letter has a range in `dimensions`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from ...text import FrontEnd, Lexicon
from ..errors import BundleError

FORMAT_VERSION = 1
FORMAT_MINOR = 0  # every minor version up to this one can be read
ACOUSTIC_GRAPHS = ("encoder", "decoder_step", "postnet")
DENOISER = "denoiser"
# Far above the numbers of any voice, and far enough below 2^63 that products of a few of them cannot overflow. The C++
# runtime has the same bounds.
COUNT_MAX = 1 << 20
RANK_MAX = 4  # most dimensions of a tensor
ATTENTION_PATIENCE = 24  # frames; of a voice whose sentences could not be measured
STRENGTH_MAX = 10.0  # largest sigma and denoiser strength: ten times what is still speech
_SHAPE_ENTRY = re.compile(r"([A-Z])(?:\*(?!0+\Z)([0-9]{1,6}))?")

Precision = Literal["fp32", "fp16", "bf16"]
DType = Literal["float32", "int32", "bool"]
Count = Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)]
CountOrZero = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Hertz = Annotated[float, msgspec.Meta(ge=0, le=COUNT_MAX)]


class Voice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    language: str = ""
    provenance: dict[str, str] = {}


class AudioFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sampling_rate: Count  # Hz
    hop_length: Count  # samples per frame
    filter_length: Count  # STFT length of the mels and of the denoiser, in samples
    win_length: Count  # samples
    n_mel_channels: Count
    mel_fmin: Hertz
    mel_fmax: Hertz


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    symbols: tuple[str, ...]  # in id order
    cleaners: tuple[str, ...]
    final_mark: str  # symbol that a text gets if it ends with a letter, a digit or a phone; "": none
    tables: GraphFile  # data for the front end in other languages
    lexicon: dict[str, str] = {}  # words, and how this voice says them: respellings, or ARPAbet in braces
    untrained: tuple[str, ...] = ()  # symbols whose rows of the embedding no training has changed

    def front_end(self) -> FrontEnd:
        """Build the voice's front end. Raises TextError."""
        return FrontEnd(self.symbols, self.cleaners, Lexicon(self.lexicon), frozenset(self.untrained), self.final_mark)


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ends an utterance whose gate does not fire, far later than the voice's sentences need.

    Measured at export, on sentences that ended by their gate.
    """

    attention_patience: Count  # frames with the attention on the last token
    frames: Count  # of an utterance, in all, besides those of its tokens
    frames_per_token: Annotated[float, msgspec.Meta(gt=0, le=COUNT_MAX)]

    def frame_limit(self, tokens: int) -> int:
        """Most frames of an utterance of so many tokens."""
        return self.frames + int(self.frames_per_token * tokens)


class DecoderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    gate_threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)]  # probability above which an utterance ends
    frames_per_step: Count  # frames per decoder step; they share one gate and one row of the alignment
    max_frames: Count  # the frame limit of one utterance, a multiple of frames_per_step
    ending: Ending | None = None  # None: the voice's sentences could not be measured
    prenet_layers: Count
    prenet_dim: Count
    postnet_frames: CountOrZero  # frames on either side of a frame that its postnet output depends on
    states: dict[str, str]  # input of one step -> output of the step before it


class _VocoderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    # The receptive field: frames before and after a frame that its samples depend on.
    frames_before: CountOrZero
    frames_after: CountOrZero

    @property
    def kind(self) -> str:
        """The vocoder's name, which is also that of its graph."""
        return str(self.__struct_config__.tag)


class WaveGlowSettings(_VocoderSettings, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="waveglow"):
    title: ClassVar[str] = "WaveGlow"
    min_frames: ClassVar[int] = 1

    group_size: Count  # samples that one position of z stands for
    sigma: Annotated[float, msgspec.Meta(ge=0, le=STRENGTH_MAX)]  # default standard deviation of z


class HiFiGANSettings(_VocoderSettings, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="hifigan"):
    title: ClassVar[str] = "HiFi-GAN"
    group_size: ClassVar[None] = None  # it takes no noise
    sigma: ClassVar[float] = 0.0

    min_frames: Count  # of a mel; a shorter one is extended by its last frame


VocoderSettings = WaveGlowSettings | HiFiGANSettings


class SynthesisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How every runtime pads, splits and streams."""

    window_frames: Count  # most new frames of a vocoder window
    smallest_token_bucket: Count  # tokens; buckets double from here to the token limit
    first_segment_frames: Count  # frames of a stream's first segment
    segment_frames: Count  # frames that later segments of a stream grow to, by doubling
    context_frames: CountOrZero  # mel frames that the vocoder sees around a segment

    def token_buckets(self, limit: int) -> list[int]:
        """Return the padded token counts of a voice with this token limit, which is the last of them."""
        return doubling(self.smallest_token_bucket, limit)


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def resolve(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        """Replace every letter of the shape by its value in dims. Raises BundleError if dims lacks a letter."""
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
    """Differences between the exported graphs and the PyTorch modules on the same inputs."""

    graphs: dict[str, dict[str, TensorParity]]  # graph -> output -> error
    pipeline: dict[str, TensorParity]  # mel, audio
    stop_frames: tuple[int, int]  # stop frame of the PyTorch modules, stop frame of the exported graphs


class Int8Decoder(GraphFile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """decoder_step with 8-bit weights, for CPUs: its tensors are those of `Manifest.graphs`."""

    parity: dict[str, TensorParity]  # output -> difference from the float32 graph on the same inputs
    stop_frames: tuple[tuple[int, int], ...]  # of complete utterances: with float32 weights, with 8-bit weights


class TorchScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same graphs as TorchScript modules: inputs and outputs are those of `Manifest.graphs`, by position."""

    graphs: dict[str, GraphFile]
    parity: Parity | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format_version: int
    format_minor: CountOrZero
    digest: str  # SHA-256 of this file with 64 zeros in place of the digest, so that every changed bit is noticed
    generator: str  # program that wrote the bundle, with its version
    voice: Voice
    audio: AudioFormat
    text: Text
    decoder: DecoderSettings
    vocoder: VocoderSettings
    synthesis: SynthesisSettings
    precision: Precision
    opset: int
    dimensions: dict[str, DimRange]
    graphs: dict[str, GraphSpec]
    parity: Parity | None = None
    int8_decoder: Int8Decoder | None = None
    torchscript: TorchScript | None = None  # added by export-torchscript

    @property
    def graph_names(self) -> tuple[str, ...]:
        """The graphs in the order in which speech runs through them."""
        return graph_names(self.vocoder.kind)

    @property
    def always_used(self) -> tuple[str, ...]:
        """All graphs except the denoiser, which is opened, and its engine built, at its first use."""
        return self.graph_names[:-1]

    def range(self, letter: str) -> DimRange:
        return self.dimensions[letter]

    def token_bucket(self, length: int) -> int:
        """Return the padded length at which an item of `length` tokens is decoded, alone or in a batch.

        An engine's softmax sums a longer row in a different order, and the decoder loop amplifies that rounding. An
        item is therefore always padded to its own token bucket, and shares a batch only with items of that bucket.
        """
        limit = self.range("T").max
        return next((bucket for bucket in self.synthesis.token_buckets(limit) if bucket >= length), limit)

    @property
    def denoiser_frames(self) -> int:
        """Frames on either side of a sample that the denoiser's transform covers."""
        return -(-self.audio.filter_length // self.audio.hop_length)

    @property
    def vocoder_input_frames(self) -> int:
        """Most frames that the vocoder's graphs receive at once: a window with its context."""
        context = self.vocoder.frames_before + self.vocoder.frames_after
        return self.synthesis.window_frames + 2 * self.denoiser_frames + context


def doubling(first: int, limit: int) -> list[int]:
    """Return `first` and its doubles below the limit, then the limit."""
    sizes = [first]
    while sizes[-1] < limit:
        sizes.append(2 * sizes[-1])
    return [*sizes[:-1], limit]


def has_control_characters(name: str) -> bool:
    """True for a name that would break a line, a header or a terminal."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)


def graph_names(vocoder_kind: str) -> tuple[str, ...]:
    """Return the names of the five graphs of a voice with a vocoder of this kind."""
    return (*ACOUSTIC_GRAPHS, vocoder_kind, DENOISER)


def is_shape_entry(entry: str) -> bool:
    """True for a dimension letter, or a letter times a positive number of at most six digits."""
    return _SHAPE_ENTRY.fullmatch(entry) is not None


def match_shape(spec: TensorSpec, shape: tuple[int, ...], dims: dict[str, int]) -> bool:
    """True if `shape` fits the spec; adds new letters to dims, and known letters must agree."""
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


def _evaluate(entry: str, dims: Mapping[str, int]) -> int:
    match = _SHAPE_ENTRY.fullmatch(entry)
    if match is None or match[1] not in dims:
        raise BundleError(f"shape entry {entry!r}: expected a number, a dimension letter, or LETTER*NUMBER")
    return dims[match[1]] * int(match[2] or 1)
