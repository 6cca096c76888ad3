"""Calls the commands, in this process or in one of their own."""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tacoglow import cli

COMMANDS = {"tacoglow": cli.main, "export-onnx": cli.export_onnx_main, "trt-infer": cli.trt_infer_main}
# For `python -c`: what the console script does.
TRT_INFER = "import sys; from tacoglow.cli import trt_infer_main; sys.argv[0] = 'trt-infer'; trt_infer_main()"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        return self.err.splitlines()[-1] if self.err else ""


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls a command in this process, as its console script does."""

    def call(command: str, *arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", [command, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as exit_info:
                COMMANDS[command]()
        return Outcome(int(exit_info.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> Path:
    """The working directory, which contains a copy of the tiny bundle named `voice`."""
    shutil.copytree(tiny_bundle, tmp_path / "voice")
    monkeypatch.chdir(tmp_path)
    return tmp_path
