"""`tacoglow bench`: speed and quality on this machine, side by side with PyTorch, from one command."""
