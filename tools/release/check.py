"""`make release-check`: builds everything that a release has into dist/, and uses it as its users would.

    python -m tacoglow.tools.release.check [--tag v0.1.0] [STEP …]

Steps run in the order below, each with what the ones before it left; those of PYTHONS beside those of ARCHIVES, because
pip keeps one core busy. A failure ends the check with one line, once the step beside it has ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from .archives import ARM, WINDOWS, X86_64, build_archive
from .charts import check_chart
from .demo_voice import check_demo_voice, leave_out_released
from .gates import GateError, check_gates
from .installs import measure_cpu, run_readme, speak_everywhere
from .manifests import check_manifests
from .packages import build_demo_voice, build_packages, write_checksums
from .steps import DEMO, ROOT, Folders, StepError, run

TESTS = ("tests/text", "tests/models", "tests/export", "tests/runtime", "tests/cli", "tests/test_package.py")
VENV = os.environ.get("VENV", ".venv")  # make's variable


def run_tests(folders: Folders) -> str:
    """Run the source archive's own tests that need no C++, on the archive's code."""
    python = ROOT / VENV / "bin" / "python"
    if not python.exists():
        raise StepError(f"{python}: not found; make {VENV}/test.ready")
    names = folders.source / ".tools"
    names.mkdir(exist_ok=True)
    for package, place in (("tacoglow", folders.source), ("tacoglow_demo_voice", DEMO)):  # as if both were installed
        (names / package).unlink(missing_ok=True)
        (names / package).symlink_to(place)
    options = ("-q", "-m", "not (slow or engines or builds or gpu or full)", "-p", "no:cacheprovider", "-n", "2")
    printed = run(python, "-m", "pytest", *options, *TESTS, cwd=folders.source, PYTHONPATH=str(names))
    return printed.splitlines()[-1]


Step = Callable[[Folders], str]
FIRST: dict[str, Step] = {
    "manifests": check_manifests,
    "chart": check_chart,
    "packages": build_packages,
    "tests": run_tests,
    "demo": lambda folders: build_demo_voice(folders, None),
    "readme": run_readme,
}
PYTHONS: dict[str, Step] = {
    "demo-voice": lambda folders: build_demo_voice(folders, folders.voice),
    "cpu": measure_cpu,
    "pythons": speak_everywhere,
}
ARCHIVES: dict[str, Step] = {
    "x86_64": lambda folders: build_archive(folders, X86_64),
    "aarch64": lambda folders: build_archive(folders, ARM),
    "windows": lambda folders: build_archive(folders, WINDOWS),
}
LAST: dict[str, Step] = {"demo-release": leave_out_released, "checksums": write_checksums}
STEPS = {**FIRST, **PYTHONS, **ARCHIVES, **LAST}


def run_steps(folders: Folders, wanted: Collection[str]) -> None:
    """Run the wanted steps. Raises GateError or StepError for the first one that fails."""
    has_failed = Event()

    def run_some(steps: dict[str, Step]) -> None:
        for name, step in steps.items():
            if name not in wanted or has_failed.is_set():
                continue
            begin = time.monotonic()
            try:
                found = step(folders)
            except Exception:
                has_failed.set()
                raise
            print(f"{name}: {found} [{time.monotonic() - begin:.0f} s]\n", end="", flush=True)

    run_some(FIRST)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(run_some, steps) for steps in (PYTHONS, ARCHIVES)]:
            done.result()
    run_some(LAST)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; default: all")
    parser.add_argument("--tag", default="", help="tag of the release, which must be the version's; default: none")
    arguments = parser.parse_args()
    unknown = set(arguments.steps) - set(STEPS)
    if unknown:
        parser.error(f"unknown step {', '.join(sorted(unknown))}; choose from {', '.join(STEPS)}")
    folders = Folders(ROOT / "dist", ROOT / "build" / "release")
    folders.work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        version = check_gates(ROOT, arguments.tag)
        check_demo_voice(ROOT)
        print(f"gates: {version}, {arguments.tag or 'not tagged'}", flush=True)
        run_steps(folders, arguments.steps or STEPS)
    except (GateError, StepError) as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    print(f"done, after {(time.monotonic() - start) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
