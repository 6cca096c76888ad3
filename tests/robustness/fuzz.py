"""Runs the fuzz targets: cases are drawn by Hypothesis, or by atheris where it is installed.

    python -m tacoglow.tests.robustness.fuzz [TARGET …] [--minutes 60] [--cases N] [--seed N]
    python -m tacoglow.tests.robustness.fuzz TARGET --atheris -atheris_runs=100000 [CORPUS_FOLDER]

A target is a file fuzz_NAME.py of this folder, with `CASES`, a Hypothesis strategy, and `try_one(case)`, which raises
for a fault. Every case may take 5 s of processor time, and 1 GB of memory beyond what the process had at its start.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

MAX_SECONDS = 5.0  # of processor time per case
MAX_MEMORY = 1 << 30  # bytes per case
FROZEN_SECONDS = 120  # a case that not even a signal interrupts ends the run
BATCH = 500  # cases per call of Hypothesis, which slows down in long ones
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))


class SlowCaseError(Exception):
    """A case that takes too long. `_limited_time` fails even if the code that is tried catches this."""


def load_target(name: str) -> Any:
    return import_module(f"{__package__}.fuzz_{name}")


def run_cases(name: str, cases: int, first_seed: int) -> None:
    """Try a number of cases of a target. Raises what its try_one raises, or AssertionError beyond the limits."""
    target = load_target(name)
    for start in range(0, cases, BATCH):
        run = _hypothesis_test(target, min(BATCH, cases - start))
        seed(first_seed + start)(run)()


def _hypothesis_test(target: Any, cases: int) -> Callable[[], None]:
    before = _peak_memory()

    @settings(
        max_examples=cases,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.CASES)
    def test(case: Any) -> None:
        with _limited_time():
            target.try_one(case)
        assert _peak_memory() - before < MAX_MEMORY, "the case took too much memory"

    run: Callable[[], None] = test
    return run


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _limited_time() -> Iterator[None]:
    expired = False

    def interrupt(*_: object) -> None:
        nonlocal expired
        expired = True
        raise SlowCaseError

    signal.signal(signal.SIGPROF, interrupt)
    faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        assert not expired, f"the case took over {MAX_SECONDS} s"  # also if the code caught the exception


def fuzz_with_atheris(name: str, arguments: list[str]) -> None:
    """Let atheris choose the cases, guided by the coverage of the code that is tried."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional

    with atheris.instrument_imports(include=["tacoglow.models", "tacoglow.runtime", "tacoglow.text"]):
        target = load_target(name)
    test: Any = _hypothesis_test(target, 1)
    atheris.Setup([name, *arguments], getattr(target, "try_bytes", None) or test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all in turn")
    parser.add_argument("--minutes", type=float, default=60.0, help="of all targets together")
    parser.add_argument("--cases", type=int, help="of each target, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="further arguments are libFuzzer's")
    options, rest = parser.parse_known_args()
    targets = options.targets or TARGETS
    if options.atheris:
        return fuzz_with_atheris(targets[0], [*rest, *targets[1:]])
    warnings.simplefilter("ignore")
    end, tried, number = time.monotonic() + 60 * options.minutes, dict.fromkeys(targets, 0), options.seed
    try:
        while options.cases is not None or time.monotonic() < end:
            for name in targets:
                run_cases(name, options.cases or BATCH, number)
                tried[name] += options.cases or BATCH
            number += options.cases or BATCH
            print(f"fuzz: {sum(tried.values()):,} cases, no fault", flush=True)
            if options.cases is not None:
                break
    finally:
        print("fuzz: tried " + ", ".join(f"{count:,} {name}" for name, count in tried.items()), flush=True)
    return None


if __name__ == "__main__":
    main()
