"""`tacoglow build-engines`: a bundle's graphs -> TensorRT engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .shared.options import DecoderChoice, DecoderOption, Engines

if TYPE_CHECKING:
    from ..runtime.backends.tensorrt.engine_key import Target
    from ..runtime.backends.tensorrt.versions import TensorRT


def build_engines(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    builder: Annotated[str, typer.Option(help="auto, tensorrt, tensorrt-rtx")] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Index of the GPU to build for, and on.")] = 0,
    compute_capability: Annotated[
        Optional[list[str]],
        typer.Option(help="Target compute capability, e.g. 8.9; needs no local GPU (tensorrt-rtx only); repeatable."),
    ] = None,
    graph: Annotated[Optional[list[str]], typer.Option(help="Only this graph; repeatable.")] = None,
    max_batch: Annotated[
        Optional[int], typer.Option(help="Largest decoder batch.", show_default="the bundle's limit")
    ] = None,
    max_tokens: Annotated[
        Optional[int], typer.Option(help="Most tokens per utterance.", show_default="the bundle's limit")
    ] = None,
    max_frames: Annotated[
        Optional[int], typer.Option(help="Most frames per utterance.", show_default="the bundle's limit")
    ] = None,
    optimization_level: Annotated[
        Optional[int], typer.Option(help="0 builds fastest, 5 runs fastest.", show_default="TensorRT's, 3")
    ] = None,
    workspace: Annotated[
        Optional[int],
        typer.Option(help="Workspace limit per tactic, in MiB.", show_default="all GPU memory"),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Engines that later TensorRT releases of the same major version can load.",
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option("--hardware-compatible", help="Engines that run on Ampere and newer GPUs; slower."),
    ] = False,
    engines: Engines = None,
    copy_to: Annotated[
        Optional[Path], typer.Option(help="Also copy the plans to this folder as GRAPH.plan, for C++ and servers.")
    ] = None,
    decoder: DecoderOption = DecoderChoice.engine,
) -> None:
    """Build the bundle's TensorRT engines that are not in the cache yet."""
    from ..runtime.backends.base import BackendOptions
    from ..runtime.backends.cuda.device import find_gpu
    from ..runtime.backends.cuda.package import remove_package, write_package
    from ..runtime.backends.tensorrt.backend import TensorRTBackend
    from ..runtime.backends.tensorrt.builder import TerminalProgress
    from ..runtime.backends.tensorrt.cache import EngineCache, EngineRequest, copy_plans, get_or_build_engines
    from ..runtime.backends.tensorrt.engine_key import BuildOptions, ProfileLimits
    from ..runtime.backends.tensorrt.versions import load_tensorrt
    from ..runtime.bundle.reading import load_manifest
    from ..runtime.errors import RequestError

    manifest = load_manifest(bundle)
    graphs = graph or list(manifest.graphs)
    unknown = [name for name in graphs if name not in manifest.graphs]
    if unknown:
        raise RequestError(f"graph {unknown[0]!r}: unknown; choose from {', '.join(manifest.graphs)}")
    tensorrt = load_tensorrt(builder)
    targets = _targets(tensorrt, compute_capability, device)
    if copy_to is not None and len(targets) > 1:
        raise RequestError(f"--copy-to: expected one --compute-capability, got {len(targets)}")
    is_fused = decoder is DecoderChoice.fused
    if is_fused and (copy_to is None or graph or compute_capability or tensorrt.name != "tensorrt"):
        raise RequestError(
            "--decoder fused: compiled for this machine's GPU and written beside all plans; it needs --copy-to and "
            "TensorRT, without --graph and --compute-capability"
        )
    options = BuildOptions(
        optimization_level=optimization_level,
        workspace_mib=workspace,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
    )
    limits = ProfileLimits(max_batch=max_batch, max_tokens=max_tokens, max_frames=max_frames)
    progress = TerminalProgress()
    for target in targets:
        gpus = f"{target.gpu or 'GPUs'} of compute capability {target.capability}"
        progress.print_status(f"{tensorrt.name} {tensorrt.version} for {gpus}")
        request = EngineRequest(target, limits, options, engines, graphs, exact=True)
        built = get_or_build_engines(bundle, manifest, tensorrt, request, progress)
        for engine in built.values():
            print(f"{engine.path}: {len(engine.plan) / 1e6:.1f} MB")
        if copy_to is not None:
            copy_plans(built, copy_to)
    if copy_to is None or "decoder_step" not in graphs:
        return
    folder = None
    if is_fused:
        backend = BackendOptions(device=device, engines=engines, decoder=decoder.value)
        folder = TensorRTBackend(bundle, manifest, backend).copy_kernels(copy_to)
    elif tensorrt.name == "tensorrt":
        folder = write_package(copy_to, find_gpu(device), EngineCache(engines).folder, manifest)
    else:
        remove_package(copy_to)
    if folder is not None:
        print(folder)


def _targets(tensorrt: TensorRT, capabilities: list[str] | None, device: int) -> list[Target]:
    """Return the build targets: the given compute capabilities, or the local GPU if there are none."""
    from ..runtime.backends.cuda.device import find_gpu
    from ..runtime.backends.tensorrt.cache import target_of
    from ..runtime.backends.tensorrt.engine_key import ANY_GPU, Target
    from ..runtime.errors import RequestError

    if not capabilities:
        return [target_of(find_gpu(device), tensorrt)]
    if not tensorrt.builds_ahead_of_time:
        raise RequestError(
            f"--compute-capability: {tensorrt.name} builds only for the GPU that it runs on; omit the option, or use "
            "--builder tensorrt-rtx"
        )
    targets = []
    for text in capabilities:
        match = re.fullmatch(r"(\d+)\.(\d)", text)
        if match is None:
            raise RequestError(f"--compute-capability: expected MAJOR.MINOR such as 8.9, got {text!r}")
        targets.append(Target(gpu=ANY_GPU, compute_capability=(int(match[1]), int(match[2]))))
    return targets
