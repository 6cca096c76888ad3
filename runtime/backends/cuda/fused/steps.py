"""The decoder steps of a batch on the fused kernel: a chunk is one launch, read one chunk late as the engine's are."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....bundle.manifest import Manifest
from ....decoder import Chunk, DecoderSteps, EncoderOutput
from ....errors import BackendError
from ....noise import Noise
from ..nvrtc import CubinCache
from ..stream import CudaEvent, CudaStream, DeviceArray, Gpu
from .kernel import Exchange, FusedKernel, compile_plan, cubin_folder, gpu_limits
from .packing import pack
from .plan import MAX_BATCH, TOKEN_BLOCK, WARPS, Plan, make_plan, round_up
from .weights import DecoderWeights, load_weights

CHUNK_STEPS = 64  # a launch costs about what four steps do
MAX_IDLE_BUFFERS = 8  # LRU
NEVER = math.inf  # a gate logit that no step reaches


def open_fused_decoder(bundle: Path, manifest: Manifest, gpu: Gpu, stream: CudaStream, engines: Path) -> FusedDecoder:
    """Open a bundle's fused decoder, and compile its kernel for one item, so that compile errors appear here.

    engines: folder of the engine cache, which keeps the compiled kernels. Raises BackendError if it cannot run.
    """
    if manifest.precision != "fp16":
        raise BackendError(
            f"decoder_step: the fused decoder computes in half precision, this bundle is {manifest.precision}; "
            "export it with --precision fp16, or use --decoder engine"
        )
    cache = CubinCache(cubin_folder(engines), gpu.compute_capability)
    decoder = FusedDecoder(stream, gpu.index, load_weights(bundle, manifest), cache, "tagged")
    decoder.kernel(1, 1)
    return decoder


class FusedDecoder:
    """A bundle's decoder_step on one GPU: packed weights, a kernel for each batch size and token limit, buffers."""

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
        self._kernels: dict[tuple[int, int], tuple[FusedKernel, int]] = {}
        self._idle: OrderedDict[tuple[int, int], list[FusedBuffers]] = OrderedDict()

    def steps(self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = NEVER) -> DecoderSteps:
        """Return the steps of a batch, none launched yet.

        gate_logit: above it an item's gate ends it; once all items of eight have ended, launches return at once."""
        groups = []
        for first in range(0, len(noises), MAX_BATCH):
            rows = range(first, min(first + MAX_BATCH, len(noises)))
            groups.append(self._group(encoded.rows(rows), [noises[row] for row in rows]))
        return FusedSteps(groups, gate_logit)

    def packed_weights(self) -> NDArray[np.uint8]:
        """Pack the weights as the kernel reads them; the same for every batch size and token limit."""
        return pack(self._weights, self.plan(1, TOKEN_BLOCK))

    def plan(self, batch: int, tokens: int) -> Plan:
        """Plan a kernel. Raises BackendError if it does not fit this GPU."""
        return make_plan(self._weights, self._limits, batch, tokens, WARPS)

    def cubin(self, plan: Plan) -> bytes:
        """Return the plan's kernel, compiled at first use."""
        return compile_plan(self._cache, plan, self.exchange)

    def kernel(self, batch: int, tokens: int) -> tuple[FusedKernel, int]:
        """Return the kernel, compiled at first use, and the bytes of the workspace that it needs."""
        key = batch, round_up(tokens, TOKEN_BLOCK)
        if key not in self._kernels:
            plan = self.plan(*key)
            kernel = FusedKernel(self._device, plan, self.cubin(plan))
            self._kernels[key] = kernel, plan.workspace_bytes
        return self._kernels[key]

    def _group(self, encoded: EncoderOutput, noises: Sequence[Noise]) -> FusedBuffers:
        key = encoded.memory.shape[:2]
        idle = self._idle.get(key)
        buffers = idle.pop() if idle else FusedBuffers(self, *key)
        buffers.reset(encoded, noises)
        return buffers

    def put_back(self, buffers: FusedBuffers) -> None:
        key = buffers.batch, buffers.tokens
        self._idle.setdefault(key, []).append(buffers)
        self._idle.move_to_end(key)
        while sum(map(len, self._idle.values())) > MAX_IDLE_BUFFERS:
            oldest = next(iter(self._idle))
            self._idle[oldest].pop(0)
            if not self._idle[oldest]:
                del self._idle[oldest]


class FusedSteps(DecoderSteps):
    """Groups of at most eight items, launched one after the other: an item's bits do not depend on its group."""

    chunk_steps = CHUNK_STEPS
    launches_in_flight = 2

    def __init__(self, groups: Sequence[FusedBuffers], gate_logit: float) -> None:
        self._groups, self._gate_logit = groups, gate_logit
        self._launched: list[tuple[int, CudaEvent]] = []  # each chunk's parity and the event at its end
        for group in groups:
            weakref.finalize(self, group.decoder.put_back, group)

    def launch(self, first_step: int) -> None:
        parity = first_step // CHUNK_STEPS % 2
        with _explained():
            events = [group.launch(first_step, self._gate_logit, parity) for group in self._groups]
        self._launched.append((parity, events[-1]))

    def read(self) -> Chunk:
        parity, done = self._launched.pop(0)
        with _explained():
            done.wait()
        chunks = [group.results[parity] for group in self._groups]
        if len(chunks) == 1:
            return chunks[0]
        return Chunk(*(np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1) for name in vars(chunks[0])))


class FusedBuffers:
    """A group's GPU memory: encoder output, states and a chunk's results; and, twice, the results in pinned memory."""

    def __init__(self, decoder: FusedDecoder, batch: int, tokens: int) -> None:
        self.decoder, self.batch, self.tokens = decoder, batch, tokens
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
        results = ((CHUNK_STEPS, batch, dims["MEL"]), (CHUNK_STEPS, batch), (CHUNK_STEPS, batch, tokens))
        self._results = [floats(*shape) for shape in results]
        self.results = [Chunk(*(stream.pinned(shape, np.float32) for shape in results)) for _ in range(2)]
        self._progress = stream.empty((1 + batch,), np.int32)
        self._workspace = stream.empty((workspace_bytes,), np.uint8)
        stream.zero(self._workspace)  # each launch leaves it ready for the next

    def reset(self, encoded: EncoderOutput, noises: Sequence[Noise]) -> None:
        """Prepare a batch's first step."""
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
        """Enqueue a chunk and the copies of its results to pinned memory."""
        stream = self.decoder.stream
        self._kernel.launch(
            stream,
            self.decoder.packed.address,
            self._memory.address,
            self._processed.address,
            self._lengths.address,
            np.int32(self.tokens),
            self._keys.address,
            0,  # dropout is drawn from the keys
            np.int32(CHUNK_STEPS),
            np.int32(first_step),
            np.float32(gate_logit),
            *(state.address for state in self._states),
            *(result.address for result in self._results),
            self._progress.address,
            self._workspace.address,
            0,  # no trace
        )
        for target, source in zip(vars(self.results[parity]).values(), self._results, strict=True):
            stream.download(target, source)
        return stream.record()


@contextmanager
def _explained() -> Iterator[None]:
    """Explain a failure, and name the way out."""
    try:
        yield
    except Exception as error:  # errors of the driver and of cuda-core share no base class
        raise BackendError(
            f"decoder_step: the fused decoder failed on the GPU ({' '.join(str(error).split())}), which this process "
            "cannot use any more; start again with --decoder engine"
        ) from error
