"""`tacoglow inspect` and `doctor`, and the helps of all commands."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from tacoglow.cli.main import COMMANDS as COMMAND_NAMES
from tacoglow.cli.main import EXAMPLES, OTHER_NAMES, _add_command

from .conftest import COMMANDS, GRAPH_NAMES, TRT_INFER, Run, assert_rejected


class TestInspectAndDoctor:
    def test_inspect(self, run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        outcome = run("tacoglow", "inspect", "voice")
        assert outcome.code == 0
        for part in (
            *GRAPH_NAMES,
            "tiny",
            "16000 Hz",
            "[B, F*256]",
            "token_ids",
            "1 to 40",
            "memory_mask",
            "stop frame",
        ):
            assert part in outcome.out

    def test_doctor(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        outcome = run("tacoglow", "doctor")
        assert outcome.code == 0
        for part in ("onnxruntime", "torch", "tensorrt", "pip install 'tacoglow[gpu-cu13]'", "available"):
            assert part in outcome.out

    def test_inspect_as_json(self, run: Run, workdir: Path) -> None:
        report = json.loads(run("tacoglow", "inspect", "voice", "--json").out)
        assert report["manifest"] == json.loads((workdir / "voice/manifest.json").read_bytes())
        assert report["graph_bytes"] == {name: (workdir / f"voice/{name}.onnx").stat().st_size for name in GRAPH_NAMES}
        assert report["engines"] == []

    def test_doctor_as_json(self, run: Run) -> None:
        report = json.loads(run("tacoglow", "doctor", "--json").out)
        assert report["backends"]["onnxruntime"] is None
        assert report["backends"]["tensorrt"]  # the reason
        parts = {part["part"]: part for part in report["parts"]}
        assert parts["numpy"]["version"] == np.__version__
        assert parts["av"]["install"] == "pip install 'tacoglow[formats]'"

    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_every_help_has_examples(self, run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        for name in COMMAND_NAMES:
            outcome = run("tacoglow", name, "-h")
            assert outcome.code == 0
            assert f"tacoglow {name} " in outcome.out.split("Examples:")[1]
            assert outcome.out == run("tacoglow", name, "--help").out
            assert max(map(len, outcome.out.splitlines())) <= int(columns)

    @pytest.mark.parametrize("name", COMMAND_NAMES)
    def test_examples_are_valid(self, name: str) -> None:
        for example in EXAMPLES[OTHER_NAMES.get(name, name)]:
            app = typer.Typer()
            _add_command(app, name, name)
            arguments = shlex.split(example.split(" | ")[0])
            typer.main.get_command(app).make_context(name, arguments)  # raises for a wrong command line
            assert "$" not in example.replace(r"\$", "")  # a shell would replace it

    def test_panels_and_flags(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "120")
        shown = run("trt-infer", "--help").out
        titles = [line.split()[1] for line in shown.splitlines() if line.startswith("╭─")]
        assert titles == ["Arguments", "Options", "Text", "Voice", "Speech", "Output", "Hardware"]
        assert "<bool>" not in shown + run("tacoglow", "--help").out
        for command in COMMANDS:
            assert "--version" in run(command, "--help").out

    def test_completion_of_backends(self) -> None:
        words = {"_TRT_INFER_COMPLETE": "complete_bash", "COMP_WORDS": "trt-infer --backend onnx", "COMP_CWORD": "2"}
        done = subprocess.run(
            [sys.executable, "-c", TRT_INFER], env=os.environ | words, capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == ["onnxruntime-cuda", "onnxruntime"]

    def test_version_and_help(self, run: Run) -> None:
        for command in COMMANDS:
            assert run(command, "--version").out.startswith("tacoglow ")
        assert "inspect" in run("tacoglow", "--help").out
        for command in COMMANDS:
            outcome = run(command)
            assert outcome.code in (0, 2)  # older versions of typer exit with 0 after the help
            assert "Usage" in outcome.out + outcome.err
        assert_rejected(run("tacoglow", "frobnicate"), "frobnicate", "tacoglow --help")
