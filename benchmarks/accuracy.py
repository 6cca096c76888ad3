"""How far each precision's speech lies from PyTorch computed in float64, on the same noise.

    python benchmarks/accuracy.py -o benchmarks/results/accuracy-demo.json

The decoder feeds on itself, so rounding grows along a sentence; PyTorch's own float32 stands beside ours. Word-level
intelligibility, which is what matters where the timing drifts, is tests/test_speech.py's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.export.bundle import export_onnx
from tacoglow.export.parity import Reference
from tacoglow.export.voice import DEMO_FOLDER, read_voice_file
from tacoglow.models import Denoiser, load_tacotron2, load_waveglow
from tacoglow.runtime.manifest import Precision
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions

SENTENCES = (
    "No.",
    "Speak to me.",
    "Hello world, I missed you.",
    "The prisoner had nothing to deal with but wooden panels.",
    "It was a bright cold day in April, and the clocks were striking.",
    "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle.",
)
SEEDS = (0, 1)


def row(mel: NDArray[np.float32], exact: NDArray[np.float32]) -> dict[str, Any]:
    """Against the float64 mel, over the frames that both have: frames, first quarter's and whole's mean error."""
    frames = min(mel.shape[1], exact.shape[1])
    error = np.abs(mel[:, :frames] - exact[:, :frames])
    return {
        "frames": mel.shape[1],
        "mean_error_first_quarter": float(error[:, : max(1, frames // 4)].mean()),
        "mean_error": float(error.mean()),
    }


@torch.inference_mode()
def measure(voices: dict[str, Synthesizer], reference: Reference) -> list[dict[str, Any]]:
    rows = []
    for text in SENTENCES:
        for seed in SEEDS:
            synthesizer, noise = voices["fp32"], Noise(seed)
            ids, limit = synthesizer.front_end.encode(text), synthesizer.manifest.decoder.max_frames
            exact, exact_frames = reference.mel(ids, noise, limit, torch.float64)
            target = exact[0, :, :exact_frames].numpy()
            mel, frames = reference.mel(ids, noise, limit)
            result = {"PyTorch float32": row(mel[0, :, :frames].numpy(), target)}
            for name, voice in voices.items():
                result[name] = row(voice.speak_ids([ids], [noise], SpeechOptions())[0].mel, target)
            rows.append({"text": text, "seed": seed, "frames": exact_frames, "results": result})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["results"])
    lines = ["| text | frames | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for entry in rows:
        cells = [
            f"{r['frames'] - entry['frames']:+d}; {r['mean_error_first_quarter']:.1e}; {r['mean_error']:.1e}"
            for r in entry["results"].values()
        ]
        lines.append(f"| {entry['text'][:32]} | {entry['frames']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    tacotron2, waveglow = load_tacotron2(DEMO_FOLDER / "tacotron2.pt"), load_waveglow(DEMO_FOLDER / "waveglow.pt")
    voice_file = read_voice_file(DEMO_FOLDER / "voice.json")
    with tempfile.TemporaryDirectory() as folder:
        voices = {}
        for precision in get_args(Precision):
            export_onnx(tacotron2, waveglow, Path(folder) / precision, precision, voice_file)
            voices[precision] = Synthesizer.load(Path(folder) / precision, "onnxruntime")
        rows = measure(voices, Reference(tacotron2, waveglow, Denoiser(waveglow)))
    print(table(rows))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
