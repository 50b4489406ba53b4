"""`python -m rewind` is the command `rewind`."""

from .cli import main

if __name__ == "__main__":
    main()
