"""Speaks lists of texts for `trt-infer -i`: reading the lines, speaking them, and resuming."""
