"""The backend interface: open a graph, bind named buffers to it once, run it many times.

Everything is checked when buffers are bound, against the manifest, and nothing is checked when a graph runs.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import GraphSpec, Manifest, match_shape
from ..decoder import DecoderSteps, EncoderOutput, Profile, RowSteps
from ..errors import BackendError, RequestError
from ..host_steps import HostSteps
from ..noise import Noise
from ..options import SegmentFrames
from .exiting import native_calls

Array = NDArray[Any]
Call = Callable[[], None]
Decoder = Literal["engine", "fused"]
Compute = Literal["auto", "fp32", "int8"]
# With many more threads than cores they only wait for each other: 64 on two cores take 100 times as long as two.
THREADS_MAX = max(16, os.cpu_count() or 1)


def usable_cores() -> int:
    """Count the cores that this process may use: in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def vocoder_window_sizes(manifest: Manifest, most: int, *larger: int) -> tuple[int, ...]:
    """Return few numbers of frames for a vocoder that is prepared for each: those of a stream's windows, and larger.

    most: its limit.
    """
    synthesis, context = manifest.synthesis, manifest.synthesis.context_frames
    segments = SegmentFrames(synthesis.first_segment_frames, synthesis.segment_frames, context)
    sizes = [2 * context + segments.later, *larger]
    start, size = 0, segments.first
    while start == 0 or size < segments.later:
        sizes.append(min(start, context) + size + context)
        start, size = start + size, segments.after(size)
    least = max(manifest.range("F").min, manifest.vocoder.min_frames)
    return tuple(sorted({max(least, min(size, most)) for size in sizes}))


class GraphRunner(ABC):
    """One graph, opened by a backend. `bind` checks named buffers and returns the call that runs it over them."""

    # For error messages: what limits the dimensions, and how to raise the limits.
    limit_source = "this bundle"
    how_to_raise = "export the voice with other limits"
    window_sizes: tuple[int, ...] = ()  # the only numbers of frames that it runs at, ascending; (): any
    draws_noise = False  # true if the device draws the noise, so that the host need not draw it ahead

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest) -> None:
        self.name = name
        self.spec = spec
        self.manifest = manifest

    def bind(self, buffers: Mapping[str, Array]) -> Call:
        """Check buffers, and return the call that runs the graph over them in place.

        buffers: an array for every input and output, by name.

        Raises RequestError that names the tensor, what was expected and what it got.
        """
        self._check(buffers)
        call = self._bind(buffers)

        def guarded() -> None:
            with native_calls:
                call()

        return guarded

    def run(self, **inputs: Array) -> dict[str, Array]:
        """Bind and run once. Inputs by name -> newly allocated outputs by name."""
        dims: dict[str, int] = {}
        for tensor in self.spec.inputs:
            if tensor.name in inputs:
                match_shape(tensor, inputs[tensor.name].shape, dims)
        outputs = {tensor.name: np.empty(tensor.resolve(dims), tensor.dtype) for tensor in self.spec.outputs}
        self.bind({**inputs, **outputs})()
        return outputs

    def vocode(self, mel: Array, noise: Noise, first_group: int, sigma: float) -> Array:
        """Run WaveGlow. mel: float32 [1, M, F]; z: the noise's from a group on, times sigma -> audio [1, S]."""
        dims: dict[str, int] = {}
        match_shape(self.spec.tensors["mel"], mel.shape, dims)
        _, group_size, groups = self.spec.tensors["z"].resolve(dims)
        z = noise.z(first_group, groups, group_size) * np.float32(sigma)
        return self.run(mel=mel, z=z[None])["audio"]

    def decoder_steps(
        self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = math.inf
    ) -> DecoderSteps:
        """Return the decoder steps of one batch, none launched yet; only for the graph decoder_step.

        gate_logit: what ends an item; steps that run on a device may use it to run no further than needed.
        """
        return HostSteps(self.bind, self.manifest, encoded, noises)

    def window_size(self, frames: int) -> int:
        """Return the number of frames at which it runs a window of so many: the next of its sizes, if it has some."""
        return next((size for size in self.window_sizes if size >= frames), frames)

    def row_steps(self, max_rows: int, profile: Profile) -> RowSteps | None:
        """Return what decodes rows that share steps on a device, if this backend has it; only for decoder_step."""
        return None

    @abstractmethod
    def _bind(self, buffers: Mapping[str, Array]) -> Call: ...

    def _check(self, buffers: Mapping[str, Array], made: Collection[str] = ()) -> None:
        """Check buffers against the manifest. made: tensors without a buffer, because the backend makes them."""
        dims: dict[str, int] = {}
        outputs = {tensor.name for tensor in self.spec.outputs}
        for tensor in (*self.spec.inputs, *self.spec.outputs):
            if tensor.name in made:
                continue
            if tensor.name not in buffers:
                raise RequestError(f"{self.name}: no buffer for {tensor.name!r}")
            array = buffers[tensor.name]
            fits = array.dtype == np.dtype(tensor.dtype) and array.flags.c_contiguous and array.flags.aligned
            if not fits or not match_shape(tensor, array.shape, dims):
                shape = ", ".join(str(entry) for entry in tensor.shape)
                raise RequestError(
                    f"{self.name}: {tensor.name}: expected a contiguous {tensor.dtype} [{shape}], "
                    f"got {array.dtype} {list(array.shape)}"
                )
            if tensor.name in outputs and not array.flags.writeable:
                raise RequestError(f"{self.name}: {tensor.name}: the buffer is read-only; give an array to write into")
        for letter, size in dims.items():
            limit = self.manifest.range(letter)
            if not limit.min <= size <= limit.max:
                raise RequestError(
                    f"{self.name}: {letter} is {size}, {self.limit_source} accepts {limit.min} to {limit.max}; "
                    f"{self.how_to_raise}, or split the request"
                )


@dataclass(frozen=True)
class BackendOptions:
    threads: int | None = None  # CPU threads; None: all usable cores
    device: int = 0  # index of the GPU, for backends that run on one
    engines: Path | None = None  # folder of the engine cache; None: the user's own
    # Precision on a CPU. int8: decoder steps with 8-bit weights, and a vocoder in bfloat16 where that is possible.
    # auto: the same, with float32 weights if the bundle has no others.
    compute: Compute = "fp32"
    decoder: Decoder = "engine"  # what runs decoder steps on a GPU; fused: one kernel, which has not run on one yet

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= THREADS_MAX:
            raise RequestError(f"threads: expected 1 to {THREADS_MAX} on this machine, got {self.threads}")
        if self.device < 0:
            raise RequestError(f"device: expected the index of a GPU, 0 or more, got {self.device}")


class Backend(ABC):
    """Opens the graphs of one bundle."""

    name: ClassVar[str]
    runs_asynchronously: ClassVar[bool] = False  # true if graphs run on a GPU while the host is free
    pads_token_ids: ClassVar[bool] = False  # true if the encoder runs at few fixed lengths: those of token buckets
    device: str  # hardware that graphs run on, such as "CPU"
    choice: str = ""  # one line for the user: which backend was chosen and why
    has_fused_decoder: ClassVar[bool] = False
    has_int8_decoder: ClassVar[bool] = False  # true if it runs the bundle's decoder steps with 8-bit weights
    decoder: str = ""  # one line for the user, if the decoder is not the usual one
    vocoder: str = ""  # the same of the vocoder's precision

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        if options.decoder == "fused" and not self.has_fused_decoder:
            raise BackendError(
                f"decoder 'fused': needs a TensorRT backend, got {self.name}; see tacoglow doctor, or use engine"
            )
        if options.compute == "int8":
            if not self.has_int8_decoder:
                raise BackendError(f"compute 'int8': needs backend onnxruntime or openvino, got {self.name}")
            if manifest.int8_decoder is None:
                raise BackendError(
                    f"compute 'int8': {bundle} has no 8-bit decoder; add one with: tacoglow quantize {bundle}"
                )
        self.bundle = bundle
        self.manifest = manifest  # its ranges are those that this backend accepts
        self.options = options
        self._opened: dict[str, GraphRunner] = {}

    @property
    def computed_by(self) -> tuple[str, ...]:
        """What speech depends on beside the bundle: the names of the backend, of its precision on a CPU and of its
        decoder."""
        return self.name, self.options.compute, self.options.decoder

    @property
    def parallel_runs(self) -> int:
        """Runs on the CPU that do not share cores, with the threads that each of them uses."""
        cores = usable_cores()
        return max(1, cores // (self.options.threads or cores))

    @staticmethod
    @abstractmethod
    def unavailable_reason(device: int = 0) -> str | None:
        """Return why this backend cannot run on this machine, and the command that fixes it; None if it can.

        device: index of the GPU, for backends that run on one.
        """

    def synchronize(self) -> None:
        """Wait for all work that is under way, such as that of an abandoned stream."""
        return

    def open(self, graph: str) -> GraphRunner:
        """Open a graph, at the first call, and return its runner. Raises BundleError or BackendError."""
        if graph not in self._opened:
            with native_calls:
                self._opened[graph] = self._open(graph)
        return self._opened[graph]

    @abstractmethod
    def _open(self, graph: str) -> GraphRunner: ...
