"""Real builds with TensorRT-RTX, which needs no GPU, of the tiny voice; test_whole_voices.py has the real sizes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tacoglow.runtime.backends.tensorrt.builder import EngineBuilder
from tacoglow.runtime.backends.tensorrt.cache import EngineCache, EngineRequest, get_or_build_engines
from tacoglow.runtime.backends.tensorrt.engine_key import (
    ANY_GPU,
    BuildOptions,
    EngineKey,
    ProfileLimits,
    Target,
    make_engine_key,
)
from tacoglow.runtime.backends.tensorrt.versions import TensorRT
from tacoglow.runtime.bundle import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.runtime.manifest import Manifest, graph_names
from tacoglow.tests.backends.tensorrt.conftest import Silence

GRAPH_NAMES = graph_names("waveglow")

ADA = Target(gpu=ANY_GPU, compute_capability=(8, 9))
STEP = ("decoder_step",)
BUILD_ENGINES = [sys.executable, "-c", "from tacoglow.cli import main; main()", "build-engines"]


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return load_manifest(tiny_bundle)


def engine_key_of(manifest: Manifest, rtx: TensorRT, target: Target = ADA, **options: bool) -> EngineKey:
    return make_engine_key(
        manifest, "decoder_step", (rtx.name, rtx.version), target, ProfileLimits(), BuildOptions(**options)
    )


def build_step(rtx: TensorRT, bundle: Path, engine_key: EngineKey, folder: Path) -> bytes:
    spec = load_manifest(bundle).graphs["decoder_step"]
    return EngineBuilder(rtx).build(
        bundle / spec.file, spec, engine_key, folder / "timings", lambda phase, fraction: None
    )


def test_every_graph_builds_once(
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path, display: Silence
) -> None:
    request = EngineRequest(ADA, folder=tmp_path)
    engines = get_or_build_engines(tiny_bundle, manifest, rtx, request, display)
    assert tuple(engines) == GRAPH_NAMES
    assert set(display.fractions) == set(GRAPH_NAMES)
    for fractions in display.fractions.values():
        assert fractions == sorted(fractions)
        assert 0.0 <= fractions[0] < 0.5 < fractions[-1] <= 1.0
    assert get_or_build_engines(tiny_bundle, manifest, rtx, request, (again := Silence())) == engines
    assert not again.fractions


def test_exact_or_compatible_engine(
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path, display: Silence
) -> None:
    """`build-engines` builds exactly what is requested; a synthesizer adopts the limits of a compatible engine."""
    narrow = EngineRequest(ADA, ProfileLimits(max_batch=1), folder=tmp_path, graphs=STEP, exact=True)
    built = get_or_build_engines(tiny_bundle, manifest, rtx, narrow, display)
    assert built["decoder_step"].engine_key.profile["B"].max == 1
    taken = get_or_build_engines(tiny_bundle, manifest, rtx, EngineRequest(ADA, folder=tmp_path, graphs=STEP), display)
    assert taken == built
    whole = get_or_build_engines(
        tiny_bundle, manifest, rtx, EngineRequest(ADA, folder=tmp_path, graphs=STEP, exact=True), display
    )
    assert whole["decoder_step"].engine_key.profile["B"] == manifest.range("B")


def test_a_graph_that_cannot_be_read_is_explained(rtx: TensorRT, manifest: Manifest, tmp_path: Path) -> None:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B"]) for name in ("x", "y")]
    node = helper.make_node("Nonsense", ["x"], ["y"], name="the_node", domain="nobody")
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "decoder_step.onnx")
    spec = manifest.graphs["decoder_step"]
    with pytest.raises(BackendError, match=r"decoder_step.onnx: tensorrt-rtx \S+ cannot read it: node 0 .*Nonsense"):
        EngineBuilder(rtx).build(
            tmp_path / "decoder_step.onnx",
            spec,
            engine_key_of(manifest, rtx),
            tmp_path / "t",
            lambda phase, fraction: None,
        )


def test_a_capability_that_it_does_not_build_for(
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    hopper = engine_key_of(manifest, rtx, Target(gpu=ANY_GPU, compute_capability=(9, 0)))
    with pytest.raises(BackendError, match=r"builds for compute capability 7.5, .*12.0.*, not 9.0"):
        build_step(rtx, tiny_bundle, hopper, tmp_path)


def test_what_tensorrt_refuses_is_told(rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    """A version-compatible engine needs a library that is not there."""
    with pytest.raises(BackendError, match=r"decoder_step: .* could not build the engine: .*libnvinfer_lean"):
        build_step(rtx, tiny_bundle, engine_key_of(manifest, rtx, version_compatible=True), tmp_path)


def test_ctrl_c_ends_a_build(rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    """It arrives in one of the builder's own calls, and must not travel through it."""
    spec = manifest.graphs["decoder_step"]

    def interrupted(phase: str, fraction: float | None) -> None:
        if fraction:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineBuilder(rtx).build(
            tiny_bundle / spec.file, spec, engine_key_of(manifest, rtx), tmp_path / "timings", interrupted
        )


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_random_points(rtx: TensorRT, tiny_bundle: Path, tmp_path: Path, kills: int) -> None:
    """kill -9 of build-engines, then a clean run: nothing half made is ever trusted."""
    rng, folder = random.Random(kills), tmp_path / "engines"
    command = [*BUILD_ENGINES, str(tiny_bundle), "--builder", rtx.name, "--compute-capability", "8.9"]
    command += ["--engines", str(folder), "--graph", "encoder", "--graph", "decoder_step", "--graph", "postnet"]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    whole = time.monotonic() - start
    expected = {path.name for path in folder.glob("*.plan")}
    assert len(expected) == 3
    for _ in range(kills):
        for path in folder.iterdir():
            path.unlink()
        builder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.4, 1.0) * whole)
        builder.send_signal(signal.SIGKILL)
        builder.wait(timeout=10)
        assert {entry.state for entry in EngineCache(folder).entries()} <= {"ready", "no record"}
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        assert {path.name for path in folder.glob("*.plan")} == expected
        assert {entry.state for entry in EngineCache(folder).entries()} == {"ready"}
        assert not list(folder.glob(".*.partial"))


def test_plans_are_copied_for_others(rtx: TensorRT, tiny_bundle: Path, tmp_path: Path) -> None:
    command = [*BUILD_ENGINES, str(tiny_bundle), "--builder", rtx.name, "--compute-capability", "12.0"]
    command += ["--graph", "postnet", "--graph", "encoder"]
    command += ["--engines", str(tmp_path / "engines"), "--copy-to", str(tmp_path / "plans")]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert {path.name for path in (tmp_path / "plans").iterdir()} == {"encoder.plan", "postnet.plan"}
    plans = {path.name.split("-")[0]: path.read_bytes() for path in (tmp_path / "engines").glob("*.plan")}
    assert {name: (tmp_path / "plans" / f"{name}.plan").read_bytes() for name in plans} == plans
    assert result.stdout.count(".plan: ") == 2
