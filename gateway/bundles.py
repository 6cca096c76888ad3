"""The bundles that a server was told to serve: opened at its start, and read again while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.bundle.reading import MANIFEST_NAME, load_manifest
from ..runtime.errors import RequestError, one_line
from ..runtime.scheduling.scheduler import Scheduler
from .health import probe
from .voices import Origin, Voice, Voices


@dataclass(frozen=True)
class FoundBundle:
    """A bundle that was found, and has not been read yet."""

    origin: Origin
    folder: Path


@dataclass(frozen=True)
class Bundles:
    """Where the voices of a server come from."""

    names: Sequence[str]  # as the command has them
    find: Callable[[str], Path]  # the folder of a name
    open: Callable[[Path], Scheduler]
    upstream: Sequence[Voice] = ()  # of other servers; they stay as they are
    aliases: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False  # voices that nobody uses: they are closed once they have spoken

    def open_all(self) -> tuple[Voices, list[str]]:
        """Open every voice; returns also a line for each in a folder of bundles that cannot be opened.

        Raises what opening the other ones raises, and RequestError if there is none.
        """
        voices: list[Voice] = []
        problems: list[str] = []
        for each in [found for name in self.names for found in self._find(name)]:
            try:
                voices.append(self._open(each))
            except Exception as error:
                if not each.origin.within:
                    raise
                problems.append(describe_failure(str(each.folder), error, []))
        if problems and not (voices or self.upstream):
            raise RequestError("; ".join(problems))
        return Voices([*voices, *self.upstream], self.aliases), problems

    def read_again(self, running: Sequence[Voice]) -> tuple[list[Voice], list[str]]:
        """Open what is new or has changed; the other voices are those that are running.

        Returns all voices, and a line for each that cannot be opened: in its place the running one stays.
        """
        voices: list[Voice] = []
        problems: list[str] = []
        for name in self.names:
            try:
                found = self._find(name)
            except Exception as error:  # of files, of the network, of manifests
                kept = [voice for voice in running if voice.origin is not None and voice.origin.name == name]
                problems.append(describe_failure(name, error, kept))
                voices += kept
                continue
            for each in found:
                old = [voice for voice in running if voice.origin == each.origin]
                try:
                    is_same = old and old[0].facts.digest == load_manifest(each.folder).digest
                    voices += old if is_same else [self._open(each)]
                except Exception as error:  # also of a backend that is short of memory
                    problems.append(describe_failure(str(each.folder), error, old))
                    voices += old
        return [*voices, *self.upstream], problems

    def _find(self, name: str) -> list[FoundBundle]:
        """The bundles of a name: one, or those in a folder that is not one itself."""
        folder = self.find(name)
        within = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_NAME}"))
        if within and not (folder / MANIFEST_NAME).exists():
            return [FoundBundle(Origin(name, each.name), each) for each in within]
        load_manifest(folder)  # raises if it has none: a folder whose bundles are gone loses no voice
        return [FoundBundle(Origin(name), folder)]

    def _open(self, found: FoundBundle) -> Voice:
        def open_scheduler() -> Scheduler:
            return self.open(found.folder)

        scheduler = open_scheduler()
        voice_id = scheduler.voice.manifest.voice.name or found.folder.resolve().name
        voice = Voice.embedded(voice_id, scheduler, found.origin, open_scheduler)
        if self.closes:
            with suppress(Exception):  # Health asks an open one again, and tells why it does not speak
                probe(scheduler, voice.facts.letter)
                voice.last_heard = time.monotonic()
                voice.close()
        return voice


def describe_failure(what: str, error: Exception, kept: Sequence[Voice]) -> str:
    ids = ", ".join(voice.id for voice in kept)
    return f"{what}: {one_line(error)}; " + (f"kept: {ids}" if ids else "left out")
