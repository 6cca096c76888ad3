"""Damaged and hostile checkpoints: a one-line error or the same model; never a traceback, a hang, another model."""

from __future__ import annotations

import io
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow.cli.convert import convert
from tacoglow.models import CheckpointError, load_tacotron2, load_waveglow
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.models import layouts
from tacoglow.tests.robustness.conftest import Tried
from tacoglow.tests.robustness.mutations import mutate

MAX_SECONDS = 10.0  # to load or reject one file
QUICK, LONG = 100, 10_000  # mutations of each file
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # from damaged pickles
AMOUNTS = pytest.mark.parametrize("amount", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def files(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a checkpoint in each file format."""
    folder = tmp_path_factory.mktemp("files")
    with layouts.waveglow_module() as glow:
        model = layouts.waveglow_model(glow, torch.load(tiny_checkpoints.waveglow)["state_dict"])
        torch.save(layouts.nvidia_waveglow(model), folder / "pickled.pt")
    legacy = torch.load(tiny_checkpoints.tacotron2)
    torch.save(legacy, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    convert(folder, tiny_checkpoints.tacotron2)
    return {
        "zip": tiny_checkpoints.tacotron2,
        "pickled": folder / "pickled.pt",
        "legacy": folder / "legacy.pt",
        "safetensors": folder / "tacotron2.safetensors",
    }


def load_or_reject(path: Path) -> dict[str, Any] | None:
    """Return the model's weights, or None if the file was rejected in one line that starts with its path."""
    load = load_waveglow if path.stem == "pickled" else load_tacotron2
    start = time.monotonic()
    weights, message = None, f"{path}: "
    try:
        weights = load(path).state_dict()
    except CheckpointError as error:
        message = str(error)
    assert time.monotonic() - start < MAX_SECONDS
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return weights


def are_equal(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    return got.keys() == expected.keys() and all(torch.equal(got[name], expected[name]) for name in got)


@AMOUNTS
@pytest.mark.parametrize("kind", ["zip", "pickled", "safetensors"])
def test_damaged_file_with_checksums_loads_the_saved_model_or_is_rejected(
    files: dict[str, Path], tmp_path: Path, tried: Tried, kind: str, amount: int
) -> None:
    """If a damaged file loads, it must give the model that was saved."""
    original, rng = files[kind], random.Random(f"{kind}{amount}")
    data, expected = original.read_bytes(), load_or_reject(original)
    assert expected is not None
    path = tmp_path / original.name
    if kind == "safetensors":
        path.with_suffix(".json").write_bytes(original.with_suffix(".json").read_bytes())
    for _ in range(amount):
        path.write_bytes(mutate(data, rng))
        got = load_or_reject(path)
        assert got is None or are_equal(got, expected)
        tried(f"damaged {kind} checkpoints")


@AMOUNTS
@pytest.mark.parametrize("kind", ["zip", "pickled"])
def test_damaged_pickle_with_valid_checksums_loads_or_is_rejected(
    files: dict[str, Path], tmp_path: Path, tried: Tried, kind: str, amount: int
) -> None:
    """The structure is damaged but the checksums are valid, as in a malicious file."""
    original, rng = files[kind], random.Random(f"{kind}{amount}pickle")
    with zipfile.ZipFile(original) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    path = tmp_path / original.name
    for _ in range(amount):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, mutate(data, rng) if member == name else data)
        path.write_bytes(buffer.getvalue())
        load_or_reject(path)
        tried("damaged pickles")


@AMOUNTS
def test_damaged_legacy_file_loads_or_is_rejected(
    files: dict[str, Path], tmp_path: Path, tried: Tried, amount: int
) -> None:
    """The legacy format has no checksums: half of the cases damage its structure, the others any part of it."""
    rng, data, path = random.Random(amount), files["legacy"].read_bytes(), tmp_path / "legacy.pt"
    structure = data.rindex(b"decoder") + 1000  # bytes up to about here: names and structure, then the storages
    for _ in range(amount):
        anywhere = rng.random() < 0.5
        path.write_bytes(mutate(data, rng) if anywhere else mutate(data[:structure], rng) + data[structure:])
        load_or_reject(path)
        tried("damaged legacy checkpoints")


@AMOUNTS
def test_damaged_description_loads_the_saved_model_or_is_rejected(
    files: dict[str, Path], tmp_path: Path, tried: Tried, amount: int
) -> None:
    """The description is the JSON file next to a safetensors file."""
    original, rng, path = files["safetensors"], random.Random(amount), tmp_path / "tacotron2.safetensors"
    path.write_bytes(original.read_bytes())
    data, expected = original.with_suffix(".json").read_bytes(), load_tacotron2(original)
    for _ in range(amount):
        path.with_suffix(".json").write_bytes(mutate(data, rng))
        if load_or_reject(path) is not None:  # e.g. one more space
            got = load_tacotron2(path)
            assert (got.config, got.audio) == (expected.config, expected.audio)
        tried("damaged descriptions")
