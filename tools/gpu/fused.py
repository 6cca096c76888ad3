"""The steps of the fused decoder that need no TensorRT: is it right, how long does a step take, and its phases."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.backends.cuda import nvrtc
from ...runtime.backends.cuda.device import find_gpu
from ...runtime.backends.cuda.fused.kernel import EXCHANGES, Exchange, FusedKernel, cubin_folder, source
from ...runtime.backends.cuda.fused.plan import Plan
from ...runtime.backends.cuda.fused.steps import CHUNK_STEPS, FusedDecoder
from ...runtime.backends.cuda.fused.weights import DecoderWeights
from ...runtime.backends.cuda.stream import CudaStream
from ...runtime.backends.tensorrt.cache import default_folder
from ...runtime.decoder import DecoderSteps, EncoderOutput
from ...runtime.noise import Noise
from ...tests.runtime.backends.cuda.fused.model import (
    NVIDIA,
    SMALL,
    Encoded,
    decode,
    decode_scheduled,
    initial_state,
    random_weights,
)
from .figures import Context, Figures, Sizes

Outputs = Mapping[str, NDArray[Any]]
COMPARED_STEPS = 24  # before the loop amplifies rounding
# A right kernel's error is that of rounding weights and exchanged values to halves, which the model that rounds as it
# does shows; twice that, because other sums round other values up; and below this it is not worth a question.
TIMES_ROUNDING, NEGLIGIBLE = 2.0, 1e-3
SMALL_LENGTHS = [40, 17]
# The kernel's events, of which TRACE records the clock.
EVENTS = "hidden prenet_1 prenet_2 attention_made attention energies_made energies context hidden_made".split()


def fused_small(context: Context, figures: Figures) -> None:
    """Launch a small random decoder three times, twice over, by both exchanges, and compare it with float32."""
    stream, cache = CudaStream(0), cubins()
    weights, encoded = random_weights(SMALL), Encoded.random(SMALL, SMALL_LENGTHS, max(SMALL_LENGTHS))
    steps = max(3 * CHUNK_STEPS, COMPARED_STEPS)
    made = {}
    for exchange in EXCHANGES:
        begin = time.perf_counter()
        decoder = FusedDecoder(stream, 0, weights, cache, exchange)
        decoder.compile(*encoded.memory.shape[:2])
        figures[f"{exchange}_compile_seconds"] = round(time.perf_counter() - begin, 3)
        runs = [run(decoder, encoded, steps) for _ in range(2)]
        assert_same(runs[0], runs[1], f"two runs by the {exchange} exchange")
        made[exchange] = runs[0]
    assert_same(made["tagged"], made["barrier"], "the two exchanges")
    judge(figures, made["tagged"], weights, encoded)


def fused_nvidia(context: Context, figures: Figures) -> None:
    """Check and time NVIDIA's dimensions, by exchange, batch and tokens; what decides most comes first."""
    stream, cache, sizes = CudaStream(0), cubins(), context.sizes
    weights = random_weights(dims(sizes))
    decoders = {exchange: FusedDecoder(stream, 0, weights, cache, exchange) for exchange in EXCHANGES}
    wrong = []
    for exchange, batch, tokens in cases(sizes):
        decoder, name = decoders[exchange], f"{exchange}_batch_{batch}_tokens_{tokens}"
        encoded = Encoded.random(weights.dims, [tokens] * batch, tokens)
        begin = time.perf_counter()
        decoder.compile(batch, tokens)
        figures[f"{name}_compile_seconds"] = round(time.perf_counter() - begin, 3)
        made = run(decoder, encoded, COMPARED_STEPS)
        try:
            assert_same(made, run(decoder, encoded, COMPARED_STEPS), "two runs")
            alone = run(decoder, encoded.item(batch - 1), COMPARED_STEPS, first_item=batch - 1)
            assert_same({key: array[:, batch - 1 :] for key, array in made.items()}, alone, "an item and it alone")
            judge(figures, made, weights, encoded, f"{name}_")
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
        new_steps = partial(decoder.steps, encoder_output(encoded), noises(batch))
        figures[f"{name}_us_a_step"] = microseconds(stream, new_steps, sizes)
    assert not wrong, "; ".join(wrong)


def cases(sizes: Sizes) -> Iterator[tuple[Exchange, int, int]]:
    yield "tagged", 1, sizes.tokens
    yield "barrier", 1, sizes.tokens
    for batch in reversed(sizes.fused_batches[1:]):
        yield "tagged", batch, sizes.tokens
    yield "tagged", 1, sizes.long_tokens
    yield "barrier", sizes.fused_batches[-1], sizes.tokens


def fused_phases(context: Context, figures: Figures) -> None:
    """Count the clocks from a step's first event to each other: least, median, most over blocks; medians over steps."""
    stream, cache, tokens = CudaStream(0), cubins(), context.sizes.tokens
    weights = random_weights(dims(context.sizes))
    decoder = FusedDecoder(stream, 0, weights, cache, "tagged")
    plan = decoder.plan(1, tokens)
    traced = TracedKernel(stream, plan)
    decoder._kernels[plan.batch, plan.tokens] = traced, plan.workspace_bytes
    run(decoder, Encoded.random(weights.dims, [tokens], tokens), CHUNK_STEPS)
    clocks = traced.clocks()[CHUNK_STEPS // 6 : -1]  # without the first steps and the turn that only projects
    for i, name in enumerate(EVENTS):
        recorded = (clocks[:, :, i] != 0).all(0)
        if recorded.any():
            since = (clocks[:, recorded, i] - clocks[:, recorded, 0]) % 2**32
            figures[name] = [float(np.median(f(since, axis=1))) for f in (np.min, np.median, np.max)]
    figures["next_hidden"] = float(np.median(np.diff(clocks[:, :, 0], axis=0) % 2**32))


def sanitize(context: Context, figures: Figures) -> None:
    """Run the small decoder under one of compute-sanitizer's tools, whose report is this step's log."""
    program = shutil.which("compute-sanitizer")
    assert program, "compute-sanitizer is not installed"
    step = [sys.executable, "-m", "tacoglow.tools.gpu.steps", "fused-small", "--out", str(context.out)]
    command = [program, "--tool", context.tool, "--error-exitcode", "1", *step, "--name", f"{context.name}-run"]
    figures["exit_code"] = subprocess.run(command, check=False).returncode
    assert figures["exit_code"] == 0, f"{context.tool} found errors, or cannot run here"


def cubins() -> nvrtc.CubinCache:
    """Return the cache of kernels in which voices of the day look, too."""
    return nvrtc.CubinCache(cubin_folder(default_folder()), find_gpu(0).compute_capability)


def dims(sizes: Sizes) -> dict[str, int]:
    return SMALL if sizes.is_rehearsal else NVIDIA


def noises(batch: int, first_item: int = 0) -> list[Noise]:
    return [Noise(seed) for seed in range(first_item, first_item + batch)]


def encoder_output(encoded: Encoded) -> EncoderOutput:
    mask = np.arange(encoded.memory.shape[1])[None] >= encoded.lengths[:, None]
    return EncoderOutput(encoded.memory, encoded.processed_memory, mask)


def run(decoder: FusedDecoder, encoded: Encoded, steps: int, first_item: int = 0) -> Outputs:
    """Decode from the start: mel, gate logits and attention weights [steps, B, ...]."""
    return read_steps(decoder.steps(encoder_output(encoded), noises(len(encoded.lengths), first_item)), steps)


def read_steps(steps: DecoderSteps, count: int) -> Outputs:
    chunks = []
    for first in range(0, count, steps.chunk_steps):
        steps.launch(first)
        chunks.append({name: array.copy() for name, array in vars(steps.read()).items()})
    return {name: np.concatenate([chunk[name] for chunk in chunks])[:count] for name in chunks[0]}


def assert_same(one: Outputs, other: Outputs, what: str) -> None:
    for name, array in one.items():
        assert np.isfinite(array).all(), f"{name}: NaN or Inf"
        assert np.array_equal(array, other[name]), f"{name}: {what} differ"


def judge(figures: Figures, made: Outputs, weights: DecoderWeights, encoded: Encoded, prefix: str = "") -> None:
    """Compare with float32 on the host, and with what rounding as the kernel does costs there."""
    steps, keys = COMPARED_STEPS, noises(len(encoded.lengths))
    dropout = np.stack([one.prenet_dropout(0, steps, 2, weights.dims["PRENET"]) for one in keys], axis=1)
    state = initial_state(weights.dims, *encoded.memory.shape[:2])
    exact, rounded = decode(weights, encoded, dropout, state), decode_scheduled(weights, encoded, dropout, state)
    names = {"mel": "mel", "gate_logits": "gate_logits", "attention_weights": "alignments"}
    errors = {name: relative(made[name][:steps], exact.outputs[model]) for name, model in names.items()}
    rounding = {name: relative(rounded.outputs[model], exact.outputs[model]) for name, model in names.items()}
    figures[f"{prefix}errors"], figures[f"{prefix}errors_of_rounding"] = errors, rounding
    wrong = [name for name, error in errors.items() if not is_right(error, rounding[name])]
    assert not wrong, f"{', '.join(wrong)}: errors {errors}, of rounding {rounding}"


def is_right(error: float, rounding: float) -> bool:
    """False for NaN too."""
    return error <= max(TIMES_ROUNDING * rounding, NEGLIGIBLE)


def relative(array: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(array - expected) / np.linalg.norm(expected))


def microseconds(stream: CudaStream, new_steps: Callable[[], DecoderSteps], sizes: Sizes) -> float:
    """Time a step by the GPU's events, with chunks launched ahead; the median of some runs after the first."""
    found = []
    for _ in range(sizes.repeats + 1):
        steps = new_steps()
        begin = stream.record_time()
        for chunk in range(sizes.chunks):
            steps.launch(chunk * steps.chunk_steps)
            if chunk:
                steps.read()
        found.append(stream.record_time().seconds_since(begin) * 1e6 / (sizes.chunks * steps.chunk_steps))
        steps.read()
    return round(statistics.median(found[1:]), 2)


def trace_shape(plan: Plan, steps: int) -> tuple[int, int, int]:
    """[turns, blocks, events] of the clocks of a launch, whose last turn only projects the last frame."""
    return steps + 1, plan.blocks, len(EVENTS)


class TracedKernel(FusedKernel):
    """A kernel of one item that also records clocks."""

    def __init__(self, stream: CudaStream, plan: Plan) -> None:
        arch = "sm_{}{}".format(*find_gpu(0).compute_capability)
        super().__init__(0, plan, nvrtc.compile_cubin(plan.header + "#define TRACE 1\n" + source(), arch))
        self._stream = stream
        self._trace = stream.empty(trace_shape(plan, CHUNK_STEPS), np.uint32)
        stream.zero(self._trace)

    def launch(self, stream: CudaStream, *arguments: Any) -> None:
        *others, _, rows = arguments
        super().launch(stream, *others, self._trace.address, rows)

    def clocks(self) -> NDArray[np.int64]:
        """Clocks [turns, blocks, events] of the last launch; 0 where a block has no such event."""
        clocks = np.empty(self._trace.shape, np.uint32)
        self._stream.download(clocks, self._trace)
        self._stream.record().wait()
        return clocks.astype(np.int64)
