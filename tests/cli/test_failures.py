"""Exceptions of data and machines become one line; defects of the project keep their traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import tacoglow
from tacoglow.cli.main import _run
from tacoglow.cli.shared.failures import explain
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, with_digest
from tacoglow.runtime.errors import escape_control

from .conftest import Run

OrtFail = type("Fail", (Exception,), {"__module__": "onnxruntime.capi.onnxruntime_pybind11_state"})
EXPLAINED: dict[str, tuple[BaseException, str]] = {
    "value": (ValueError("text: it is\nempty"), "text: it is empty"),
    "file": (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
    "memory": (MemoryError("Unable to allocate 2.4 TiB"), "not enough memory (Unable to allocate 2.4 TiB); "),
    "memory of PyTorch": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory (Default"),
    "threads": (RuntimeError("can't start new thread"), "not enough memory"),
    "nested": (RecursionError("maximum recursion depth exceeded"), "the input is nested too deeply"),
    "number": (OverflowError("int too large to convert to float"), "a number of the input is out of range"),
    "ONNX Runtime": (OrtFail("[ONNXRuntimeError] : 1 : FAIL"), "onnxruntime: [ONNXRuntimeError] : 1 : FAIL"),
    "library": (ImportError("failed to map segment", path="/lib/x.so"), "/lib/x.so: cannot be loaded (failed to map"),
    "package": (
        ModuleNotFoundError("no", name="h11"),
        "tacoglow serve needs h11; install it with: pip install 'tacoglow[serve]'",
    ),
    "module of a package": (
        ModuleNotFoundError("no", name="tritonclient.grpc"),
        "say --url needs tritonclient; install it with: pip install 'tacoglow[client]'",
    ),
    "unknown package": (ModuleNotFoundError("no", name="zoo"), "zoo is not installed; see: tacoglow doctor"),
    "empty": (MemoryError(), "not enough memory (MemoryError)"),
}


@pytest.mark.parametrize(("error", "line"), EXPLAINED.values(), ids=EXPLAINED)
def test_exception_of_data_or_machine_is_one_line(error: BaseException, line: str) -> None:
    explained = explain(error)
    assert explained is not None
    assert explained.startswith(line)
    assert "\n" not in explained


@pytest.mark.parametrize(
    "error", [KeyError("a"), TypeError("b"), RuntimeError("c"), ModuleNotFoundError("d", name="tacoglow.runtime.x")]
)
def test_defect_is_not_explained(error: Exception) -> None:
    assert explain(error) is None


def test_command_that_runs_out_of_memory_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise MemoryError("Unable to allocate\n\x1b[31m 8 EiB")

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as exit_info:
        _run(app)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory (Unable to allocate \\x1b[31m 8 EiB); ")


def test_control_characters_are_escaped() -> None:
    assert escape_control("a b\x1b[2J\r\n\u202e\x9b\udcff\u00e4\u4f60") == (
        "a b\\x1b[2J\\r\\n\\u202e\\x9b\\udcff\u00e4\u4f60"
    )


CODE = "import sys; from tacoglow.cli import main; sys.argv[0] = 'tacoglow'; main()"


@pytest.mark.parametrize("name", ["[/x]", "[red]red", "\x1b[2J", "a\nb", ":warning:"])
def test_inspect_shows_names_as_they_are(
    run: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    content = json.loads((tiny_bundle / MANIFEST_NAME).read_bytes())
    own = {"name": name} if name.isprintable() else {}  # a voice's own name has no control characters
    content["voice"] |= {**own, "language": "", "provenance": {name: name}}
    content["text"]["cleaners"] = [name]
    content["parity"]["pipeline"][name] = content["parity"]["pipeline"]["mel"]
    for path in tiny_bundle.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / MANIFEST_NAME).unlink()
    (tmp_path / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))
    done = run("tacoglow", "inspect", ".")
    assert done.code == 0, done.err
    assert done.out.count(escape_control(name)) == 4 + len(own)
    assert "\x1b" not in done.out


def speak(
    bundle: Path, folder: Path, output: str, text: str = "Hi.", **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Speak as a command of its own; paths of this package and the environment of the tests."""
    path = os.pathsep.join([str(Path(tacoglow.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path} | settings.pop("variables", {})
    command = [sys.executable, "-c", CODE, "say", str(bundle), text, "-o", output, "--threads", "1"]
    return subprocess.run(command, cwd=folder, env=environment, text=True, timeout=60, check=False, **settings)


def test_links_that_lead_in_a_circle(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("b.wav")
    (tmp_path / "b.wav").symlink_to("a.wav")
    done = speak(tiny_bundle, tmp_path, "a.wav", capture_output=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: a.wav: cannot be written: Too many levels of symbolic links")


@pytest.mark.parametrize("arguments", [[], ["--stream"]])
def test_links_are_followed(run: Run, tiny_bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "real").mkdir()
    for before in (b"", b"before"):
        target = tmp_path / "real" / f"{len(before)}.wav"
        if before:
            target.write_bytes(before)
        link = tmp_path / target.name
        link.symlink_to(target)
        assert run("trt-infer", tiny_bundle, "Hi.", "-o", link, *arguments).code == 0
        assert link.is_symlink()
        assert target.read_bytes()[:4] == b"RIFF"
    assert len(list(tmp_path.rglob("*"))) == 5  # no temporary file stays


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_messages_that_nobody_can_read(tiny_bundle: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert speak(tiny_bundle, tmp_path, "a.wav", stderr=full).returncode == 0
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"


@pytest.mark.full
@pytest.mark.skipif(os.name != "posix", reason="such locales are POSIX's")
def test_text_in_a_plain_ascii_locale(tiny_bundle: Path, tmp_path: Path) -> None:
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name, variables in (("plain.wav", plain), ("utf8.wav", {"PYTHONUTF8": "1"})):
        done = speak(tiny_bundle, tmp_path, name, "Café, naïve.", variables=variables, capture_output=True)
        assert (done.returncode, "warning" in done.stderr) == (0, False)
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "utf8.wav").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder that is in use cannot be removed")
@pytest.mark.parametrize("command", [("say", "voice", "Hi."), ("export-onnx", "--demo", "-o", "/tmp/never")])
def test_a_folder_that_no_longer_exists(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "gone").mkdir()
    program = f"import os; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir({str(tmp_path / 'gone')!r}); {CODE}"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: the current folder no longer exists; change to another one\n")
