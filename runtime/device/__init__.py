"""Graphs that run on a device: its memory and queue, graphs over them, the decoder loop there."""
