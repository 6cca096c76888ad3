"""What a stream's context costs and brings: signal-to-error ratio, time to first audio, time to the whole.

    python benchmarks/streaming.py -o benchmarks/results/streaming-demo.json --plot docs/streaming.png

One long utterance of the demo voice, spoken whole and as a stream with ever more context, in turn, on this machine.
The error is the stream against the whole on the same noise, in decibels; 60 dB is below what int16 speech lets one
hear. With WaveGlow's whole receptive field it is float32's rounding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tacoglow import Synthesizer
from tacoglow.benchmarks.speed import conditions
from tacoglow.export.bundle import export_onnx
from tacoglow.export.voice import DEMO_FOLDER, read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow

TEXT = (
    "The passage of the crowd, and the long delay at the gate, had made the old man tired and cold; he sat down upon "
    "the step, and waited there for the morning, while the lamps went out one by one."
)
CONTEXTS = (0, 2, 4, 8, 12, 16, 24, None)


def measure(voice: Synthesizer, rounds: int) -> dict[str, Any]:
    whole_seconds = [_timed_whole(voice)[1] for _ in range(rounds + 1)][1:]
    whole = _timed_whole(voice)[0]
    rows = []
    for context in CONTEXTS:
        runs = [_timed_stream(voice, context) for _ in range(rounds)]
        error = runs[0][0] - whole
        power, noise = float((whole.astype(np.float64) ** 2).mean()), float((error.astype(np.float64) ** 2).mean())
        rows.append(
            {
                "context_frames": context,
                "signal_to_error_db": 10 * np.log10(power / max(noise, 1e-20)),
                "first_audio_seconds": statistics.median(first for _, first, _ in runs),
                "seconds": statistics.median(total for _, _, total in runs),
            }
        )
    rate = voice.manifest.audio.sampling_rate
    return {"audio_seconds": len(whole) / rate, "whole_seconds": statistics.median(whole_seconds), "streams": rows}


def _timed_whole(voice: Synthesizer) -> tuple[np.ndarray[Any, np.dtype[np.float32]], float]:
    start = time.perf_counter()
    samples = voice.say(TEXT).samples
    return samples, time.perf_counter() - start


def _timed_stream(
    voice: Synthesizer, context: int | None
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], float, float]:
    """Samples, seconds to the first chunk, seconds to the last."""
    start = time.perf_counter()
    stream = voice.stream(TEXT, context_frames=context)
    chunks = [next(stream)]
    first = time.perf_counter() - start
    chunks += stream
    return np.concatenate(chunks), first, time.perf_counter() - start


def table(report: dict[str, Any], receptive_field: tuple[int, int]) -> str:
    lines = ["| context frames | signal to error | first audio | time to the whole |", "|---|---|---|---|"]
    for row in report["streams"]:
        context = row["context_frames"]
        name = f"all: {receptive_field[0]} before, {receptive_field[1]} after" if context is None else str(context)
        lines.append(
            f"| {name} | {row['signal_to_error_db']:.0f} dB | {row['first_audio_seconds'] * 1000:.0f} ms "
            f"| {row['seconds']:.2f} s |"
        )
    lines.append(f"| (not streamed) | – | {report['whole_seconds'] * 1000:.0f} ms | {report['whole_seconds']:.2f} s |")
    return "\n".join(lines)


def plot(report: dict[str, Any], receptive_field: tuple[int, int], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = report["streams"]
    contexts = [max(receptive_field) if row["context_frames"] is None else row["context_frames"] for row in rows]
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6))
    axes[0].plot(contexts, [row["signal_to_error_db"] for row in rows], "o-")
    axes[0].set(ylabel="signal to error, dB")
    axes[1].plot(contexts, [1000 * row["first_audio_seconds"] for row in rows], "o-")
    axes[1].set(ylabel="time to first audio, ms", ylim=(0, None))
    axes[2].plot(contexts, [row["seconds"] for row in rows], "o-", label="streamed")
    axes[2].axhline(report["whole_seconds"], linestyle="--", color="grey", label="not streamed")
    axes[2].axhline(report["audio_seconds"], linestyle=":", color="black", label="the audio's own length")
    axes[2].set(ylabel="time to the whole, s", ylim=(0, None))
    axes[2].legend()
    for axis in axes:
        axis.set(xlabel="context, mel frames to either side")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--plot", type=Path, help="picture of the figures")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"conditions": conditions(arguments.rounds, 0)}
    with tempfile.TemporaryDirectory() as folder:
        models = load_tacotron2(DEMO_FOLDER / "tacotron2.pt"), load_waveglow(DEMO_FOLDER / "waveglow.pt")
        export_onnx(*models, Path(folder) / "voice", voice=read_voice_file(DEMO_FOLDER / "voice.json"))
        voice = Synthesizer.load(Path(folder) / "voice", "onnxruntime")
        report |= measure(voice, arguments.rounds)
    field = voice.manifest.vocoder.frames_before, voice.manifest.vocoder.frames_after
    print(f"{report['audio_seconds']:.1f} s of audio")
    print(table(report, field))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plot is not None:
        plot(report, field, arguments.plot)


if __name__ == "__main__":
    main()
