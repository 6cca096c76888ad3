"""The command `tacoglow bench`, run on the tiny voice."""

from __future__ import annotations

import io
import json
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow import cli
from tacoglow.tests.conftest import TinyCheckpoints

QUICK = ("--frames", "8", "--tokens", "6", "--runs", "2", "--threads", "1")


@dataclass(frozen=True)
class CommandResult:
    stdout: str
    stderr: str


def bench(*arguments: object, code: int = 0) -> CommandResult:
    """Run the command in this process, which has loaded PyTorch already, and check its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["tacoglow", "bench", *map(str, arguments)])
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # restores it: the command replaces it
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert (end.value.code or 0) == code, err.getvalue()
    return CommandResult(out.getvalue(), err.getvalue())


def checkpoints(tiny: TinyCheckpoints) -> list[object]:
    return ["--tacotron2", tiny.tacotron2, "--waveglow", tiny.waveglow, "--config", tiny.voice]


@pytest.fixture(scope="module")
def result(tiny_bundle: Path, tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    output = folder / "result.json"
    wanted = [*QUICK, "--batch", 1, "--batch", 2, "-o", output]
    done = bench(tiny_bundle, *checkpoints(tiny_checkpoints), *wanted)
    assert "tacoglow onnxruntime" in done.stdout
    return output


@pytest.mark.full
def test_result(result: Path) -> None:
    report: dict[str, Any] = json.loads(result.read_text())
    rows = {(row["pipeline"], row["batch"]): row for row in report["speed"]}
    assert {("PyTorch eager", 1), ("PyTorch TorchScript", 2), ("tacoglow onnxruntime", 2)} <= rows.keys()
    ours = rows["tacoglow onnxruntime", 2]
    assert {"mean", "std", "p50", "p90", "p95", "p99"} <= ours["seconds"].keys()
    assert ours["stages"].keys() == {"encoder", "decoder", "postnet", "vocoder"}
    assert ours["audio_seconds"] == 2 * 8 * 256 / 16000
    assert ours["first_audio"]["p50"] > 0.0
    assert report["conditions"]["threads"] == 1
    assert report["ceilings"]["CPU, fp32"]["operations_per_second"] > 0.0


@pytest.mark.full
def test_bundle_with_different_weights_is_not_timed(
    tiny_bundle: Path, tiny_checkpoints: TinyCheckpoints, tmp_path: Path
) -> None:
    content = torch.load(tiny_checkpoints.waveglow)
    content["state_dict"]["WN.0.end.bias"] += 0.5
    torch.save(content, tmp_path / "other.pt")
    models = ["--tacotron2", tiny_checkpoints.tacotron2, "--waveglow", tmp_path / "other.pt"]
    done = bench(tiny_bundle, *models, "--config", tiny_checkpoints.voice, *QUICK, code=1)
    assert "not timed, because their output differs from PyTorch's: tacoglow onnxruntime" in done.stderr
    assert "not timed: largest error of the audio" in done.stdout


@pytest.mark.full
def test_compare(result: Path, tmp_path: Path) -> None:
    done = bench("--compare", result, result)
    assert "same" in done.stdout
    report = json.loads(result.read_text())
    for row in report["speed"]:
        row["runs"] = [10 * run + i * 1e-6 for i, run in enumerate(row["runs"] * 4)]
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(report))
    old = json.loads(result.read_text())
    for row in old["speed"]:
        row["runs"] = [run + i * 1e-9 for i, run in enumerate(row["runs"] * 4)]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert "slower" in bench("--compare", tmp_path / "old.json", slower, code=1).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure: give a BUNDLE, --demo, --dims nvidia, or checkpoints"),
        (["--dims", "nvidia", "--demo"], "--dims: random weights have no bundle"),
        (["BUNDLE", "--tokens", "6", "--frames", "5000"], "--frames: expected 1 to 40 (the bundle's limits), got 5000"),
        (["--compare", "absent.json", "absent.json"], "absent.json: No such file"),
        (["BUNDLE", "-o", "absent/result.json"], "absent/result.json: cannot be written"),
    ],
)
def test_errors(tiny_bundle: Path, arguments: list[str], message: str) -> None:
    given = [str(tiny_bundle) if argument == "BUNDLE" else argument for argument in arguments]
    given += [] if "--frames" in given or not given else ["--frames", "8", "--tokens", "6", "--runs", "2"]
    error = bench(*given, code=2).stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
