"""Compares the fused decoder with float32 on a GPU, and times its steps and the phases of a step."""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.backends.cuda.fused.kernel import EXCHANGES, FusedKernel, cubin_folder, gpu_limits, source
from ...runtime.backends.cuda.fused.plan import make_plan
from ...runtime.backends.cuda.fused.steps import CHUNK_STEPS, FusedDecoder
from ...runtime.backends.cuda.fused.weights import DecoderWeights, load_weights
from ...runtime.backends.cuda.graph import CudaGraphRunner
from ...runtime.backends.cuda.nvrtc import CubinCache, compile_cubin
from ...runtime.backends.cuda.stream import CudaStream, find_gpu
from ...runtime.backends.tensorrt.cache import default_folder
from ...runtime.bundle.reading import load_manifest
from ...runtime.decoder import DecoderSteps, EncoderOutput
from ...runtime.noise import Noise
from ...runtime.synthesizer import Synthesizer

TOOLS = ("memcheck", "racecheck", "synccheck")  # tools of compute-sanitizer
BATCHES, TOKENS = (1, 4, 8), (64, 128, 256)
STEPS = 9 * CHUNK_STEPS  # 576
COMPARED_STEPS = 24  # before the loop amplifies rounding
REPEATS = 5
# The kernel's events, of which TRACE records the clock.
EVENTS = "hidden prenet_1 prenet_2 attention_made attention energies_made energies context hidden_made".split()
SMALL = {"mel": 20, "prenet": 32, "encoder": 64, "attention": 128, "rnn": 128, "taps": 31}


def fused(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare and time one fp16 bundle, beside the fp32 bundle of the same voice. Fails if a result is wrong."""
    voice = Synthesizer.load(arguments.bundle, "tensorrt")
    result: dict[str, Any] = {"gpu": voice.backend.device}
    runner = voice.backend.open("decoder_step")
    assert isinstance(runner, CudaGraphRunner)
    stream, weights = runner.stream, load_weights(arguments.bundle, load_manifest(arguments.bundle))
    cache = CubinCache(cubin_folder(default_folder()), find_gpu(0).compute_capability)
    decoders = {exchange: FusedDecoder(stream, 0, weights, cache, exchange) for exchange in EXCHANGES}
    reference = Path(str(arguments.bundle).replace("fp16", "fp32"))
    for exchange, decoder in decoders.items():
        result[f"errors_{exchange}"] = report(f"errors, {exchange}", compare(decoder, voice, reference))
        for batch in BATCHES:
            for tokens in TOKENS:
                name = f"us_a_step_{exchange}_batch_{batch}_tokens_{tokens}"
                new_steps = partial(decoder.steps, encode(voice, batch, tokens), noises(batch))
                result[name] = report(name, microseconds(stream, new_steps))
    for batch in BATCHES:
        new_steps = partial(runner.decoder_steps, encode(voice, batch, 128), noises(batch))
        result[f"us_a_step_engine_batch_{batch}"] = report(f"engine, batch {batch}", microseconds(stream, new_steps))
    result["clocks"] = report("clocks since hidden", phases(stream, weights, encode(voice, 1, 128)))
    if shutil.which("compute-sanitizer"):
        result["sanitizers"] = {tool: report(tool, sanitize(tool, arguments.out)) for tool in TOOLS}
    wrong = [name for name in result if name.startswith("errors") and max(result[name].values()) > 1e-2]
    wrong += [tool for tool, code in result.get("sanitizers", {}).items() if code]
    assert not wrong, wrong
    return result


def fused_alone(arguments: argparse.Namespace) -> dict[str, Any]:
    """Launch a small random decoder three times, without TensorRT, for compute-sanitizer."""
    stream = CudaStream(0)
    cache = CubinCache(cubin_folder(default_folder()), find_gpu(0).compute_capability)
    made = {}
    for exchange in EXCHANGES:
        decoder = FusedDecoder(stream, 0, random_weights(), cache, exchange)
        chunks = []
        for _ in range(2):
            steps = decoder.steps(random_encoded(), noises(3))
            for first in range(0, 3 * CHUNK_STEPS, CHUNK_STEPS):
                steps.launch(first)
                chunks.append(steps.read().mel.copy())
        np.testing.assert_array_equal(chunks[:3], chunks[3:])
        assert np.isfinite(chunks).all()
        made[exchange] = np.concatenate(chunks[:3])
    np.testing.assert_array_equal(made["tagged"], made["barrier"])
    return {"frames": len(made["tagged"])}


def report(name: str, value: Any) -> Any:
    print(f"{name}: {value}", flush=True)
    return value


def noises(batch: int) -> list[Noise]:
    return [Noise(seed) for seed in range(batch)]


def encode(voice: Synthesizer, batch: int, tokens: int) -> EncoderOutput:
    ids = np.random.default_rng(1).integers(1, len(voice.manifest.text.symbols), (batch, tokens))
    return voice.acoustic.encode(ids.tolist())


def decode(steps: DecoderSteps, count: int) -> dict[str, np.ndarray[Any, Any]]:
    chunks = []
    for first in range(0, count, steps.chunk_steps):
        steps.launch(first)
        chunks.append({name: array.copy() for name, array in vars(steps.read()).items()})
    return {name: np.concatenate([chunk[name] for chunk in chunks])[:count] for name in chunks[0]}


def compare(decoder: FusedDecoder, voice: Synthesizer, reference: Path) -> dict[str, float]:
    """Relative errors against float32 on the CPU, over the first steps; and that runs and batches agree to the bit."""
    encoded = encode(voice, 3, min(100, voice.manifest.range("T").max))
    runs = [decode(decoder.steps(encoded, noises(3)), STEPS) for _ in range(3)]
    alone = decode(decoder.steps(encoded.rows([1]), noises(3)[1:2]), STEPS)
    for name, array in runs[0].items():
        assert all(np.array_equal(array, run[name]) for run in runs), f"{name}: two runs differ"
        assert np.array_equal(array[:, 1:2], alone[name]), f"{name}: an item alone differs"
    host = Synthesizer.load(reference, "onnxruntime").backend.open("decoder_step")
    expected = decode(host.decoder_steps(encoded, noises(3)), STEPS)
    found = {}
    for name, array in runs[0].items():
        difference, size = (array - expected[name])[:COMPARED_STEPS], expected[name][:COMPARED_STEPS]
        found[name] = float(np.linalg.norm(difference) / np.linalg.norm(size))
    return found


def microseconds(stream: CudaStream, new_steps: Callable[[], DecoderSteps]) -> float:
    """Time a step by the GPU's events, with chunks launched ahead; the median of some runs after the first."""
    found = []
    for _ in range(REPEATS + 1):
        steps = new_steps()
        begin = stream.record_time()
        for i, first in enumerate(range(0, STEPS, steps.chunk_steps)):
            steps.launch(first)
            if i:
                steps.read()
        found.append(stream.record_time().seconds_since(begin) * 1e6 / STEPS)
        steps.read()
    return round(statistics.median(found[1:]), 2)


class TracedKernel(FusedKernel):
    """A kernel of one item that also records clocks, which `clocks` returns as [steps, blocks, events]."""

    def __init__(self, stream: CudaStream, weights: DecoderWeights) -> None:
        plan = make_plan(weights, gpu_limits(0), 1, 128)
        arch = "sm_{}{}".format(*find_gpu(0).compute_capability)
        text = plan.header + "#define TRACE 1\n" + source()
        super().__init__(0, plan, compile_cubin(text, arch))
        self._stream = stream
        self._trace = stream.empty((CHUNK_STEPS, plan.blocks, len(EVENTS)), np.uint32)
        stream.zero(self._trace)
        self.workspace_bytes = plan.workspace_bytes

    def launch(self, stream: CudaStream, *arguments: Any) -> None:
        super().launch(stream, *arguments[:-1], self._trace.address)

    def clocks(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        clocks = np.empty(self._trace.shape, np.uint32)
        self._stream.download(clocks, self._trace)
        self._stream.record().wait()
        return clocks.astype(np.int64)


def phases(stream: CudaStream, weights: DecoderWeights, encoded: EncoderOutput) -> dict[str, list[float]]:
    """Count the clocks from a step's first event to each other: least, median, most over blocks; medians over steps."""
    traced = TracedKernel(stream, weights)
    cache = CubinCache(cubin_folder(default_folder()), find_gpu(0).compute_capability)
    decoder = FusedDecoder(stream, 0, weights, cache, "tagged")
    decoder._kernels[1, 128] = traced, traced.workspace_bytes
    decode(decoder.steps(encoded, noises(1)), CHUNK_STEPS)
    clocks = traced.clocks()[10:-1]
    found = {}
    for i, name in enumerate(EVENTS):
        recorded = (clocks[:, :, i] != 0).all(0)
        if recorded.any():
            since = (clocks[:, recorded, i] - clocks[:, recorded, 0]) % 2**32
            found[name] = [float(np.median(f(since, axis=1))) for f in (np.min, np.median, np.max)]
    step = float(np.median(np.diff(clocks[:, :, 0], axis=0) % 2**32))
    return {**found, "next hidden": [step, step, step]}


def sanitize(tool: str, out: Path) -> int:
    """Run compute-sanitizer over `fused_alone`; returns its exit code. Its report is in OUT/TOOL.txt."""
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", sys.executable, "-m"]
    command += ["tacoglow.tools.gpu.steps", "fused-alone", "--out", str(out)]
    with (out / f"{tool}.txt").open("wb") as sink:
        return subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, check=False, timeout=120).returncode


def random_weights() -> DecoderWeights:
    rng = np.random.default_rng(0)
    mel, prenet, encoder, attention, rnn, taps = SMALL.values()

    def uniform(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.uniform(-0.1, 0.1, shape).astype(np.float32)

    return DecoderWeights(
        prenet_1=uniform(prenet, mel),
        prenet_2=uniform(prenet, prenet),
        attention_rnn=uniform(4 * rnn, prenet + encoder + rnn),
        attention_bias=uniform(4 * rnn),
        query=uniform(attention, rnn),
        location=uniform(attention, 2, taps),
        energy=uniform(attention),
        decoder_rnn=uniform(4 * rnn, rnn + encoder + rnn),
        decoder_bias=uniform(4 * rnn),
        projection=uniform(mel + 1, rnn + encoder),
        projection_bias=uniform(mel + 1),
    )


def random_encoded() -> EncoderOutput:
    rng = np.random.default_rng(0)
    memory = np.tanh(rng.standard_normal((3, 40, SMALL["encoder"]))).astype(np.float32)
    processed = rng.standard_normal((3, 40, SMALL["attention"])).astype(np.float32)
    return EncoderOutput(memory, processed, np.arange(40)[None] >= np.array([[40], [3], [17]]))
