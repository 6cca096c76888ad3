"""One step of the day on a GPU, in this process: python -m tacoglow.tools.gpu.steps STEP --out OUT --name NAME

day.py has the table of steps. A step prints its figures and writes them to OUT/NAME.json; an exception is a failure.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from .figures import REHEARSAL, Context, Figures, Sizes

# The module of each step, which has a function of its name; each imports no more than it needs.
MODULES = {
    "facts": "device",
    "stream": "device",
    "invalid-capture": "device",
    "noise": "device",
    "fused-small": "fused",
    "fused-nvidia": "fused",
    "fused-phases": "fused",
    "sanitize": "fused",
    "pytorch": "pytorch",
    "export": "pytorch",
    "engines": "engines",
    "frames": "stages",
    "samples": "stages",
    "totals": "stages",
    "accuracy": "correctness",
    "graphs": "correctness",
    "cpp": "correctness",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=MODULES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", help="of the step in the day, and of its files")
    parser.add_argument("--voice", choices=["nvidia", "demo"], default="nvidia")
    parser.add_argument("--vocoder", action="store_true", help="build the vocoder's engine, and no other")
    parser.add_argument("--tool", default="memcheck", help="of compute-sanitizer")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = arguments.name or arguments.step
    sizes = REHEARSAL if arguments.rehearse else Sizes()
    context = Context(name, arguments.out, sizes, arguments.voice, arguments.vocoder, arguments.tool)
    figures = Figures(arguments.out / f"{name}.json")
    module = importlib.import_module(f".{MODULES[arguments.step]}", __package__)
    getattr(module, arguments.step.replace("-", "_"))(context, figures)
    print(f"{name}: {len(figures)} figures")


if __name__ == "__main__":
    main()
