"""TensorRT-RTX's runtime settings: kernels compiled at once for a shape, and kept on disk for the next process."""

from __future__ import annotations

import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...files import replace_file
from .versions import TensorRT


class RuntimeCache:
    """The kernels that TensorRT-RTX compiles on the GPU that runs an engine, shared by all contexts of a bundle."""

    def __init__(self, tensorrt: TensorRT, path: Path) -> None:
        """path: file that kernels are read from, and written to when this object goes away."""
        self._tensorrt, self._path = tensorrt, path
        self._cache: Any = None

    def config(self, engine: Any) -> Any:
        """Return a context's settings.

        A kernel of a new shape is compiled before its first run (EAGER), because a captured graph would keep the
        fallback kernels that run meanwhile (LAZY).
        """
        strategy = self._tensorrt.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = self._tensorrt.member(
            "DynamicShapesKernelSpecializationStrategy", "EAGER"
        )
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            with suppress(OSError):  # without the file, or if it does not fit this machine, the cache stays empty
                self._cache.deserialize(self._path.read_bytes())
            weakref.finalize(self, _save, self._cache, self._path)
        config.set_runtime_cache(self._cache)
        return config


def _save(cache: Any, path: Path) -> None:
    with suppress(OSError):
        replace_file(path, bytes(cache.serialize()))
