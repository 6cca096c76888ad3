"""`python -m tacoglow` is the command `tacoglow`."""

from .cli.main import main

if __name__ == "__main__":
    main()
