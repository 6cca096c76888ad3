"""Pickles are read as data: nothing that they name is imported, called or changed."""

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
from tacoglow.models.pickles import Placeholder, TensorRecord, load_pickle
from tacoglow.tests.models import layouts

Content = Callable[..., dict[str, Any]]


class Payload:
    """Object whose pickle calls a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Options(argparse.Namespace):
    """Object that a training script may have saved with its model."""


def unpickle(data: bytes) -> Any:
    return load_pickle(io.BytesIO(data))


def write_zip(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["optimizer", "config", "state_dict", "model", "a weight"])
def test_payload_is_rejected_and_not_executed(content: Content, tmp_path: Path, place: str, legacy: bool) -> None:
    path, victim = tmp_path / "model.pt", tmp_path / "created"
    saved, payload = content("tacotron2"), Payload(os.mkdir, str(victim))
    if place == "a weight":
        saved["state_dict"]["embedding.weight"] = payload
    else:
        saved[place] = payload
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError) as raised:
        load_tacotron2(path)
    assert str(raised.value).startswith(f"{path}: unpickling it would call posix.mkdir, which is not allowed")
    assert "\n" not in str(raised.value)
    assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), "the payload would not have worked"


def test_payload_in_a_pickled_model_is_rejected(content: Content, tmp_path: Path) -> None:
    path, victim = tmp_path / "model.pt", tmp_path / "created"
    with layouts.waveglow_module() as glow:
        model = layouts.waveglow_model(glow, content("waveglow")["state_dict"])
        model.upsample.note = Payload(os.mkdir, str(victim))  # type: ignore[union-attr]
        torch.save({"model": model}, path)
        with pytest.raises(CheckpointError, match=r"would call posix\.mkdir"):
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
def test_calls_are_rejected_in_every_protocol(
    call: tuple[Any, ...], protocol: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="nothing was executed"):
        unpickle(pickle.dumps(Payload(*call), protocol))
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
def test_handwritten_calls_are_rejected(data: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"would call os\.system"):
        unpickle(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'function'\nN\x86sb.",  # sets an attribute of a helper, with a dict
        b"ctorch._utils\n_rebuild_tensor_v2\nN}S'function'\nNs\x86b.",  # and with slots
        b"ccollections\nOrderedDict\nN}S'function'\nNs\x86b.",
        b"cos\nsystem\n}S'__call__'\nNsb.",  # sets an attribute of a placeholder's class
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a string of 9 exabytes
        b"\x82\x01.",  # copyreg's registry of extensions
        b"Qc\n.",
        b"",
        b".",
    ],
)
def test_tampering_raises_and_changes_nothing(data: bytes, content: Content, save: Callable[[Any], Path]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # of any type: models/archives.py converts all to CheckpointError
        unpickle(data)
    assert load_tacotron2(save(content("tacotron2"))).embedding.weight.shape[0] == 148


def test_other_objects_of_training_scripts_are_ignored(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    others = {
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
    torch.save(content("tacotron2") | others, path)
    expected = content("tacotron2")["state_dict"]["embedding.weight"]
    assert torch.equal(load_tacotron2(path).embedding.weight, expected)


def test_model_that_contains_itself_is_rejected(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with layouts.waveglow_module() as glow:
        model = layouts.waveglow_model(glow, content("waveglow")["state_dict"])
        model.upsample._modules["again"] = model  # type: ignore[union-attr]
        torch.save({"model": model}, path)
    with pytest.raises(CheckpointError, match="entries, itself, or"):
        load_waveglow(path)


class TestTensors:
    def test_every_float_dtype_becomes_float32(
        self, tmp_path: Path, content: Content, save: Callable[[Any], Path]
    ) -> None:
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            saved = content("tacotron2")
            saved["state_dict"] = {key: value.to(dtype) for key, value in saved["state_dict"].items()}
            loaded = load_tacotron2(save(saved)).embedding.weight
            assert torch.equal(loaded, saved["state_dict"]["embedding.weight"].float())

    @pytest.mark.parametrize("legacy", [False, True])
    def test_strided_view_of_a_storage(self, content: Content, tmp_path: Path, legacy: bool) -> None:
        saved = content("tacotron2")
        wide = torch.zeros(16, 2 * 148)
        wide[:, ::2] = saved["state_dict"]["embedding.weight"].T
        expected = saved["state_dict"]["embedding.weight"].clone()
        saved["state_dict"]["embedding.weight"] = wide[:, ::2].T
        torch.save(saved, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
        assert torch.equal(load_tacotron2(tmp_path / "model.pt").embedding.weight, expected)

    @pytest.mark.parametrize(
        "shape",
        [((10**9,), (0,), 0), ((4,), (2,), 0), ((4,), (1,), 1), ((-1,), (1,), 0), ((2,), (1, 1), 0), ((4,), (1,), -1)],
    )
    def test_shapes_that_exceed_the_storage_are_rejected(self, tmp_path: Path, shape: tuple[Any, ...]) -> None:
        size, stride, offset = shape
        storage = object()
        data = io.BytesIO()

        class Pickler(pickle.Pickler):
            def persistent_id(self, obj: Any) -> Any:
                if obj is storage:
                    return "storage", torch.FloatStorage, "0", "cpu", 4
                return None

        rebuild = Payload(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})
        Pickler(data, 2).dump({"state_dict": {"WN.0.x": rebuild, "convinv.0.conv.weight": rebuild}})
        path = write_zip(tmp_path / "model.pt", data.getvalue())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", bytes(16))
        with pytest.raises(CheckpointError, match=r"truncated, or not a PyTorch checkpoint|over twice the file"):
            load_waveglow(path)

    def test_compressed_archive_is_rejected(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(tmp_path / "bomb.pt")


def test_placeholders_have_only_attributes() -> None:
    saved = unpickle(pickle.dumps(Options(batch_size=64)))
    assert isinstance(saved, Placeholder)
    assert not isinstance(saved, argparse.Namespace)
    assert (type(saved).__name__, saved.attributes) == ("Options", {"batch_size": 64})


def test_tensors_are_read_as_records() -> None:
    with zipfile.ZipFile(_save(torch.zeros(2, 3))) as archive:
        record = load_pickle(io.BytesIO(archive.read("archive/data.pkl")))
    assert isinstance(record, TensorRecord)
    assert (record.size, record.stride, record.storage.numel) == ((2, 3), (3, 1), 6)


def _save(content: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer
