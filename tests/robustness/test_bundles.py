"""Damaged bundles: every file truncated, flipped, swapped or missing; every value of the manifest replaced."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import graph_names
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, load_manifest
from tacoglow.runtime.errors import BackendError, BundleError, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests.bad_manifests import wrongly_accepted
from tacoglow.tests.robustness.conftest import Tried
from tacoglow.tests.robustness.mutations import mutate

GRAPH_NAMES = graph_names("waveglow")

QUICK, LONG = 500, 50_000
AMOUNTS = pytest.mark.parametrize("amount", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])
ERRORS = (BundleError, BackendError, RequestError)
FILES = [f"{name}.onnx" for name in GRAPH_NAMES]
Damage = Callable[[Path], object]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "voice"))


def synthesize(bundle: Path) -> bytes:
    """Synthesize with all five graphs; return the samples as bytes."""
    tts = Synthesizer.load(bundle, "onnxruntime", threads=1)
    samples: bytes = tts.say("Hello.", seed=1, options=SpeechOptions(denoise=0.1)).samples.tobytes()
    return samples


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "one bit": flip_a_bit,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": replace_by_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [MANIFEST_NAME, *FILES])
def test_damaged_file_is_rejected_or_harmless(bundle: Path, tried: Tried, name: str, damage: str) -> None:
    """A graph is always rejected, by its checksum; a manifest that is accepted must give the same speech."""
    tried("damaged bundles")
    expected = synthesize(bundle)
    DAMAGES[damage](bundle / name)
    message, samples = "", b""
    try:
        samples = synthesize(bundle)
    except ERRORS as error:
        message = str(error)
    assert "\n" not in message
    if message:
        assert str(bundle) in message
    else:
        assert (name, samples) == (MANIFEST_NAME, expected)


@pytest.mark.parametrize("pair", [(a, b) for a in FILES for b in FILES if a < b])
def test_swapped_files_are_rejected(bundle: Path, tried: Tried, pair: tuple[str, str]) -> None:
    tried("damaged bundles")
    first, second = (bundle / name for name in pair)
    first.rename(bundle / "aside")
    second.rename(first)
    (bundle / "aside").rename(second)
    with pytest.raises(BundleError, match="SHA-256"):
        synthesize(bundle)


@AMOUNTS
def test_damaged_manifest_is_rejected(bundle: Path, tried: Tried, amount: int) -> None:
    path, rng = bundle / MANIFEST_NAME, random.Random(amount)
    data = path.read_bytes()
    for _ in range(amount):
        damaged = mutate(data, rng)
        path.write_bytes(damaged)
        message = error_of(bundle)
        assert "\n" not in message
        assert message or damaged == data  # a damaged manifest is never accepted
        tried("damaged manifests")


def test_bad_manifests_are_rejected(tiny_bundle: Path, tmp_path: Path) -> None:
    """The C++ runtime is held against the same list, in tests/cpp/test_core.py."""
    assert not error_of(tiny_bundle)
    assert wrongly_accepted(lambda folder: not error_of(folder), tiny_bundle, tmp_path) == []


def error_of(bundle: Path) -> str:
    try:
        load_manifest(bundle)
    except BundleError as error:
        return str(error)
    return ""


def places_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in a JSON document."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places_of(entry, (*path, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_replaced_value_gives_a_manifest_or_one_line(
    bundle: Path, tiny_bundle: Path, tried: Tried, data: st.DataObject
) -> None:
    """Valid JSON with one value replaced by anything: it is rejected in one line, or it is a valid manifest."""
    content = json.loads((tiny_bundle / MANIFEST_NAME).read_bytes())
    place = data.draw(st.sampled_from([place for place in places_of(content) if place]))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(ANYTHING)
    (bundle / MANIFEST_NAME).write_text(json.dumps(content))
    tried("altered manifests")
    assert "\n" not in error_of(bundle)
