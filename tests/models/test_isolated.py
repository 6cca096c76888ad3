"""Loading through a child process: the same models, and one line for whatever happens to the child."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow.cli.shared import options
from tacoglow.models import CheckpointError, checkpoint, isolated, load_tacotron2, load_waveglow

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks a child")

Content = Callable[..., dict[str, Any]]
Save = Callable[[Any], Path]


@pytest.fixture
def path(content: Content, save: Save) -> Path:
    return save(content("tacotron2"))


@pytest.fixture
def child_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Returns a function that makes the child call another one in place of reading the file."""

    def replace(action: Callable[[], object]) -> None:
        monkeypatch.setattr(checkpoint, "load_tacotron2", lambda path: action())

    return replace


def test_models_are_the_same_to_the_last_bit(content: Content, save: Save) -> None:
    acoustic, vocoder = save(content("tacotron2")), save(content("waveglow"))
    for got, expected in (
        (isolated.load_tacotron2(acoustic), load_tacotron2(acoustic)),
        (isolated.load_waveglow(vocoder, 32), load_waveglow(vocoder, 32)),
    ):
        assert (got.config, got.audio, got.family) == (expected.config, expected.audio, expected.family)
        weights = expected.state_dict()
        assert got.state_dict().keys() == weights.keys()
        assert all(torch.equal(value, weights[name]) for name, value in got.state_dict().items())
        assert not got.training


def test_file_is_read_in_another_process(path: Path, child_does: Any, tmp_path: Path) -> None:
    child_does(lambda: (tmp_path / "pid").write_text(str(os.getpid())) and None)
    with pytest.raises(CheckpointError):
        isolated.load_tacotron2(path)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_message_of_a_rejected_file_is_the_same(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError) as direct:
        load_tacotron2(path)
    with pytest.raises(CheckpointError) as through_child:
        isolated.load_tacotron2(path)
    assert str(through_child.value) == str(direct.value)


@pytest.mark.parametrize("name", ["missing.pt", "."])
def test_path_that_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="give the path of a checkpoint"):
        isolated.load_tacotron2(tmp_path / name)


def allocate() -> None:
    bytearray(8 << 30)


def never_end() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (allocate, "reading it needs more memory than its size explains"),
        (never_end, r"crashed or exceeded its limits \(CPU time limit exceeded\)"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"crashed or exceeded its limits \(Segmentation fault\)"),
        (lambda: os._exit(0), r"crashed or exceeded its limits \(no answer\)"),
        (lambda: {"b": 1}["a"], r"cannot be read \(KeyError\)"),
    ],
    ids=["memory", "time", "crash", "exit", "error"],
)
def test_end_of_the_child_is_one_line(
    path: Path, child_does: Any, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], message: str
) -> None:
    monkeypatch.setattr(isolated, "CPU_SECONDS", 0)
    child_does(action)
    with pytest.raises(CheckpointError, match=message) as raised:
        isolated.load_tacotron2(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert str(raised.value).endswith("; get it from a source that you trust, or load it in Python, without limits: "
                                      "tacoglow.models.load_tacotron2")  # fmt: skip
    assert "\n" not in str(raised.value)


def test_child_that_sleeps_is_ended(path: Path, child_does: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "WALL_SECONDS", 2)
    child = path.with_name("child")

    def sleep() -> None:
        child.write_text(str(os.getpid()))
        time.sleep(600)

    child_does(sleep)
    with pytest.raises(CheckpointError, match="takes too long"):
        isolated.load_tacotron2(path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


def test_commands_load_through_the_child(
    content: Content, save: Save, child_does: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_does(lambda: os._exit(0))
    with pytest.raises(CheckpointError, match="no answer"):
        options.VoiceCheckpoints(save(content("tacotron2")), save(content("waveglow"))).load()
