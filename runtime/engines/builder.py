"""ONNX -> plan, on whichever TensorRT is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BackendError
from ..manifest import GraphSpec
from .recipe import Recipe, input_shapes
from .tensorrt import TensorRT
from .weak_typing import obey_types

# Called with what the builder is at and the fraction done, 0 to 1; without a fraction where TensorRT tells none.
Progress = Callable[[str, float | None], None]


class EngineBuilder:
    """Builds engines one after the other: creating TensorRT's own builder takes seconds on a GPU."""

    def __init__(self, tensorrt: TensorRT) -> None:
        self.tensorrt = tensorrt
        self._logger = tensorrt.logger()
        try:
            self._builder = tensorrt.module.Builder(self._logger)
        except (TypeError, RuntimeError) as error:  # no driver, or none that fits
            raise BackendError(
                f"{tensorrt.name} {tensorrt.version} cannot create a builder here: "
                f"{self._said() if self._logger.errors else error}; is there an NVIDIA GPU with a driver?"
            ) from error

    def build(self, onnx: Path, spec: GraphSpec, recipe: Recipe, timing_cache: Path, progress: Progress) -> bytes:
        """The plan of one graph. timing_cache: file that tactics' timings are read from and added to.

        Raises BackendError with all that the parser or the builder said.
        """
        self._check(recipe)
        self._logger.errors.clear()
        network = self.parse(onnx)
        config = self._config(spec, recipe)
        if not self.tensorrt.strongly_typed:
            obey_types(self.tensorrt, network, config, recipe.precision)
        self._read_timing_cache(config, timing_cache)
        monitor = self._monitor(config, progress)
        plan = self._builder.build_serialized_network(network, config)
        if monitor is not None and monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise BackendError(
                f"{recipe.graph}: {self._name} could not build the engine: {self._said()}; "
                "docs/tensorrt.md says what to try"
            )
        self._write_timing_cache(config, timing_cache)
        return bytes(plan)

    def parse(self, onnx: Path) -> Any:
        """The network of a graph. Raises BackendError with all that the parser said."""
        flags = 0
        for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
            member = self.tensorrt.member("NetworkDefinitionCreationFlag", name)
            flags |= 0 if member is None else 1 << int(member)
        network = self._builder.create_network(flags)
        parser = self.tensorrt.module.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(onnx)):
            errors = "; ".join(_described(parser.get_error(i)) for i in range(parser.num_errors))
            raise BackendError(f"{onnx}: {self._name} cannot read it: {errors or self._said()}")
        return network

    @property
    def _name(self) -> str:
        return f"{self.tensorrt.name} {self.tensorrt.version}"

    def _said(self) -> str:
        return "; ".join(self._logger.errors) or "it gave no reason"

    def _check(self, recipe: Recipe) -> None:
        """Refuse what this TensorRT does not have, before time goes into it."""
        has = self.tensorrt.member
        if recipe.precision == "bf16" and has("DataType", "BF16") is None:
            raise BackendError(f"{self._name} has no bfloat16; export the voice with --precision fp16 or fp32")
        if recipe.options.version_compatible and has("BuilderFlag", "VERSION_COMPATIBLE") is None:
            raise BackendError(f"{self._name} has no version-compatible engines; leave --version-compatible out")
        if recipe.options.hardware_compatible and has("HardwareCompatibilityLevel", "AMPERE_PLUS") is None:
            raise BackendError(f"{self._name} has no hardware-compatible engines; leave --hardware-compatible out")

    def _config(self, spec: GraphSpec, recipe: Recipe) -> Any:
        flag = self.tensorrt.module.BuilderFlag
        config, options = self._builder.create_builder_config(), recipe.options
        # TensorFloat-32 keeps ten bits of a float32's twenty-three; an utterance would end at another frame.
        config.clear_flag(flag.TF32)
        if options.optimization_level is not None and hasattr(config, "builder_optimization_level"):
            config.builder_optimization_level = options.optimization_level
        if options.workspace_mib is not None:
            config.set_memory_pool_limit(self.tensorrt.module.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
        if options.version_compatible:
            config.set_flag(flag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            config.hardware_compatibility_level = self.tensorrt.module.HardwareCompatibilityLevel.AMPERE_PLUS
        absent = self.tensorrt.absent_tactic_sources()
        if absent:
            config.set_tactic_sources(config.get_tactic_sources() & ~absent)
        if self.tensorrt.builds_ahead_of_time:
            self._set_compute_capability(config, recipe)
        profile = self._builder.create_optimization_profile()
        for name, shapes in input_shapes(spec, recipe.profile).items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
        return config

    def _set_compute_capability(self, config: Any, recipe: Recipe) -> None:
        major, minor = recipe.target.compute_capability
        if not self.tensorrt.builds_for((major, minor)):
            members = self.tensorrt.module.ComputeCapability.__members__
            known = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in members if name.startswith("SM"))
            raise BackendError(f"{self._name} builds for compute capability {known}, not {recipe.target.capability}")
        capability = self.tensorrt.member("ComputeCapability", f"SM{major}{minor}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)

    def _monitor(self, config: Any, progress: Progress) -> Any:
        progress("building", None)
        if not hasattr(config, "progress_monitor"):
            return None
        config.progress_monitor = _progress_monitor(self.tensorrt, progress)
        return config.progress_monitor

    def _read_timing_cache(self, config: Any, path: Path) -> None:
        if self.tensorrt.builds_ahead_of_time:
            return  # tactics are chosen where the engine runs
        cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
        config.set_timing_cache(cache or config.create_timing_cache(b""), ignore_mismatch=False)

    def _write_timing_cache(self, config: Any, path: Path) -> None:
        if not self.tensorrt.builds_ahead_of_time:
            partial = path.with_suffix(".tmp")
            partial.write_bytes(bytes(config.get_timing_cache().serialize()))
            partial.replace(path)


def _described(error: Any) -> str:
    node = f"node {error.node()}"
    if hasattr(error, "node_name"):
        node += f" ({error.node_operator()} {error.node_name()})"
    return f"{node}: {error.desc()}"


def _progress_monitor(tensorrt: TensorRT, progress: Progress) -> Any:
    """TensorRT's tree of phases as one fraction: a phase's steps share out the step of its parent."""

    class Monitor(tensorrt.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.interrupted = False
            self._lock = threading.Lock()  # phases may run on several threads
            self._open: dict[str, list[int]] = {}  # phase -> steps done, steps; parents before their children
            self._shown = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with self._lock:
                self._open[name] = [0, max(1, steps)]
            self._report(name)

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                if name in self._open:
                    self._open[name][0] = step + 1
            self._report(name)
            return not self.interrupted  # false makes TensorRT give up

        def phase_finish(self, name: str) -> None:
            with self._lock:
                self._open.pop(name, None)

        def _report(self, name: str) -> None:
            with self._lock:
                fraction, share = 0.0, 1.0
                for done, steps in self._open.values():
                    fraction += share * min(done, steps) / steps
                    share /= steps
                self._shown = max(self._shown, min(fraction, 1.0))
            try:
                progress(name, self._shown)
            except KeyboardInterrupt:  # must not travel through TensorRT
                self.interrupted = True

    return Monitor()
