"""Exports checkpoints as a bundle: graphs, ONNX files, parity report. Needs torch and onnx.

`export_onnx` is imported on first use, so that importing this package imports neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runtime.errors import ExportError
    from .bundle import export_onnx

__all__ = ["ExportError", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name == "export_onnx":
        from .bundle import export_onnx

        return export_onnx
    if name == "ExportError":
        from ..runtime.errors import ExportError

        return ExportError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
