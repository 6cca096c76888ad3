"""What speech becomes: audio in memory, files that grow, formats, word times and plots."""
