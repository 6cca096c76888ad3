"""Where engines are kept: plans under a bundle's `engines/`, each with a record of what it was made from.

A plan is executable code, so only those that this machine wrote are loaded: a record is sealed with a secret that
never leaves the machine. A plan without a record that seals it, cut short or changed, is as good as absent.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import msgspec

from ..errors import BackendError
from .recipe import Recipe

FOLDER = "engines"
SECRET_BYTES = 32


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands beside a plan."""

    recipe: Recipe
    seconds: float  # that the build took
    seal: str  # HMAC-SHA256 of recipe and plan under this machine's secret


@dataclass(frozen=True)
class Engine:
    """A plan that this machine wrote."""

    path: Path
    recipe: Recipe
    plan: bytes


@dataclass(frozen=True)
class Entry:
    """What is found in a cache's folder, to be shown."""

    path: Path
    recipe: Recipe | None  # None where the record cannot be read
    state: Literal["ready", "damaged, or of another machine", "no record", "no plan"]
    nbytes: int = 0


class EngineCache:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, accepts: Callable[[Recipe], bool]) -> Engine | None:
        """The newest engine that this machine wrote and whose recipe is accepted."""
        for path in self._plans():
            record = _read_record(path)
            if record is not None and accepts(record.recipe):
                with suppress(OSError):
                    plan = path.read_bytes()
                    if hmac.compare_digest(_seal(record.recipe, plan), record.seal):
                        return Engine(path, record.recipe, plan)
        return None

    def find_or_build(
        self,
        recipe: Recipe,
        accepts: Callable[[Recipe], bool],
        build: Callable[[], bytes],
        on_wait: Callable[[], None] = lambda: None,
    ) -> Engine:
        """An accepted engine, or the one that `build` makes for `recipe`; two processes that start together build once.

        on_wait is called before waiting for another process's build. Raises BackendError if the folder is not writable.
        """
        engine = self.find(accepts)
        if engine is None:
            with self._lock(on_wait):
                engine = self.find(accepts) or self._store(recipe, build)
        return engine

    def entries(self) -> list[Entry]:
        """Everything in the folder, by name."""
        plans = {path.with_suffix(".plan") for suffix in ("plan", "json") for path in self.folder.glob(f"*.{suffix}")}
        return [self._entry(path) for path in sorted(plans)]

    def _entry(self, path: Path) -> Entry:
        record = _read_record(path)
        if record is None:
            return Entry(path, None, "no record")
        if not path.is_file():
            return Entry(path, record.recipe, "no plan")
        plan = path.read_bytes()
        sealed = hmac.compare_digest(_seal(record.recipe, plan), record.seal)
        return Entry(path, record.recipe, "ready" if sealed else "damaged, or of another machine", len(plan))

    def _plans(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("*.plan"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)

    def _store(self, recipe: Recipe, build: Callable[[], bytes]) -> Engine:
        """The plan first, then the record that makes it count: a build that is killed leaves nothing trusted."""
        for leftover in self.folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)
        start = perf_counter()
        plan = build()
        path = self.folder / f"{recipe.graph}-{recipe.key}.plan"
        record = Record(recipe=recipe, seconds=round(perf_counter() - start, 3), seal=_seal(recipe, plan))
        content = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        try:
            _write_whole(path, plan)
            _write_whole(path.with_suffix(".json"), content)
        except OSError as error:
            raise self._unwritable(error) from error
        return Engine(path, recipe, plan)

    @contextmanager
    def _lock(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """One build in this folder at a time; the system lets go of the lock of a process that dies."""
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
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
            f"{self.folder}: engines cannot be kept there: {error.strerror or error}; choose another folder: --engines"
        )


def secret_path() -> Path:
    """The file of this machine's secret: $TACOGLOW_ENGINE_KEY, else under the user's state folder."""
    given = os.environ.get("TACOGLOW_ENGINE_KEY")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(given) if given else state / "tacoglow" / "engine.key"


def _secret() -> bytes:
    """This machine's secret, made when it is first needed. Raises BackendError."""
    path = secret_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            with suppress(FileExistsError):  # another process was first: its secret stands
                os.link(partial, path)
            partial.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"{path}: the key that engines are sealed with cannot be kept there: {error.strerror}; "
            "choose another file: TACOGLOW_ENGINE_KEY"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise BackendError(f"{path}: expected {SECRET_BYTES} bytes, got {len(secret)}; remove it to have it made anew")
    return secret


def _seal(recipe: Recipe, plan: bytes) -> str:
    seal = hmac.new(_secret(), msgspec.json.encode(recipe, order="deterministic"), hashlib.sha256)
    seal.update(plan)
    return seal.hexdigest()


def _read_record(plan: Path) -> Record | None:
    try:
        return msgspec.json.decode(plan.with_suffix(".json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
