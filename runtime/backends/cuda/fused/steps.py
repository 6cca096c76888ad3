"""The decoder steps of a batch on the fused kernel: a chunk is one launch, read one chunk late as the engine's are."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....bundle.manifest import Manifest, doubling
from ....decoder import Chunk, DecoderSteps, EncoderOutput
from ....errors import BackendError
from ....noise import Noise
from ..device import Gpu
from ..idle import IdleBuffers
from ..nvrtc import CubinCache
from ..slots import Block
from ..stream import CudaEvent, CudaStream, DeviceArray
from .kernel import Exchange, FusedKernel, compile_plan, cubin_folder, gpu_limits
from .packing import pack
from .plan import MAX_BATCH, TOKEN_BLOCK, WARPS, Plan, make_plan, round_up
from .weights import DecoderWeights, load_weights

CHUNK_STEPS = 64  # a launch costs about what four steps do
NEVER = math.inf  # a gate logit that no step reaches


def open_fused_decoder(bundle: Path, manifest: Manifest, gpu: Gpu, stream: CudaStream, engines: Path) -> FusedDecoder:
    """Open a bundle's fused decoder, with all kernels that its requests run: compiling one takes seconds.

    engines: folder of the engine cache, which keeps the compiled kernels. Raises BackendError if it cannot run.
    """
    if manifest.precision != "fp16":
        raise BackendError(
            f"decoder_step: the fused decoder computes in half precision, this bundle is {manifest.precision}; "
            "export it with --precision fp16, or use --decoder engine"
        )
    cache = CubinCache(cubin_folder(engines), gpu.compute_capability)
    decoder = FusedDecoder(stream, gpu.index, load_weights(bundle, manifest), cache, "tagged")
    decoder.compile(manifest.range("B").max, manifest.range("T").max)
    return decoder


class FusedDecoder:
    """A bundle's decoder_step on one GPU: packed weights, kernels for few batch sizes and token limits, buffers."""

    def __init__(
        self, stream: CudaStream, device: int, weights: DecoderWeights, cache: CubinCache, exchange: Exchange
    ) -> None:
        """Raises BackendError if the kernel cannot run on this GPU with these weights."""
        self.stream, self.exchange = stream, exchange
        self.dims = weights.dims
        self._device, self._weights, self._cache = device, weights, cache
        self._limits = gpu_limits(device)
        packed = self.packed_weights()
        self.packed = stream.empty(packed.shape, packed.dtype)
        stream.upload(self.packed, packed)
        self._is_complete = False  # all kernels are compiled
        self._kernels: dict[tuple[int, int], tuple[FusedKernel, int]] = {}  # by batch size and token limit
        self.idle = IdleBuffers[FusedBuffers]()

    def steps(self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = NEVER) -> DecoderSteps:
        """Return the steps of a batch, none launched yet.

        gate_logit: above it an item's gate ends it; once all items of eight have ended, launches return at once."""
        groups, most = [], self.largest_batch(encoded.memory.shape[1])
        for first in range(0, len(noises), most):
            rows = range(first, min(first + most, len(noises)))
            groups.append(self._group(encoded, noises, rows))
        return FusedSteps(groups, gate_logit)

    def packed_weights(self) -> NDArray[np.uint8]:
        """Pack the weights as the kernel reads them; the same for every batch size and token limit."""
        return pack(self._weights, self.plan(1, TOKEN_BLOCK))

    def plan(self, batch: int, tokens: int) -> Plan:
        """Plan a kernel. Raises BackendError if it does not fit this GPU."""
        return make_plan(self._weights, self._limits, batch, tokens, WARPS)

    def plans(self, batch: int, tokens: int) -> Iterator[Plan]:
        """Plan kernels for one, two, four and eight items, at most `batch`, and for tokens that double up to a limit.

        Raises BackendError if one item does not fit this GPU.
        """
        for size in doubling(1, min(MAX_BATCH, batch)):
            for limit in doubling(TOKEN_BLOCK, round_up(tokens, TOKEN_BLOCK)):
                try:
                    yield self.plan(size, limit)
                except BackendError:  # so many items do not fit: they are decoded in smaller groups
                    if size == 1:
                        raise

    def compile(self, batch: int, tokens: int) -> None:
        """Compile the kernels for batches and tokens up to these limits, and use no others. Raises BackendError.

        Without this, the kernel of exactly a batch and its tokens is compiled at its first use.
        """
        for plan in self.plans(batch, tokens):
            self._compile(plan)
        self._is_complete = True

    def _compile(self, plan: Plan) -> None:
        kernel = FusedKernel(self._device, plan, self.cubin(plan))
        self._kernels[plan.batch, plan.tokens] = kernel, plan.workspace_bytes

    def cubin(self, plan: Plan) -> bytes:
        """Return the plan's kernel, compiled at first use."""
        return compile_plan(self._cache, plan, self.exchange)

    def kernel(self, batch: int, tokens: int) -> tuple[FusedKernel, int]:
        """Return the kernel of that batch size for so many tokens, and the bytes of the workspace that it needs."""
        return self._kernels[min(self.fitting(batch, tokens))]

    def fitting(self, batch: int, tokens: int) -> list[tuple[int, int]]:
        """Find the batch sizes and token limits of the kernels that decode so many items of so many tokens."""
        if self._is_complete:
            return [key for key in self._kernels if key[0] >= batch and key[1] >= tokens]
        key = batch, round_up(tokens, TOKEN_BLOCK)
        if key not in self._kernels:
            self._compile(self.plan(*key))
        return [key]

    def largest_batch(self, tokens: int) -> int:
        """Return how many items of so many tokens one launch decodes at most."""
        if not self._is_complete:
            return MAX_BATCH
        return max(batch for batch, _ in self.fitting(1, tokens))

    def _group(self, encoded: EncoderOutput, noises: Sequence[Noise], rows: Sequence[int]) -> FusedBuffers:
        tokens = encoded.memory.shape[1]
        key = min(self.fitting(len(rows), tokens))[0], tokens
        buffers = self.idle.take(*key) or FusedBuffers(self, *key, CHUNK_STEPS)
        # Copies of the last row take the places that are left.
        filled = [*rows, *[rows[-1]] * (buffers.batch - len(rows))]
        buffers.reset(encoded.rows(filled), [noises[row] for row in filled], len(rows))
        return buffers


class FusedSteps(DecoderSteps):
    """Groups of items, at most eight, launched one after the other: an item's bits do not depend on its group."""

    chunk_steps = CHUNK_STEPS
    launches_in_flight = 2

    def __init__(self, groups: Sequence[FusedBuffers], gate_logit: float) -> None:
        self._groups, self._gate_logit = groups, gate_logit
        self._launched: list[tuple[int, CudaEvent]] = []  # each chunk's parity and the event at its end
        for group in groups:
            weakref.finalize(self, group.decoder.idle.put_back, group)

    def launch(self, first_step: int) -> None:
        parity = first_step // CHUNK_STEPS % 2
        with explained():
            events = [group.launch(first_step, self._gate_logit, parity) for group in self._groups]
        self._launched.append((parity, events[-1]))

    def read(self) -> Chunk:
        parity, done = self._launched.pop(0)
        with explained():
            done.wait()
        chunks = [group.results(parity) for group in self._groups]
        if len(chunks) == 1:
            return chunks[0]
        return Chunk(*(np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1) for name in vars(chunks[0])))


class FusedBuffers:
    """A group's GPU memory: encoder output, states and a chunk's results; and, twice, the results in pinned memory."""

    def __init__(self, decoder: FusedDecoder, batch: int, tokens: int, chunk_steps: int) -> None:
        """batch: that of a kernel."""
        self.decoder, self.batch, self.tokens = decoder, batch, tokens
        self._wanted = batch  # items that are decoded; the others are copies
        stream, dims = decoder.stream, decoder.dims
        self._kernel, workspace_bytes = decoder.kernel(batch, tokens)

        def floats(*shape: int) -> DeviceArray:
            return stream.empty(shape, np.float32)

        self._memory, self._processed = floats(batch, tokens, dims["ENCODER"]), floats(batch, tokens, dims["ATTENTION"])
        self._lengths, self._keys = stream.empty((batch,), np.int32), stream.empty((batch, 2), np.uint64)
        rnn, decoder_rnn = dims["ATTENTION_RNN"], dims["DECODER_RNN"]
        # Hidden and cell state of both LSTMs, attention weights and their sum, context: the kernel's order.
        widths = (rnn, rnn, decoder_rnn, decoder_rnn, tokens, tokens, dims["ENCODER"])
        self._states = [floats(batch, width) for width in widths]
        shapes = ((chunk_steps, batch, dims["MEL"]), (chunk_steps, batch), (chunk_steps, batch, tokens))
        results = Block(stream, 1, shapes, np.float32)
        pinned = [results.pinned() for _ in range(2)]
        self._downloads = [download for download, _ in pinned]
        self._chunks = [[view[0] for view in views] for _, views in pinned]
        self._progress = stream.empty((1 + batch,), np.int32)
        self._workspace = stream.empty((workspace_bytes,), np.uint8)
        stream.zero(self._workspace)  # each launch leaves it ready for the next
        # The kernel's arguments before and after the first step and the gate, in its order.
        self._before = (
            decoder.packed.address,
            *(array.address for array in (self._memory, self._processed, self._lengths)),
            np.int32(tokens),
            self._keys.address,
            0,  # dropout is drawn from the keys
            np.int32(chunk_steps),
        )
        written = [*self._states, *(slots.memory for slots in results.slots), self._progress, self._workspace]
        self._after = (*(array.address for array in written), 0)  # no trace; the table of rows follows

    def results(self, parity: int) -> Chunk:
        """Return the host's memory for a chunk's results, valid once the event of its launch has been waited for."""
        return Chunk(*(array[:, : self._wanted] for array in self._chunks[parity]))

    def reset(self, encoded: EncoderOutput, noises: Sequence[Noise], rows: int) -> None:
        """Prepare a batch's first step. rows: how many of it are wanted."""
        self._wanted = rows
        stream = self.decoder.stream
        uploads: list[tuple[DeviceArray, NDArray[np.generic]]] = [
            (self._memory, encoded.memory),
            (self._processed, encoded.processed_memory),
            (self._lengths, (~encoded.memory_mask).sum(1).astype(np.int32)),
            (self._keys, np.array([noise.key for noise in noises], np.uint64)),
            (self._progress, np.full(1 + self.batch, -1, np.int32)),
        ]
        for target, source in uploads:
            stream.upload(target, source)
        for state in self._states:
            stream.zero(state)

    def launch(self, first_step: int, gate_logit: float, parity: int) -> CudaEvent:
        """Enqueue a chunk and the copy of its results to pinned memory."""
        stream = self.decoder.stream
        self._kernel.launch(stream, *self._before, np.int32(first_step), np.float32(gate_logit), *self._after, 0)
        self._downloads[parity]()
        return stream.record()


@contextmanager
def explained() -> Iterator[None]:
    """Explain a failure, and name the way out."""
    try:
        yield
    except Exception as error:  # errors of the driver and of cuda-core share no base class
        raise BackendError(
            f"decoder_step: the fused decoder failed on the GPU ({' '.join(str(error).split())}), which this process "
            "cannot use any more; start again with --decoder engine"
        ) from error
