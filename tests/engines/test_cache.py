"""Engines on disk: what is trusted, what is rebuilt, and who builds when several start at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tacoglow.runtime.engines.cache import Engine, EngineCache, secret_path
from tacoglow.runtime.engines.recipe import BuildOptions, Recipe, Target
from tacoglow.runtime.errors import BackendError

RECIPE = Recipe(
    graph="postnet",
    graph_sha256="ab" * 32,
    precision="fp32",
    tensorrt="tensorrt",
    tensorrt_version="10.3.0",
    target=Target(gpu="NVIDIA H100", compute_capability=(9, 0)),
    profile={},
    options=BuildOptions(),
)
PLAN = bytes(range(256)) * 100


@pytest.fixture(autouse=True)
def own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TACOGLOW_ENGINE_KEY", str(tmp_path / "key" / "engine.key"))
    return secret_path()


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def build(cache: EngineCache, plan: bytes = PLAN, recipe: Recipe = RECIPE) -> tuple[Engine, bool]:
    """The engine, and whether it had to be built."""
    built = []

    def make() -> bytes:
        built.append(True)
        return plan

    return cache.find_or_build(recipe, lambda other: other == recipe, make), bool(built)


def test_an_engine_is_built_once(cache: EngineCache) -> None:
    assert cache.find(lambda recipe: True) is None
    engine, built = build(cache)
    assert built
    assert engine.plan == PLAN
    again, built = build(EngineCache(cache.folder))
    assert not built
    assert again == engine
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_another_recipe_is_another_engine(cache: EngineCache) -> None:
    build(cache)
    newer = msgspec.structs.replace(RECIPE, tensorrt_version="10.4.0")
    engine, built = build(cache, b"newer", newer)
    assert built
    assert engine.plan == b"newer"
    assert build(cache)[0].plan == PLAN  # the first one is still there
    assert len(cache.entries()) == 2


def test_the_newest_of_those_that_will_do(cache: EngineCache) -> None:
    for i, level in enumerate((1, 5, 3)):
        options = BuildOptions(optimization_level=level)
        engine, _ = build(cache, bytes([i]), msgspec.structs.replace(RECIPE, options=options))
        os.utime(engine.path, ns=(i * 10**9, i * 10**9))
    found = cache.find(lambda recipe: recipe.graph == "postnet")
    assert found is not None
    assert found.recipe.options.optimization_level == 3


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b""), Path.unlink])
@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_what_is_damaged_is_built_anew(cache: EngineCache, damage: Callable[[Path], None], suffix: str) -> None:
    engine, _ = build(cache)
    damage(engine.path.with_suffix(suffix))
    assert cache.find(lambda recipe: True) is None
    assert [entry.state for entry in cache.entries()] != ["ready"]
    again, built = build(cache)
    assert built
    assert again == engine
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_every_bit_of_a_record_counts(cache: EngineCache) -> None:
    """A record cannot be made to speak for another recipe."""
    engine, _ = build(cache)
    path = engine.path.with_suffix(".json")
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 2]) + content[position + 1 :])
        found = cache.find(lambda recipe: True)
        assert found is None or found == engine  # a bit of the time that the build took, or of white space


def test_a_plan_from_another_machine_is_not_loaded(
    cache: EngineCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(cache)
    monkeypatch.setenv("TACOGLOW_ENGINE_KEY", str(tmp_path / "other.key"))
    assert cache.find(lambda recipe: True) is None
    assert [entry.state for entry in cache.entries()] == ["damaged, or of another machine"]
    assert build(cache)[1]


def test_the_secret_is_for_its_owner_alone(cache: EngineCache, own_secret: Path) -> None:
    build(cache)
    assert own_secret.stat().st_mode & 0o777 == 0o600
    assert len(own_secret.read_bytes()) == 32
    assert not list(own_secret.parent.glob(".*"))
    own_secret.write_bytes(b"short")
    with pytest.raises(BackendError, match=r"engine.key: expected 32 bytes, got 5; remove it"):
        cache.find(lambda recipe: True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"engines cannot be kept there: .*; choose another folder: --engines"):
        build(EngineCache(tmp_path / "file"))


def test_a_build_that_fails_leaves_nothing(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        cache.find_or_build(RECIPE, lambda recipe: True, fail)
    assert cache.entries() == []
    assert build(cache)[1]


# A process that builds an engine slowly: it says that it builds, then takes its time.
BUILDER = """
import sys, time
from pathlib import Path
from tacoglow.runtime.engines.cache import EngineCache
from tacoglow.tests.engines.test_cache import PLAN, RECIPE

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

def make():
    print("building", flush=True)
    time.sleep(seconds)
    return PLAN

engine = EngineCache(folder).find_or_build(RECIPE, lambda r: r == RECIPE, make, lambda: print("waiting", flush=True))
print("done", engine.plan == PLAN, flush=True)
"""


def start_builder(cache: EngineCache, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", textwrap.dedent(BUILDER), str(cache.folder), str(seconds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_processes_that_start_together_build_once(cache: EngineCache) -> None:
    builders = [start_builder(cache, 1.0) for _ in range(3)]
    said = [builder.communicate(timeout=60)[0].split() for builder in builders]
    assert sum("building" in words for words in said) == 1
    assert all(words[-2:] == ["done", "True"] for words in said)


def test_a_build_that_is_killed_leaves_nothing_that_is_trusted(cache: EngineCache) -> None:
    builder = start_builder(cache, 600.0)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "building\n"
    waiting = start_builder(cache, 0.0)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "waiting\n"
    builder.send_signal(signal.SIGKILL)
    builder.wait(timeout=10)
    said, _ = waiting.communicate(timeout=60)  # the lock of the dead is free
    assert said.split() == ["building", "done", "True"]
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_killed_while_writing(cache: EngineCache) -> None:
    """Every state that a kill between two writes can leave: a partial file, a plan without its record."""
    cache.folder.mkdir(parents=True)
    (cache.folder / f".postnet-{RECIPE.key}.plan.partial").write_bytes(PLAN[:100])
    (cache.folder / f"postnet-{RECIPE.key}.plan").write_bytes(PLAN)
    assert cache.find(lambda recipe: True) is None
    start = time.time()
    assert build(cache)[1]
    assert not list(cache.folder.glob(".*.partial"))
    assert [path.stat().st_mtime >= start - 1 for path in cache.folder.glob("*.plan")] == [True]
