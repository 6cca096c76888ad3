"""Rows that join and leave the fused decoder's running batch: each has a place in a group, which is one launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ....decoder import Chunk, EncoderOutput, RowSteps
from ....noise import Noise
from ..stream import CudaEvent, DeviceArray
from .steps import CHUNK_STEPS, FusedBuffers, FusedDecoder, explained

ROW = np.dtype([("first_step", np.int32), ("end", np.int32), ("gate_logit", np.float32)])  # the kernel's Row


class FusedRows(RowSteps):
    """Rows in groups of as many as a kernel decodes; a group is made when the others are full."""

    chunk_steps = CHUNK_STEPS

    def __init__(self, decoder: FusedDecoder, max_rows: int, tokens: int) -> None:
        """max_rows: that are decoded at once, usually. tokens: most of a row."""
        self._decoder, self._tokens = decoder, tokens
        self._size = min(decoder.largest_batch(tokens), max_rows)
        self._groups: list[_Group] = []
        self._launched: list[list[tuple[_Group, int, list[int]]]] = []  # group, parity, places; of unread chunks

    def join(self, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> int:
        number, group, place = next(self._free_places(), (0, None, 0))
        if group is None:
            number = len(self._groups) * self._size
            group = _Group(self._decoder, self._size, self._tokens)
            self._groups.append(group)
        group.join(place, encoded, noise, gate_logit, step_limit)
        return number

    def _free_places(self) -> Iterator[tuple[int, _Group, int]]:
        for i, group in enumerate(self._groups):
            for place in range(self._size):
                if group.tokens_of[place] == 0:
                    yield i * self._size + place, group, place

    def leave(self, row: int) -> None:
        self._groups[row // self._size].tokens_of[row % self._size] = 0

    def launch(self, rows: Mapping[int, int]) -> None:
        launched = []
        with explained():
            for i, group in enumerate(self._groups):
                first = i * self._size
                steps = {row - first: step for row, step in rows.items() if first <= row < first + self._size}
                if steps:
                    launched.append((group, group.launch_rows(steps), list(steps)))
        self._launched.append(launched)

    def read(self) -> Mapping[int, Chunk]:
        chunks = {}
        for group, parity, places in self._launched.pop(0):
            with explained():
                group.done[parity].wait()
            first = self._groups.index(group) * self._size
            for place in places:
                chunks[first + place] = group.chunk_of(place, parity)
        return chunks


class _Group(FusedBuffers):
    """Buffers whose items join one by one."""

    def __init__(self, decoder: FusedDecoder, rows: int, tokens: int) -> None:
        super().__init__(decoder, min(decoder.fitting(rows, tokens))[0], tokens)
        stream = decoder.stream
        self.tokens_of = [0] * self.batch  # of each place; 0: it is free
        self._launches = 0
        self.done: list[CudaEvent] = [stream.record()] * 2
        self._table = stream.empty((self.batch, ROW.itemsize), np.uint8)
        self._host_tables = [stream.pinned(self._table.shape, np.uint8) for _ in range(2)]
        self._rows = np.zeros(self.batch, ROW)  # of the places
        for array in (self._memory, self._processed, self._keys, *self._states):
            stream.zero(array)
        stream.upload(self._lengths, np.ones(self.batch, np.int32))

    def join(self, place: int, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> None:
        stream, tokens = self.decoder.stream, encoded.memory.shape[1]
        for array, source in ((self._memory, encoded.memory), (self._processed, encoded.processed_memory)):
            padded = np.zeros(array.shape[1:], np.float32)
            padded[:tokens] = source[0]
            stream.upload(_part(array, place), padded)
        length = (~encoded.memory_mask).sum(1).astype(np.int32)
        stream.upload(_part(self._lengths, place), length)
        stream.upload(_part(self._keys, place), np.array(noise.key, np.uint64))
        stream.upload(_part(self._progress, 1 + place), np.array([-1], np.int32))
        for state in self._states:
            stream.zero(_part(state, place))
        self._rows[place] = (0, step_limit, gate_logit)
        self.tokens_of[place] = tokens

    def launch_rows(self, steps: Mapping[int, int]) -> int:
        """Launch the places that take part, from their first steps; returns the chunk's parity."""
        parity = self._launches % 2
        self._launches += 1
        table = self._host_tables[parity].view(ROW)[:, 0]
        table[:] = self._rows
        table["first_step"] = self._rows["end"]  # inactive
        for place, step in steps.items():
            table["first_step"][place] = step
        stream = self.decoder.stream
        stream.upload(self._table, self._host_tables[parity])
        nothing = np.int32(0), np.float32(0)  # in place of a first step and a gate that all have in common
        self._kernel.launch(stream, *self._before, *nothing, *self._after, self._table.address)
        self._downloads[parity]()
        self.done[parity] = stream.record()
        return parity

    def chunk_of(self, place: int, parity: int) -> Chunk:
        mel, gate_logits, attention = self._chunks[parity]
        own = slice(place, place + 1)
        return Chunk(mel[:, own], gate_logits[:, own], attention[:, own, : self.tokens_of[place]])


def _part(array: DeviceArray, i: int) -> DeviceArray:
    """Row i of an array; of one without further dimensions, an array of one."""
    shape = array.shape[1:] or (1,)
    part = DeviceArray(array.address, shape, array.dtype, array.owner)
    return DeviceArray(array.address + i * part.nbytes, shape, array.dtype, array.owner)
