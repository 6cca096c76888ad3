"""The command line: `tacoglow COMMAND`, with `export-onnx` and `trt-infer` as commands of their own."""

from __future__ import annotations

from .main import export_onnx_main, main, trt_infer_main

__all__ = ["export_onnx_main", "main", "trt_infer_main"]
