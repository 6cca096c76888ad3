"""The process in which the fused decoder proves itself beside the engine; its last line is the finding."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ...bundle.reading import load_manifest
from ...errors import BackendError
from ..base import BackendOptions
from ..cuda.fused.proof import FAILED, NOT_RUN, PROVING, Mismatch, ProofRequest, prove, workload
from ..cuda.fused.steps import FusedDecoder
from ..cuda.fused.weights import load_weights
from ..cuda.nvrtc import CubinCache
from ..cuda.stream import find_gpu
from .backend import TensorRTBackend, TensorRTGraph, TensorRTRTXBackend

BACKENDS = {kind.name: kind for kind in (TensorRTBackend, TensorRTRTXBackend)}


def main() -> None:
    """Run the proof that the first argument asks for."""
    print(find(msgspec.json.decode(sys.argv[1], type=ProofRequest)), flush=True)


def find(request: ProofRequest) -> str:
    bundle = Path(request.bundle)
    try:
        manifest = load_manifest(bundle)
        engines = None if request.engines is None else Path(request.engines)
        options = BackendOptions(device=request.device, engines=engines, decoder="engine")
        backend = BACKENDS[request.backend](bundle, manifest, options)
        runner = backend.open("decoder_step")
        assert isinstance(runner, TensorRTGraph)
        encoded = workload(backend.open("encoder"), backend.manifest)
        cache = CubinCache(Path(request.cubins), find_gpu(request.device).compute_capability)
        weights = load_weights(bundle, manifest)
        fused = FusedDecoder(runner.stream, request.device, weights, cache, request.exchange)
    except Exception as error:  # of any kind: the kernel has not run
        return f"{NOT_RUN}: {' '.join(str(error).split())}"
    print(PROVING, flush=True)
    try:
        return prove(runner.decoder_steps, fused, encoded)
    except (Mismatch, BackendError) as error:
        return f"{FAILED}: {error}"


if __name__ == "__main__":
    main()
