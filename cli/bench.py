"""`tacoglow bench`: measures a bundle, or a voice exported for the run, on this machine."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .shared.options import (
    HiFiGANPath,
    PrecisionChoice,
    Published,
    Tacotron2Path,
    WaveGlowPath,
    find_checkpoints,
    print_status,
)

if TYPE_CHECKING:
    from ..benchmarks.bench import BenchRequest
    from ..benchmarks.voices import Models
    from ..benchmarks.workload import Preset


PRESET_DEFAULT = "from the preset"


class Dimensions(str, Enum):
    nvidia = "nvidia"  # Tacotron 2 and WaveGlow
    hifigan_v1 = "nvidia-hifigan-v1"  # the same Tacotron 2 with a HiFi-GAN
    hifigan_v3 = "nvidia-hifigan-v3"


class PresetChoice(str, Enum):
    default = "default"
    nvidia = "nvidia"


def bench(
    bundle: Annotated[
        Optional[Path], typer.Argument(help="Folder written by export-onnx.", show_default="exported for the run")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Measure the voice that ships with the project.")] = False,
    dims: Annotated[
        Optional[Dimensions],
        typer.Option(help="Measure random weights with these published dimensions; needs no download."),
    ] = None,
    tacotron2: Tacotron2Path = None,
    waveglow: WaveGlowPath = None,
    hifigan: HiFiGANPath = None,
    pretrained: Annotated[
        Optional[Published], typer.Option(help="Published checkpoints, downloaded into a cache.")
    ] = None,
    config: Annotated[Optional[Path], typer.Option(help="Voice file (JSON) of the checkpoints.")] = None,
    preset: Annotated[
        PresetChoice, typer.Option(help="Protocol; nvidia: that of the tables published with NVIDIA's example.")
    ] = PresetChoice.default,
    batch: Annotated[
        Optional[list[int]], typer.Option(min=1, help="Items per batch; repeatable.", show_default=PRESET_DEFAULT)
    ] = None,
    tokens: Annotated[
        Optional[list[int]], typer.Option(min=1, help="Tokens per item; repeatable.", show_default=PRESET_DEFAULT)
    ] = None,
    frames: Annotated[
        Optional[int],
        typer.Option(min=1, help="Frames per item; the gate is switched off.", show_default=PRESET_DEFAULT),
    ] = None,
    runs: Annotated[
        Optional[int], typer.Option(min=2, help="Timed runs per pipeline.", show_default=PRESET_DEFAULT)
    ] = None,
    backend: Annotated[
        Optional[list[str]], typer.Option(help="Backend; repeatable.", show_default="all available")
    ] = None,
    precision: Annotated[
        Optional[list[PrecisionChoice]],
        typer.Option(help="Precision to export if no BUNDLE is given; repeatable.", show_default="fp32"),
    ] = None,
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads.", show_default="all usable cores")] = None,
    device: Annotated[int, typer.Option(min=0, help="Index of the GPU.")] = 0,
    cpu_peers: Annotated[
        bool, typer.Option("--cpu-peers", help="Also time PyTorch on the CPU, although there is a GPU.")
    ] = False,
    torch_compile: Annotated[
        bool, typer.Option("--torch-compile", help="Also time torch.compile on the CPU: minutes to compile.")
    ] = False,
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Write the figures to this JSON file.")
    ] = None,
    compare: Annotated[
        Optional[tuple[Path, Path]],
        typer.Option(
            metavar="OLD NEW", help="Compare two JSON files; exit code 1 if NEW is slower by more than noise."
        ),
    ] = None,
) -> None:
    """Measure the speed of a voice on every available backend, compared with PyTorch.

    A BUNDLE alone is timed alone; give its checkpoints too (or --demo, for the demo voice) to compare it with PyTorch.
    Without a BUNDLE, the models are exported for the run. A pipeline whose output differs from PyTorch's is not timed,
    and the exit code is 1.
    """
    if compare is not None:
        _print_comparison(*compare)
        return
    from ..runtime.files import check_writable

    if output is not None:
        check_writable(output, "-o", is_folder=False)
    from ..benchmarks.bench import BenchRequest
    from ..benchmarks.workload import PRESETS

    changes = {"batches": batch, "tokens": tokens, "frames": frames, "runs": runs}
    chosen = replace(PRESETS[preset.value], **{name: value for name, value in changes.items() if value})  # type: ignore[arg-type]
    request = BenchRequest(chosen, backend, threads, device, cpu_peers, torch_compile)
    models = _load_models(bundle, demo, dims, tacotron2, waveglow, hifigan, pretrained, config)
    report = _measure(bundle, models, [entry.value for entry in precision or [PrecisionChoice.fp32]], request)
    _print_report(report)
    if output is not None:
        from ..runtime.files import atomic_write

        atomic_write(output, json.dumps(report, indent=1).encode() + b"\n")
    rejected = [row["pipeline"] for row in report["speed"] if "refused" in row]
    if rejected:
        print_status(f"not timed, because their output differs from PyTorch's: {', '.join(dict.fromkeys(rejected))}")
        sys.exit(1)


def _load_models(
    bundle: Path | None,
    demo: bool,
    dims: Dimensions | None,
    tacotron2: Path | None,
    waveglow: Path | None,
    hifigan: Path | None,
    pretrained: Published | None,
    config: Path | None,
) -> Models | None:
    from ..runtime.errors import RequestError

    if dims is not None:
        if bundle or demo or tacotron2 or waveglow or hifigan or pretrained:
            raise RequestError("--dims: random weights have no bundle or checkpoints; give --dims without them")
        from ..benchmarks.voices import random_models

        return random_models(dims.value.removeprefix("nvidia-").replace("nvidia", "waveglow"))
    if bundle is not None and not (demo or tacotron2 or waveglow or hifigan or pretrained):
        return None
    if not (demo or tacotron2 or waveglow or hifigan or pretrained):
        raise RequestError("nothing to measure: give a BUNDLE, --demo, --dims nvidia, or checkpoints")
    from ..benchmarks.voices import load_models

    checkpoints = find_checkpoints(tacotron2, waveglow, hifigan, demo, pretrained)
    return load_models(
        checkpoints.tacotron2,
        checkpoints.vocoder,
        config or checkpoints.voice,
        checkpoints.vocoder_kind,
        checkpoints.name,
    )


def _measure(
    bundle: Path | None, models: Models | None, precisions: list[Any], request: BenchRequest
) -> dict[str, Any]:
    from ..benchmarks.bench import run

    if bundle is not None:
        return run([bundle], models, request, print_status)
    from ..benchmarks.voices import export_bundle

    assert models is not None
    with_torchscript = request.backends is None or "torchscript" in request.backends
    with tempfile.TemporaryDirectory(prefix="tacoglow-bench-") as folder:
        bundles = [
            export_bundle(
                models, Path(folder) / precision, precision, _limits(request.preset), with_torchscript, print_status
            )
            for precision in precisions
        ]
        return run(bundles, models, request, print_status)


def _limits(preset: Preset) -> Any:
    """Return the exporter's default limits, raised to those of the workloads."""
    from ..export.bundle import Limits

    defaults = Limits()
    return Limits(max(defaults.batch, *preset.batches), max(defaults.tokens, *preset.tokens))


def _print_report(report: dict[str, Any]) -> None:
    from ..benchmarks import tables

    print(f"{report['voice']}: {tables.place(report)}\n\n{tables.speed(report)}")


def _print_comparison(old: Path, new: Path) -> None:
    from ..benchmarks import tables
    from ..benchmarks.compare import changes, differing_conditions, machine_change

    before, after = _read_result(old), _read_result(new)
    found = changes(before, after)
    print(tables.comparison(found, differing_conditions(before, after), machine_change(before, after)))
    if any(change.verdict == "slower" for change in found):
        sys.exit(1)


def _read_result(path: Path) -> dict[str, Any]:
    """Read a file written by `tacoglow bench -o`. Raises RequestError if it is not a result that contains speed."""
    from ..runtime.errors import RequestError

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path}: is not a result of tacoglow bench -o: not JSON ({error})") from error
    if not isinstance(report, dict) or not {"speed", "ceilings", "conditions"} <= report.keys():
        raise RequestError(
            f"{path}: is not a result of tacoglow bench with speed in it; write one with: tacoglow bench BUNDLE -o FILE"
        )
    return report
