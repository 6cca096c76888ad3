"""Graphs on an NVIDIA GPU: its memory and stream, graphs over them, the decoder's steps there."""
