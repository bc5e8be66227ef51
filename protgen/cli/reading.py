"""Options about what of a structure file is read, for several commands."""

from enum import StrEnum


class Models(StrEnum):
    """Which models of a file are read."""

    FIRST = "first"
    ALL = "all"
