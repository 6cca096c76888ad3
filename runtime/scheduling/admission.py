"""Who may still be accepted: by the work that waits, by each client's part of it, and by the wait for the first audio.

Work is counted in tokens, because one text can be ten thousand times as long as another.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable

from ..errors import Overloaded
from .policy import may_accept

LEARNING = 0.2  # weight of the latest value
SECONDS_PER_TOKEN = 0.06  # of the machine, before it has spoken
RETRY_MAX = 3600.0  # seconds


class Admission:
    """The ledger of what has been accepted; thread-safe."""

    def __init__(self, max_backlog: int) -> None:
        """max_backlog: tokens that may wait to be spoken."""
        self._max_backlog = max_backlog
        self._lock = threading.Lock()
        self._held: Counter[Hashable] = Counter()  # tokens, by client
        self._total = 0  # of these
        self._unheard: dict[Ticket, float] = {}  # streams without audio, and when they came
        self._turns = _Rate(0.0)  # seconds per first audio
        self._tokens = _Rate(SECONDS_PER_TOKEN)  # seconds per token
        self._oldest = 0.0  # when the work that waits began to wait

    def admit(self, client: Hashable, tokens: int, max_wait: float = float("inf")) -> Ticket:
        """Take a request on. Raises Overloaded if it is too much work, or would have to wait too long.

        tokens: about as many as it has; every one has some. max_wait: seconds until its turn.
        """
        tokens = max(tokens, 1)
        with self._lock:
            now, held, total = time.monotonic(), self._held[client], self._total
            if not may_accept(tokens, held, total, self._max_backlog):
                excess = held + tokens - (self._max_backlog - total)
                whose = f", {held} of them yours" if held else ""
                raise _overloaded(f"{total} tokens wait to be spoken{whose}", excess * self._tokens.seconds)
            wait = self._expected_wait(now)
            if wait > max_wait:
                raise _overloaded(
                    f"the first audio would come in about {wait:.1f} s, later than {max_wait:g} s", wait - max_wait
                )
            if not total:
                self._oldest = now
            return self._enter(Ticket(self, client), tokens)

    def expected_wait(self) -> float:
        """Seconds until it would be the turn of a new stream: those without audio take as long for each as the latest
        ones did, or as the one that is being waited for has taken already."""
        with self._lock:
            return self._expected_wait(time.monotonic())

    def _expected_wait(self, now: float) -> float:
        if not self._unheard:
            return 0.0
        return len(self._unheard) * max(self._turns.seconds, self._turns.since(next(iter(self._unheard.values())), now))

    def _enter(self, ticket: Ticket, tokens: int) -> Ticket:
        ticket.tokens = tokens
        self._held[ticket.client] += tokens
        self._total += tokens
        return ticket

    def _change(self, ticket: Ticket, tokens: int, is_spoken: bool = False) -> None:
        """Set the tokens that a ticket stands for."""
        with self._lock:
            done = ticket.tokens - tokens
            if is_spoken and done > 0:
                self._tokens.note(self._oldest, time.monotonic(), done)
            ticket.tokens = tokens
            self._total -= done
            self._held[ticket.client] -= done
            if not self._held[ticket.client]:
                del self._held[ticket.client]

    def _await(self, ticket: Ticket) -> None:
        with self._lock:
            self._unheard[ticket] = time.monotonic()

    def _hear(self, ticket: Ticket, is_heard: bool) -> None:
        with self._lock:
            since = self._unheard.pop(ticket, None)
            if since is not None and is_heard:
                self._turns.note(since, time.monotonic())


class Ticket:
    """A request's place in the ledger."""

    def __init__(self, admission: Admission, client: Hashable) -> None:
        self._admission = admission
        self.client = client
        self.tokens = 0  # not spoken yet

    def resize(self, tokens: int) -> None:
        """Tell the number of tokens, once it is known."""
        self._admission._change(self, tokens)

    def await_audio(self) -> None:
        """Tell that the request waits for its first audio now."""
        self._admission._await(self)

    def heard(self) -> None:
        """Tell that its first audio is there."""
        self._admission._hear(self, is_heard=True)

    def spoken(self, tokens: int) -> None:
        """Tell that so many tokens have been spoken."""
        self._admission._change(self, self.tokens - tokens, is_spoken=True)

    def end(self) -> None:
        """Leave, whatever has been spoken."""
        self._admission._hear(self, is_heard=False)
        self._admission._change(self, 0)


class _Rate:
    """Seconds per result, as though they were made one after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._latest = 0.0  # time of the latest result
        self._is_known = False

    def since(self, waited_from: float, now: float) -> float:
        """Seconds that the next result has taken so far, for one that has been waited for since then."""
        return now - max(self._latest, waited_from)

    def note(self, waited_from: float, now: float, results: int = 1) -> None:
        """Take note of results."""
        seconds = self.since(waited_from, now) / results
        weight = LEARNING if self._is_known else 1.0
        self.seconds += weight * (seconds - self.seconds)
        self._latest, self._is_known = now, True


def _overloaded(reason: str, seconds: float) -> Overloaded:
    seconds = min(max(seconds, 1.0), RETRY_MAX)
    return Overloaded(f"{reason}; try again in {seconds:.0f} s", seconds)
