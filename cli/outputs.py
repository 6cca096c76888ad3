"""Where `trt-infer` writes: the plan of its files, checked before anything is computed or written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runtime.formats import AudioFormat
    from ..runtime.wav_writer import WavFormat
    from .options import Wav

RAW_SUFFIXES = ("", ".pcm", ".raw")


class FormatChoice(str, Enum):
    wav = "wav"
    flac = "flac"
    opus = "opus"
    mp3 = "mp3"
    aac = "aac"


@dataclass(frozen=True)
class Outputs:
    """The files of one call."""

    path: Path  # a file, - or a folder
    is_folder: bool  # one file per line of a list
    audio_format: AudioFormat
    wav_format: WavFormat
    raw: bool
    plot: Path | None
    plots_are_in_folder: bool

    def audio_path(self, name: str) -> Path:
        return self.path / f"{name}.{self.audio_format}" if self.is_folder else self.path

    def plot_path(self, name: str) -> Path | None:
        return self.plot / f"{name}.png" if self.plot is not None and self.plots_are_in_folder else self.plot


def plan_outputs(
    output: Path | None,
    plot: Path | None,
    is_list: bool,
    stream: bool,
    audio_format: FormatChoice | None,
    wav: Wav | None,
    raw: bool,
) -> Outputs:
    """Raises RequestError, before anything is computed, for outputs that cannot be written or contradict each other."""
    from ..runtime.errors import RequestError
    from ..runtime.files import check_writable
    from ..runtime.formats import choose_format, format_of

    is_folder = is_list and not stream and (output is None or format_of(output) is None or output.is_dir())
    output = output or Path("speech" if is_folder else f"speech.{audio_format.value if audio_format else 'wav'}")
    if str(output) == "-" and not stream:
        raise RequestError("-o -: standard output needs --stream")
    if str(output) != "-":
        check_writable(output, "-o", is_folder)
    if plot is not None:
        from ..runtime.plot import check_plot

        check_writable(plot, "--plot", is_list)
        check_plot(plot / "1.png" if is_list else plot)
    wanted: AudioFormat | None = None if audio_format is None else audio_format.value
    if raw:
        if audio_format is not None or output.suffix.lower() not in RAW_SUFFIXES:
            what = f"--audio-format {wanted}" if wanted else str(output)
            raise RequestError(f"--raw: writes samples without a header, which {what} promises; name the file .pcm")
        chosen: AudioFormat = "wav"
    else:
        chosen = choose_format(Path() if is_folder else output, wanted, "--audio-format")
    wav_format: WavFormat | None = None if wav is None else wav.value
    if wav_format is not None and chosen != "wav":
        raise RequestError(f"--wav {wav_format}: has no effect on {chosen}; leave it out, or write a .wav file")
    return Outputs(output, is_folder, chosen, wav_format or "int16", raw, plot, is_list)


def check_outputs_apart(outputs: Outputs, bundle: Path, inputs: Iterable[Path]) -> None:
    """Raises RequestError if an output would replace what is read: a file of the bundle, or the list of texts."""
    from ..runtime.bundle import MANIFEST_NAME
    from ..runtime.errors import RequestError

    places = [(outputs.path, "-o")] if str(outputs.path) != "-" else []
    places += [] if outputs.plot is None else [(outputs.plot, "--plot")]
    for path, option in places:
        resolved, inside = path.resolve(), bundle.resolve()
        if (inside / MANIFEST_NAME).is_file() and (resolved == inside or inside in resolved.parents):
            raise RequestError(f"{path}: lies in the bundle {bundle}; give another place with {option}")
        for source in inputs:
            if source.exists() and path.exists() and path.samefile(source) and path.is_file():
                raise RequestError(f"{path}: is what -i reads; give another place with {option}")
    plot = None if outputs.plots_are_in_folder else outputs.plot
    if plot is not None and plot.resolve() == outputs.path.resolve():
        raise RequestError(f"{plot}: is the output of -o too; give another place with --plot")
