"""How many kernels a decoder step costs: counted in the layer list that TensorRT-RTX's builder logs.

Minutes long: python -m pytest -m engines
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tacoglow.benchmarks.voices import Models, demo_models, random_models
from tacoglow.export.bundle import Limits, export_onnx
from tacoglow.runtime.backends.tensorrt.engine_key import (
    BuildOptions,
    ProfileLimits,
    Target,
    input_shapes,
    make_engine_key,
    optimization_profiles,
)
from tacoglow.runtime.backends.tensorrt.versions import TensorRT
from tacoglow.runtime.bundle.manifest import DimRange
from tacoglow.runtime.bundle.reading import load_manifest

pytestmark = pytest.mark.engines

ADA = "SM89"
BATCH_1_KERNELS = 15
BATCH_KERNELS = 18
NOT_KERNELS = {"shape_call"}  # computed on the host


@pytest.fixture(scope="module", params=["demo", "nvidia"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models: Models = demo_models() if request.param == "demo" else random_models()
    folder = tmp_path_factory.mktemp(request.param) / "voice"
    export_onnx(models.tacotron2, models.vocoder, folder, "fp16", models.voice, Limits(frames=600))
    return folder


def built_layers(rtx: TensorRT, bundle: Path, graph: str, profile: dict[str, Any]) -> Iterator[str]:
    """The kind of every layer of the engine that is built for one optimization profile."""
    trt, messages = rtx.module, []

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def log(self, severity: Any, message: str) -> None:
            messages.append(message)

    logger, spec = Logger(), load_manifest(bundle).graphs[graph]
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(bundle / spec.file))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, ADA), 0)
    shapes = builder.create_optimization_profile()
    for name, corners in input_shapes(spec, profile).items():
        shapes.set_shape(name, *corners)
    config.add_optimization_profile(shapes)
    assert builder.build_serialized_network(network, config) is not None
    listing = next(message for message in messages if message.startswith("Layers:"))
    yield from re.findall(r"^Name: \S+, LayerType: (\w+)", listing, re.M)


def profiles_of(bundle: Path, graph: str) -> list[dict[str, DimRange]]:
    key = make_engine_key(
        load_manifest(bundle),
        graph,
        ("tensorrt-rtx", "1.0"),
        Target(gpu="", compute_capability=(8, 9)),
        ProfileLimits(),
        BuildOptions(),
    )
    return optimization_profiles(key.profile, key.token_buckets)


def test_decoder_step_kernels(rtx: TensorRT, bundle: Path) -> None:
    whole, single = profiles_of(bundle, "decoder_step")
    counts = [
        len([kind for kind in built_layers(rtx, bundle, "decoder_step", profile) if kind not in NOT_KERNELS])
        for profile in (single, whole)
    ]
    assert counts[0] <= BATCH_1_KERNELS
    assert counts[1] <= BATCH_KERNELS


def test_encoder_of_a_token_bucket_waits_for_no_copy(rtx: TensorRT, bundle: Path) -> None:
    """With a fixed length the LSTMs' loop has a known length: nothing is copied to the host while it runs."""
    whole, *fixed = profiles_of(bundle, "encoder")
    assert "copy" in built_layers(rtx, bundle, "encoder", whole)
    assert [profile["T"].typical for profile in fixed] == [32, 64, 128, 256]
    for profile in fixed:
        kinds = list(built_layers(rtx, bundle, "encoder", profile))
        assert "copy" not in kinds
        assert kinds.count("cjmp") == 1  # one loop for both directions
