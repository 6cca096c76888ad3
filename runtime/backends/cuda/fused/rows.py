"""Rows that join and leave the fused decoder's running batch: each has a place in a group, which is one launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....decoder import Chunk, EncoderOutput, Profile, RowSteps
from ....noise import Noise
from ..stream import CaptureError, CudaEvent, Enqueue
from .steps import FusedBuffers, FusedDecoder, explained

ROW = np.dtype([("first_step", np.int32), ("end", np.int32), ("gate_logit", np.float32)])  # the kernel's Row


class FusedRows(RowSteps):
    """Rows in groups of as many as a kernel decodes; a group is made when the others are full."""

    def __init__(self, decoder: FusedDecoder, tokens: int, max_rows: int, profile: Profile) -> None:
        """tokens: most of a row. max_rows: that are decoded at once, usually."""
        self.chunk_steps = profile.fused_steps
        self._decoder, self._tokens = decoder, tokens
        self._size = min(decoder.largest_batch(tokens), max_rows)
        self._groups = [self._new_group() for _ in range(-(-max_rows // self._size))]  # more, if rows rest
        self._launched: list[list[tuple[_Group, int, list[int]]]] = []  # group, parity, places; of unread chunks

    def join(self, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> int:
        number, group, place = next(self._free_places(), (0, None, 0))
        if group is None:
            number = len(self._groups) * self._size
            group = self._new_group()
            self._groups.append(group)
        group.join(place, encoded, noise, gate_logit, step_limit)
        return number

    def _new_group(self) -> _Group:
        return _Group(self._decoder, self._size, self._tokens, self.chunk_steps)

    def _free_places(self) -> Iterator[tuple[int, _Group, int]]:
        for i, group in enumerate(self._groups):
            for place in range(self._size):
                if group.tokens_of[place] == 0:
                    yield i * self._size + place, group, place

    def leave(self, row: int) -> None:
        self._groups[row // self._size].tokens_of[row % self._size] = 0

    def launch(self, rows: Mapping[int, int]) -> None:
        launched: list[tuple[_Group, int, list[int]]] = []
        self._launched.append(launched)
        with explained():
            for i, group in enumerate(self._groups):
                first = i * self._size
                steps = {row - first: step for row, step in rows.items() if first <= row < first + self._size}
                if steps:
                    launched.append((group, group.launch_rows(steps), list(steps)))

    def read(self) -> Mapping[int, Chunk]:
        chunks = {}
        for group, parity, places in self._launched.pop(0):
            with explained():
                group.done[parity].wait()
            first = self._groups.index(group) * self._size
            for place in places:
                chunks[first + place] = group.chunks_of[place][parity]
        return chunks


class _Group(FusedBuffers):
    """Buffers whose items join one by one."""

    def __init__(self, decoder: FusedDecoder, rows: int, tokens: int, chunk_steps: int) -> None:
        super().__init__(decoder, min(decoder.fitting(rows, tokens))[0], tokens, chunk_steps)
        stream = decoder.stream
        self.tokens_of = [0] * self.batch  # of each place; 0: it is free
        self.chunks_of: list[list[Chunk]] = [[]] * self.batch  # of each place, by parity: the host's memory
        self._launches = 0
        self.done: list[CudaEvent] = [stream.record()] * 2
        self._table = stream.empty((self.batch, ROW.itemsize), np.uint8)
        self._host_tables = [stream.pinned(self._table.shape, np.uint8) for _ in range(2)]
        self._rows = np.zeros(self.batch, ROW)  # of the places
        self._runs = [self._captured(*own) for own in zip(self._host_tables, self._downloads, strict=True)]
        for array in (self._memory, self._processed, self._keys, *self._states):
            stream.zero(array)
        stream.upload(self._lengths, np.ones(self.batch, np.int32))

    def join(self, place: int, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> None:
        stream, tokens = self.decoder.stream, encoded.memory.shape[1]
        for array, source in ((self._memory, encoded.memory), (self._processed, encoded.processed_memory)):
            padded = np.zeros(array.shape[1:], np.float32)
            padded[:tokens] = source[0]
            stream.upload(array.item(place), padded)
        length = (~encoded.memory_mask).sum(1).astype(np.int32)
        stream.upload(self._lengths.item(place), length)
        stream.upload(self._keys.item(place), np.array(noise.key, np.uint64))
        stream.upload(self._progress.item(1 + place), np.array([-1], np.int32))
        for state in self._states:
            stream.zero(state.item(place))
        self._rows[place] = (0, step_limit, gate_logit)
        self.tokens_of[place] = tokens
        self.chunks_of[place] = [self._view(chunk, place, tokens) for chunk in self._chunks]

    def _view(self, chunk: Sequence[NDArray[np.float32]], place: int, tokens: int) -> Chunk:
        mel, gate_logits, attention = chunk
        own = slice(place, place + 1)
        return Chunk(mel[:, own], gate_logits[:, own], attention[:, own, :tokens])

    def launch_rows(self, steps: Mapping[int, int]) -> int:
        """Launch the places that take part, from their first steps; returns the chunk's parity."""
        parity = self._launches % 2
        self._launches += 1
        first_steps = self._rows["first_step"]
        first_steps[:] = self._rows["end"]  # inactive
        for place, step in steps.items():
            first_steps[place] = step
        self._host_tables[parity].view(ROW)[:, 0] = self._rows
        self._runs[parity]()
        self.done[parity] = self.decoder.stream.record()
        return parity

    def _captured(self, host_table: NDArray[np.uint8], download: Enqueue) -> Enqueue:
        """Capture a chunk, whose arguments never change: a graph costs the host a fraction of its three calls.

        It does not hold the group: such a cycle would keep GPU memory until the next garbage collection.
        """
        stream, kernel, table = self.decoder.stream, self._kernel, self._table
        nothing = np.int32(0), np.float32(0)  # in place of a first step and a gate that all have in common
        arguments = (*self._before, *nothing, *self._after, table.address)

        def chunk() -> None:
            stream.upload(table, host_table)
            kernel.launch(stream, *arguments)
            download()

        try:
            return stream.capture(chunk)
        except CaptureError:
            return chunk
