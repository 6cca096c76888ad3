"""`tacoglow build-engines`: a bundle's graphs -> TensorRT engines."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .cache import Engine
    from .recipe import Target
    from .tensorrt import TensorRT


def build_engines(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    builder: Annotated[str, typer.Option(help="auto, tensorrt, tensorrt-rtx")] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Index of the GPU to build for, and on.")] = 0,
    compute_capability: Annotated[
        Optional[list[str]],
        typer.Option(help="Build for GPUs of this capability, e.g. 8.9, with no GPU here: tensorrt-rtx. Repeatable."),
    ] = None,
    graph: Annotated[Optional[list[str]], typer.Option(help="Only this graph. Repeatable.")] = None,
    max_batch: Annotated[
        Optional[int], typer.Option(help="Utterances decoded at once.", show_default="the bundle's limit")
    ] = None,
    max_tokens: Annotated[
        Optional[int], typer.Option(help="Tokens of an utterance.", show_default="the bundle's limit")
    ] = None,
    max_frames: Annotated[
        Optional[int], typer.Option(help="Frames of an utterance.", show_default="the bundle's limit")
    ] = None,
    optimization_level: Annotated[
        Optional[int], typer.Option(help="0 builds fastest, 5 runs fastest.", show_default="TensorRT's, 3")
    ] = None,
    workspace: Annotated[
        Optional[int],
        typer.Option(help="GPU memory that a tactic may use, in MiB.", show_default="all that there is"),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Also for later TensorRTs of the same major version.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="For every GPU from Ampere on; slower.")
    ] = False,
    engines: Annotated[
        Optional[Path], typer.Option(help="Folder to keep them in.", show_default="BUNDLE/engines")
    ] = None,
    copy_to: Annotated[
        Optional[Path], typer.Option(help="Also copy them to this folder as GRAPH.plan, for C++ and servers.")
    ] = None,
) -> None:
    """Build the TensorRT engines of a bundle, unless they are there already."""
    from ..errors import RequestError
    from ..manifest import load_manifest
    from .display import TerminalDisplay
    from .provide import Request, provide_engines
    from .recipe import BuildOptions, ProfileLimits
    from .tensorrt import load_tensorrt

    manifest = load_manifest(bundle)
    graphs = graph or list(manifest.graphs)
    unknown = [name for name in graphs if name not in manifest.graphs]
    if unknown:
        raise RequestError(f"graph {unknown[0]!r}: this bundle has {', '.join(manifest.graphs)}")
    tensorrt = load_tensorrt(builder)
    targets = _targets(tensorrt, compute_capability, device)
    if copy_to is not None and len(targets) > 1:
        raise RequestError("--copy-to: takes the engines of one compute capability; give one")
    options = BuildOptions(
        optimization_level=optimization_level,
        workspace_mib=workspace,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
    )
    limits = ProfileLimits(max_batch=max_batch, max_tokens=max_tokens, max_frames=max_frames)
    display = TerminalDisplay()
    for target in targets:
        gpus = f"{target.gpu or 'GPUs'} of compute capability {target.capability}"
        display.say(f"{tensorrt.name} {tensorrt.version} for {gpus}")
        request = Request(target, limits, options, engines, graphs, exactly=True)
        built = provide_engines(bundle, manifest, tensorrt, request, display)
        for engine in built.values():
            print(f"{engine.path}: {len(engine.plan) / 1e6:.1f} MB")
        if copy_to is not None:
            copy_plans(built, copy_to)


def copy_plans(engines: Mapping[str, Engine], folder: Path) -> None:
    """Copies of the engines' plans as FOLDER/GRAPH.plan, as C++ and servers look for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph, engine in engines.items():
        shutil.copyfile(engine.path, folder / f"{graph}.plan")


def _targets(tensorrt: TensorRT, capabilities: list[str] | None, device: int) -> list[Target]:
    """What to build for: the capabilities that were asked for, else the GPU that is here."""
    from ..device.cuda import find_gpu
    from ..errors import RequestError
    from .provide import target_of
    from .recipe import ANY_GPU, Target

    if not capabilities:
        return [target_of(find_gpu(device), tensorrt)]
    if not tensorrt.builds_ahead_of_time:
        raise RequestError(
            f"--compute-capability: {tensorrt.name} builds on the GPU that the engine is for; "
            "leave it out, or use --builder tensorrt-rtx"
        )
    targets = []
    for text in capabilities:
        match = re.fullmatch(r"(\d+)\.(\d)", text)
        if match is None:
            raise RequestError(f"--compute-capability: expected MAJOR.MINOR such as 8.9, got {text!r}")
        targets.append(Target(gpu=ANY_GPU, compute_capability=(int(match[1]), int(match[2]))))
    return targets
