"""Writes model repositories for NVIDIA Triton."""
