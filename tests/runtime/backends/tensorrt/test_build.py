"""Builds the tiny voice with TensorRT-RTX, which needs no GPU; test_whole_voices.py builds real sizes."""

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
from tacoglow.runtime.bundle.manifest import Manifest, graph_names
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.runtime.backends.tensorrt.conftest import RecordingProgress

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
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path, progress: RecordingProgress
) -> None:
    request = EngineRequest(ADA, folder=tmp_path)
    engines = get_or_build_engines(tiny_bundle, manifest, rtx, request, progress)
    assert tuple(engines) == graph_names("waveglow")
    assert set(progress.fractions) == set(graph_names("waveglow"))
    for fractions in progress.fractions.values():
        assert fractions == sorted(fractions)
        assert 0.0 <= fractions[0] < 0.5 < fractions[-1] <= 1.0
    assert get_or_build_engines(tiny_bundle, manifest, rtx, request, (again := RecordingProgress())) == engines
    assert not again.fractions


def test_engines_are_built_to_be_captured(rtx: TensorRT, tiny_bundle: Path, manifest: Manifest) -> None:
    """TensorRT-RTX promises it for engines with this flag, with which the encoder's loop cannot be built."""
    flag, builder = rtx.module.BuilderFlag.REQUIRE_USER_ALLOCATION, EngineBuilder(rtx)
    for graph, spec in manifest.graphs.items():
        key = make_engine_key(manifest, graph, (rtx.name, rtx.version), ADA, ProfileLimits(), BuildOptions())
        assert builder._config(spec, key).get_flag(flag) == (graph != "encoder")


def test_hifigan_builds(rtx: TensorRT, hifigan_bundle: Path, tmp_path: Path, progress: RecordingProgress) -> None:
    request = EngineRequest(ADA, folder=tmp_path, graphs=("hifigan",))
    engines = get_or_build_engines(hifigan_bundle, load_manifest(hifigan_bundle), rtx, request, progress)
    assert tuple(engines) == ("hifigan",)
    assert set(engines["hifigan"].engine_key.profile) == {"B", "F"}


def test_exact_or_compatible_engine(
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path, progress: RecordingProgress
) -> None:
    """`build-engines` builds exactly what is requested; a synthesizer accepts any compatible engine."""
    narrow = EngineRequest(ADA, ProfileLimits(max_batch=1), folder=tmp_path, graphs=STEP, exact=True)
    built = get_or_build_engines(tiny_bundle, manifest, rtx, narrow, progress)
    assert built["decoder_step"].engine_key.profile["B"].max == 1
    accepted = get_or_build_engines(
        tiny_bundle, manifest, rtx, EngineRequest(ADA, folder=tmp_path, graphs=STEP), progress
    )
    assert accepted == built
    exact = get_or_build_engines(
        tiny_bundle, manifest, rtx, EngineRequest(ADA, folder=tmp_path, graphs=STEP, exact=True), progress
    )
    assert exact["decoder_step"].engine_key.profile["B"] == manifest.range("B")


def test_unreadable_graph_is_reported(rtx: TensorRT, manifest: Manifest, tmp_path: Path) -> None:
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


def test_unsupported_compute_capability_is_rejected(
    rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    hopper = engine_key_of(manifest, rtx, Target(gpu=ANY_GPU, compute_capability=(9, 0)))
    with pytest.raises(BackendError, match=r"builds for compute capability 7.5, .*12.0.*, not 9.0"):
        build_step(rtx, tiny_bundle, hopper, tmp_path)


def test_build_errors_are_reported(rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    """A version-compatible engine needs a library that is not installed."""
    with pytest.raises(BackendError, match=r"decoder_step: .* could not build the engine: .*libnvinfer_lean"):
        build_step(rtx, tiny_bundle, engine_key_of(manifest, rtx, version_compatible=True), tmp_path)


def test_ctrl_c_stops_a_build(rtx: TensorRT, tiny_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    """The exception is raised in a callback of the builder, and must not propagate through the builder."""
    spec = manifest.graphs["decoder_step"]

    def interrupted(phase: str, fraction: float | None) -> None:
        if fraction:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineBuilder(rtx).build(
            tiny_bundle / spec.file, spec, engine_key_of(manifest, rtx), tmp_path / "timings", interrupted
        )


@pytest.mark.full
@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_builds_leave_a_valid_cache(rtx: TensorRT, tiny_bundle: Path, tmp_path: Path, kills: int) -> None:
    """kill -9 of build-engines, then a complete run: partial files are never trusted."""
    rng, folder = random.Random(kills), tmp_path / "engines"
    command = [*BUILD_ENGINES, str(tiny_bundle), "--builder", rtx.name, "--compute-capability", "8.9"]
    command += ["--engines", str(folder), "--graph", "encoder", "--graph", "decoder_step", "--graph", "postnet"]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    seconds = time.monotonic() - start
    expected = {path.name for path in folder.glob("*.plan")}
    assert len(expected) == 3
    for _ in range(kills):
        for path in folder.iterdir():
            path.unlink()
        builder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.4, 1.0) * seconds)
        builder.send_signal(signal.SIGKILL)
        builder.wait(timeout=10)
        assert {entry.state for entry in EngineCache(folder).entries()} <= {"ready", "no record"}
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        assert {path.name for path in folder.glob("*.plan")} == expected
        assert {entry.state for entry in EngineCache(folder).entries()} == {"ready"}
        assert not list(folder.glob(".*.partial"))


def test_fused_decoder_needs_this_machines_gpu(rtx: TensorRT, tiny_bundle: Path, tmp_path: Path) -> None:
    command = [*BUILD_ENGINES, str(tiny_bundle), "--builder", rtx.name, "--compute-capability", "12.0"]
    command += ["--copy-to", str(tmp_path), "--decoder", "fused"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith("error: --decoder fused: compiled for this machine's GPU")


@pytest.mark.full
def test_copy_to_writes_plain_plans(rtx: TensorRT, tiny_bundle: Path, tmp_path: Path) -> None:
    command = [*BUILD_ENGINES, str(tiny_bundle), "--builder", rtx.name, "--compute-capability", "12.0"]
    command += ["--graph", "postnet", "--graph", "encoder"]
    command += ["--engines", str(tmp_path / "engines"), "--copy-to", str(tmp_path / "plans")]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert {path.name for path in (tmp_path / "plans").iterdir()} == {"encoder.plan", "postnet.plan"}
    plans = {path.name.split("-")[0]: path.read_bytes() for path in (tmp_path / "engines").glob("*.plan")}
    assert {name: (tmp_path / "plans" / f"{name}.plan").read_bytes() for name in plans} == plans
    assert result.stdout.count(".plan: ") == 2
