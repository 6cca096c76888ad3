"""Builds TensorRT plans from ONNX graphs with the installed TensorRT."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from ...bundle.manifest import GraphSpec
from ...errors import BackendError, RequestError
from ...files import atomic_write
from .engine_key import EngineKey, input_shapes, optimization_profiles
from .versions import TensorRT, set_layer_precisions

# Called with the builder's phase and the completed fraction (0 to 1), or None if TensorRT does not report a fraction.
ReportProgress = Callable[[str, float | None], None]


class EngineBuilder:
    """Builds engines one after the other with one TensorRT builder, which takes seconds to create on a GPU."""

    def __init__(self, tensorrt: TensorRT) -> None:
        self.tensorrt = tensorrt
        self._logger = tensorrt.logger()
        try:
            self._builder = tensorrt.module.Builder(self._logger)
        except (TypeError, RuntimeError) as error:  # the driver is missing or too old
            raise BackendError(
                f"{tensorrt.name} {tensorrt.version} cannot create a builder here: "
                f"{self._logger.summary() if self._logger.errors else error}; is there an NVIDIA GPU with a driver?"
            ) from error

    def build(
        self, onnx: Path, spec: GraphSpec, engine_key: EngineKey, timing_cache: Path, progress: ReportProgress
    ) -> bytes:
        """Build the plan of one graph. timing_cache: file of measured tactic timings, read and updated.

        Raises BackendError with all errors that the parser or the builder logged.
        """
        self._check(engine_key)
        self._logger.errors.clear()
        network = self.parse(onnx)
        config = self._config(spec, engine_key)
        if not self.tensorrt.strongly_typed:
            set_layer_precisions(self.tensorrt, network, config, engine_key.precision)
        self._read_timing_cache(config, timing_cache)
        monitor = self._set_monitor(config, progress)
        plan = self._builder.build_serialized_network(network, config)
        if monitor is not None and monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise BackendError(
                f"{engine_key.graph}: {self._name} could not build the engine: {self._logger.summary()}; "
                "see docs/tensorrt.md"
            )
        self._write_timing_cache(config, timing_cache)
        return bytes(plan)

    def parse(self, onnx: Path) -> Any:
        """Parse a graph into a network. Raises BackendError with all errors that the parser logged."""
        flags = 0
        for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
            member = self.tensorrt.member("NetworkDefinitionCreationFlag", name)
            flags |= 0 if member is None else 1 << int(member)
        network = self._builder.create_network(flags)
        parser = self.tensorrt.module.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(onnx)):
            errors = "; ".join(_describe(parser.get_error(i)) for i in range(parser.num_errors))
            raise BackendError(f"{onnx}: {self._name} cannot read it: {errors or self._logger.summary()}")
        return network

    @property
    def _name(self) -> str:
        return f"{self.tensorrt.name} {self.tensorrt.version}"

    def _check(self, engine_key: EngineKey) -> None:
        """Reject options that this TensorRT does not support, before the build starts."""
        has = self.tensorrt.member
        if engine_key.precision == "bf16" and has("DataType", "BF16") is None:
            raise BackendError(f"{self._name} has no bfloat16; export the voice with --precision fp16 or fp32")
        if engine_key.options.version_compatible and has("BuilderFlag", "VERSION_COMPATIBLE") is None:
            raise BackendError(f"{self._name} has no version-compatible engines; omit --version-compatible")
        if engine_key.options.hardware_compatible and has("HardwareCompatibilityLevel", "AMPERE_PLUS") is None:
            raise BackendError(f"{self._name} has no hardware-compatible engines; omit --hardware-compatible")

    def _config(self, spec: GraphSpec, engine_key: EngineKey) -> Any:
        flag = self.tensorrt.module.BuilderFlag
        config, options = self._builder.create_builder_config(), engine_key.options
        # TensorFloat-32 keeps 10 of float32's 23 mantissa bits; utterances would end at a different frame.
        config.clear_flag(flag.TF32)
        self.tensorrt.request_shared_profiles(config)
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
        user_allocation = self.tensorrt.member("BuilderFlag", "REQUIRE_USER_ALLOCATION")
        if user_allocation is not None and engine_key.graph != "encoder":  # its loop cannot be built so
            config.set_flag(user_allocation)  # TensorRT-RTX promises only then that an engine can be captured
        if self.tensorrt.builds_ahead_of_time:
            self._set_compute_capability(config, engine_key)
        for ranges in optimization_profiles(engine_key.profile, engine_key.token_buckets):
            profile = self._builder.create_optimization_profile()
            for name, shapes in input_shapes(spec, ranges).items():
                profile.set_shape(name, *shapes)
            config.add_optimization_profile(profile)
        return config

    def _set_compute_capability(self, config: Any, engine_key: EngineKey) -> None:
        major, minor = engine_key.target.compute_capability
        if not self.tensorrt.builds_for((major, minor)):
            members = self.tensorrt.module.ComputeCapability.__members__
            known = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in members if name.startswith("SM"))
            raise BackendError(
                f"{self._name} builds for compute capability {known}, not {engine_key.target.capability}"
            )
        capability = self.tensorrt.member("ComputeCapability", f"SM{major}{minor}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)

    def _set_monitor(self, config: Any, progress: ReportProgress) -> Any:
        """Attach a progress monitor and return it; None if this TensorRT does not have one."""
        progress("building", None)
        if not hasattr(config, "progress_monitor"):
            return None
        config.progress_monitor = _progress_monitor(self.tensorrt, progress)
        return config.progress_monitor

    def _read_timing_cache(self, config: Any, path: Path) -> None:
        if self.tensorrt.builds_ahead_of_time:
            return  # tactics are chosen on the GPU that runs the engine
        stored = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
        # TensorRT rejects timings of another GPU, driver or version.
        if stored is None or not config.set_timing_cache(stored, ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def _write_timing_cache(self, config: Any, path: Path) -> None:
        if not self.tensorrt.builds_ahead_of_time:
            with suppress(RequestError):  # the next build measures again; the engine is worth more than its timings
                atomic_write(path, bytes(config.get_timing_cache().serialize()))


def _describe(error: Any) -> str:
    node = f"node {error.node()}"
    if hasattr(error, "node_name"):
        node += f" ({error.node_operator()} {error.node_name()})"
    return f"{node}: {error.desc()}"


def _progress_monitor(tensorrt: TensorRT, progress: ReportProgress) -> Any:
    """Create a monitor that reports TensorRT's nested phases as one fraction: a phase subdivides its parent's step."""

    class Monitor(tensorrt.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.interrupted = False
            self._lock = threading.Lock()  # phases may run on several threads
            self._open: dict[str, list[int]] = {}  # open phase -> [steps done, steps]; parents before children
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
            return not self.interrupted  # false cancels the build

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
            except KeyboardInterrupt:  # must not propagate through TensorRT
                self.interrupted = True

    return Monitor()


class TerminalProgress:
    """Shows builds on standard error: a progress bar, or a spinner if TensorRT does not report its progress."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def print_status(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False)

    @contextmanager
    def building(self, graph: str) -> Iterator[ReportProgress]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[graph]:12}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        start = perf_counter()
        with Bars(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bars:
            task = bars.add_task("", total=None, graph=graph)

            def report(phase: str, fraction: float | None) -> None:
                bars.update(task, description=phase, total=None if fraction is None else 1.0, completed=fraction)

            yield report
        self.print_status(f"{graph:12} built in {perf_counter() - start:.1f} s")
