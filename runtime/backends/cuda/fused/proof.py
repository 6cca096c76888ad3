"""Proves the fused decoder on this GPU: it decodes a fixed workload and is compared with the engine.

The proof runs in a process of its own, because a kernel that hangs ends by a trap, after which its process cannot use
the GPU any more. Its verdict is kept beside the cubins, for this GPU, driver, source and graph.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....bundle.manifest import Manifest
from ....decoder import Chunk, DecoderSteps, EncoderOutput
from ....files import replace_file
from ....noise import Noise
from ...base import BackendOptions, GraphRunner
from ..driver import driver_version
from ..stream import Gpu
from .kernel import EXCHANGES, Exchange, cubin_folder, source_sha256
from .steps import FusedDecoder

TIMEOUT = 600  # seconds; the first proof of a voice may have to load engines and compile kernels
COMPARED_STEPS = 24  # afterwards a trained voice amplifies the rounding of either decoder
REPEATED_STEPS = 192  # in which two runs must not differ by a bit
# Largest error of an output, of its norm. The demo voice in half precision is off by 2e-4 over 30 steps.
TOLERANCE = 5e-3
ITEMS = ((1.0, 5), (0.3, 6), (0.6, 7))  # of the workload: length, of the longest; seed
TOKEN_SEED = 1
# How a finding begins. One that says nothing about the kernel is not kept.
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
PROVING = "proving"  # what the process prints before it runs the kernel


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The result of a proof, and what it holds for."""

    gpu: str
    compute_capability: tuple[int, int]
    driver: int  # CUDA version, as cuDriverGetVersion reports it
    source_sha256: str  # of fused_decoder.cu
    graph_sha256: str  # of decoder_step
    exchange: Exchange | None  # the first that passed; None: use the engine
    findings: dict[str, str]  # exchange -> one line

    @property
    def line(self) -> str:
        found = "; ".join(f"{exchange} exchange {finding}" for exchange, finding in self.findings.items())
        return f"fused, {found}" if self.exchange else f"engine, because of the fused decoder's {found}"


class ProofRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The input of the process of the proof."""

    bundle: str
    backend: str
    device: int
    engines: str | None
    cubins: str
    exchange: Exchange


class Mismatch(Exception):  # noqa: N818 - it is a finding
    """The fused decoder is not the engine's equal."""


def verdict_of(
    bundle: Path,
    manifest: Manifest,
    backend: str,
    gpu: Gpu,
    options: BackendOptions,
    folder: Path,
    run: Callable[[ProofRequest], str],
) -> Verdict:
    """The verdict that is kept in the folder, or that of a proof which runs now. run: returns a finding."""
    path = _verdict_path(folder, gpu, manifest)
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Verdict)
    engines = None if options.engines is None else str(options.engines)
    findings: dict[str, str] = {}
    chosen: Exchange | None = None
    for exchange in EXCHANGES:
        request = ProofRequest(
            bundle=str(bundle.resolve()),
            backend=backend,
            device=gpu.index,
            engines=engines,
            cubins=str(folder),
            exchange=exchange,
        )
        findings[exchange] = run(request)
        if findings[exchange].startswith(PASSED):
            chosen = exchange
            break
    verdict = Verdict(
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=driver_version(),
        source_sha256=source_sha256(),
        graph_sha256=manifest.graphs["decoder_step"].sha256,
        exchange=chosen,
        findings=findings,
    )
    if any(finding.startswith(NOT_RUN) for finding in findings.values()):
        return verdict
    with suppress(OSError):  # a verdict that cannot be kept is found again at the next start
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, msgspec.json.format(msgspec.json.encode(verdict), indent=1) + b"\n")
    return verdict


def kept_verdicts(engines: Path) -> list[Verdict]:
    """All verdicts of an engine cache's folder that hold for the present source."""
    verdicts = []
    for path in sorted(cubin_folder(engines).glob("verdict-*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
            verdicts += [verdict] if verdict.source_sha256 == source_sha256() else []
    return verdicts


def _verdict_path(folder: Path, gpu: Gpu, manifest: Manifest) -> Path:
    parts = (
        gpu.name,
        str(gpu.compute_capability),
        str(driver_version()),
        source_sha256(),
        manifest.graphs["decoder_step"].sha256,
    )
    return folder / f"verdict-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.json"


def run_in_process(module: str) -> Callable[[ProofRequest], str]:
    """Runs a proof in a process of its own, whose main is the module's; returns the finding."""

    def run(request: ProofRequest) -> str:
        command = [sys.executable, "-m", module, msgspec.json.encode(request).decode()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return f"{NOT_RUN}: no end within {TIMEOUT} s"
        except OSError as error:
            return f"{NOT_RUN}: {sys.executable} cannot be started: {error.strerror}"
        return finding_of(done.stdout, done.stderr, done.returncode)

    return run


def finding_of(stdout: str, stderr: str, returncode: int) -> str:
    """Read the finding of a process of the proof: its last line, or how it ended without one."""
    last = (stdout.strip().splitlines() or [""])[-1]
    if last.startswith((PASSED, FAILED, NOT_RUN)):
        return last
    reason = (stderr.strip().splitlines() or [""])[-1][-200:]
    return f"{FAILED if last == PROVING else NOT_RUN}: its process ended with {returncode}: {reason or 'no output'}"


def prove(
    engine: Callable[[EncoderOutput, Sequence[Noise]], DecoderSteps], fused: FusedDecoder, encoded: EncoderOutput
) -> str:
    """One line that begins with "passed". Raises Mismatch."""
    noises = [Noise(seed) for _, seed in ITEMS]
    whole = _decode(fused.steps(encoded, noises), REPEATED_STEPS)
    again = _decode(fused.steps(encoded, noises), REPEATED_STEPS)
    alone = _decode(fused.steps(encoded.rows([1]), noises[1:2]), REPEATED_STEPS)
    expected = _decode(engine(encoded, noises), COMPARED_STEPS)
    worst = 0.0
    for name, array in vars(whole).items():
        if not np.array_equal(array, getattr(again, name)):
            raise Mismatch(f"two runs differ in {name}")
        if not np.array_equal(array[:, 1:2], getattr(alone, name)):
            raise Mismatch(f"an item alone differs from itself in a batch, in {name}")
        wanted: NDArray[np.float32] = getattr(expected, name)
        error = float(np.linalg.norm(array[:COMPARED_STEPS] - wanted) / np.linalg.norm(wanted))
        if not error <= TOLERANCE:  # NaN too
            raise Mismatch(f"{name} differs from the engine's by {error:.1e} of its norm, tolerance {TOLERANCE:g}")
        worst = max(worst, error)
    return f"passed: differs from the engine by at most {worst:.1e} over {COMPARED_STEPS} steps"


def _decode(steps: DecoderSteps, count: int) -> Chunk:
    """The first `count` steps."""
    chunks = []
    for first in range(0, count, steps.chunk_steps):
        steps.launch(first)
        chunk = steps.read()
        chunks.append(Chunk(*(array.copy() for array in vars(chunk).values())))
    return Chunk(*(np.concatenate([getattr(chunk, name) for chunk in chunks])[:count] for name in vars(chunks[0])))


def workload(encoder: GraphRunner, manifest: Manifest) -> EncoderOutput:
    """Three items of different lengths, of random tokens, each encoded alone."""
    longest = min(manifest.range("T").max, 2 * manifest.synthesis.smallest_token_bucket)
    rng = np.random.default_rng(TOKEN_SEED)
    memories, processed, masks = [], [], []
    for share, _ in ITEMS:
        length = max(1, int(share * longest))
        ids = rng.integers(1, len(manifest.text.symbols), (1, length)).astype(np.int32)
        made = encoder.run(token_ids=ids, token_lengths=np.array([length], np.int32))
        missing = ((0, longest - length), (0, 0))
        memories.append(np.pad(made["memory"][0], missing))
        processed.append(np.pad(made["processed_memory"][0], missing))
        masks.append(np.arange(longest) >= length)
    return EncoderOutput(np.stack(memories), np.stack(processed), np.stack(masks))
