"""`tacoglow inspect`: shows what a bundle contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.errors import escape_control
from .shared.options import Engines

if TYPE_CHECKING:
    from ..runtime.backends.tensorrt.cache import Entry
    from ..runtime.bundle.manifest import Manifest, TensorSpec


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    engines: Engines = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON to standard output.")] = False,
    trtexec: Annotated[
        bool, typer.Option("--trtexec", help="Print the trtexec commands that build its graphs instead.")
    ] = False,
) -> None:
    """Show a bundle: voice, limits, graphs with their shapes and sizes, parity, engines; and check its files."""
    from rich.console import Console

    from ..runtime.backends.tensorrt.cache import EngineCache
    from ..runtime.backends.tensorrt.trtexec import trtexec_commands
    from ..runtime.bundle.reading import graph_path, load_manifest
    from ..runtime.errors import RequestError

    ignored = [option for option, given in (("--json", as_json), ("--engines", engines is not None)) if given]
    if trtexec and ignored:
        raise RequestError(f"{ignored[0]}: has no effect on the commands of --trtexec; leave one of them out")
    manifest = load_manifest(bundle)
    sizes = {name: graph_path(bundle, name, graph).stat().st_size for name, graph in manifest.graphs.items()}
    scripts = manifest.torchscript.graphs if manifest.torchscript else {}
    script_bytes = sum(graph_path(bundle, name, file).stat().st_size for name, file in scripts.items())
    int8 = manifest.int8_decoder
    int8_bytes = 0 if int8 is None else graph_path(bundle, "8-bit decoder_step", int8).stat().st_size
    graph_path(bundle, "text tables", manifest.text.tables)
    if trtexec:
        for command in trtexec_commands(bundle, manifest):
            print(command)
        return
    entries = [entry for entry in EngineCache(engines).entries() if _is_built_from(entry, manifest)]
    if as_json:
        print(json.dumps(_as_json(manifest, sizes, entries), indent=1))
        return
    # Names and keys of a bundle are text: neither markup nor control characters in them have an effect.
    console = Console(markup=False, emoji=False)
    console.print(_facts(manifest))
    console.print(_graphs(manifest, sizes))
    if scripts:
        console.print(f"TorchScript modules of the same graphs: {script_bytes / 1e6:.1f} MB")
    if int8_bytes:
        console.print(f"decoder_step with 8-bit weights: {int8_bytes / 1e6:.1f} MB")
    if manifest.parity is not None:
        console.print(_parity(manifest))
    if entries:
        console.print(_engines(entries))


def _as_json(manifest: Manifest, sizes: dict[str, int], entries: list[Entry]) -> dict[str, Any]:
    """Return the manifest, the sizes of the graphs' files in bytes, and the engines that the cache has for them."""
    import msgspec

    engines = [
        {
            "file": str(entry.path),
            "bytes": entry.nbytes,
            "state": entry.state,
            "key": None if entry.engine_key is None else msgspec.to_builtins(entry.engine_key),
        }
        for entry in entries
    ]
    return {"manifest": msgspec.to_builtins(manifest), "graph_bytes": sizes, "engines": engines}


def _facts(manifest: Manifest) -> object:
    from rich.table import Table

    audio, decoder, vocoder = manifest.audio, manifest.decoder, manifest.vocoder
    frame = 1000 * audio.hop_length / audio.sampling_rate
    limits = ", ".join(f"{key} {span.min} to {span.max}" for key, span in manifest.dimensions.items())
    table = Table.grid(padding=(0, 2))
    rows = {
        "voice": f"{manifest.voice.name} {manifest.voice.language}".strip(),
        "written by": f"{manifest.generator}, {manifest.precision}, opset {manifest.opset}",
        "audio": f"{audio.sampling_rate} Hz, hop {audio.hop_length} samples ({frame:.1f} ms), "
        f"{audio.n_mel_channels} mel bands {audio.mel_fmin:g} to {audio.mel_fmax:g} Hz",
        "text": f"{len(manifest.text.symbols)} symbols, {', '.join(manifest.text.cleaners) or 'no cleaners'}",
        "decoder": f"gate threshold {decoder.gate_threshold:g}, at most {decoder.max_frames} frames "
        f"({decoder.max_frames * frame / 1000:.1f} s), {decoder.frames_per_step} per step",
        "vocoder": f"{vocoder.title}, "
        + (f"sigma {vocoder.sigma:g}, " if vocoder.group_size else "")
        + f"receptive field {vocoder.frames_before} frames before, "
        f"{vocoder.frames_after} after",
        "limits": limits + "   (B batch, T tokens, F frames, S samples)",
    }
    for label, value in rows.items():
        table.add_row(label, escape_control(value))
    for label, value in manifest.voice.provenance.items():
        table.add_row(escape_control(f"from: {label}"), escape_control(value))
    return table


def _graphs(manifest: Manifest, sizes: dict[str, int]) -> object:
    from rich.table import Table

    table = Table("graph", "inputs", "outputs", "MB")
    for name, graph in manifest.graphs.items():
        table.add_row(escape_control(name), _tensors(graph.inputs), _tensors(graph.outputs), f"{sizes[name] / 1e6:.1f}")
    return table


def _tensors(tensors: tuple[TensorSpec, ...]) -> str:
    lines = []
    for tensor in tensors:
        dtype = "" if tensor.dtype == "float32" else f" {tensor.dtype}"
        lines.append(f"{escape_control(tensor.name)} [{', '.join(map(str, tensor.shape))}]{dtype}")
    return "\n".join(lines)


def _is_built_from(entry: Entry, manifest: Manifest) -> bool:
    """True if the engine was built from one of the bundle's graphs; the cache also contains other bundles' engines."""
    key = entry.engine_key
    return key is not None and key.graph_sha256 in {graph.sha256 for graph in manifest.graphs.values()}


def _engines(entries: list[Entry]) -> object:
    from rich.table import Table

    table = Table("engine", "GPU", "built by", "limits", "MB", "state")
    for entry in entries:
        key = entry.engine_key
        assert key is not None
        target = key.target
        table.add_row(
            escape_control(entry.path.name),
            escape_control(
                f"{target.gpu or 'any GPU of'} {target.capability}"
                + (" and later" if key.options.hardware_compatible else "")
            ),
            escape_control(f"{key.tensorrt} {key.tensorrt_version}"),
            escape_control(", ".join(f"{letter} {span.min}-{span.max}" for letter, span in key.profile.items())),
            f"{entry.nbytes / 1e6:.1f}",
            entry.state,
        )
    return table


def _parity(manifest: Manifest) -> object:
    from rich.table import Table

    assert manifest.parity is not None
    table = Table("graph", "tensor", "from PyTorch", "tolerance")
    for name, tensors in {**manifest.parity.graphs, "pipeline": manifest.parity.pipeline}.items():
        for tensor, entry in tensors.items():
            table.add_row(
                escape_control(name), escape_control(tensor), f"{entry.max_abs_error:.1e}", f"{entry.tolerance:.1e}"
            )
    expected, got = manifest.parity.stop_frames
    table.add_row("pipeline", "stop frame", f"{got} (PyTorch {expected})", "")
    return table
