"""Implements `tacoglow bench`: speed and quality of a voice on this machine, compared with PyTorch."""
