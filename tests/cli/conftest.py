"""Calls the commands in this process."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tacoglow import cli

COMMANDS = {"tacoglow": cli.main, "export-onnx": cli.export_onnx_main, "trt-infer": cli.trt_infer_main}


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
