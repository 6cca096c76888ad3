"""Which decoder runs: the fused one or the engine, and why, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....bundle.manifest import Manifest
from ....errors import BackendError
from ...base import BackendOptions
from ..nvrtc import CubinCache
from ..stream import CudaStream, Gpu
from .kernel import Exchange, cubin_folder
from .proof import ProofRequest, verdict_of
from .steps import FusedDecoder
from .weights import DecoderWeights, load_weights


def choose_decoder(
    bundle: Path,
    manifest: Manifest,
    backend: str,
    gpu: Gpu,
    stream: CudaStream,
    options: BackendOptions,
    engines: Path,
    run_proof: Callable[[ProofRequest], str],
) -> tuple[FusedDecoder | None, str]:
    """The fused decoder, or None for the engine, and the reason.

    engines: folder of the engine cache. run_proof: returns the finding of a proof.

    "auto" takes the fused decoder where it has proved itself on this GPU, and never fails. Raises BackendError if
    options.decoder is "fused" and it cannot run.
    """
    if options.decoder == "engine":
        return None, "engine: selected"
    folder = cubin_folder(engines)
    try:
        weights = _load(bundle, manifest)
        if options.decoder == "fused":
            return _open(weights, gpu, stream, folder, "tagged"), "fused, tagged exchange: selected, not proved"
        # Opened before the proof: what can be said without running the kernel is said here, and is not a verdict.
        _open(weights, gpu, stream, folder, "tagged")
        verdict = verdict_of(bundle, manifest, backend, gpu, options, folder, run_proof)
        if verdict.exchange is None:
            return None, verdict.line
        return _open(weights, gpu, stream, folder, verdict.exchange), verdict.line
    except BackendError as error:
        if options.decoder == "fused":
            raise
        return None, f"engine: {error}"


def _load(bundle: Path, manifest: Manifest) -> DecoderWeights:
    if manifest.precision != "fp16":
        raise BackendError(
            f"decoder_step: the fused decoder computes in half precision, this bundle is {manifest.precision}; "
            "export it with --precision fp16, or use --decoder engine"
        )
    return load_weights(bundle, manifest)


def _open(weights: DecoderWeights, gpu: Gpu, stream: CudaStream, folder: Path, exchange: Exchange) -> FusedDecoder:
    """Also compiles the kernel for one item, so that compile errors appear here."""
    fused = FusedDecoder(stream, gpu.index, weights, CubinCache(folder, gpu.compute_capability), exchange)
    fused.kernel(1, 1)
    return fused
