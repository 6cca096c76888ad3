"""Serves voices with NVIDIA Triton: the models that its Python backend runs, and a client."""

DEFAULT_MODEL = "tacoglow"  # name of the model that returns complete speech
STREAM_SUFFIX = "_stream"  # appended to that name: the model that streams segments
PROBE_FRAMES = 16  # frame limit of the speech of health checks; more than a step of any voice
