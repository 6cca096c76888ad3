"""Engine keys: what distinguishes engines, their profiles, and which engines are compatible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tacoglow.runtime.backends.tensorrt.engine_key import (
    ANY_GPU,
    BuildOptions,
    EngineKey,
    ProfileLimits,
    Target,
    input_shapes,
    is_compatible,
    make_engine_key,
    optimization_profiles,
    profile_of,
)
from tacoglow.runtime.bundle.manifest import Manifest, graph_names
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import RequestError

GRAPH_NAMES = graph_names("waveglow")

H100 = Target(gpu="NVIDIA H100 80GB HBM3", compute_capability=(9, 0))
ORIN = Target(gpu="Orin", compute_capability=(8, 7))
T4 = Target(gpu="Tesla T4", compute_capability=(7, 5))


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return load_manifest(tiny_bundle)


def engine_key(manifest: Manifest, target: Target = H100, version: str = "10.3.0.26", **options: Any) -> EngineKey:
    return make_engine_key(
        manifest, "decoder_step", ("tensorrt", version), target, ProfileLimits(), BuildOptions(**options)
    )


def test_key_depends_on_everything_that_the_engine_does(manifest: Manifest) -> None:
    base = engine_key(manifest)
    others = [
        engine_key(manifest, ORIN),
        engine_key(manifest, version="10.4.0.1"),
        engine_key(manifest, optimization_level=0),
        engine_key(manifest, workspace_mib=64),
        engine_key(manifest, version_compatible=True),
        engine_key(manifest, hardware_compatible=True),
        msgspec.structs.replace(base, graph="postnet"),
        msgspec.structs.replace(base, graph_sha256="0" * 64),
        msgspec.structs.replace(base, precision="fp16"),
        msgspec.structs.replace(base, tensorrt="tensorrt-rtx"),
        msgspec.structs.replace(
            base, profile=profile_of(manifest, "decoder_step", ProfileLimits(max_batch=1, max_tokens=8))
        ),
    ]
    assert len({base.key, *(other.key for other in others)}) == len(others) + 1
    assert engine_key(manifest).key == base.key


def test_profiles_follow_bundle_and_limits(manifest: Manifest) -> None:
    whole = {graph: profile_of(manifest, graph, ProfileLimits()) for graph in GRAPH_NAMES}
    assert whole["decoder_step"] == {"B": manifest.range("B"), "T": manifest.range("T")}
    assert whole["encoder"]["B"].max == 1  # the encoder runs item by item
    assert whole["postnet"]["F"] == manifest.range("F")
    narrow = profile_of(manifest, "decoder_step", ProfileLimits(max_batch=1, max_tokens=8))
    assert {letter: (span.min, span.max) for letter, span in narrow.items()} == {"B": (1, 1), "T": (1, 8)}
    for profile in (*whole.values(), narrow):
        assert all(1 <= span.min <= span.typical <= span.max for span in profile.values())


def test_vocoder_profile_is_one_window(manifest: Manifest) -> None:
    """For long utterances, WaveGlow sees 768 new frames, its context, and the denoiser's frames."""
    dimensions = {
        letter: msgspec.structs.replace(span, max=span.max * factor)
        for letter, span in manifest.dimensions.items()
        for factor in (1000 if letter in "FS" else 1,)
    }
    long = msgspec.structs.replace(manifest, dimensions=dimensions)
    audio, vocoder = long.audio, long.vocoder
    denoiser = -(-audio.filter_length // audio.hop_length)
    frames = 768 + 2 * denoiser + vocoder.frames_before + vocoder.frames_after
    assert profile_of(long, "waveglow", ProfileLimits())["F"].max == frames
    assert profile_of(long, "denoiser", ProfileLimits())["S"].max == frames * audio.hop_length
    assert profile_of(long, "postnet", ProfileLimits())["F"].max == dimensions["F"].max


@pytest.mark.parametrize(("name", "value"), [("max_batch", 0), ("max_tokens", 10**6), ("max_frames", -1)])
def test_limits_out_of_range_are_rejected(manifest: Manifest, name: str, value: int) -> None:
    with pytest.raises(RequestError, match=rf"{name.replace('_', ' ')}: expected 1 to \d+ .this bundle's limit., got"):
        profile_of(manifest, "decoder_step", ProfileLimits(**{name: value}))


def test_input_shapes_of_a_profile(manifest: Manifest) -> None:
    spec = manifest.graphs["decoder_step"]
    shapes = input_shapes(spec, profile_of(manifest, "decoder_step", ProfileLimits(max_batch=3, max_tokens=17)))
    memory = next(tensor for tensor in spec.inputs if tensor.name == "memory")
    width = memory.shape[2]
    assert shapes["memory"][0] == (1, 1, width)
    assert shapes["memory"][2] == (3, 17, width)
    assert set(shapes) == {tensor.name for tensor in spec.inputs}  # every input has a batch


def test_engine_compatibility(manifest: Manifest) -> None:
    """is_compatible(key that was built, key that is wanted)."""
    here = engine_key(manifest)
    assert is_compatible(here, here)
    assert is_compatible(engine_key(manifest, optimization_level=5), here)
    assert not is_compatible(engine_key(manifest, ORIN), here)
    assert not is_compatible(engine_key(manifest, version="10.2.0"), here)
    assert not is_compatible(msgspec.structs.replace(here, graph_sha256="0" * 64), here)
    assert not is_compatible(msgspec.structs.replace(here, tensorrt="tensorrt-rtx"), here)

    portable = engine_key(manifest, ORIN, hardware_compatible=True)
    assert is_compatible(portable, here)
    assert not is_compatible(portable, engine_key(manifest, T4))  # older than Ampere

    lasting = engine_key(manifest, version="10.2.0.1", version_compatible=True)
    assert is_compatible(lasting, here)
    assert not is_compatible(lasting, engine_key(manifest, version="10.0.1.6"))  # no TensorRT loads newer plans
    assert not is_compatible(lasting, engine_key(manifest, version="11.1.0.1"))

    any_ada = Target(gpu=ANY_GPU, compute_capability=(8, 9))
    assert is_compatible(engine_key(manifest, any_ada), engine_key(manifest, any_ada))


@pytest.mark.parametrize("options", [{"optimization_level": 6}, {"optimization_level": -1}, {"workspace_mib": 0}])
def test_build_options_out_of_range_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="expected"):
        BuildOptions(**options)


def test_profiles_of_an_engine(manifest: Manifest) -> None:
    """Batch 1 by itself where batches are decoded; for the encoder, each token bucket up to the engine's limit."""

    def sizes(graph: str, letter: str, **limits: int) -> list[tuple[int, int]]:
        key = make_engine_key(manifest, graph, ("tensorrt", "10.3"), H100, ProfileLimits(**limits), BuildOptions())
        return [
            (profile[letter].min, profile[letter].max)
            for profile in optimization_profiles(key.profile, key.token_buckets)
        ]

    assert sizes("decoder_step", "B") == [(1, manifest.range("B").max), (1, 1)]
    assert sizes("decoder_step", "B", max_batch=1) == [(1, 1)]
    assert sizes("encoder", "T") == [(1, 40), (32, 32), (40, 40)]
    assert sizes("encoder", "T", max_tokens=20) == [(1, 20), (20, 20)]
    assert len(sizes("postnet", "F")) == 1
