"""The voices that a server has, found by id, by model name or by alias."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..runtime.bundle.manifest import Manifest, has_control_characters
from ..runtime.errors import BundleError, RequestError, one_line
from ..runtime.options import SpeechOptions, StreamOptions
from ..runtime.scheduling.admission import Ticket
from ..runtime.scheduling.handle import SpeechHandle
from ..runtime.scheduling.metrics import SchedulerMetrics
from ..runtime.scheduling.scheduler import Scheduler
from ..text import FrontEnd
from ..text.errors import quote
from .errors import GatewayError, invalid

# Names that clients offer their users in a fixed list: each is the voice of the request's model.
OPENAI_VOICES = frozenset("alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split())
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
DEFAULT_MODELS = ("tacoglow",)
DEFAULT_PREFIXES = ("tts-", "gpt-")
DEFAULT_LANGUAGE = "en-US"
RETRY_SECONDS = 5.0  # after a failure to open a voice, before the next attempt
WHOLE_FRAMES = 96  # of a segment: a quarter of a second of one core for the demo voice, which an abandoned one lives on


class Speaker(Protocol):
    """Speaks a voice's requests, as a Scheduler does: in this process, or through servers elsewhere."""

    def submit(
        self,
        text: str,
        seed: int = 0,
        options: SpeechOptions | None = None,
        stream: StreamOptions | None = None,
        is_heard: bool = True,
        *,
        ticket: Ticket | None = None,
        keep_audio: bool = True,
    ) -> SpeechHandle: ...

    def metrics(self) -> SchedulerMetrics: ...

    def admit(self, tokens: int, client: str = "", max_wait: float = ...) -> Ticket: ...

    def close(self, finish: bool = True) -> None: ...


def whole_segments(manifest: Manifest) -> StreamOptions:
    """How to cut speech for a client that wants it whole: in segments whose context costs less than a stream's.

    Not in vocoder windows: one of those takes seconds, and cannot be interrupted when the client leaves.
    """
    frames = min(WHOLE_FRAMES, manifest.synthesis.window_frames)
    return StreamOptions(frames, frames)


logger = logging.getLogger("tacoglow.serve")


@dataclass(frozen=True)
class VoiceFacts:
    """The facts that clients are told of a voice."""

    sampling_rate: int  # Hz
    language: str
    letter: str  # or a phone, which the voice speaks when its health is checked
    provenance: Mapping[str, str] = field(default_factory=dict)
    front_end: FrontEnd | None = None  # for the times of words; None: not known here
    whole: StreamOptions = field(default_factory=StreamOptions)  # how to cut speech for a client that wants it whole
    digest: str = ""  # of the bundle; "": not known here
    computed_by: tuple[str, ...] = ()  # its backend's


def facts_of(scheduler: Scheduler) -> VoiceFacts:
    """The facts of a voice in this process."""
    manifest, front_end = scheduler.voice.manifest, scheduler.voice.front_end
    return VoiceFacts(
        manifest.audio.sampling_rate,
        manifest.voice.language or DEFAULT_LANGUAGE,
        front_end.sample(1),
        manifest.voice.provenance,
        front_end,
        whole_segments(manifest),
        manifest.digest,
        scheduler.voice.backend.computed_by,
    )


@dataclass(frozen=True)
class Origin:
    """Where a bundle was found."""

    name: str  # as the command has it
    within: str = ""  # the folder in that, if it has several bundles


@dataclass
class Voice:
    """A voice and its speaker.

    Whoever speaks with it holds the speaker, so that one that is let go, because the voice is replaced or unused, ends
    with the last of its requests.
    """

    id: str
    scheduler: Speaker | None  # None: closed until somebody needs it
    facts: VoiceFacts
    origin: Origin | None = None  # None: other servers speak
    open: Callable[[], Scheduler] | None = None  # a new scheduler
    last_heard: float | None = None  # time.monotonic() of its latest audio; None: it has not spoken yet
    last_used: float = field(default_factory=time.monotonic)  # by a client
    failed: float | None = None  # time.monotonic() when it could not be opened again; None: it could
    _opening: asyncio.Future[None] | None = None
    _users: int = 0  # of the speaker, who may not have submitted anything yet

    @classmethod
    def embedded(
        cls,
        voice_id: str,
        scheduler: Scheduler,
        origin: Origin | None = None,
        open_again: Callable[[], Scheduler] | None = None,
    ) -> Voice:
        """A bundle's voice in this process."""
        return cls(voice_id, scheduler, facts_of(scheduler), origin, open_again)

    @asynccontextmanager
    async def speaker(self, openers: Executor) -> AsyncIterator[Speaker]:
        """The speaker, which is not closed before the block ends. Raises GatewayError.

        openers: where it is opened if it is closed.
        """
        self._users += 1
        try:
            yield await self._speaker(openers)
        finally:
            self._users -= 1
            self.last_used = time.monotonic()

    async def _speaker(self, openers: Executor) -> Speaker:
        may_try = self.failed is None or time.monotonic() - self.failed >= RETRY_SECONDS
        if self.scheduler is None and may_try:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.get_running_loop().run_in_executor(openers, self._open)
            await asyncio.shield(self._opening)  # a client that leaves meanwhile does not end it
        if self.scheduler is None:
            message = f"{self.id}: cannot be opened; see the server's log"
            raise GatewayError(503, "voice_unavailable", message, headers={"retry-after": f"{RETRY_SECONDS:g}"})
        return self.scheduler

    def _open(self) -> None:
        """Open it again, or note that it failed."""
        assert self.open is not None  # otherwise it is never closed
        try:
            scheduler = self.open()
            facts = facts_of(scheduler)
            if facts.digest != self.facts.digest:  # a request that was read with the old facts may wait for it
                raise BundleError("its bundle has changed; send SIGHUP to the server")
        except Exception as error:  # also of a backend that is short of memory
            logger.error("%s: cannot be opened: %s", self.id, one_line(error))
            self.failed = time.monotonic()
            return
        self.facts, self.scheduler, self.failed = facts, scheduler, None

    def close(self) -> None:
        """Let the speaker go until somebody needs it."""
        self.scheduler = None

    def is_idle(self, seconds: float) -> bool:
        """True if it can be closed, and nobody has used it for so long. One that has never spoken stays, for health."""
        if self.scheduler is None or self.open is None or self.last_heard is None or self._users:
            return False
        if time.monotonic() - self.last_used < seconds:
            return False
        state = self.scheduler.metrics()
        return not (state.active or state.queued)

    @property
    def language(self) -> str:
        return self.facts.language

    @property
    def sampling_rate(self) -> int:
        return self.facts.sampling_rate

    def describe(self, name: str) -> dict[str, Any]:
        """An entry of the list of voices. name: its id, or an alias."""
        return {
            "id": name,
            "name": name,
            "language": self.language,
            "sample_rate": self.sampling_rate,
            "model": self.id,
            "timestamps": self.facts.front_end is not None,
        }


@dataclass
class Voices:
    """All voices, by id; the first one is the default. Case is ignored."""

    voices: Sequence[Voice]
    aliases: Mapping[str, str] = field(default_factory=dict)  # alias -> id of a voice
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if not self.voices:
            raise RequestError("voices: none is left")
        self._by_id = {voice.id.lower(): voice for voice in self.voices}
        for voice in self.voices:
            if self._by_id[voice.id.lower()] is not voice:
                way_out = 'export one with another "name" in its voice file (export-onnx --config)'
                raise RequestError(f"voices: two are called {voice.id}; {way_out}")
        for name in self.names:  # a folder's or another server's may be anything
            if has_control_characters(name):
                raise RequestError(f"voice {name!r}: has control characters in its name; rename it")
        self._by_alias = {}
        for alias, voice_id in self.aliases.items():
            if voice_id.lower() not in self._by_id:
                raise RequestError(f"--alias {alias}={voice_id}: expected one of {', '.join(self.ids)}")
            self._by_alias[alias.lower()] = self._by_id[voice_id.lower()]

    @property
    def default(self) -> Voice:
        return self.voices[0]

    @property
    def ids(self) -> list[str]:
        return [voice.id for voice in self.voices]

    @property
    def names(self) -> list[str]:
        """Every id, then every alias that is not an id."""
        return [*self.ids, *(alias for alias in self.aliases if alias.lower() not in self._by_id)]

    def find(self, name: str) -> Voice | None:
        """The voice of an id or an alias."""
        return self._by_id.get(name.lower()) or self._by_alias.get(name.lower())

    def choose(self, model: str | None, voice: str | None) -> Voice:
        """The voice that a request means. Raises GatewayError for an unknown model or voice."""
        named = self.find(voice) if voice else None
        if named is not None:
            return named
        of_model = self._of_model(model or "")
        if voice and voice.lower() not in OPENAI_VOICES:
            raise invalid(
                "voice", f"voice: expected one of {', '.join(self.names)}, got {quote(voice)}", "voice_not_found"
            )
        return of_model

    def _of_model(self, model: str) -> Voice:
        found = self.find(model)
        if found is not None:
            return found
        if not model or model.lower() in DEFAULT_MODELS or model.lower().startswith(DEFAULT_PREFIXES):
            return self.default
        known = ", ".join([*self.names, *OPENAI_MODELS])
        raise GatewayError(404, "model_not_found", f"model: expected one of {known}, got {quote(model)}", "model")

    def describe(self) -> list[dict[str, Any]]:
        """The list of voices: each by its id, then by its aliases."""
        return [voice.describe(name) for name in self.names if (voice := self.find(name)) is not None]

    def models(self) -> list[dict[str, Any]]:
        """The list of /v1/models: every voice and alias, then the names that stand for the default."""
        names = [*self.names, *(name for name in OPENAI_MODELS if self.find(name) is None)]
        return [{"id": name, "object": "model", "created": self.created, "owned_by": "tacoglow"} for name in names]
