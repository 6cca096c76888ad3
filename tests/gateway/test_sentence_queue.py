"""SentenceQueue: what comes out, in which order, and how much may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from tacoglow.gateway import sentence_queue
from tacoglow.gateway.errors import GatewayError
from tacoglow.gateway.sentence_queue import MARKS_MAX, Sentence, SentenceQueue, until_one_ends
from tacoglow.gateway.state import AT_ONCE, Gateway, GatewayOptions


async def read(characters: int, split: Callable[[], list[str]]) -> list[str]:
    return split()


async def taken(queue: SentenceQueue[str], count: int) -> list[str]:
    items = [await queue.next() for _ in range(count)]
    return [item.text if isinstance(item, Sentence) else f"<{item}>" for item in items]


def test_sentences_and_marks_come_out_in_order() -> None:
    async def session() -> list[str]:
        queue = SentenceQueue[str](100, read)
        queue.mark("begin")
        await queue.take("One. Two")
        await queue.take(" is not comp")
        await queue.flush()
        queue.mark("end")
        queue.take_whole("Whole. Not cut.")
        return await taken(queue, 5)

    assert asyncio.run(session()) == ["<begin>", "One.", "Two is not comp", "<end>", "Whole. Not cut."]


def test_cancel_drops_text_and_keeps_marks() -> None:
    async def session() -> None:
        queue = SentenceQueue[str](100, read)
        await queue.take("One. Two. Thr")
        current = await queue.next()
        queue.mark("end")
        queue.cancel()
        assert isinstance(current, Sentence)
        assert current.is_cancelled
        assert await taken(queue, 1) == ["<end>"]
        await queue.flush()
        queue.take_whole("x" * 100)  # nothing of what was dropped counts

    asyncio.run(session())


def test_text_that_waits_has_a_bound() -> None:
    async def session() -> None:
        queue = SentenceQueue[str](10, read)
        await queue.take("One. Two.")  # eight characters, of which the second sentence is still in the buffer
        reason = r"^text: expected at most 10 characters that wait .*, got 11;"
        with pytest.raises(GatewayError, match=reason):
            await queue.take("xyz")
        with pytest.raises(GatewayError, match=reason):
            queue.take_whole("xyz")
        await queue.take("xy")
        assert await taken(queue, 1) == ["One."]
        queue.take_whole("abcd")

    asyncio.run(session())


def test_marks_that_wait_have_a_bound() -> None:
    queue = SentenceQueue[str](1_000, read)
    queue.take_whole("Hello.")
    for _ in range(MARKS_MAX):
        queue.take_whole(" ")
        queue.mark("begin")
    with pytest.raises(GatewayError, match="too many texts wait"):
        queue.mark("begin")


def test_silence_ends_a_session_only_while_nothing_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_queue, "IDLE_SECONDS", 0.05)

    async def session() -> bool:
        queue = SentenceQueue[str](100, read)
        queue.take_whole("One.")
        await queue.next()  # is being spoken now
        waiting = asyncio.ensure_future(queue.receive(asyncio.Event().wait, "message"))
        await asyncio.sleep(0.2)
        was_waiting = not waiting.done()
        ending = asyncio.ensure_future(queue.next())  # it has been spoken
        with pytest.raises(GatewayError, match=r"no message for 0.05 s; the connection ends"):
            await waiting
        ending.cancel()
        return was_waiting

    assert asyncio.run(session())


def test_who_leaves_keeps_his_turn_to_be_read_until_the_thread_ends() -> None:
    gateway = Gateway(cast(Any, None), GatewayOptions(), cast(Any, None))
    is_reading, may_end = threading.Event(), threading.Event()

    def read_long() -> None:
        is_reading.set()
        assert may_end.wait(30)

    async def session() -> None:
        reading = asyncio.ensure_future(gateway.read(AT_ONCE + 1, read_long))
        assert await asyncio.to_thread(is_reading.wait, 30)
        reading.cancel()
        await asyncio.wait([reading])
        was_locked = gateway.reading.locked()
        may_end.set()
        assert was_locked
        assert await gateway.read(AT_ONCE + 1, lambda: "next") == "next"
        assert not gateway.reading.locked()

    asyncio.run(session())


def test_the_first_end_ends_all_and_its_error_is_raised() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    async def fail() -> None:
        raise ArithmeticError("planted")

    async def succeed() -> None:
        return

    async def both() -> Any:
        await until_one_ends(forever, succeed)
        with pytest.raises(ArithmeticError, match="planted"):
            await until_one_ends(forever, fail)

    asyncio.run(both())
    assert ended == ["forever", "forever"]
