"""One day on a GPU machine in one command: every check and every figure, each time-boxed, going on after a failure.

    python tools/gpu/day.py --out gpu-day            # make gpu
    python tools/gpu/day.py --out gpu-day --torch-python python3 --only speech bench

It runs under any Python 3.10 or newer that has the runtime and TensorRT; PyTorch may be in another one
(--torch-python), which exports the bundles and measures PyTorch. Every step writes OUT/NAME.log and OUT/NAME.json; the
summary is printed, and written to OUT/summary.json. Exit code 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRECISIONS = ("fp16", "fp32")
PYTEST = ["-m", "pytest", "-m", "gpu", "-ra", "--durations=10"]


@dataclass(frozen=True)
class Step:
    name: str
    seconds: int  # time box
    command: list[str]
    needs: tuple[str, ...] = ()  # steps without whose success this one is skipped
    uses_torch: bool = False  # runs under --torch-python


@dataclass
class Outcome:
    name: str
    status: str  # passed, failed, timed out, skipped
    seconds: float = 0.0
    line: str = ""  # the last line of the log


def plan(out: Path) -> list[Step]:
    """List the day's steps in order; those that tell most come first."""
    bundles = out / "bundles"
    module = ["-m", "tacoglow.tools.gpu.steps"]
    demo, nvidia = bundles / "demo-fp16", bundles / "nvidia-fp16"

    def step(name: str, seconds: int, *arguments: object, needs: tuple[str, ...] = ()) -> Step:
        return Step(name, seconds, [*module, name, "--out", str(out), *map(str, arguments)], needs)

    def cli(*arguments: object) -> list[str]:
        return ["-c", "from tacoglow.cli import main; main()", *map(str, arguments)]

    steps = [
        Step("doctor", 30, cli("doctor")),
        step("stream", 60),
        step("invalid-capture", 60),
        Step("export-demo", 150, [*module, "export", "--out", str(out), "--voice", "demo"], uses_torch=True),
        step("engines", 180, "--bundle", demo, needs=("export-demo",)),
        step("layers", 60, "--bundle", demo, needs=("engines",)),
        step("vocoder-engines", 240, "--bundle", demo, needs=("export-demo",)),
        Step("pytest", 400, [*PYTEST, str(ROOT / "tests" / "gpu")], ("vocoder-engines",)),
        Step("export-nvidia", 240, [*module, "export", "--out", str(out), "--voice", "nvidia"], uses_torch=True),
        step("nvidia-engines", 400, "--bundle", nvidia, needs=("export-nvidia",)),
        step("times", 120, "--bundle", nvidia, needs=("nvidia-engines",)),
        step("fused", 300, "--bundle", nvidia, needs=("nvidia-engines",)),
        step("cpp", 180, "--bundle", demo, needs=("vocoder-engines",)),
    ]
    workload = ["--frames", 600, "--tokens", 128]
    for precision in PRECISIONS:
        bundle, figures = bundles / f"nvidia-{precision}", out / f"bench-{precision}.json"
        command = cli("bench", bundle, *workload, "--backend", "tensorrt", "-o", figures)
        steps.append(Step(f"bench-{precision}", 240, command, ("export-nvidia",)))
    # PyTorch on the same GPU; the bundle on ONNX Runtime is only there to be compared with.
    pytorch = cli("bench", "--dims", "nvidia", *workload, "--backend", "onnxruntime", "-o", out / "bench-pytorch.json")
    return [*steps, Step("bench-pytorch", 300, pytorch, uses_torch=True)]


def run(step: Step, python: str, out: Path, environment: dict[str, str], limit: float) -> Outcome:
    begin = time.monotonic()
    log = out / f"{step.name}.log"
    with log.open("wb") as sink:
        try:
            done = subprocess.run(
                [python, *step.command],
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=out,
                env=environment,
                timeout=min(step.seconds, limit),
                check=False,
            )
            status = "passed" if done.returncode == 0 else f"failed ({done.returncode})"
        except subprocess.TimeoutExpired:
            status = "timed out"
        except OSError as error:
            status = f"failed ({error.strerror})"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-day"), help="folder for logs, figures and bundles")
    parser.add_argument("--torch-python", default=sys.executable, help="Python with PyTorch and onnx")
    parser.add_argument("--torch-path", default="", help="PYTHONPATH for --torch-python, beside this checkout")
    parser.add_argument("--minutes", type=float, default=20.0, help="time box of the whole day")
    parser.add_argument("--only", nargs="*", help="run these steps, and take what they need as done")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    package = link_package(out)
    end = time.monotonic() + 60 * arguments.minutes
    inherited = os.environ.get("PYTHONPATH", "")
    outcomes: list[Outcome] = []
    passed: set[str] = set()
    for step in plan(out):
        if arguments.only and step.name not in arguments.only:
            passed.add(step.name)
            continue
        missing = [name for name in step.needs if name not in passed]
        left = end - time.monotonic()
        if missing or left < 1:
            reason = f"needs {', '.join(missing)}" if missing else "no time is left"
            outcome = Outcome(step.name, "skipped", line=reason)
        else:
            own = arguments.torch_path if step.uses_torch else inherited
            path = os.pathsep.join(filter(None, [str(package), own]))
            environment = os.environ | {"PYTHONPATH": path, "TACOGLOW_GPU_BUNDLES": str(out / "bundles")}
            python = arguments.torch_python if step.uses_torch else sys.executable
            outcome = run(step, python, out, environment, left)
        if outcome.status == "passed":
            passed.add(step.name)
        outcomes.append(outcome)
        print(f"{outcome.name:16} {outcome.status:12} {outcome.seconds:7.1f} s  {outcome.line}", flush=True)
        (out / "summary.json").write_text(json.dumps([asdict(entry) for entry in outcomes], indent=1) + "\n")
    sys.exit(any(outcome.status not in ("passed", "skipped") for outcome in outcomes))


if __name__ == "__main__":
    main()
