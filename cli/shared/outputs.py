"""Where `trt-infer` writes: the plan of its files, checked before anything is computed or written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runtime.output.formats import AudioFormat
    from ...runtime.output.wav_writer import WavFormat
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
    times: Path | None  # file for the times of words; its suffix is the format

    def audio_path(self, name: str) -> Path:
        return self.path / f"{name}.{self.audio_format}" if self.is_folder else self.path

    def times_path(self, name: str) -> Path | None:
        """In a folder beside the audio; `times` is a suffix only then."""
        beside = self.times is not None and self.is_folder
        return self.path / f"{name}{self.times}" if beside else self.times

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
    times: str | None = None,
) -> Outputs:
    """Raises RequestError, before anything is computed, for outputs that cannot be written or contradict each other."""
    from ...runtime.errors import RequestError
    from ...runtime.files import check_writable
    from ...runtime.output.formats import choose_format, format_of

    is_folder = is_list and not stream and (output is None or format_of(output) is None or output.is_dir())
    output = output or Path("speech" if is_folder else f"speech.{audio_format.value if audio_format else 'wav'}")
    if str(output) == "-" and not stream:
        raise RequestError("-o -: standard output needs --stream")
    if str(output) != "-":
        check_writable(output, "-o", is_folder)
    if plot is not None:
        from ...runtime.output.plot import check_plot

        check_writable(plot, "--plot", is_list)
        check_plot(plot / "1.png" if is_list else plot)
    times_path = None if times is None else _plan_times(times, is_folder)
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
    return Outputs(output, is_folder, chosen, wav_format or "int16", raw, plot, is_list, times_path)


def _plan_times(times: str, is_folder: bool) -> Path:
    """Raises RequestError for a file that cannot be written, or a name whose format is unknown."""
    from ...runtime.errors import RequestError
    from ...runtime.files import check_writable
    from ...runtime.output.subtitles import check_times_format

    if not is_folder:
        check_times_format(Path(times).suffix, "--timestamps")
        check_writable(Path(times), "--timestamps", is_folder=False)
        return Path(times)
    suffix = "." + times.removeprefix(".")
    if "/" in times or Path(f"x{suffix}").stem != "x":
        raise RequestError(f"--timestamps: each line gets a file beside its audio; give json, srt or vtt, not {times}")
    check_times_format(suffix, "--timestamps")
    return Path(suffix)


def check_outputs_apart(outputs: Outputs, bundle: Path, inputs: Iterable[Path]) -> None:
    """Raises RequestError if an output would replace what is read: a file of the bundle, or the list of texts."""
    from ...runtime.bundle.reading import MANIFEST_NAME
    from ...runtime.errors import RequestError

    places = [(outputs.path, "-o")] if str(outputs.path) != "-" else []
    places += [] if outputs.plot is None else [(outputs.plot, "--plot")]
    times = None if outputs.is_folder else outputs.times
    places += [] if times is None else [(times, "--timestamps")]
    for path, option in places:
        resolved, inside = path.resolve(), bundle.resolve()
        if (inside / MANIFEST_NAME).is_file() and (resolved == inside or inside in resolved.parents):
            raise RequestError(f"{path}: lies in the bundle {bundle}; give another place with {option}")
        for source in inputs:
            if source.exists() and path.exists() and path.samefile(source) and path.is_file():
                raise RequestError(f"{path}: is what -i reads; give another place with {option}")
    plot = None if outputs.plots_are_in_folder else outputs.plot
    for other, option in ((plot, "--plot"), (times, "--timestamps")):
        if other is not None and other.resolve() == outputs.path.resolve():
            raise RequestError(f"{other}: is the output of -o too; give another place with {option}")
