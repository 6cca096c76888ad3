"""Bundle -> speech: manifest, backends, decoder loop, vocoder, synthesizer, and models for Triton servers.

No module of this package imports models or export, and none imports torch or onnx when it is loaded: an inference
machine needs NumPy and a backend.
"""
