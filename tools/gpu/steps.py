"""The single steps of the day on a GPU (day.py): python -m tacoglow.tools.gpu.steps NAME --out OUT [--bundle BUNDLE]

Each step runs in a process of its own, prints what it finds, and writes it to OUT/NAME.json. An exception is a failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ...runtime.backends.cuda.stream import CaptureError, CudaStream, find_gpu
from ...runtime.bundle.reading import graph_path, load_manifest

Result = dict[str, Any]
CHECKED_GRAPHS = ("decoder_step", "encoder", "postnet")
VOCODER_GRAPHS = ("waveglow", "denoiser")
OPTIMIZATION_LEVEL = 1  # builds in seconds, and runs nearly as fast


def stream(arguments: argparse.Namespace) -> Result:
    """Copy, zero, and launch a captured graph twice."""
    queue = CudaStream(0)
    sent, received = queue.pinned((1000,), np.float32), queue.pinned((1000,), np.float32)
    sent[:] = np.arange(1000)
    first, second = queue.empty((1000,), np.float32), queue.empty((1000,), np.float32)

    def copy() -> None:
        queue.upload(first, sent)
        queue.download(received, first)

    copy()
    queue.record().wait()
    np.testing.assert_array_equal(received, sent)
    launch = queue.capture(copy)
    for factor in (2.0, 3.0):
        sent[:] = factor * np.arange(1000)
        launch()
        queue.record().wait()
        np.testing.assert_array_equal(received, sent)
    queue.zero(second)
    queue.download(received, second)
    queue.record().wait()
    assert not received.any()
    return {"gpu": find_gpu(0).name, "compute_capability": find_gpu(0).compute_capability}


def invalid_capture(arguments: argparse.Namespace) -> Result:
    """Check that a forbidden call in a capture raises CaptureError, and that the stream goes on working."""
    queue = CudaStream(0)
    array = queue.empty((4,), np.float32)

    def forbidden() -> None:
        queue.zero(array)
        queue.record().wait()  # waiting for work that is only recorded makes the capture invalid

    try:
        queue.capture(forbidden)
    except CaptureError as error:
        reason = str(error)
    else:
        raise AssertionError("the capture was not invalidated")
    received = queue.pinned((4,), np.float32)
    received[:] = 1.0
    queue.zero(array)
    queue.download(received, array)
    queue.record().wait()
    assert not received.any()
    launch = queue.capture(lambda: queue.zero(array))
    launch()
    queue.record().wait()
    return {"reason": reason}


def engines(arguments: argparse.Namespace) -> Result:
    return _build(arguments.bundle, CHECKED_GRAPHS)


def vocoder_engines(arguments: argparse.Namespace) -> Result:
    return _build(arguments.bundle, VOCODER_GRAPHS)


def nvidia_engines(arguments: argparse.Namespace) -> Result:
    return _build(arguments.bundle, (*CHECKED_GRAPHS, *VOCODER_GRAPHS))


def _build(bundle: Path, graphs: tuple[str, ...]) -> Result:
    """Build the graphs' engines into the user's cache, with TensorRT's warnings and the seconds of each build."""
    import time

    from ...runtime.backends.tensorrt.builder import TerminalProgress
    from ...runtime.backends.tensorrt.cache import EngineRequest, get_or_build_engines, target_of
    from ...runtime.backends.tensorrt.engine_key import BuildOptions
    from ...runtime.backends.tensorrt.versions import load_tensorrt

    tensorrt, manifest, result = load_tensorrt("tensorrt"), load_manifest(bundle), {}
    options = BuildOptions(optimization_level=OPTIMIZATION_LEVEL)
    for graph in graphs:
        begin = time.perf_counter()
        request = EngineRequest(target_of(find_gpu(0), tensorrt), options=options, graphs=[graph])
        engine = get_or_build_engines(bundle, manifest, tensorrt, request, TerminalProgress())[graph]
        seconds = time.perf_counter() - begin
        result[graph] = {"seconds": seconds, "megabytes": len(engine.plan) / 1e6}
        print(f"{graph}: {seconds:.1f} s, {len(engine.plan) / 1e6:.1f} MB", flush=True)
    return {"tensorrt": tensorrt.version, "engines": result}


def layers(arguments: argparse.Namespace) -> Result:
    """Count the engine inspector's layers, and those in half precision."""
    from ...runtime.backends.tensorrt.cache import EngineCache
    from ...runtime.backends.tensorrt.versions import load_tensorrt

    tensorrt = load_tensorrt("tensorrt")
    manifest = load_manifest(arguments.bundle)
    runtime = tensorrt.module.Runtime(tensorrt.logger())
    counts = {}
    for graph in CHECKED_GRAPHS:
        sha256 = manifest.graphs[graph].sha256
        cached = EngineCache().find(lambda key, sha256=sha256: key.graph_sha256 == sha256)  # type: ignore[misc]
        assert cached is not None
        engine = runtime.deserialize_cuda_engine(cached.plan)
        text = engine.create_engine_inspector().get_engine_information(tensorrt.module.LayerInformationFormat.JSON)
        found = json.loads(text)["Layers"]
        half = sum("Half" in json.dumps(layer) or "FP16" in json.dumps(layer) for layer in found)
        counts[graph] = {"layers": len(found), "half": half}
        print(f"{graph}: {len(found)} layers, {half} of them in half precision", flush=True)
    return counts


def export(arguments: argparse.Namespace) -> Result:
    """Export a voice in both precisions with PyTorch on this machine."""
    from ...benchmarks.voices import demo_models, export_bundle, random_models
    from ...export.bundle import Limits

    models = demo_models() if arguments.voice == "demo" else random_models()
    limits = Limits(frames=None if arguments.voice == "demo" else 1000)
    for precision in ("fp16", "fp32"):
        bundle = arguments.out / "bundles" / f"{arguments.voice}-{precision}"
        export_bundle(models, bundle, precision, limits, with_torchscript=False, progress=print)
    return {"bundles": sorted(str(path) for path in (arguments.out / "bundles").iterdir())}


def cpp(arguments: argparse.Namespace) -> Result:
    """Compare the C++ runtime's TensorRT backend, built here, with Python's, with either decoder."""
    from ...runtime.backends.base import Decoder
    from ...runtime.backends.tensorrt.backend import TensorRTBackend
    from ...runtime.backends.tensorrt.cache import EngineCache, copy_plans
    from ...runtime.synthesizer import Synthesizer

    manifest, build = load_manifest(arguments.bundle), arguments.out / "cpp"
    source = Path(__file__).resolve().parents[2] / "cpp"
    subprocess.run(["cmake", "-S", source, "-B", build, "-DTACOGLOW_TENSORRT=ON"], check=True)
    subprocess.run(["cmake", "--build", build, "-j8", "--target", "speak"], check=True)
    found = {}
    for graph, spec in manifest.graphs.items():
        graph_path(arguments.bundle, graph, spec)
        engine = EngineCache().find(lambda key, sha256=spec.sha256: key.graph_sha256 == sha256)  # type: ignore[misc]
        assert engine is not None, graph
        found[graph] = engine
    copy_plans(found, build / "plans")
    text, wav = "Hello world, I missed you.", build / "hello.wav"
    common = ["--backend", "tensorrt", "--plans", build / "plans", "--seed", "0"]
    differences = {}
    for decoder in get_args(Decoder):
        voice = Synthesizer.load(arguments.bundle, "tensorrt", decoder=decoder)
        assert isinstance(voice.backend, TensorRTBackend)
        voice.backend.copy_decoder(build / "plans")
        subprocess.run([next(build.rglob("speak")), arguments.bundle, "--text", text, "-o", wav, *common], check=True)
        expected = voice.say(text, seed=0)
        samples = np.frombuffer(wav.read_bytes()[44:], "<i2") / 32767.0
        assert len(samples) == len(expected.samples), (decoder, len(samples), len(expected.samples))
        differences[decoder] = float(np.abs(samples - expected.samples).max())
    return {"largest_differences": differences}


def main(steps: dict[str, Callable[[argparse.Namespace], Result]]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(steps))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--voice", choices=["demo", "nvidia"], default="demo")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = steps[arguments.name](arguments)
    (arguments.out / f"{arguments.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{arguments.name}: {json.dumps(result)[:180]}")


if __name__ == "__main__":
    from .fused import fused, fused_alone
    from .times import times

    STEPS: dict[str, Callable[[argparse.Namespace], Result]] = {
        "stream": stream,
        "invalid-capture": invalid_capture,
        "engines": engines,
        "vocoder-engines": vocoder_engines,
        "nvidia-engines": nvidia_engines,
        "layers": layers,
        "export": export,
        "times": times,
        "cpp": cpp,
        "fused": fused,
        "fused-alone": fused_alone,
    }
    main(STEPS)
