"""The command line: `tacoglow COMMAND`, also installed as `export-onnx` and `trt-infer`."""

from __future__ import annotations

from .main import export_onnx_main, main, trt_infer_main

__all__ = ["export_onnx_main", "main", "trt_infer_main"]
