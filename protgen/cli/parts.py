"""`protgen sample --shard K/N` and `--indices A-B`: a part of a run, for one of several machines."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.evaluation.run_records import Part

PANEL = "A part of the run"
_SHARD = re.compile(r"([0-9]{1,7})/([0-9]{1,7})")
_INDICES = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


@dataclass(frozen=True)
class PartOptions:
    """Which of the -n designs are made; design i is the same whichever part it is made in."""

    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Make the K-th of N equal parts of the -n designs, K from 1 on; the parts may share a folder.",
            metavar="K/N",
            rich_help_panel=PANEL,
        ),
    ] = None
    indices: Annotated[
        str | None,
        typer.Option(
            "--indices",
            help="Make designs A to B alone, of 0 to n - 1.",
            metavar="A-B",
            rich_help_panel=PANEL,
        ),
    ] = None

    def part(self, n: int, *, best: bool = False, overwrite: bool = False) -> "Part | None":
        """The part that is asked for; None for the whole run.

        Args:
            n: designs of the whole run.
            best: whether the best are to be kept.
            overwrite: whether an earlier run is to be replaced.

        Raises:
            UsageError: if the options cannot be read, ask for what the run does not have, or for what takes all of it.
        """
        if self.shard is None and self.indices is None:
            return None
        if self.shard is not None and self.indices is not None:
            raise UsageError("--shard and --indices both name a part of the run; give one of them")
        part = shard_of(self.shard, n) if self.shard is not None else indices_of(str(self.indices), n)
        if best:
            raise UsageError(
                f"--best ranks all designs, and {part.asked} makes a part of them; once every part is in one folder, "
                "give --best with --resume and no part"
            )
        if overwrite:
            raise UsageError(
                f"--overwrite replaces a whole run, and {part.asked} makes a part of one; choose another --out, or "
                "remove the old designs"
            )
        return part


def shard_of(text: str, n: int) -> "Part":
    """The K-th of N parts of n designs, whose numbers differ by one at most.

    Examples:
        >>> [(part.first, part.last) for part in (shard_of(f"{k}/3", 8) for k in (1, 2, 3))]
        [(0, 1), (2, 4), (5, 7)]
    """
    from protgen.evaluation.run_records import Part

    match = _SHARD.fullmatch(text.strip())
    k, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= k <= parts:
        raise UsageError(f"--shard {text}: write K/N, such as 3/16, with K from 1 to N")
    if parts > n:
        raise UsageError(f"--shard {text} of -n {n}: a part would be empty; ask for {n} parts at most, or more designs")
    return Part((k - 1) * n // parts, k * n // parts - 1, f"--shard {k}/{parts}")


def indices_of(text: str, n: int) -> "Part":
    """Designs A to B of n.

    Examples:
        >>> indices_of("100-199", 200).indices
        range(100, 200)
    """
    from protgen.evaluation.run_records import Part

    match = _INDICES.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--indices {text}: write A-B, such as 100-199, or one index")
    first = int(match[1])
    last = int(match[2] or first)
    if last < first:
        raise UsageError(f"--indices {text}: the range is empty; write the smaller index first")
    if last >= n:
        raise UsageError(f"--indices {text} of -n {n}: designs are numbered 0 to {n - 1}; give -n {last + 1} or more")
    return Part(first, last, f"--indices {first}-{last}" if last > first else f"--indices {first}")
