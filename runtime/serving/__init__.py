"""A voice behind NVIDIA Triton: what the server's Python backend runs, and the client that speaks with it."""

DEFAULT_MODEL = "tacoglow"  # the model that answers with the whole speech
STREAM_SUFFIX = "_stream"  # of the name of the model beside it that streams
