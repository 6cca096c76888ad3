"""The engine cache: TensorRT plans in a folder, each with a record of what it was built from.

A plan is executable code. Plans are loaded from the user's own cache, if no other user can write to it, or from a
folder that the caller names, which is trusted because it is named. A record contains the SHA-256 of its engine key and
plan; a plan without a valid record is rebuilt.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from ...bundle.manifest import Manifest
from ...bundle.reading import graph_path
from ...errors import BackendError
from ...files import clear_partial_files, replace_file
from ..cuda.device import Gpu
from .builder import EngineBuilder, TerminalProgress
from .engine_key import ANY_GPU, BuildOptions, EngineKey, ProfileLimits, Target, is_compatible, make_engine_key
from .versions import TensorRT


def default_folder() -> Path:
    """Return the folder in the user's own cache: $XDG_CACHE_HOME/tacoglow/engines on Linux, or in ~/.cache."""
    return user_cache_path("tacoglow", appauthor=False) / "engines"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metadata of one plan, stored next to it as JSON."""

    engine_key: EngineKey
    seconds: float  # build time
    sha256: str  # SHA-256 of the engine key and the plan


@dataclass(frozen=True)
class Engine:
    """A plan from the cache."""

    path: Path
    engine_key: EngineKey
    plan: bytes


@dataclass(frozen=True)
class Entry:
    """State of one engine in a cache, for display."""

    path: Path
    engine_key: EngineKey | None  # None if the record cannot be read
    state: Literal["ready", "damaged", "no record", "no plan"]
    nbytes: int = 0


class EngineCache:
    """The engines in one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None: the user's own cache, default_folder()."""
        self.folder = folder or default_folder()
        self._is_default = folder is None

    def find(self, accepts: Callable[[EngineKey], bool]) -> Engine | None:
        """Find the newest intact engine whose key is accepted; None if there is none.

        Raises BackendError if the user's own cache is writable by others.
        """
        self._check_private()
        for path in self._plans():
            record = _read_record(path)
            if record is not None and accepts(record.engine_key):
                with suppress(OSError):
                    plan = path.read_bytes()
                    if _sha256(record.engine_key, plan) == record.sha256:
                        return Engine(path, record.engine_key, plan)
        return None

    def find_or_build(
        self,
        engine_key: EngineKey,
        accepts: Callable[[EngineKey], bool],
        build: Callable[[], bytes],
        on_wait: Callable[[], None] = lambda: None,
    ) -> Engine:
        """Return an accepted engine, or build one for the key; of processes that start together, one builds.

        on_wait: called before waiting for another process's build. Raises BackendError if the folder is not writable.
        """
        engine = self.find(accepts)
        if engine is None:
            with self._lock(on_wait):
                engine = self.find(accepts) or self._store(engine_key, build)
        return engine

    def entries(self) -> list[Entry]:
        """List the state of every engine in the folder, sorted by name."""
        plans = {path.with_suffix(".plan") for suffix in ("plan", "json") for path in self.folder.glob(f"*.{suffix}")}
        return [self._entry(path) for path in sorted(plans)]

    def _entry(self, path: Path) -> Entry:
        record = _read_record(path)
        if record is None:
            return Entry(path, None, "no record")
        if not path.is_file():
            return Entry(path, record.engine_key, "no plan")
        plan = path.read_bytes()
        intact = _sha256(record.engine_key, plan) == record.sha256
        return Entry(path, record.engine_key, "ready" if intact else "damaged", len(plan))

    def _plans(self) -> list[Path]:
        """List the paths of all plans, newest first."""
        return sorted(self.folder.glob("*.plan"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)

    def _check_private(self) -> None:
        """Raise BackendError if the user's own cache is writable by others; Windows profiles are private anyway."""
        if not self._is_default or not self.folder.is_dir() or not hasattr(os, "getuid"):
            return
        status = self.folder.stat()
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise BackendError(
                f"{self.folder}: others can write to the engine cache, and plans are code; make the folder your own "
                "(chown, chmod go-w), or choose another folder with --engines"
            )

    def _store(self, engine_key: EngineKey, build: Callable[[], bytes]) -> Engine:
        """Write the plan, then the record that validates it, so that a killed build's files are never loaded."""
        clear_partial_files(self.folder)
        start = perf_counter()
        plan = build()
        path = self.folder / f"{engine_key.graph}-{engine_key.key}.plan"
        record = Record(
            engine_key=engine_key, seconds=round(perf_counter() - start, 3), sha256=_sha256(engine_key, plan)
        )
        content = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        try:
            replace_file(path, plan, durable=True)
            replace_file(path.with_suffix(".json"), content, durable=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return Engine(path, engine_key, plan)

    @contextmanager
    def _lock(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Allow one build per folder at a time; the operating system releases the lock of a killed process."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                on_wait()
                lock.acquire()
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _unwritable(self, error: OSError) -> BackendError:
        return BackendError(
            f"{self.folder}: cannot write the engine cache: {error.strerror or error}; "
            "choose another folder with --engines"
        )


@dataclass(frozen=True)
class EngineRequest:
    """The engines that are needed, and where to cache them."""

    target: Target
    limits: ProfileLimits = field(default_factory=ProfileLimits)
    options: BuildOptions = field(default_factory=BuildOptions)
    folder: Path | None = None  # folder of the engine cache; None: the user's own
    graphs: Sequence[str] | None = None  # None: all
    exact: bool = False  # True: the engine key must be equal; False: any compatible engine


def target_of(gpu: Gpu, tensorrt: TensorRT) -> Target:
    """Return the build target for a GPU: its model, or for TensorRT-RTX any GPU of its compute capability."""
    name = ANY_GPU if tensorrt.builds_ahead_of_time else gpu.name
    return Target(gpu=name, compute_capability=gpu.compute_capability)


def get_or_build_engines(
    bundle: Path, manifest: Manifest, tensorrt: TensorRT, request: EngineRequest, progress: TerminalProgress
) -> dict[str, Engine]:
    """Load or build an engine per graph. Raises BundleError, RequestError or BackendError."""
    cache = EngineCache(request.folder)
    # Created when the first engine is missing, because creating a builder takes seconds on a GPU.
    new_builder = functools.cache(lambda: EngineBuilder(tensorrt))
    version = tensorrt.name, tensorrt.version
    engines = {}
    for graph in request.graphs or manifest.graph_names:
        key = make_engine_key(manifest, graph, version, request.target, request.limits, request.options)

        def accepts(other: EngineKey, key: EngineKey = key) -> bool:
            return other == key if request.exact else is_compatible(other, key)

        def build(key: EngineKey = key) -> bytes:
            spec = manifest.graphs[key.graph]
            onnx = graph_path(bundle, key.graph, spec)
            with progress.building(key.graph) as report:
                return new_builder().build(onnx, spec, key, _timing_cache(cache.folder, key), report)

        def on_wait(graph: str = graph) -> None:
            progress.print_status(f"{graph}: another process is building engines in {cache.folder}; waiting")

        engines[graph] = cache.find_or_build(key, accepts, build, on_wait)
    return engines


def copy_engines(engines: Mapping[str, Engine], folder: Path) -> None:
    """Copy plans with their records into a folder, which is then an engine cache of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for engine in engines.values():
        for path in (engine.path, engine.path.with_suffix(".json")):
            shutil.copyfile(path, folder / path.name)


def copy_plans(engines: Mapping[str, Engine], folder: Path) -> None:
    """Copy the engines' plans to FOLDER/GRAPH.plan, where the C++ runtime expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph, engine in engines.items():
        shutil.copyfile(engine.path, folder / f"{graph}.plan")


def _timing_cache(folder: Path, key: EngineKey) -> Path:
    name = f"timings-{key.tensorrt}-{key.tensorrt_version}-{key.target.gpu or 'any'}.cache"
    return folder / name.replace(" ", "-").replace("/", "-")


def _sha256(engine_key: EngineKey, plan: bytes) -> str:
    digest = hashlib.sha256(msgspec.json.encode(engine_key, order="deterministic"))
    digest.update(plan)
    return digest.hexdigest()


def _read_record(plan: Path) -> Record | None:
    try:
        return msgspec.json.decode(plan.with_suffix(".json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
