"""Options and helpers that several commands share."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ...runtime.errors import escape_control

if TYPE_CHECKING:
    from ...models import Tacotron2, Vocoder
    from ...runtime.bundle.manifest import Int8Decoder


class PrecisionChoice(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Published(str, Enum):
    nvidia = "nvidia"


class DecoderChoice(str, Enum):
    engine = "engine"
    fused = "fused"


class ProfileChoice(str, Enum):
    latency = "latency"
    throughput = "throughput"


class DecoderWeights(str, Enum):
    fp32 = "fp32"
    int8 = "int8"


class ComputeChoice(str, Enum):
    fp32 = "fp32"
    int8 = "int8"
    auto = "auto"


class Wav(str, Enum):
    int16 = "int16"
    int24 = "int24"
    float32 = "float32"


Tacotron2Path = Annotated[Optional[Path], typer.Option(help="Tacotron 2 checkpoint.")]
WaveGlowPath = Annotated[Optional[Path], typer.Option(help="WaveGlow checkpoint.")]
HiFiGANPath = Annotated[
    Optional[Path], typer.Option(help="HiFi-GAN generator, with its config.json in the same folder.")
]
# Options by the panel of the help in which they stand.
text_option = partial(typer.Option, rich_help_panel="Text")
voice_option = partial(typer.Option, rich_help_panel="Voice")
speech_option = partial(typer.Option, rich_help_panel="Speech")
output_option = partial(typer.Option, rich_help_panel="Output")
hardware_option = partial(typer.Option, rich_help_panel="Hardware")


COMPUTE_HELP = (
    "Precision on a CPU. int8: decode with the 8-bit weights that `tacoglow quantize` adds, and generate audio in "
    "bfloat16 if the backend is openvino; auto: as far as possible."
)


def _show_version(is_given: bool) -> None:
    if is_given:
        from .version import describe_version

        print(describe_version())
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version, its commit and the backends."
    ),
]
Demo = Annotated[bool, voice_option("--demo", help="Speak with the demo voice of the extra `demo`; give no bundle.")]
Sigma = Annotated[
    Optional[float], speech_option(help="Standard deviation of WaveGlow's noise.", show_default="the voice's")
]
Denoise = Annotated[float, speech_option(help="Denoiser strength, e.g. 0.01; 0: off.")]
GateThreshold = Annotated[
    Optional[float],
    speech_option(help="Gate probability above which the utterance ends.", show_default="the voice's"),
]
MaxFrames = Annotated[Optional[int], speech_option(help="Frame limit of an utterance.", show_default="the voice's")]
Retries = Annotated[
    Optional[int],
    speech_option(
        min=0,
        help="Retries, with new noise, of an utterance whose attention shows a fault; the best try is kept.",
        show_default="2; 0 in a stream and for a voice that was not measured at export",
    ),
]
AttentionStop = Annotated[
    Optional[bool],
    speech_option(
        "--attention-stop/--no-attention-stop",
        help="Also end an utterance when its attention stays on the last token, or when it is several times as long as "
        "its text takes; without, only at its gate or --max-frames.",
        show_default="on for a voice that was measured at export",
    ),
]
AttentionWindow = Annotated[
    Optional[int],
    speech_option(
        min=1,
        help="Tokens ahead that the attention may see, in a window that only moves forward; 5 suits English text.",
        show_default="all",
    ),
]
Rate = Annotated[float, speech_option(help="Speaking rate, 0.5 to 2; the pitch stays.")]
Volume = Annotated[float, speech_option(help="Factor of the samples, 0 to 4.")]
SentenceSilence = Annotated[
    Optional[float],
    speech_option(help="Seconds of silence between sentences, 0 to 10.", show_default="by the length of the text"),
]
TrimSilence = Annotated[bool, speech_option("--trim-silence", help="Leave out the silence at both ends of the speech.")]
NormalizerOption = Annotated[
    Optional[str],
    text_option("--normalizer", help="Rewrite texts first with this normalizer, an installed package's entry point."),
]
LexiconFile = Annotated[
    Optional[Path],
    text_option("--lexicon", help="Words, and how they are said: a file with lines such as: Nguyen = win"),
]
Ssml = Annotated[
    bool, text_option("--ssml", help="The text is an SSML document: break, sub, phoneme, say-as, prosody, p and s.")
]
Raw = Annotated[bool, output_option("--raw", help="With --stream: samples only, without a wav header.")]
WavOption = Annotated[Optional[Wav], output_option(help="Sample format of a wav file.", show_default="int16")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Write into a folder of other files, and replace files of the same names in it."),
]
DecoderOption = Annotated[
    DecoderChoice,
    hardware_option(
        "--decoder", help="On a GPU: the TensorRT engine, or fused: one kernel, which has not run on a GPU yet."
    ),
]
ProfileOption = Annotated[
    ProfileChoice,
    hardware_option(
        "--profile",
        help="Requests that decode together. latency: at most 8, which others join soon; throughput: as many as the "
        "bundle's batch limit, on a GPU in longer chunks.",
    ),
]
LEXICON_BYTES_MAX = 1 << 22
Engines = Annotated[
    Optional[Path], hardware_option(help="Folder of the engine cache.", show_default="the user's cache")
]


def complete_backend(incomplete: str) -> list[str]:
    """List the backends whose names begin so, for the shell's completion."""
    from ...runtime.backends import BACKENDS

    return [name for name in ("auto", *BACKENDS) if name.startswith(incomplete)]


def given_options(context: typer.Context) -> set[str]:
    """List the options of the command line, by their long names."""
    parameters = [parameter for parameter in context.command.params if parameter.param_type_name == "option"]
    sources = {parameter.opts[-1]: context.get_parameter_source(parameter.name or "") for parameter in parameters}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def read_lexicon(path: Path | None) -> dict[str, str] | None:
    """Read the entries of a lexicon file; None if no file is given. Raises TextError."""
    from ...text import TextError, parse_lexicon

    if path is None:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(LEXICON_BYTES_MAX + 1)
    except OSError as error:
        raise TextError(f"lexicon: {path}: {error.strerror}") from error
    if len(content) > LEXICON_BYTES_MAX:
        raise TextError(f"lexicon: {path}: expected at most {LEXICON_BYTES_MAX >> 20} MiB")
    try:
        return parse_lexicon(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise TextError(f"lexicon: {path}: is not UTF-8 ({error}); save it as UTF-8 text") from error


def print_status(line: str) -> None:
    """Print a line to standard error, with control characters escaped. If that cannot be written, nobody reads it."""
    with suppress(OSError):
        print(escape_control(line), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class VoiceCheckpoints:
    """The files of a voice: its two checkpoints, and the voice file that belongs to them, if any."""

    tacotron2: Path
    vocoder: Path
    vocoder_kind: str = "waveglow"
    voice: Path | None = None
    name: str | None = None  # of a voice without a voice file; None: that of the Tacotron 2 file

    def load(self, hop_length: float | None = None) -> tuple[Tacotron2, Vocoder]:
        """Load both models and print their families. hop_length (samples): for a WaveGlow that does not state it."""
        from ...models import load_hifigan, load_tacotron2, load_waveglow

        acoustic = load_tacotron2(self.tacotron2)
        print_status(f"tacotron2     {acoustic.family}")
        vocoder: Vocoder
        if self.vocoder_kind == "hifigan":
            vocoder = load_hifigan(self.vocoder)
        else:
            vocoder = load_waveglow(self.vocoder, None if hop_length is None else int(hop_length))
        print_status(f"{self.vocoder_kind:13} {vocoder.family}")
        return acoustic, vocoder


def find_checkpoints(
    tacotron2: Path | None, waveglow: Path | None, hifigan: Path | None, demo: bool, pretrained: Published | None
) -> VoiceCheckpoints:
    """Find the checkpoints that the options select. Raises ExportError if they select none, or more than one pair."""
    from ...export.demo import demo_folder
    from ...runtime.errors import ExportError

    own = any(path is not None for path in (tacotron2, waveglow, hifigan))
    if own + demo + (pretrained is not None) != 1:
        raise ExportError(
            "give one of: --tacotron2 T.pt with --waveglow W.pt or --hifigan G.pt, --pretrained nvidia, or --demo"
        )
    if demo:
        folder = demo_folder()
        return VoiceCheckpoints(folder / "tacotron2.pt", folder / "waveglow.pt", voice=folder / "voice.json")
    if pretrained is not None:
        from ...models import fetch_pretrained

        return VoiceCheckpoints(fetch_pretrained("tacotron2"), fetch_pretrained("waveglow"), name="unverified-download")
    if waveglow is not None and hifigan is not None:
        raise ExportError("--waveglow and --hifigan: expected one vocoder, got both")
    vocoder = waveglow or hifigan
    if tacotron2 is None or vocoder is None:
        missing = "--tacotron2" if tacotron2 is None else "--waveglow or --hifigan"
        raise ExportError(f"{missing}: missing; a voice needs a Tacotron 2 and a vocoder")
    return VoiceCheckpoints(tacotron2, vocoder, "waveglow" if hifigan is None else "hifigan")


def report_int8_decoder(decoder: Int8Decoder) -> None:
    """Print how far the 8-bit decoder is from the float32 one."""
    largest = max(entry.max_abs_error for entry in decoder.parity.values())
    ends = ", ".join(f"{got} for {expected}" for expected, got in decoder.stop_frames)
    print_status(f"8-bit decoder checked against float32: largest error {largest:.1e}; stops at frames {ends}")
