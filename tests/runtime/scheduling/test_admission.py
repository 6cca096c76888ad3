"""Who is accepted, with a clock of the tests' own."""

from __future__ import annotations

import pytest

from tacoglow.runtime.errors import Overloaded
from tacoglow.runtime.scheduling import admission
from tacoglow.runtime.scheduling.admission import Admission, Ticket


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


def streams(ledger: Admission, count: int) -> list[Ticket]:
    tickets = [ledger.admit("a", 1) for _ in range(count)]
    for ticket in tickets:
        ticket.await_audio()
    return tickets


def test_one_client_leaves_room_for_others(clock: Clock) -> None:
    ledger = Admission(100)
    first = ledger.admit("a", 49)
    with pytest.raises(Overloaded, match=r"^49 tokens wait to be spoken, 49 of them yours; try again in 1 s$"):
        ledger.admit("a", 3)
    assert ledger.admit("b", 40).tokens == 40
    with pytest.raises(Overloaded, match=r"^89 tokens wait to be spoken; "):
        ledger.admit("c", 12)
    ledger.admit("c", 5).end()
    first.spoken(40)
    assert first.tokens == 9
    ledger.admit("a", 20)


def test_an_empty_ledger_takes_everything(clock: Clock) -> None:
    ledger = Admission(10)
    ticket = ledger.admit("a", 1_000)
    with pytest.raises(Overloaded):
        ledger.admit("b", 1)
    ticket.end()
    ledger.admit("b", 1_000)


def test_what_is_told_first_is_corrected(clock: Clock) -> None:
    ledger = Admission(100)
    ledger.admit("a", 50).resize(10)
    ledger.admit("a", 40)


def test_the_wait_grows_while_nobody_is_heard_and_ends_with_it(clock: Clock) -> None:
    ledger = Admission(1_000)
    assert ledger.expected_wait() == 0.0
    waiting = streams(ledger, 4)
    clock.now += 0.5
    waiting[0].heard()
    assert ledger.expected_wait() == pytest.approx(3 * 0.5)
    clock.now += 2.0  # for a first audio that has not come
    assert ledger.expected_wait() == pytest.approx(3 * 2.0)
    with pytest.raises(
        Overloaded, match=r"^the first audio would come in about 6.0 s, later than 5 s; try again in 1 s$"
    ):
        ledger.admit("b", 1, max_wait=5.0)
    clock.now += 6.0
    with pytest.raises(Overloaded) as refused:
        ledger.admit("b", 1, max_wait=5.0)
    assert refused.value.expected_wait == pytest.approx(3 * 8.0 - 5.0)
    for ticket in waiting:
        ticket.end()
    assert ledger.expected_wait() == 0.0
    ledger.admit("b", 1, max_wait=0.1)  # however long the latest ones took, nobody is before it


def test_the_advice_to_come_again_is_as_long_as_the_work_takes(clock: Clock) -> None:
    ledger = Admission(1_000)
    ticket = ledger.admit("a", 900)
    for _ in range(8):
        clock.now += 50.0
        ticket.spoken(100)
    with pytest.raises(Overloaded) as refused:
        ledger.admit("b", 1_000)  # 100 tokens too many, at half a second each
    assert refused.value.expected_wait == pytest.approx(50.0)
