"""Damaged and hostile checkpoints: one clear line or the very same model; no traceback, no hang, no other voice."""

from __future__ import annotations

import importlib.util
import io
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import tacoglow
from tacoglow.cli.convert import convert
from tacoglow.models import CheckpointError, load_tacotron2, load_waveglow
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.models import layouts
from tacoglow.tests.robustness.conftest import Tried
from tacoglow.tests.robustness.mutations import mutate

PATIENCE = 10.0  # seconds that one file may take
QUICK, LONG = 100, 10_000  # mutations of each file
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in what a damaged pickle holds
AMOUNTS = pytest.mark.parametrize("amount", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def files(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each file format."""
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
        "kept": folder / "tacotron2.safetensors",
    }


def outcome(path: Path) -> dict[str, Any] | None:
    """The model's weights, or None if the file was refused as it should be."""
    load = load_waveglow if path.stem == "pickled" else load_tacotron2
    start = time.monotonic()
    weights, refusal = None, f"{path}: "
    try:
        weights = load(path).state_dict()
    except CheckpointError as error:
        refusal = str(error)
    assert time.monotonic() - start < PATIENCE
    assert refusal.startswith(f"{path}: ")
    assert "\n" not in refusal
    return weights


def same(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    return got.keys() == expected.keys() and all(torch.equal(got[name], expected[name]) for name in got)


@AMOUNTS
@pytest.mark.parametrize("kind", ["zip", "pickled", "kept"])
def test_files_with_checksums(files: dict[str, Path], tmp_path: Path, tried: Tried, kind: str, amount: int) -> None:
    """Whatever is damaged, a model that loads is the model that was saved."""
    original, rng = files[kind], random.Random(f"{kind}{amount}")
    data, expected = original.read_bytes(), outcome(original)
    assert expected is not None
    path = tmp_path / original.name
    if kind == "kept":
        path.with_suffix(".json").write_bytes(original.with_suffix(".json").read_bytes())
    for _ in range(amount):
        path.write_bytes(mutate(data, rng))
        got = outcome(path)
        assert got is None or same(got, expected)
        tried(f"damaged {kind} checkpoints")


@AMOUNTS
@pytest.mark.parametrize("kind", ["zip", "pickled"])
def test_pickles_in_a_sound_file(files: dict[str, Path], tmp_path: Path, tried: Tried, kind: str, amount: int) -> None:
    """The structure is damaged and the checksums are right, as in a file made to harm."""
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
        outcome(path)
        tried("damaged pickles")


@AMOUNTS
def test_the_older_format(files: dict[str, Path], tmp_path: Path, tried: Tried, amount: int) -> None:
    """It has no checksum: half of the damage lands in its structure here, the rest where it may."""
    rng, data, path = random.Random(amount), files["legacy"].read_bytes(), tmp_path / "legacy.pt"
    structure = data.rindex(b"decoder") + 1000  # bytes: past the last name, where the storages begin
    for _ in range(amount):
        whole = rng.random() < 0.5
        path.write_bytes(mutate(data, rng) if whole else mutate(data[:structure], rng) + data[structure:])
        outcome(path)
        tried("damaged legacy checkpoints")


@AMOUNTS
def test_descriptions(files: dict[str, Path], tmp_path: Path, tried: Tried, amount: int) -> None:
    """The JSON beside a safetensors file."""
    original, rng, path = files["kept"], random.Random(amount), tmp_path / "tacotron2.safetensors"
    path.write_bytes(original.read_bytes())
    data, expected = original.with_suffix(".json").read_bytes(), load_tacotron2(original)
    for _ in range(amount):
        path.with_suffix(".json").write_bytes(mutate(data, rng))
        if outcome(path) is not None:  # a space more, say
            got = load_tacotron2(path)
            assert (got.config, got.audio) == (expected.config, expected.audio)
        tried("damaged descriptions")


@pytest.mark.slow
def test_coverage_guided(files: dict[str, Path], tmp_path: Path, tried: Tried) -> None:
    """atheris, where it is installed: it keeps the inputs that reach new code, and damages those further."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install tacoglow[fuzz]")
    with zipfile.ZipFile(files["pickled"]) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / "pickled").write_bytes(archive.read(name))
    script = Path(tacoglow.__file__).parent / "tests" / "robustness" / "fuzz_pickles.py"
    runs = 50_000
    done = subprocess.run(
        [sys.executable, script, f"-atheris_runs={runs}", "-timeout=10", "-rss_limit_mb=4096", "-seed=1", "corpus"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for _ in range(runs):
        tried("coverage-guided pickles")
