"""Warnings a structure file can earn: one code a kind, counted, with the first place it was met."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadWarning:
    """One kind of thing a reader noticed.

    Attributes:
        code: one of `CODES`.
        count: how often it was met.
        first_place: where it was met first: a residue, a line or a tag, in words.
    """

    code: str
    count: int
    first_place: str

    def __str__(self) -> str:
        """The code, the count and the place in one line."""
        return f"{self.code} ({self.count}, first at {self.first_place})"
