"""How fast a voice speaks here: ONNX Runtime over the exported bundle beside PyTorch eager over the same weights.

    python benchmarks/speed.py                                   # the demo voice; prints a table
    python benchmarks/speed.py -o benchmarks/results/cpu.json    # and keeps the figures with their conditions

Both speak the same sentences from the same noise, in turn, so that a noisy machine disturbs both alike; loading and
one warm-up of each are left out. RTF is audio seconds per compute second: 2 is twice real time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.export.bundle import export_onnx
from tacoglow.export.parity import Reference
from tacoglow.export.voice import DEMO_FOLDER, read_voice_file
from tacoglow.models import Denoiser, load_tacotron2, load_waveglow
from tacoglow.runtime.noise import Noise

README = Path(__file__).parents[1] / "README.md"
SENTENCES = (
    "The prisoner had nothing to deal with but wooden panels.",
    "Hello world, I missed you.",
    "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle.",
    "It was a bright cold day in April, and the clocks were striking.",
)
# Largest difference of the audio that is still timed. The decoder feeds on itself, so float32 rounding grows along a
# sentence: PyTorch itself ends as far from a float64 run of its own.
TOLERANCE = 2e-2


class Eager:
    """The PyTorch modules, run as their published inference script does: one step after the other, nothing folded."""

    def __init__(self, tacotron2: Path, waveglow: Path, synthesizer: Synthesizer) -> None:
        acoustic, vocoder = load_tacotron2(tacotron2), load_waveglow(waveglow)
        self.reference = Reference(acoustic, vocoder, Denoiser(vocoder))
        self.front_end = synthesizer.front_end
        self.manifest = synthesizer.manifest

    @torch.inference_mode()
    def say(self, text: str) -> tuple[NDArray[np.float32], dict[str, float]]:
        ids, noise = torch.tensor([self.front_end.encode(text)]), Noise(0)
        dropout = self.reference.dropout(noise, self.manifest.decoder.max_frames)
        start = time.perf_counter()
        mel, lengths, _ = self.reference.tacotron2.infer(ids, torch.tensor([ids.shape[1]]), dropout)
        middle = time.perf_counter()
        audio = self.reference.waveglow(mel, self.reference.z(noise, mel.shape[2]) * self.manifest.vocoder.sigma)
        end = time.perf_counter()
        samples = audio[0, : int(lengths[0]) * self.manifest.audio.hop_length].numpy()
        return samples, {"tacotron2": middle - start, "waveglow": end - middle}


def measure(synthesizer: Synthesizer, eager: Eager, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for text in SENTENCES:
        samples = synthesizer.say(text).samples
        expected, _ = eager.say(text)
        if len(samples) != len(expected) or np.abs(samples - expected).max() > TOLERANCE:
            raise SystemExit(f"not timed: the two do not say the same: {text!r}")
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(synthesizer.say(text).timings)
            theirs.append(eager.say(text)[1])
        seconds = len(samples) / synthesizer.manifest.audio.sampling_rate
        rows.append(
            {"text": text, "audio_seconds": seconds, "onnxruntime": _row(ours, seconds), "eager": _row(theirs, seconds)}
        )
    return rows


def _row(timings: list[dict[str, float]], audio_seconds: float) -> dict[str, Any]:
    totals = [sum(timing.values()) for timing in timings]
    return {
        "stages": {stage: statistics.median(timing[stage] for timing in timings) for stage in timings[0]},
        "seconds": {"p50": statistics.median(totals), "min": min(totals), "max": max(totals)},
        "rtf": audio_seconds / statistics.median(totals),
    }


def conditions(rounds: int, threads: int) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "load_average_before": os.getloadavg()[0],
        "rounds": rounds,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tacotron2", type=Path, default=DEMO_FOLDER / "tacotron2.pt")
    parser.add_argument("--waveglow", type=Path, default=DEMO_FOLDER / "waveglow.pt")
    parser.add_argument("--config", type=Path, default=DEMO_FOLDER / "voice.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--readme", action="store_true", help="also put the figures into README.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {"conditions": conditions(arguments.rounds, arguments.threads)}
    with tempfile.TemporaryDirectory() as folder:
        models = load_tacotron2(arguments.tacotron2), load_waveglow(arguments.waveglow)
        export_onnx(*models, Path(folder) / "voice", voice=read_voice_file(arguments.config))
        synthesizer = Synthesizer.load(Path(folder) / "voice", "onnxruntime", threads=arguments.threads)
        rows = measure(synthesizer, Eager(arguments.tacotron2, arguments.waveglow, synthesizer), arguments.rounds)
    report["sentences"] = rows
    totals = {
        who: sum(row["audio_seconds"] for row in rows) / sum(row[who]["seconds"]["p50"] for row in rows)
        for who in ("onnxruntime", "eager")
    }
    report["rtf"] = totals | {"ratio": totals["onnxruntime"] / totals["eager"]}
    for row in rows:
        print(
            f"{row['audio_seconds']:5.2f} s  onnxruntime RTF {row['onnxruntime']['rtf']:5.2f}  "
            f"PyTorch eager RTF {row['eager']['rtf']:5.2f}  {row['text']}"
        )
    print(f"all      onnxruntime RTF {totals['onnxruntime']:5.2f}  PyTorch eager RTF {totals['eager']:5.2f}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.readme:
        write_readme_table(report)


def write_readme_table(report: dict[str, Any]) -> None:
    """Put the figures between the README's marks."""
    where, rtf = report["conditions"], report["rtf"]
    lines = [
        f"| {where['cores']} cores of {where['cpu']}, {where['date']} | RTF |",
        "|---|---|",
        f"| tacoglow on ONNX Runtime {where['versions']['onnxruntime']} | {rtf['onnxruntime']:.2f} |",
        f"| PyTorch {where['versions']['torch']} eager, the same modules | {rtf['eager']:.2f} |",
        f"| ratio | {rtf['ratio']:.2f} |",
    ]
    text = README.read_text(encoding="utf-8")
    begin, end = text.index("<!-- speed:"), text.index("<!-- /speed -->")
    begin = text.index("\n", begin) + 1
    README.write_text(text[:begin] + "\n".join(lines) + "\n" + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
