"""Buffers on a GPU that no batch uses, kept with their CUDA graphs for later batches."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol, TypeVar

MAX_IDLE_BUFFERS = 8  # LRU


class Buffers(Protocol):
    batch: int
    tokens: int


B = TypeVar("B", bound=Buffers)


class IdleBuffers(OrderedDict[tuple[int, int], list[B]]):
    """The idle buffers of each batch size and number of tokens; those that were used longest ago are dropped."""

    def take(self, batch: int, tokens: int) -> B | None:
        """Take buffers out; None: there are none of this size."""
        idle = self.get((batch, tokens))
        return idle.pop() if idle else None

    def put_back(self, buffers: B) -> None:
        key = buffers.batch, buffers.tokens
        self.setdefault(key, []).append(buffers)
        self.move_to_end(key)
        while sum(map(len, self.values())) > MAX_IDLE_BUFFERS:
            oldest, idle = next(iter(self.items()))
            del idle[:1]  # idle is empty if all buffers of this key are in use
            if not idle:
                del self[oldest]
