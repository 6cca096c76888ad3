"""Commands that build a bundle's graphs with NVIDIA's trtexec, as `build-engines` would build them."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...bundle.manifest import Manifest
from .engine_key import ProfileLimits, input_shapes, optimization_profiles, profile_of, token_buckets_of

CORNERS = ("min", "opt", "max")


def trtexec_commands(bundle: Path, manifest: Manifest) -> list[str]:
    """Return a shell command per graph: every profile, no TF32, its own types; it writes GRAPH.plan in its folder.

    `--stronglyTyped` needs TensorRT 10 or newer, where the graph says which layers compute in half precision.
    """
    return [
        shlex.join(
            [
                "trtexec",
                f"--onnx={bundle / spec.file}",
                f"--saveEngine={graph}.plan",
                *_profiles(manifest, graph),
                "--noTF32",
                *(["--stronglyTyped"] if manifest.precision != "fp32" else []),
                "--skipInference",
            ]
        )
        for graph, spec in manifest.graphs.items()
    ]


def _profiles(manifest: Manifest, graph: str) -> list[str]:
    """Return the shapes of each profile, the widest first; --profile=N selects the one that later options describe."""
    profile = profile_of(manifest, graph, ProfileLimits())
    profiles = optimization_profiles(profile, token_buckets_of(manifest, graph, profile))
    options = []
    for number, ranges in enumerate(profiles):
        shapes = input_shapes(manifest.graphs[graph], ranges)
        if len(profiles) > 1:
            options.append(f"--profile={number}")
        for i, corner in enumerate(CORNERS):
            described = (f"{name}:{'x'.join(map(str, corners[i]))}" for name, corners in shapes.items())
            options.append(f"--{corner}Shapes={','.join(described)}")
    return options
