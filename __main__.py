"""`python -m tacoglow` is the command `tacoglow`."""

from .cli.main import main

main()
