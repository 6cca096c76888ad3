"""The outputs of `say`: planned and checked before anything is computed, then written by this object alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from .interrupt import completed_at_interrupt
from .options import print_status

if TYPE_CHECKING:
    from ...runtime.bundle.manifest import Manifest
    from ...runtime.output.audio import Audio
    from ...runtime.output.formats import AudioFormat
    from ...runtime.output.growing import SpeechOutput
    from ...runtime.output.timestamps import TimedText
    from ...runtime.output.wav_writer import WavFormat
    from ...runtime.vocoder import Samples
    from .options import Wav

RAW_SUFFIXES = ("", ".pcm", ".raw")


class FormatChoice(str, Enum):
    wav = "wav"
    flac = "flac"
    opus = "opus"
    mp3 = "mp3"
    aac = "aac"
    ulaw = "ulaw"
    alaw = "alaw"


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

    def is_complete(self, name: str) -> bool:
        """True if what belongs to an audio file, its plot and its times, exists."""
        return all(path is None or path.is_file() for path in (self._plot_path(name), self._times_path(name)))

    def save(
        self, audio: Audio, name: str = "", voice: Manifest | None = None, gate_threshold: float | None = None
    ) -> Path:
        """Write the audio, its plot and the times of its words; returns the path of the audio.

        name: of the files, in a folder. voice, gate_threshold: those of the speech, for the plot.
        """
        path = self.audio_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.save(path, self.wav_format, self.audio_format)
        self.save_plot(audio, name, voice, gate_threshold)
        self.save_times(audio.words, audio.characters, audio.sampling_rate, name)
        spent = sum(audio.timings.values())
        print_status(f"{path}: {audio.seconds:.2f} s of audio" + (f" in {spent:.2f} s" if spent else ""))
        if not audio.seconds:
            warn_of_silence(str(path))
        return path

    def save_plot(self, audio: Audio, name: str, voice: Manifest | None, gate_threshold: float | None) -> None:
        path = self._plot_path(name)
        if path is not None and voice is not None:
            from ...runtime.output.plot import save_plot

            path.parent.mkdir(parents=True, exist_ok=True)
            save_plot(audio, path, voice, gate_threshold)

    def save_times(
        self, words: Sequence[TimedText], characters: Sequence[TimedText], sampling_rate: int, name: str = ""
    ) -> None:
        """Write times, in seconds of the samples, as they are in the decoded file. sampling_rate: of the samples."""
        path = self._times_path(name)
        if path is not None:
            from ...runtime.files import atomic_write
            from ...runtime.output.formats import encoder_delay
            from ...runtime.output.subtitles import check_times_format, encode_times

            late = encoder_delay(self.audio_format, sampling_rate)
            words, characters = ([one.shifted(late) for one in spoken] for spoken in (words, characters))
            content = encode_times(words, characters, check_times_format(path.suffix, "--timestamps"))
            atomic_write(path, content.encode())

    def stream(self, segments: Iterable[Samples], sampling_rate: int) -> None:
        """Write segments into one file or pipe as they come, until its reader closes it."""
        with self.grow(sampling_rate) as sink:
            sink.write_all(segments)
        if not sink.seconds:
            warn_of_silence(self._shown)

    @contextmanager
    def grow(self, sampling_rate: int) -> Iterator[SpeechOutput]:
        """Open one file or pipe that is written while speech is made; its length is printed at the end."""
        from ...runtime.output.growing import SpeechOutput

        start = time.perf_counter()
        output = SpeechOutput(self.path, sampling_rate, self.audio_format, self.wav_format, self.raw)
        with completed_at_interrupt(output):
            yield output
        if output.seconds:
            print_status(f"{self._shown}: {output.seconds:.2f} s of audio in {time.perf_counter() - start:.2f} s")

    @property
    def _shown(self) -> str:
        return "standard output" if str(self.path) == "-" else str(self.path)

    def _times_path(self, name: str) -> Path | None:
        """Return the file of the times; in a folder it is beside the audio, and only then `times` is a suffix."""
        beside = self.times is not None and self.is_folder
        return self.path / f"{name}{self.times}" if beside else self.times

    def _plot_path(self, name: str) -> Path | None:
        return self.plot / f"{name}.png" if self.plot is not None and self.plots_are_in_folder else self.plot


def warn_of_silence(name: str) -> None:
    """Print that what has this name, a file or a text, has no samples."""
    from ...runtime.output.trimming import NO_SPEECH

    print_status(f"warning: {name}: {NO_SPEECH}")


def _resolve(path: Path) -> Path:
    """The path without symbolic links; unlike Path.resolve it accepts those that lead in a circle."""
    return Path(os.path.realpath(path))


def plan_outputs(
    output: Path | None,
    *,
    bundle: Path | None = None,
    texts: Path | None = None,
    stream: bool = False,
    audio_format: FormatChoice | None = None,
    wav: Wav | None = None,
    raw: bool = False,
    plot: Path | None = None,
    times: str | None = None,
) -> Outputs:
    """Plan and check the outputs of a call. bundle, texts: the voice and the list that it reads, if any.

    Raises RequestError, before anything is computed, for outputs that cannot be written, that contradict each other, or
    that would replace each other, the list or a file of the bundle.
    """
    from ...runtime.errors import RequestError
    from ...runtime.files import check_writable
    from ...runtime.output.formats import choose_format, format_of

    is_list = texts is not None
    is_folder = is_list and not stream and (output is None or format_of(output) is None or output.is_dir())
    output = output or Path("speech" if is_folder else f"speech.{audio_format.value if audio_format else 'wav'}")
    times_path = None if times is None else _plan_times(times, is_folder)
    if str(output) == "-" and not stream:
        raise RequestError("-o -: standard output needs --stream")
    written = {
        "-o": None if str(output) == "-" else output,
        "--plot": plot,
        "--timestamps": None if is_folder else times_path,
    }
    for option, path in written.items():
        if path is not None:
            check_writable(path, option, is_folder if option == "-o" else is_list and option == "--plot")
            _check_apart(option, path, bundle, texts)
    if plot is not None:
        from ...runtime.output.plot import check_plot

        check_plot(plot / "1.png" if is_list else plot)
    for option, path in (("--plot", None if is_list else plot), ("--timestamps", written["--timestamps"])):
        if path is not None and _resolve(path) == _resolve(output):
            raise RequestError(f"{path}: is the output of -o too; give another place with {option}")
    wanted: AudioFormat | None = None if audio_format is None else audio_format.value
    if raw and (wanted or output.suffix.lower() not in RAW_SUFFIXES):
        what = f"--audio-format {wanted}" if wanted else str(output)
        raise RequestError(f"--raw: writes samples without a header, which {what} promises; name the file .pcm")
    chosen = "wav" if raw else choose_format(Path() if is_folder else output, wanted, "--audio-format")
    wav_format: WavFormat | None = None if wav is None else wav.value
    if wav_format is not None and chosen != "wav":
        raise RequestError(f"--wav {wav_format}: has no effect on {chosen}; leave it out, or write a .wav file")
    return Outputs(
        path=output,
        is_folder=is_folder,
        audio_format=chosen,
        wav_format=wav_format or "int16",
        raw=raw,
        plot=plot,
        plots_are_in_folder=is_list,
        times=times_path,
    )


def _check_apart(option: str, path: Path, bundle: Path | None, texts: Path | None) -> None:
    """Raise RequestError if the output is in the bundle's folder, or is the list that is read."""
    from ...runtime.bundle.reading import MANIFEST_NAME
    from ...runtime.errors import RequestError

    if bundle is not None and (bundle / MANIFEST_NAME).is_file():
        resolved, inside = _resolve(path), _resolve(bundle)
        if resolved == inside or inside in resolved.parents:
            raise RequestError(f"{path}: lies in the bundle {bundle}; give another place with {option}")
    if texts is not None and texts.is_file() and path.is_file() and path.samefile(texts):
        raise RequestError(f"{path}: is what -i reads; give another place with {option}")


def _plan_times(times: str, is_folder: bool) -> Path:
    """Return the file of --timestamps; for a folder a suffix. Raises RequestError for an unknown format."""
    from ...runtime.errors import RequestError
    from ...runtime.output.subtitles import check_times_format

    path = Path("." + times.removeprefix(".")) if is_folder else Path(times)
    if is_folder and ("/" in times or Path(f"x{path}").stem != "x"):
        raise RequestError(f"--timestamps: each line gets a file beside its audio; give json, srt or vtt, not {times}")
    check_times_format(str(path) if is_folder else path.suffix, "--timestamps")
    return path
