"""How hard a TM-score search tries: one place for the numbers that the compiled and the numpy search share."""

from dataclasses import dataclass, replace
from functools import cache


@dataclass(frozen=True)
class SearchPlan:
    """Starts, rounds and who goes on.

    Attributes:
        threads: gapless alignments that become starts.
        pieces: residues of the pieces, short and long, whose superposition is a start: the short ones find single
            elements, the long ones pairs of them.
        kept: starts from pieces of each size.
        stride_x: residues between pieces of the shorter chain.
        stride_y: of the longer chain.
        tried: pieces of each size, the best by their own fit, of which the rest of the chain is looked at.
        thinning: every so many residues are enough for that look.
        heat: trials that get a second round.
        finalists: trials improved to the end.
        rounds: of alignment and superposition for one gap cost, at most.
        final_steps: superpositions of the final alignment.
        gaps: costs of opening a gap, one after the other; TM-align's two.
        state_gap: TM-align's cost of a gap between secondary structures, a match being 1.
        grows: more of all trials for chains of more than 100 residues.
    """

    threads: int
    pieces: tuple[int, int]
    kept: tuple[int, int]
    stride_x: int
    stride_y: int
    tried: int
    thinning: int
    heat: int
    finalists: int
    rounds: int
    final_steps: int
    gaps: tuple[float, ...] = (0.0, -0.6)
    state_gap: float = -1.0
    grows: bool = False

    def for_lengths(self, la: int, lb: int) -> "SearchPlan":
        """The plan for a pair: longer chains have more ways to be laid on each other, and get more trials.

        Args:
            la: residues of one chain.
            lb: residues of the other.
        """
        return _grown(self, min(max(2, round(la * lb / 5000)), 8)) if self.grows else self


@cache
def _grown(plan: SearchPlan, halves: int) -> SearchPlan:
    """A plan with `halves` / 2 times the trials."""
    short, long = (kept * halves // 2 for kept in plan.kept)
    more = {name: getattr(plan, name) * halves // 2 for name in ("threads", "tried", "heat", "finalists")}
    return replace(plan, kept=(short, long), **more)


FULL = SearchPlan(
    threads=3,
    pieces=(12, 24),
    kept=(10, 16),
    stride_x=4,
    stride_y=3,
    tried=150,
    thinning=2,
    heat=10,
    finalists=4,
    rounds=6,
    final_steps=12,
    grows=True,
)
QUICK = SearchPlan(
    threads=1,
    pieces=(12, 24),
    kept=(0, 4),
    stride_x=8,
    stride_y=4,
    tried=30,
    thinning=3,
    heat=1,
    finalists=1,
    rounds=1,
    final_steps=4,
    gaps=(0.0,),
)
