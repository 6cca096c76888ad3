"""Compares the cold start of C++ and Python: a new process per run, in turn, up to a wav file of a few frames.

python tools/pages/cold_start.py voice/ build/cpp/speak -o benchmarks/results/cold-start-demo.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tacoglow.benchmarks.conditions import conditions
from tacoglow.runtime.backends.base import usable_cores
from tacoglow.runtime.bundle.reading import load_manifest

TEXT = "Hello world."
FRAMES = 8  # decoded and vocoded
PYTHON = """
import sys, warnings
warnings.simplefilter("ignore")
from tacoglow import Synthesizer
from tacoglow.runtime.options import SpeechOptions
options = SpeechOptions(max_frames=int(sys.argv[3]))
Synthesizer.load(sys.argv[1], "onnxruntime").say(sys.argv[2], options=options).save(sys.argv[4])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("speak", type=Path, help="the C++ example, built in Release mode")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")
    given = parser.parse_args()
    place = conditions(usable_cores(), None)
    with tempfile.TemporaryDirectory() as folder:
        wav = str(Path(folder) / "out.wav")
        limits = ["--max-frames", str(FRAMES), "--backend", "onnxruntime", "-o", wav]
        commands = {
            "C++": [str(given.speak), str(given.bundle), "--text", TEXT, *limits],
            "Python": [sys.executable, "-c", PYTHON, str(given.bundle), TEXT, str(FRAMES), wav],
        }
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for i in range(given.runs + 1):
            for name, command in commands.items():
                times = time_process(command)
                if i > 0:  # the first run reads the files from the disk
                    runs[name].append(times)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in runs.items()}
    result = {
        "voice": load_manifest(given.bundle).voice.name,
        "conditions": place,
        "runs": given.runs,
        "frames": FRAMES,
        "seconds": {name: {"wall": round(wall, 3), "cpu": round(cpu, 3)} for name, (wall, cpu) in medians.items()},
        "wall_ratio": round(medians["C++"][0] / medians["Python"][0], 2),
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if given.output:
        given.output.write_text(text)


def time_process(command: list[str]) -> tuple[float, float]:
    """Run a command; return its wall time and its CPU time, in seconds. Raises CalledProcessError."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
