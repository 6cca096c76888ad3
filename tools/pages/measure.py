"""Measures what the pages show and `tacoglow bench` does not: quality, streams, and how cost grows.

    python -m tacoglow.tools.pages.measure quality --precision fp32 --precision fp16 -o quality.json
    python -m tacoglow.tools.pages.measure streaming --bundle voice/ -o streaming.json
    python -m tacoglow.tools.pages.measure sweep --bundle voice/ -o sweep.json

Run it in a clone, with the extra `test` installed. The voice is the demo voice unless another is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...benchmarks.conditions import conditions
from ...benchmarks.loading import available_backends, computes
from ...benchmarks.pipelines import BundlePipeline
from ...benchmarks.voices import HIFIGANS, Models, demo_models, export_bundle, load_models, random_models
from ...export.bundle import Limits
from ...runtime.backends.base import usable_cores
from ...runtime.bundle.reading import load_manifest
from ...runtime.errors import RequestError
from ...runtime.synthesizer import Synthesizer
from . import streaming, sweep, tables
from .quality import SENTENCES, measure, measure_recordings
from .recognizer import open_recognizer
from .recordings import read_recordings

Report = dict[str, Any]
DIMENSIONS = {"nvidia": "waveglow"} | {f"nvidia-{name}": name for name in HIFIGANS}


def main() -> None:
    given = _parser().parse_args()
    threads = given.threads or usable_cores()
    torch.set_num_threads(threads)
    try:
        report = MEASURES[given.measure](given, threads)
    except RequestError as error:
        sys.exit(f"error: {error}")
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(TABLES[given.measure](report))
    _print(f"{given.output}: written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("--dims", choices=DIMENSIONS, help="random weights of these dimensions")
    parser.add_argument("--voice", type=Path, help="folder with tacotron2.pt, waveglow.pt and voice.json")
    parser.add_argument("--bundle", type=Path, help="streaming, sweep: a bundle, in place of an export of the voice")
    parser.add_argument("--precision", action="append", choices=["fp32", "fp16", "bf16"], help="repeatable")
    parser.add_argument("--runs", type=int, default=5, help="streaming, sweep: runs of each")
    parser.add_argument("--threads", type=int, help="default: all usable cores")
    parser.add_argument("--recogniser", help="quality: pocketsphinx, or whisper:FOLDER for faster-whisper")
    parser.add_argument("--recordings", type=Path, help="quality: speak and compare recordings in LJ Speech's layout")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser


def _quality(given: argparse.Namespace, threads: int) -> Report:
    models, recognizer = _voice(given), open_recognizer(given.recogniser)
    recordings = read_recordings(given.recordings) if given.recordings else []
    if recordings and recognizer is None:
        raise RequestError("--recordings needs a recognizer; install one with: pip install pocketsphinx")
    report: Report = {"conditions": conditions(threads, None), "recognizer": recognizer and recognizer.name}
    if recognizer is not None and recordings:
        report["recordings"] = measure_recordings(recordings, recognizer, _print)
    texts = [recording.text for recording in recordings] or SENTENCES
    with tempfile.TemporaryDirectory() as folder:
        pipelines = [
            BundlePipeline(bundle, backend, threads=threads)
            for bundle in _export(given, models, Path(folder))
            for backend in available_backends(bundle)
            if backend != "torchscript" or load_manifest(bundle).precision == "fp32"  # else minutes a sentence on a CPU
        ]
        report["voice"] = pipelines[0].synthesizer.manifest.voice.name
        report["quality"] = measure(models, pipelines, texts, recognizer, _print)
    return report


def _streaming(given: argparse.Namespace, threads: int) -> Report:
    report: Report = {"conditions": conditions(threads, None)}
    with tempfile.TemporaryDirectory() as folder:
        bundle = given.bundle or _export(given, _voice(given), Path(folder))[0]
        voice = Synthesizer.load(bundle, "onnxruntime", threads=threads)
        report |= {"voice": voice.manifest.voice.name, "streaming": streaming.measure(voice, given.runs)}
        voices = {
            f"{backend}, {compute}": Synthesizer.load(bundle, backend, threads=threads, compute=compute)
            for backend, compute in _ways(bundle)
        }
        report["segments"] = streaming.measure_segments(voices, given.runs)
    return report


def _sweep(given: argparse.Namespace, threads: int) -> Report:
    report: Report = {"conditions": conditions(threads, None)}
    with tempfile.TemporaryDirectory() as folder:
        bundle = given.bundle or _export(given, _voice(given), Path(folder))[0]
        report["voice"] = load_manifest(bundle).voice.name
        report["sweep"] = sweep.measure(bundle, _ways(bundle), threads, given.runs, _print)
    return report


def _ways(bundle: Path) -> list[sweep.Way]:
    """The first and the last way to compute a bundle on a CPU: in float32, and with the fewest bits."""
    ways = [
        (backend, compute)
        for backend in available_backends(bundle)
        if backend in ("onnxruntime", "openvino")
        for compute in computes(bundle, backend)
    ]
    return list(dict.fromkeys((ways[0], ways[-1])))


MEASURES: dict[str, Callable[[argparse.Namespace, int], Report]] = {
    "quality": _quality,
    "streaming": _streaming,
    "sweep": _sweep,
}

TABLES: dict[str, Callable[[Report], str]] = {
    "quality": tables.quality,
    "streaming": lambda report: tables.streaming(report["streaming"]),
    "sweep": lambda report: tables.sweep(report["sweep"]),
}


def _voice(given: argparse.Namespace) -> Models:
    if given.dims:
        return random_models(DIMENSIONS[given.dims])
    folder = given.voice
    if folder is None:
        return demo_models()
    return load_models(folder / "tacotron2.pt", folder / "waveglow.pt", folder / "voice.json")


def _export(given: argparse.Namespace, models: Models, folder: Path) -> list[Path]:
    """Export a bundle for each precision, with TorchScript modules unless nothing else runs them."""
    with_torchscript = given.measure not in ("streaming", "sweep")
    return [
        export_bundle(models, folder / precision, precision, Limits(), with_torchscript, _print)
        for precision in given.precision or ["fp32"]
    ]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
