"""One day on a GPU machine in one command: every check and every figure, each in a time box.

    python3 tools/gpu/day.py                                   # make gpu: both parts, in one environment
    python3 tools/gpu/day.py --part a --results $OUT           # without TensorRT
    python3 tools/gpu/day.py --part b --results $OUT \\
        --trt-python "bash -c '. /opt/tensorrt/env.sh; trt-python \\"$@\\"' -"

Part a needs a Python with PyTorch, cuda-core, NVRTC and the dependencies of tacoglow; part b also one with TensorRT,
which may be another. A step that fails costs only the steps that need it. Each has a process of its own, and writes
its figures to OUT/NAME.json one by one, beside OUT/NAME.log. After each step RESULTS/day-PART.tar.gz is written again:
one small file to carry home. Exit code 1 if a step failed, or none passed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 10.5  # of the 14 that a machine is had for: starting it, sending TensorRT and unpacking it take the others
KEPT_BYTES = 128 << 10  # of a log in the archive, from its end

Part = Literal["a", "b"]


@dataclass(frozen=True)
class Step:
    name: str
    part: Part
    box: int  # seconds
    arguments: tuple[str, ...]  # of tools/gpu/steps.py
    needs: tuple[str, ...] = ()  # steps without whose success this one is skipped
    on_tensorrt: bool = False  # runs under --trt-python


def step(part: Part, box: int, name: str, *arguments: str, needs: str = "", on_tensorrt: bool = False) -> Step:
    return Step(name, part, box, arguments or (name,), tuple(needs.split()), on_tensorrt)


# In order: what is unknown and needs least comes first, and what may take a GPU down with it comes last.
STEPS = (
    step("a", 15, "facts"),
    step("a", 15, "stream"),
    step("a", 15, "invalid-capture"),
    step("a", 20, "noise"),
    step("a", 25, "fused-small"),
    step("a", 70, "fused-nvidia"),
    step("a", 20, "fused-phases"),
    step("a", 65, "pytorch"),
    step("a", 15, "memcheck", "sanitize", "--tool", "memcheck", needs="fused-small"),
    step("a", 15, "racecheck", "sanitize", "--tool", "racecheck", needs="fused-small"),
    step("b", 10, "facts-tensorrt", "facts", on_tensorrt=True),
    step("b", 45, "export-nvidia", "export", "--voice", "nvidia"),
    step("b", 50, "engines", "engines", "--voice", "nvidia", needs="facts-tensorrt export-nvidia", on_tensorrt=True),
    step("b", 35, "frames", "frames", "--voice", "nvidia", needs="engines", on_tensorrt=True),
    step("b", 55, "vocoder-engine", "engines", "--voice", "nvidia", "--vocoder", needs="engines", on_tensorrt=True),
    step("b", 10, "samples", "samples", "--voice", "nvidia", needs="vocoder-engine", on_tensorrt=True),
    step("b", 20, "totals", "totals", "--voice", "nvidia", needs="vocoder-engine", on_tensorrt=True),
    step("b", 25, "accuracy", "accuracy", "--voice", "nvidia", needs="engines", on_tensorrt=True),
    step("b", 20, "export-demo", "export", "--voice", "demo"),
    step("b", 60, "graphs", "graphs", "--voice", "demo", needs="facts-tensorrt export-demo", on_tensorrt=True),
    step("b", 25, "cpp", "cpp", "--voice", "demo", needs="graphs", on_tensorrt=True),
)


@dataclass
class Outcome:
    name: str
    status: str  # passed, failed, timed out, skipped
    seconds: float = 0.0
    line: str = ""  # the last line of the log


@dataclass(frozen=True)
class Pythons:
    """The commands that run steps, and the PYTHONPATH of each beside this checkout."""

    torch: Sequence[str] = (sys.executable,)
    tensorrt: Sequence[str] = (sys.executable,)
    torch_path: str = ""
    tensorrt_path: str = ""

    def command(self, step: Step) -> Sequence[str]:
        return self.tensorrt if step.on_tensorrt else self.torch

    def environment(self, step: Step, package: Path) -> dict[str, str]:
        inherited = dict(os.environ)
        if list(self.command(step)) != [sys.executable]:
            inherited = without_python_home(inherited)
        own = self.tensorrt_path if step.on_tensorrt else self.torch_path
        changes = {"PYTHONPATH": os.pathsep.join(filter(None, [str(package), own]))}
        return inherited | changes | {"XDG_CACHE_HOME": str(package.parent / "cache")}  # for engines and kernels


def without_python_home(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop what is set for one Python alone: another ends at its start with the first one's library."""
    changed = dict(environment)
    home = changed.pop("PYTHONHOME", None)
    if home is not None:
        folders = changed.get("LD_LIBRARY_PATH", "").split(os.pathsep)
        changed["LD_LIBRARY_PATH"] = os.pathsep.join(f for f in folders if not Path(f).is_relative_to(home))
    return changed


def run(step: Step, out: Path, command: Sequence[str], environment: Mapping[str, str], limit: float) -> Outcome:
    """Run a step in its time box, and end every process that it leaves behind."""
    begin, log = time.monotonic(), out / f"{step.name}.log"
    with log.open("wb") as sink:
        try:
            process = subprocess.Popen(
                command, stdout=sink, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        except OSError as error:
            return Outcome(step.name, f"failed ({error.strerror})")
        try:
            code = process.wait(min(step.box, limit))
            status = "passed" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            status = "timed out"
        finally:
            with suppress(ProcessLookupError):  # its children too: they would falsify what is measured next
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = log.read_text(errors="replace").strip().splitlines()
    return Outcome(step.name, status, round(time.monotonic() - begin, 1), lines[-1][:200] if lines else "")


def link_package(out: Path) -> Path:
    """Make a folder in which this checkout is importable as `tacoglow`, for machines where it is not installed."""
    folder = out / "package"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "tacoglow"
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    return folder


def pack(out: Path, archive: Path) -> None:
    """Write the logs' ends and all figures, in place of an earlier archive once this one is complete."""
    partial = archive.with_suffix(".part")
    with tarfile.open(partial, "w:gz") as tar:
        for path in sorted(path for path in out.iterdir() if path.suffix in (".json", ".log", ".txt")):
            content = path.read_bytes()[-KEPT_BYTES:]
            entry = tarfile.TarInfo(path.name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    partial.replace(archive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-day"), help="folder for bundles, logs and figures")
    parser.add_argument("--results", type=Path, help="folder for the archive of logs and figures; default: OUT")
    parser.add_argument("--part", choices=["a", "b"], nargs="*", default=["a", "b"], help="a needs no TensorRT")
    parser.add_argument(
        "--only",
        nargs="*",
        choices=[entry.name for entry in STEPS],
        metavar="STEP",
        help="run these steps, and take what they need as done",
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time box of all steps together")
    parser.add_argument("--torch-python", default=sys.executable, help="command of the Python with PyTorch and NVRTC")
    parser.add_argument("--torch-path", default=os.environ.get("PYTHONPATH", ""), help="its PYTHONPATH")
    parser.add_argument("--trt-python", default=sys.executable, help="command of the Python with TensorRT")
    parser.add_argument("--trt-path", default="", help="its PYTHONPATH")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, for a machine without a GPU")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    package, end = link_package(out), time.monotonic() + 60 * arguments.minutes
    results = (arguments.results or out).resolve()
    pythons = Pythons(
        shlex.split(arguments.torch_python), shlex.split(arguments.trt_python), arguments.torch_path, arguments.trt_path
    )
    outcomes: list[Outcome] = []
    passed: set[str] = set()
    for entry in STEPS:
        if entry.part not in arguments.part or (arguments.only and entry.name not in arguments.only):
            passed.add(entry.name)
            continue
        missing = [name for name in entry.needs if name not in passed]
        left = end - time.monotonic()
        if missing or left < 1:
            reason = f"needs {', '.join(missing)}" if missing else "no time is left"
            outcome = Outcome(entry.name, "skipped", line=reason)
        else:
            module = ["-m", "tacoglow.tools.gpu.steps", *entry.arguments, "--out", str(out), "--name", entry.name]
            command = [*pythons.command(entry), *module, *(["--rehearse"] if arguments.rehearse else [])]
            outcome = run(entry, out, command, pythons.environment(entry, package), left)
        if outcome.status == "passed":
            passed.add(entry.name)
        outcomes.append(outcome)
        print(f"{outcome.name:16} {outcome.status:12} {outcome.seconds:7.1f} s  {outcome.line}", flush=True)
        (out / "summary.json").write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
        pack(out, results / f"day-{''.join(arguments.part)}.tar.gz")
    statuses = {outcome.status for outcome in outcomes}
    sys.exit(0 if "passed" in statuses and statuses <= {"passed", "skipped"} else 1)


if __name__ == "__main__":
    main()
