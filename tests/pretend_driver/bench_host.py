"""Measures the host's time for decoder steps on a GPU, in microseconds per 64 steps: `make bench-host`.

The real cuda-core runs over the pretended driver, whose kernels do nothing; the driver's own time is counted too.
Sizes are NVIDIA's (80 mel bands), with 128 tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.fused.kernel import source as kernel_source
from tacoglow.runtime.backends.cuda.fused.plan import GpuLimits, Plan, make_plan
from tacoglow.runtime.backends.cuda.fused.rows import FusedRows
from tacoglow.runtime.backends.cuda.fused.steps import FusedDecoder
from tacoglow.runtime.backends.cuda.fused.weights import DecoderWeights
from tacoglow.runtime.backends.cuda.nvrtc import CubinCache
from tacoglow.runtime.backends.cuda.stream import CudaStream
from tacoglow.runtime.decoder import PROFILES, Chunk, DecodedBatch, DecoderSession, EncoderOutput
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.scheduling.rows import DeviceRows
from tacoglow.tests.runtime.backends.cuda.fused.model import SMALL, random_weights

from .driver import load, missing
from .emulation import compile_cubin

STEPS, TOKENS, MELS = 64, 128, 80
CHUNKS, REPEATS = 50, 7
LIMIT = 150.0  # microseconds; the kernel needs about 260 by prediction

Measured = dict[str, float]


def main() -> None:
    reason = missing()
    if reason is not None:
        raise SystemExit(f"bench-host: {reason}")
    driver = load()
    driver.installed = True
    driver.run_kernels(False)
    any_kernel = compile_cubin(plan_of_one().header + "#define GRID_BARRIERS 0\n" + kernel_source(), "")
    nvrtc.compile_cubin = lambda source, arch: any_kernel
    with TemporaryDirectory() as folder:
        decoder = new_decoder(Path(folder))
        found: Measured = {}
        for batch in (1, 8):
            found[f"fused, {batch} rows"] = best(partial(decode, decoder, batch))
        for rows in (1, 8, 16):
            found[f"fused, scheduler's {rows} rows"] = best(partial(decode_rows, decoder, rows))
        for patience in (None, 20):
            name = "recording alone, 1 row" + (", with the attention's end" if patience else "")
            found[name] = best(partial(record, patience))
    for name, microseconds in found.items():
        print(f"{name:45} {microseconds:7.1f} us per {STEPS} steps")
    if max(found["fused, 1 rows"], found["fused, scheduler's 1 rows"]) > LIMIT:
        raise SystemExit(f"bench-host: expected at most {LIMIT:.0f} us for one row")


def best(run: Callable[[], Callable[[], None]]) -> float:
    """Time what `run` prepares, which is done CHUNKS times: CPU microseconds of one, the best of some repeats."""
    found = []
    for _ in range(REPEATS):
        work = run()
        start = time.process_time()
        work()
        found.append((time.process_time() - start) / CHUNKS * 1e6)
    return min(found)


def weights() -> DecoderWeights:
    return random_weights({**SMALL, "MEL": MELS})


def plan_of_one() -> Plan:
    return make_plan(weights(), GpuLimits(132, 227 << 10), 1, TOKENS)


def new_decoder(folder: Path) -> FusedDecoder:
    decoder = FusedDecoder(CudaStream(0), 0, weights(), CubinCache(folder, (9, 0)), "tagged")
    decoder.compile(8, TOKENS)
    return decoder


def encoded(decoder: FusedDecoder, batch: int) -> EncoderOutput:
    memory, processed = (np.zeros((batch, TOKENS, decoder.dims[name]), np.float32) for name in ("ENCODER", "ATTENTION"))
    return EncoderOutput(memory, processed, np.zeros((batch, TOKENS), bool))


def manifest() -> Any:
    return SimpleNamespace(decoder=SimpleNamespace(frames_per_step=1), audio=SimpleNamespace(n_mel_channels=MELS))


def options(patience: int | None = None) -> Any:
    return SimpleNamespace(
        gate_logit=np.inf,
        attention_patience=patience,
        attention_window=None,
        frame_limit_of=lambda tokens, frames: (CHUNKS + 4) * STEPS,
        check_cancelled=lambda: None,
    )


def new_batch(batch: int, patience: int | None = None) -> DecodedBatch:
    return DecodedBatch(
        manifest(), np.zeros((batch, TOKENS), bool), [Noise(i) for i in range(batch)], options(patience)
    )


def decode(decoder: FusedDecoder, batch: int) -> Callable[[], None]:
    decoded = new_batch(batch)
    session = DecoderSession(
        decoder.steps(encoded(decoder, batch), [Noise(i) for i in range(batch)]), decoded, options()
    )
    session.advance(STEPS)

    def run() -> None:
        session.advance(CHUNKS * STEPS)

    return run


def decode_rows(decoder: FusedDecoder, count: int) -> Callable[[], None]:
    acoustic: Any = SimpleNamespace(manifest=manifest())
    rows = DeviceRows(acoustic, count, FusedRows(decoder, TOKENS, count, PROFILES["throughput"]))
    opened = [rows.open(encoded(decoder, 1), Noise(i), options()) for i in range(count)]
    rows.advance(opened, STEPS)

    def run() -> None:
        for _ in range(CHUNKS):
            rows.advance(opened, STEPS)

    return run


def record(patience: int | None) -> Callable[[], None]:
    decoded = new_batch(1, patience)
    arrays: Mapping[str, tuple[int, ...]] = {"mel": (MELS,), "gate": (), "attention": (TOKENS,)}
    chunk = Chunk(*(np.zeros((STEPS, 1, *shape), np.float32) for shape in arrays.values()))

    def run() -> None:
        for _ in range(CHUNKS):
            decoded.record(chunk)

    return run


if __name__ == "__main__":
    main()
