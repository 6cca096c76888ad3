"""Outputs of speech: audio in memory, files that grow, formats, word times and plots."""
