"""Bundle -> speech: manifest, backends, decoder loop, vocoder, synthesizer and the commands over them.

Nothing in here imports torch, onnx, models or export: an inference machine needs NumPy and a backend.
"""
