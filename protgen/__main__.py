"""`python -m protgen`: the same as the `protgen` command."""

from protgen.cli.main import main

if __name__ == "__main__":
    main()
