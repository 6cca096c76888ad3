"""Rows that share an engine's decoder steps: a batch for each token bucket, which rows join and leave between chunks.

An engine advances every item that it runs, so a row that does not take part in a chunk is not in its batch: its states
are copied, on the GPU, to memory of its own and back. A batch has a CUDA graph for one, two, four, … items.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from ...bundle.manifest import doubling
from ...decoder import Chunk, EncoderOutput, Profile, RowSteps
from ...noise import Noise
from .chunks import ChunkBuffers, EngineDecoder
from .graph import CudaGraphRunner
from .stream import CudaEvent, CudaStream, DeviceArray

Arrays = Mapping[str, DeviceArray]


def decode_with_engine(step: CudaGraphRunner) -> EngineDecoder:
    """Have the engine of decoder_step run its steps, of batches and of rows."""
    own = weakref.proxy(step)  # it holds these: a cycle would keep GPU memory until the next garbage collection
    decoder = EngineDecoder(own)
    step.new_steps, step.new_rows = decoder.steps, partial(EngineRows, own)
    return decoder


class EngineRows(RowSteps):
    is_exact = False  # an engine may round an item differently in a batch

    def __init__(self, step: CudaGraphRunner, max_rows: int, profile: Profile) -> None:
        """max_rows: that decode together."""
        self.chunk_steps = profile.engine_steps
        buckets = step.manifest.synthesis.token_buckets(step.manifest.range("T").max)
        self._batches = {tokens: _Batch(step, max_rows, tokens, self.chunk_steps) for tokens in buckets}
        self._rows: dict[int, _Row] = {}
        self._launched: list[list[tuple[_Batch, int, dict[int, int]]]] = []  # of each chunk: batches, parities, places

    def join(self, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> int:
        number = next(number for number in count() if number not in self._rows)
        self._rows[number] = self._batches[encoded.memory.shape[1]].join(encoded, noise)
        return number

    def leave(self, row: int) -> None:
        left = self._rows.pop(row)
        left.batch.leave(left)

    def launch(self, rows: Mapping[int, int]) -> None:
        launched: list[tuple[_Batch, int, dict[int, int]]] = []
        self._launched.append(launched)
        for batch in self._batches.values():
            own = {number: step for number, step in rows.items() if self._rows[number].batch is batch}
            if own:
                parity = batch.launch({self._rows[number]: step for number, step in own.items()})
                launched.append((batch, parity, {number: self._rows[number].place for number in own}))

    def read(self) -> Mapping[int, Chunk]:
        chunks = {}
        for batch, parity, places in self._launched.pop(0):
            whole = batch.read(parity)
            for number, place in places.items():
                own = slice(place, place + 1)
                chunks[number] = Chunk(*(array[:, own] for array in vars(whole).values()))
        return chunks


@dataclass(eq=False)
class _Row:
    batch: _Batch
    noise: Noise
    states: Arrays  # while it has no place
    encoded: Arrays
    place: int = -1  # in the batch; -1: none


class _Batch:
    """The rows of one token bucket."""

    def __init__(self, step: CudaGraphRunner, max_rows: int, tokens: int, chunk_steps: int) -> None:
        self._stream: CudaStream = step.stream
        self._buffers = ChunkBuffers(step, max_rows, tokens, chunk_steps, doubling(1, max_rows))
        self._places = [self._buffers.item(place) for place in range(max_rows)]
        self._rows: list[_Row | None] = [None] * max_rows  # by place
        self._idle: list[tuple[Arrays, Arrays]] = []  # memory of rows that have left
        self._launches = 0
        self._done: list[CudaEvent] = [self._stream.record()] * 2  # by parity

    def join(self, encoded: EncoderOutput, noise: Noise) -> _Row:
        states, memory = self._idle.pop() if self._idle else tuple(map(self._like, self._places[0]))
        for state in states.values():
            self._stream.zero(state)
        for name, array in vars(encoded).items():
            self._stream.upload(memory[name], array[0])
        return _Row(self, noise, states, memory)

    def leave(self, row: _Row) -> None:
        if row.place >= 0:
            self._rows[row.place] = None
        self._idle.append((row.states, row.encoded))

    def launch(self, rows: Mapping[_Row, int]) -> int:
        """Launch a chunk of these rows, from their first steps; returns its parity."""
        self._arrange(list(rows))
        parity = self._launches % 2
        self._launches += 1
        self._done[parity] = self._buffers.launch({row.place: (row.noise, rows[row]) for row in rows}, parity)
        return parity

    def read(self, parity: int) -> Chunk:
        self._done[parity].wait()
        return self._buffers.results(parity)

    def _arrange(self, rows: Sequence[_Row]) -> None:
        """Give these rows places among the first ones, and take all others out of these."""
        size = self._buffers.fitting(len(rows))
        for place, row in enumerate(self._rows):
            if row is not None and (row not in rows or place >= size):
                self._copy(row.states, self._places[place][0])
                row.place, self._rows[place] = -1, None
        free = [place for place in range(size) if self._rows[place] is None]
        for row in rows:
            if row.place < 0:
                row.place = free.pop(0)
                self._rows[row.place] = row
                for target, source in zip(self._places[row.place], (row.states, row.encoded), strict=True):
                    self._copy(target, source)

    def _copy(self, target: Arrays, source: Arrays) -> None:
        for name, array in source.items():
            self._stream.copy(target[name], array)

    def _like(self, arrays: Arrays) -> Arrays:
        return {name: self._stream.empty(array.shape, array.dtype) for name, array in arrays.items()}
