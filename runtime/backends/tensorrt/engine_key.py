"""Engine keys: everything that an engine is built from and for, and which engines are compatible."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from ...bundle.manifest import DimRange, GraphSpec, Manifest, Precision
from ...errors import RequestError

ANY_GPU = ""  # in place of a GPU's name
AMPERE = (8, 0)  # the oldest compute capability that runs hardware-compatible engines
LEVELS = range(6)  # TensorRT's builder optimization levels


class BuildOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Build options; None: TensorRT's default."""

    optimization_level: int | None = None  # 0 builds fastest, 5 runs fastest
    workspace_mib: int | None = None  # workspace limit per tactic, in MiB
    version_compatible: bool = False  # loadable by later TensorRT releases of the same major version
    hardware_compatible: bool = False  # runs on Ampere and newer GPUs

    def __post_init__(self) -> None:
        if self.optimization_level is not None and self.optimization_level not in LEVELS:
            raise RequestError(f"optimization level: expected 0 to {LEVELS[-1]}, got {self.optimization_level}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise RequestError(f"workspace: expected at least 1 MiB, got {self.workspace_mib}")


class ProfileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest request that engines are built for; None: the bundle's own limit."""

    max_batch: int | None = None
    max_tokens: int | None = None
    max_frames: int | None = None

    def apply_to(self, manifest: Manifest) -> dict[str, DimRange]:
        """Limit the bundle's ranges of B, T and F. Raises RequestError for a limit out of range."""
        ranges = {}
        for letter, name in (("B", "max_batch"), ("T", "max_tokens"), ("F", "max_frames")):
            span, limit = manifest.range(letter), getattr(self, name)
            if limit is None:
                limit = span.max
            if not span.min <= limit <= span.max:
                raise RequestError(
                    f"{name.replace('_', ' ')}: expected {span.min} to {span.max} (this bundle's limit), got {limit}"
                )
            ranges[letter] = DimRange(min=span.min, typical=min(span.typical, limit), max=limit)
        return ranges


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The GPU that an engine is built for."""

    gpu: str  # the GPU's name; ANY_GPU for engines that run on every GPU of the compute capability
    compute_capability: tuple[int, int]

    @property
    def capability(self) -> str:
        """The compute capability as MAJOR.MINOR."""
        return "{}.{}".format(*self.compute_capability)


class EngineKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that an engine is built from and for. Engines with different keys are different engines."""

    graph: str
    graph_sha256: str
    precision: Precision
    tensorrt: str  # backend name: tensorrt or tensorrt-rtx
    tensorrt_version: str
    target: Target
    profile: dict[str, DimRange]  # dimension letter -> range
    token_buckets: list[int] = []  # the encoder's: token counts that have a profile of their own
    options: BuildOptions

    @property
    def key(self) -> str:
        """16 hexadecimal digits that identify the engine in file names."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


def make_engine_key(
    manifest: Manifest,
    graph: str,
    tensorrt: tuple[str, str],
    target: Target,
    limits: ProfileLimits,
    options: BuildOptions,
) -> EngineKey:
    """Make the key of one graph's engine. tensorrt: backend name and version. Raises RequestError for bad limits."""
    profile = profile_of(manifest, graph, limits)
    return EngineKey(
        graph=graph,
        graph_sha256=manifest.graphs[graph].sha256,
        precision=manifest.precision,
        tensorrt=tensorrt[0],
        tensorrt_version=tensorrt[1],
        target=target,
        profile=profile,
        token_buckets=token_buckets_of(manifest, graph, profile),
        options=options,
    )


def profile_of(manifest: Manifest, graph: str, limits: ProfileLimits) -> dict[str, DimRange]:
    """Return the ranges that the runtime needs for a graph's dimension letters.

    Only decoder_step runs in batches. The other graphs run item by item, so that an item does not depend on its batch,
    and the vocoder's graphs run one window at a time.
    """
    ranges = limits.apply_to(manifest)
    window, span = manifest.vocoder_input_frames, manifest.range("S")
    samples = max(span.min, min(span.max, window * manifest.audio.hop_length))
    ranges["S"] = DimRange(min=span.min, typical=min(span.typical, samples), max=samples)
    if graph != "decoder_step":
        ranges["B"] = _only(1)
    if graph == manifest.vocoder.kind:
        frames = min(ranges["F"].max, window)
        least = max(ranges["F"].min, manifest.vocoder.min_frames)
        ranges["F"] = DimRange(min=least, typical=min(ranges["F"].typical, frames), max=frames)
    used = {letter for tensor in manifest.graphs[graph].inputs for letter in tensor.letters}
    return {letter: ranges[letter] for letter in sorted(used)}


def token_buckets_of(manifest: Manifest, graph: str, profile: Mapping[str, DimRange]) -> list[int]:
    """Return the token counts that have a profile of their own."""
    return manifest.synthesis.token_buckets(profile["T"].max) if graph == "encoder" else []


def optimization_profiles(profile: dict[str, DimRange], token_buckets: Sequence[int]) -> list[dict[str, DimRange]]:
    """Return an engine's profiles: its range, batch 1 alone if it takes larger ones, each token bucket alone.

    With a batch of 1, TensorRT fuses a decoder step's matrix products into the kernels around them: 15 kernels, not 18.
    With a fixed length, the loop of the encoder's LSTMs copies nothing to the host, so that it can be captured.
    """
    profiles, batch = [profile], profile.get("B")
    if batch is not None and batch.min == 1 < batch.max:
        profiles.append(profile | {"B": _only(1)})
    return profiles + [profile | {"T": _only(tokens)} for tokens in token_buckets]


def _only(size: int) -> DimRange:
    return DimRange(min=size, typical=size, max=size)


def input_shapes(spec: GraphSpec, profile: dict[str, DimRange]) -> dict[str, list[tuple[int, ...]]]:
    """Input name -> its smallest, typical and largest shape, for inputs whose shape is not fixed."""
    corners = [{letter: getattr(span, end) for letter, span in profile.items()} for end in ("min", "typical", "max")]
    return {tensor.name: [tensor.resolve(dims) for dims in corners] for tensor in spec.inputs if tensor.letters}


def is_compatible(built: EngineKey, wanted: EngineKey) -> bool:
    """True if an engine of key `built` can be used in place of `wanted`: the same graph, a TensorRT version that loads
    it, and a GPU that runs it. Profiles may differ, because the engine's own limits apply."""
    same = built.graph_sha256 == wanted.graph_sha256 and built.precision == wanted.precision
    return same and built.tensorrt == wanted.tensorrt and _version_fits(built, wanted) and _gpu_fits(built, wanted)


def _version_fits(built: EngineKey, wanted: EngineKey) -> bool:
    old, new = _parts(built.tensorrt_version), _parts(wanted.tensorrt_version)
    return old == new or (built.options.version_compatible and old[0] == new[0] and old < new)


def _gpu_fits(built: EngineKey, wanted: EngineKey) -> bool:
    if built.options.hardware_compatible:
        return wanted.target.compute_capability >= AMPERE
    return built.target == wanted.target


def _parts(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without a suffix such as .post1."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
