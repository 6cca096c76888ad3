"""Pickles are data: whatever one says, nothing is imported, called or changed, and the models come out whole."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tacoglow.models import CheckpointError, load_tacotron2, load_waveglow
from tacoglow.models.pickles import Inert, TensorRecord, load_pickle
from tacoglow.tests.models import layouts

Content = Callable[..., dict[str, Any]]


class Payload:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Options(argparse.Namespace):
    """What a training script may have saved beside its model."""


def unpickled(data: bytes) -> Any:
    return load_pickle(io.BytesIO(data))


def write_zip(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["optimizer", "config", "state_dict", "model", "a weight"])
def test_a_payload_is_refused_and_not_run(content: Content, tmp_path: Path, place: str, legacy: bool) -> None:
    path, victim = tmp_path / "model.pt", tmp_path / "created"
    held, payload = content("tacotron2"), Payload(os.mkdir, str(victim))
    if place == "a weight":
        held["state_dict"]["embedding.weight"] = payload
    else:
        held[place] = payload
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError) as raised:
        load_tacotron2(path)
    assert str(raised.value).startswith(f"{path}: it is a pickle that calls posix.mkdir; nothing of it was run")
    assert "\n" not in str(raised.value)
    assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), "the payload would not have worked"


def test_a_payload_within_a_pickled_model(content: Content, tmp_path: Path) -> None:
    path, victim = tmp_path / "model.pt", tmp_path / "created"
    with layouts.waveglow_module() as glow:
        model = layouts.waveglow_model(glow, content("waveglow")["state_dict"])
        model.upsample.note = Payload(os.mkdir, str(victim))  # type: ignore[union-attr]
        torch.save({"model": model}, path)
        with pytest.raises(CheckpointError, match=r"calls posix\.mkdir"):
            load_waveglow(path)
        assert not victim.exists()
        torch.load(path, weights_only=False)
        assert victim.exists(), "the payload would not have worked"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call",
    [
        (os.system, "touch created"),
        (subprocess.Popen, ["touch", "created"]),
        (eval, "1"),
        (exec, "1"),
        (getattr, [], "append"),
        (__import__, "antigravity"),
        (open, "created", "w"),
        (setattr, [], "x", 1),
    ],
    ids=lambda call: call[0].__name__,
)
def test_calls_of_every_kind(call: tuple[Any, ...], protocol: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="nothing of it was run"):
        unpickled(pickle.dumps(Payload(*call), protocol))
    assert not list(tmp_path.iterdir())
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch created'\ntR.",
        b"(S'touch created'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch created'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0dtouch created\x85R.",
    ],
    ids=["GLOBAL REDUCE", "INST", "OBJ", "STACK_GLOBAL"],
)
def test_calls_written_by_hand(data: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"calls os\.system"):
        unpickled(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'function'\nN\x86sb.",  # an attribute of ours set, by a dict
        b"ctorch._utils\n_rebuild_tensor_v2\nN}S'function'\nNs\x86b.",  # and by slots
        b"ccollections\nOrderedDict\nN}S'function'\nNs\x86b.",
        b"cos\nsystem\n}S'__call__'\nNsb.",  # a stand-in's class
        b"]r\xff\xff\xff\x7f.",  # a memo of 16 GB
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a string of 9 exabytes
        b"\x82\x01.",  # copyreg's registry of extensions
        b"Qc\n.",
        b"",
        b".",
    ],
)
def test_tampering_raises_and_changes_nothing(data: bytes, content: Content, save: Callable[[Any], Path]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # of any type: models/archives.py makes one error of all
        unpickled(data)
    assert load_tacotron2(save(content("tacotron2"))).embedding.weight.shape[0] == 148


def test_what_training_scripts_save_is_passed_over(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    beside = {
        "hparams": Options(batch_size=64),
        "when": datetime.datetime(2019, 4, 27),
        "where": Path("checkpoints"),
        "loss": np.float64(0.25),
        "losses": np.zeros(3),
        "counts": collections.Counter(a=1),
        "by_name": collections.defaultdict(list, a=[1]),
        "names": {"a", "b"},
        "scaler": torch.cuda.amp.GradScaler,
        "optimizer": torch.optim.Adam([torch.zeros(2, requires_grad=True)]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
    }
    torch.save(content("tacotron2") | beside, path)
    expected = content("tacotron2")["state_dict"]["embedding.weight"]
    assert torch.equal(load_tacotron2(path).embedding.weight, expected)


def test_a_model_that_holds_itself(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with layouts.waveglow_module() as glow:
        model = layouts.waveglow_model(glow, content("waveglow")["state_dict"])
        model.upsample._modules["again"] = model  # type: ignore[union-attr]
        torch.save({"model": model}, path)
    with pytest.raises(CheckpointError, match="nested without an end"):
        load_waveglow(path)


class TestTensors:
    def test_every_type(self, tmp_path: Path, content: Content, save: Callable[[Any], Path]) -> None:
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            held = content("tacotron2")
            held["state_dict"] = {key: value.to(dtype) for key, value in held["state_dict"].items()}
            loaded = load_tacotron2(save(held)).embedding.weight
            assert torch.equal(loaded, held["state_dict"]["embedding.weight"].float())

    @pytest.mark.parametrize("legacy", [False, True])
    def test_views_of_one_storage(self, content: Content, tmp_path: Path, legacy: bool) -> None:
        held = content("tacotron2")
        wide = torch.zeros(16, 2 * 148)
        wide[:, ::2] = held["state_dict"]["embedding.weight"].T
        expected = held["state_dict"]["embedding.weight"].clone()
        held["state_dict"]["embedding.weight"] = wide[:, ::2].T
        torch.save(held, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
        assert torch.equal(load_tacotron2(tmp_path / "model.pt").embedding.weight, expected)

    @pytest.mark.parametrize(
        "shape",
        [((10**9,), (0,), 0), ((4,), (2,), 0), ((4,), (1,), 1), ((-1,), (1,), 0), ((2,), (1, 1), 0), ((4,), (1,), -1)],
    )
    def test_shapes_beyond_the_storage(self, tmp_path: Path, shape: tuple[Any, ...]) -> None:
        size, stride, offset = shape
        storage = object()
        data = io.BytesIO()

        class Pickler(pickle.Pickler):
            def persistent_id(self, held: Any) -> Any:
                if held is storage:
                    return "storage", torch.FloatStorage, "0", "cpu", 4
                return None

        rebuild = Payload(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})
        Pickler(data, 2).dump({"state_dict": {"WN.0.x": rebuild, "convinv.0.conv.weight": rebuild}})
        path = write_zip(tmp_path / "model.pt", data.getvalue())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", bytes(16))
        with pytest.raises(CheckpointError, match="truncated, or no PyTorch checkpoint"):
            load_waveglow(path)

    def test_a_compressed_archive(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        with pytest.raises(CheckpointError, match="truncated, or no PyTorch checkpoint"):
            load_waveglow(tmp_path / "bomb.pt")


def test_stand_ins_keep_attributes_alone() -> None:
    held = unpickled(pickle.dumps(Options(batch_size=64)))
    assert isinstance(held, Inert)
    assert not isinstance(held, argparse.Namespace)
    assert (type(held).__name__, held.attributes) == ("Options", {"batch_size": 64})


def test_tensors_are_records_until_they_are_read() -> None:
    with zipfile.ZipFile(_saved(torch.zeros(2, 3))) as archive:
        record = load_pickle(io.BytesIO(archive.read("archive/data.pkl")))
    assert isinstance(record, TensorRecord)
    assert (record.size, record.stride, record.storage.numel) == ((2, 3), (3, 1), 6)


def _saved(content: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer
