"""Many requests at once with one voice: continuous batching."""
