"""The whole day, rehearsed on this machine: the real cuda-core under the pretended driver, TensorRT 8.6 simulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tacoglow.tests.pretend_driver import driver
from tacoglow.tests.test_install import ROOT
from tacoglow.tools.gpu.day import STEPS

MACHINE = Path(__file__).with_name("pretend_machine.py")
# compute-sanitizer runs the program after its options, here on the pretended machine.
SANITIZER = f"""#!/bin/sh
while [ "$1" != -m ]; do shift; done
exec {sys.executable} {MACHINE} "$@" --rehearse
"""
# cmake "builds" a speak that is Python on the CPU.
CMAKE = f"""#!/bin/sh
[ "$1" = --build ] || {{ mkdir -p "$4"; exit 0; }}
cat > "$2/speak" <<'END'
#!{sys.executable}
import sys
from tacoglow import Synthesizer
bundle, text, wav = sys.argv[1], sys.argv[3], sys.argv[5]
Synthesizer.load(bundle, "onnxruntime").say(text, seed=0).save(wav)
END
chmod +x "$2/speak"
"""


@dataclass(frozen=True)
class Rehearsal:
    exit_code: int
    printed: str
    outcomes: dict[str, dict[str, Any]]  # by step
    figures: dict[str, dict[str, Any]]
    archived: set[str]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    reason = driver.missing()
    if reason is not None:
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("gpu_day")
    programs, out, results = home / "bin", home / "out", home / "results"
    for folder in (programs, results):
        folder.mkdir()
    for name, text in (("compute-sanitizer", SANITIZER), ("cmake", CMAKE)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    python = f"{sys.executable} {MACHINE}"
    command = [sys.executable, str(ROOT / "tools" / "gpu" / "day.py"), "--rehearse", "--out", str(out)]
    command += ["--results", str(results), "--torch-python", python, "--trt-python", python]
    # This checkout comes from day.py, as on a machine where tacoglow is not installed.
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    outcomes = {entry["name"]: entry for entry in json.loads((out / "summary.json").read_text())}
    files = {name: out / f"{name}.json" for name in outcomes}
    figures = {name: json.loads(file.read_text()) if file.exists() else {} for name, file in files.items()}
    (archive,) = results.iterdir()
    with tarfile.open(archive) as tar:
        archived = set(tar.getnames())
    return Rehearsal(done.returncode, done.stdout, outcomes, figures, archived)


@pytest.mark.parametrize("name", [step.name for step in STEPS])
def test_step_passes_in_its_box_and_leaves_its_figures(rehearsal: Rehearsal, name: str) -> None:
    outcome = rehearsal.outcomes[name]
    assert outcome["status"] == "passed", outcome["line"]
    assert rehearsal.figures[name]
    assert {f"{name}.json", f"{name}.log"} <= rehearsal.archived


def test_the_day_passes(rehearsal: Rehearsal) -> None:
    assert rehearsal.exit_code == 0, rehearsal.printed
    assert len(rehearsal.printed.splitlines()) == len(STEPS)


def test_every_figure_that_a_table_of_speed_needs_is_there(rehearsal: Rehearsal) -> None:
    """At batch 1 and the largest; the rehearsal's is 2."""
    figures = rehearsal.figures
    for batch in (1, 2):
        for exchange in ("tagged", "barrier"):
            assert figures["fused-nvidia"][f"{exchange}_batch_{batch}_tokens_12_us_a_step"] > 0
        for precision in ("fp32", "tf32"):
            assert figures["pytorch"][f"{precision}_eager_batch_{batch}_ms"]["decoder"] > 0
        for decoder in ("engine", "fused"):
            assert figures["frames"][f"decoder_{decoder}_batch_{batch}_us_a_step"] > 0
            total = figures["totals"][f"{decoder}_batch_{batch}_ms"]
            assert set(total) == {"total", "encoder", "decoder", "postnet", "vocoder"}
    for name in ("encoder_ms", "postnet_ms", "mel_round_trip_ms"):
        assert figures["frames"][name] > 0
    assert figures["samples"]["denoiser_ms"] > 0
    assert sum(name.startswith("vocoder_") for name in figures["samples"]) > 3
    assert {"engine_first_audio_ms", "fused_first_audio_ms"} <= set(figures["totals"])


def test_layers_are_counted_by_precision(rehearsal: Rehearsal) -> None:
    counts = [value for name, value in rehearsal.figures["engines"].items() if name.endswith("_layers")]
    assert counts == [{"layers": 2, "half": 1}] * 4
