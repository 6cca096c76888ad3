"""Saves what was synthesized, and describes it: the line on standard error, and the entry in --json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import print_status

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.output.audio import Audio
    from ...runtime.output.timestamps import TimedText
    from ...runtime.stream import SpeechStream
    from ...runtime.synthesizer import Synthesizer
    from .outputs import Outputs


def save_audio(synthesizer: Synthesizer, audio: Audio, outputs: Outputs, name: str, options: SpeechOptions) -> None:
    """Write the audio file, and the plot if there is a path for it. name: of the files, where there are several."""
    path = outputs.audio_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.save(path, outputs.wav_format, outputs.audio_format)
    save_plot_of(synthesizer, audio, outputs.plot_path(name), options)
    if (times_path := outputs.times_path(name)) is not None:
        save_times(times_path, audio.words, audio.characters)
    print_status(f"{path}: {audio.seconds:.2f} s of audio in {sum(audio.timings.values()):.2f} s")


def save_plot_of(synthesizer: Synthesizer, audio: Audio, path: Path | None, options: SpeechOptions) -> None:
    if path is not None:
        from ...runtime.output.plot import save_plot

        path.parent.mkdir(parents=True, exist_ok=True)
        save_plot(audio, path, synthesizer.manifest, options.gate_threshold)


def save_times(path: Path, words: Sequence[TimedText], characters: Sequence[TimedText]) -> None:
    """Write the times of words into a file of the format that its suffix names."""
    from ...runtime.files import atomic_write
    from ...runtime.output.subtitles import check_times_format, encode_times

    times_format = check_times_format(path.suffix, "--timestamps")
    atomic_write(path, encode_times(words, characters, times_format).encode())


def audio_report(text: str, path: Path, audio: Audio, seed: int) -> dict[str, Any]:
    compute = sum(audio.timings.values())
    return {
        "text": text,
        "file": str(path),
        "seed": seed,
        "audio_seconds": audio.seconds,
        "sampling_rate": audio.sampling_rate,
        "frames": [utterance.mel.shape[1] for utterance in audio.utterances],
        "stop_reason": audio.stop_reason,
        "stop_reasons": [utterance.stop_reason for utterance in audio.utterances],
        "seconds": {stage: round(seconds, 6) for stage, seconds in audio.timings.items()},
        "rtf": audio.seconds / compute if compute else None,
    }


def stream_report(text: str, path: Path, stream: SpeechStream, seed: int, seconds: float) -> dict[str, Any]:
    """Describe a stream that has ended. seconds: how long it took, with what its reader made it wait."""
    audio_seconds = stream.position / stream.sampling_rate
    return {
        "text": text,
        "file": str(path),
        "seed": seed,
        "audio_seconds": audio_seconds,
        "sampling_rate": stream.sampling_rate,
        "stop_reasons": stream.stop_reasons,
        "seconds": {"stream": round(seconds, 6)},
        "rtf": audio_seconds / seconds,
    }
