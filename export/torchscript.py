"""Adds the five graphs to a bundle as TorchScript modules, next to their ONNX form, with their own parity report.

Modules are traced, then frozen: weights are constants, and B, T, F and S stay dynamic. They run on the CPU, from Python
without this package's models and from C++ through LibTorch.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import msgspec
import torch

from ..models.denoiser import Denoiser
from ..models.tacotron2 import Tacotron2
from ..models.vocoder import Vocoder
from ..runtime.bundle.folders import extended_bundle
from ..runtime.bundle.manifest import GraphFile, Manifest, TorchScript
from ..runtime.bundle.reading import file_sha256, load_manifest, write_manifest
from ..runtime.errors import ExportError
from ..runtime.synthesizer import Synthesizer
from .graphs import Graph, build_graphs
from .parity import ParityReference, Progress, find_mismatch, measure_graphs, measure_parity
from .to_onnx import TRACE_DIMS


def export_torchscript(
    tacotron2: Tacotron2,
    vocoder: Vocoder,
    bundle: str | Path,
    progress: Progress = lambda line: None,
    force: bool = False,
) -> Manifest:
    """Add TorchScript modules to a bundle that export_onnx wrote from the same two models, in the bundle's precision.

    The bundle is replaced atomically: it has all five modules, or none. Other files in its folder stay; force:
    replace those with the name of a module. progress is called with one line per graph
    written and one per graph compared.
    Raises BundleError if `bundle` is not a bundle, ExportError if it was exported from different models or if a module
    differs from them.
    """
    bundle = Path(bundle)
    manifest = load_manifest(bundle)
    denoiser = Denoiser(vocoder, manifest.audio.filter_length)
    reference = ParityReference(tacotron2, vocoder, denoiser)
    graphs = build_graphs(tacotron2, vocoder, denoiser, manifest.precision)
    _check_same_models(bundle, manifest, graphs, reference)
    with extended_bundle(bundle, msgspec.structs.replace(manifest, torchscript=None), force) as folder:
        files = {graph.name: _write_module(graph, folder, progress) for graph in graphs}
        write_manifest(folder, manifest, torchscript=TorchScript(graphs=files))
        parity = measure_parity(Synthesizer.load(folder, "torchscript"), reference, progress)
        return write_manifest(folder, manifest, torchscript=TorchScript(graphs=files, parity=parity))


def _check_same_models(bundle: Path, manifest: Manifest, graphs: list[Graph], reference: ParityReference) -> None:
    """Raise ExportError unless the bundle's ONNX graphs have the shapes and the results of these models."""
    advice = "give the checkpoints that it was exported from, or run export-onnx again"
    for graph in graphs:
        spec = manifest.graphs.get(graph.name)
        if spec is None:
            title = manifest.vocoder.title
            raise ExportError(f"{bundle}: its vocoder is {title}, got a checkpoint of {graph.name}; {advice}")
        if (spec.inputs, spec.outputs) != (graph.inputs, graph.outputs):
            raise ExportError(f"{bundle}: its {graph.name} graph has different shapes from these checkpoints; {advice}")
    mismatch = find_mismatch(measure_graphs(Synthesizer.load(bundle, "onnxruntime"), reference))
    if mismatch is not None:
        name, tensor, entry = mismatch
        raise ExportError(
            f"{bundle}: its {name} graph gives a different {tensor} from these checkpoints (off by "
            f"{entry.max_abs_error:.3g}, tolerance {entry.tolerance:.3g}); {advice}"
        )


def _write_module(graph: Graph, folder: Path, progress: Progress) -> GraphFile:
    path = folder / f"{graph.name}.ts"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # newer PyTorch warns at each call that TorchScript is deprecated
        module, example = graph.module.eval(), graph.example_inputs(TRACE_DIMS)
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(torch.jit.freeze(traced), str(path))
    progress(f"{graph.name:13} written: {path.stat().st_size / 1e6:6.1f} MB")
    return GraphFile(file=path.name, sha256=file_sha256(path))
