"""The bundles that a server was told to serve: opened at its start, and read again while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.bundle.reading import MANIFEST_NAME, load_manifest
from ..runtime.errors import one_line
from ..runtime.scheduling.scheduler import Scheduler
from .voices import Origin, Voice, Voices


@dataclass(frozen=True)
class FoundBundle:
    """A bundle as it is at this moment."""

    origin: Origin
    folder: Path
    digest: str


@dataclass(frozen=True)
class Bundles:
    """Where the voices of a server come from."""

    names: Sequence[str]  # as the command has them
    find: Callable[[str], Path]  # the folder of a name
    open: Callable[[Path], Scheduler]
    upstream: Sequence[Voice] = ()  # of other servers; they stay as they are
    aliases: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False  # voices that nobody uses: they are closed once they are known to open

    def open_all(self) -> Voices:
        """Open every voice. Raises what opening raises."""
        found = [found for name in self.names for found in self._find(name)]
        return Voices([*(self._open(each) for each in found), *self.upstream], self.aliases)

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
                if old and old[0].facts.digest == each.digest:
                    voices += old
                    continue
                try:
                    voices.append(self._open(each))
                except Exception as error:  # also of a backend that is short of memory
                    problems.append(describe_failure(str(each.folder), error, old))
                    voices += old
        return [*voices, *self.upstream], problems

    def _find(self, name: str) -> list[FoundBundle]:
        """The bundles of a name: one, or those in a folder that is not one itself."""
        folder = self.find(name)
        within = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_NAME}"))
        if within and not (folder / MANIFEST_NAME).exists():
            return [FoundBundle(Origin(name, each.name), each, load_manifest(each).digest) for each in within]
        return [FoundBundle(Origin(name), folder, load_manifest(folder).digest)]

    def _open(self, found: FoundBundle) -> Voice:
        def open_scheduler() -> Scheduler:
            return self.open(found.folder)

        scheduler = open_scheduler()
        voice_id = scheduler.voice.manifest.voice.name or found.folder.resolve().name
        voice = Voice.embedded(voice_id, scheduler, found.origin, open_scheduler)
        if self.closes:
            voice.close()
        return voice


def describe_failure(what: str, error: Exception, kept: Sequence[Voice]) -> str:
    stays = ", ".join(voice.id for voice in kept)
    return f"{what}: {one_line(error)}; " + (f"{stays} stays as it was" if stays else "left out")
