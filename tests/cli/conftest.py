"""Calls the commands, in this process or in one of their own, and checks what they leave and refuse."""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from tacoglow import cli
from tacoglow.runtime.bundle.manifest import graph_names

COMMANDS = {"tacoglow": cli.main, "export-onnx": cli.export_onnx_main, "trt-infer": cli.trt_infer_main}
GRAPH_NAMES = graph_names("waveglow")
TEXT = "Hello world, I missed you."
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
Damage = Callable[[Path], object]


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


def listing(folder: Path) -> dict[str, bytes]:
    """Relative path -> digest of the content, for everything in a folder, including hidden files."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).digest() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    before = listing(folder)
    yield
    assert listing(folder) == before


def assert_rejected(outcome: Outcome, *parts: str) -> None:
    """One line `error: …` that contains the parts, exit code 2, no traceback."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert [line for line in outcome.err.splitlines() if "rror" in line] == [outcome.last]
    assert outcome.last.startswith("error: ")
    assert outcome.out == ""
    for part in parts:
        assert part in outcome.last


def cut(name: str, keep: float = 0.5) -> Damage:
    def damage(bundle: Path) -> None:
        path = bundle / name
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return damage
