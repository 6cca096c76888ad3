"""Sentences that wait to be spoken: a text that comes in parts goes in, sentences come out, at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

import anyio

from .errors import GatewayError, invalid
from .sentences import SentenceBuffer
from .speaking import SpokenRequest

MARKS_MAX = 256  # that wait
IDLE_SECONDS = 60.0  # without a message and without speech, after which a session is closed

Mark = TypeVar("Mark")
Message = TypeVar("Message")
Read = Callable[[int, Callable[[], list[str]]], Awaitable[list[str]]]  # calls what reads so many characters


class Sentence:
    """A sentence on its way to be spoken."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_cancelled = False
        self._spoken: SpokenRequest | None = None

    def begin(self, spoken: SpokenRequest) -> None:
        """Tell that it is being spoken; `cancel` then stops that."""
        self._spoken = spoken
        if self.is_cancelled:
            spoken.cancel()

    def cancel(self) -> None:
        self.is_cancelled = True
        if self._spoken is not None:
            self._spoken.cancel()


class SentenceQueue(Generic[Mark]):
    """The sentences of a session, and the protocol's own marks among them, in order.

    One task takes text from the client while another one speaks what `next` returns. For one event loop.
    """

    def __init__(self, max_characters: int, read: Read) -> None:
        """max_characters: of text that waits to be spoken, at most. read: the server's way to split a long one."""
        self._max_characters, self._read = max_characters, read
        self._buffer = SentenceBuffer()
        self._waiting: deque[Sentence | Mark] = deque()
        self._characters = self._sentences = 0  # that wait
        self._current: Sentence | Mark | None = None  # the one that `next` returned last, until it is called again
        self._news = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """True while nothing is being spoken, and nothing that could be spoken waits."""
        return self._current is None and not self._waiting

    async def take(self, text: str) -> None:
        """Add a part of a text, cut anywhere. Raises GatewayError, without taking it, if too much waits."""
        self.check_room(text)
        self._put(*map(Sentence, await self._read(len(text), partial(self._buffer.add, text))))

    async def flush(self) -> None:
        """Take the text so far for complete."""
        self._put(*map(Sentence, await self._read(len(self._buffer), self._buffer.flush)))

    def take_whole(self, text: str) -> None:
        """Add a text that is to be spoken as one, unless it is blank. Raises GatewayError, without taking it, if too
        much waits."""
        self.check_room(text)
        if text.strip():
            self._put(Sentence(text))

    def check_room(self, text: str) -> None:
        """Raises GatewayError if more text would wait with this one than may."""
        characters = self._characters + len(self._buffer) + len(text)
        if characters > self._max_characters:
            message = (
                f"text: expected at most {self._max_characters} characters that wait to be spoken, got {characters}; "
                "this part was not taken, send it again later"
            )
            raise invalid("text", message, "input_too_long")

    def mark(self, mark: Mark) -> None:
        """Add a mark, which `next` returns when everything before it has been spoken.

        Raises GatewayError, without adding it, if too many wait.
        """
        if len(self._waiting) - self._sentences >= MARKS_MAX:
            raise invalid("type", "type: too many texts wait to be spoken; send this one later", "input_too_long")
        self._put(mark)

    def cancel(self) -> None:
        """Drop the text that waits, and stop the sentence that is being spoken; marks stay."""
        self._buffer = SentenceBuffer()
        marks = [item for item in self._waiting if not isinstance(item, Sentence)]
        self._waiting.clear()
        self._characters = self._sentences = 0
        self._put(*marks)
        if isinstance(self._current, Sentence):
            self._current.cancel()

    async def next(self) -> Sentence | Mark:
        """Wait for the next sentence or mark."""
        self._current = None
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        self._current = item = self._waiting.popleft()
        if isinstance(item, Sentence):
            self._characters -= len(item.text)
            self._sentences -= 1
        return item

    async def receive(self, read: Callable[[], Awaitable[Message]], kind: str) -> Message:
        """The next message of the client. Raises GatewayError after IDLE_SECONDS without one and without speech.

        kind: the protocol's word for a message.
        """
        reading = asyncio.ensure_future(read())
        try:
            while not (await asyncio.wait([reading], timeout=IDLE_SECONDS))[0]:
                if self.is_idle:  # otherwise it goes on: a part of the message may have come
                    raise GatewayError(408, "session_timeout", f"no {kind} for {IDLE_SECONDS:g} s; the connection ends")
            return reading.result()
        finally:
            reading.cancel()

    def _put(self, *items: Sentence | Mark) -> None:
        self._waiting += items
        for item in items:
            if isinstance(item, Sentence):
                self._characters += len(item.text)
                self._sentences += 1
        if items:
            self._news.set()


async def until_one_ends(*functions: Callable[[], Awaitable[None]]) -> None:
    """Run all until one of them has ended, then cancel the others. Raises the error of the one that has ended."""
    failures: list[Exception] = []

    async def run(function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        except Exception as error:
            failures.append(error)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(run, function)
    if failures:  # raised here, because a task group would wrap it
        raise failures[0]
