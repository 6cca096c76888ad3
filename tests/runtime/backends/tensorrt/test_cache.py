"""The engine cache: trusted and rebuilt plans, permissions, and processes that build at the same time."""

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

from tacoglow.runtime.backends.tensorrt.cache import Engine, EngineCache, copy_engines, default_folder
from tacoglow.runtime.backends.tensorrt.engine_key import BuildOptions, EngineKey, Target
from tacoglow.runtime.errors import BackendError

ENGINE_KEY = EngineKey(
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


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def build(cache: EngineCache, plan: bytes = PLAN, engine_key: EngineKey = ENGINE_KEY) -> tuple[Engine, bool]:
    """Return the engine, and true if it was built."""
    built = []

    def make() -> bytes:
        built.append(True)
        return plan

    return cache.find_or_build(engine_key, lambda other: other == engine_key, make), bool(built)


def test_engine_is_built_once(cache: EngineCache) -> None:
    assert cache.find(lambda engine_key: True) is None
    engine, built = build(cache)
    assert built
    assert engine.plan == PLAN
    again, built = build(EngineCache(cache.folder))
    assert not built
    assert again == engine
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_different_key_is_a_different_engine(cache: EngineCache) -> None:
    build(cache)
    newer = msgspec.structs.replace(ENGINE_KEY, tensorrt_version="10.4.0")
    engine, built = build(cache, b"newer", newer)
    assert built
    assert engine.plan == b"newer"
    assert build(cache)[0].plan == PLAN  # the first engine is still cached
    assert len(cache.entries()) == 2


def test_newest_accepted_engine_is_found(cache: EngineCache) -> None:
    for i, level in enumerate((1, 5, 3)):
        options = BuildOptions(optimization_level=level)
        engine, _ = build(cache, bytes([i]), msgspec.structs.replace(ENGINE_KEY, options=options))
        os.utime(engine.path, ns=(i * 10**9, i * 10**9))
    found = cache.find(lambda engine_key: engine_key.graph == "postnet")
    assert found is not None
    assert found.engine_key.options.optimization_level == 3


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b""), Path.unlink])
@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_damaged_engine_is_rebuilt(cache: EngineCache, damage: Callable[[Path], None], suffix: str) -> None:
    engine, _ = build(cache)
    damage(engine.path.with_suffix(suffix))
    assert cache.find(lambda engine_key: True) is None
    assert [entry.state for entry in cache.entries()] != ["ready"]
    again, built = build(cache)
    assert built
    assert again == engine
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_changed_record_is_rejected(cache: EngineCache) -> None:
    """A changed record is never valid for a different engine key."""
    engine, _ = build(cache)
    path = engine.path.with_suffix(".json")
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 2]) + content[position + 1 :])
        found = cache.find(lambda engine_key: True)
        assert found is None or found == engine  # the bit belongs to the build time or to white space


def test_default_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert EngineCache().folder == default_folder() == tmp_path / "cache" / "tacoglow" / "engines"
    build(EngineCache())
    assert default_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "tacoglow" / "engines"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_default_folder_writable_by_others_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Plans are code: a default cache that others can write to is not loaded, a folder that is named is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build(EngineCache())
    default_folder().chmod(mode)
    with pytest.raises(BackendError, match=r"engines: others can write to the engine cache, .*--engines"):
        EngineCache().find(lambda key: True)
    assert EngineCache(default_folder()).find(lambda key: True) is not None


def test_default_folder_of_another_user_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build(EngineCache())
    uid = default_folder().stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    if uid == 0:
        os.chown(default_folder(), 12345, -1)
    with pytest.raises(BackendError, match="others can write"):
        EngineCache().find(lambda key: True)


def test_copied_engines_are_a_cache(cache: EngineCache, tmp_path: Path) -> None:
    engine, _ = build(cache)
    copy_engines({"postnet": engine}, tmp_path / "copy")
    found = EngineCache(tmp_path / "copy").find(lambda key: key == ENGINE_KEY)
    assert found is not None
    assert (found.engine_key, found.plan) == (engine.engine_key, engine.plan)


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"cannot write the engine cache: .*; choose another folder with --engines"):
        build(EngineCache(tmp_path / "file"))


def test_failed_build_leaves_no_files(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        cache.find_or_build(ENGINE_KEY, lambda engine_key: True, fail)
    assert cache.entries() == []
    assert build(cache)[1]


# A process that prints when it builds, waits and finishes; its build takes the given number of seconds.
BUILDER = """
import sys, time
from pathlib import Path
from tacoglow.runtime.backends.tensorrt.cache import EngineCache
from tacoglow.tests.runtime.backends.tensorrt.test_cache import PLAN, ENGINE_KEY

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

def make():
    print("building", flush=True)
    time.sleep(seconds)
    return PLAN

accepts = lambda key: key == ENGINE_KEY
engine = EngineCache(folder).find_or_build(ENGINE_KEY, accepts, make, lambda: print("waiting", flush=True))
print("done", engine.plan == PLAN, flush=True)
"""


def start_builder(cache: EngineCache, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", textwrap.dedent(BUILDER), str(cache.folder), str(seconds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.full
def test_concurrent_processes_build_once(cache: EngineCache) -> None:
    builders = [start_builder(cache, 1.0) for _ in range(3)]
    outputs = [builder.communicate(timeout=60)[0].split() for builder in builders]
    assert sum("building" in words for words in outputs) == 1
    assert all(words[-2:] == ["done", "True"] for words in outputs)


def test_killed_build_is_repeated_by_a_waiting_process(cache: EngineCache) -> None:
    builder = start_builder(cache, 600.0)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "building\n"
    waiting = start_builder(cache, 0.0)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "waiting\n"
    builder.send_signal(signal.SIGKILL)
    builder.wait(timeout=10)
    output, _ = waiting.communicate(timeout=60)  # the killed process's lock is released
    assert output.split() == ["building", "done", "True"]
    assert [entry.state for entry in cache.entries()] == ["ready"]


def test_partial_files_are_not_loaded(cache: EngineCache) -> None:
    """The files that a kill between two writes can leave: a partial file, and a plan without its record."""
    cache.folder.mkdir(parents=True)
    (cache.folder / f".postnet-{ENGINE_KEY.key}.plan.partial").write_bytes(PLAN[:100])
    (cache.folder / f"postnet-{ENGINE_KEY.key}.plan").write_bytes(PLAN)
    assert cache.find(lambda engine_key: True) is None
    start = time.time()
    assert build(cache)[1]
    assert not list(cache.folder.glob(".*.partial"))
    assert [path.stat().st_mtime >= start - 1 for path in cache.folder.glob("*.plan")] == [True]
