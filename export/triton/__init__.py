"""Bundle -> a model repository for NVIDIA Triton."""
