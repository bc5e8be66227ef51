"""What a residue is called in its file: chain of any length, number, insertion code; and the text of it.

A38       residue 38 of chain A
A52A      insertion code A
A-3       a negative number
A1.38     chain A1: a point ends a chain name that is longer than a letter, or is a digit
"""

import re
from dataclasses import dataclass

import numpy as np

from protgen.structure.protein import Protein

MOST_RUNS = 8  # runs of residues that a message names


@dataclass(frozen=True)
class ResidueId:
    """The name of a residue within its file.

    Attributes:
        chain: author chain name.
        number: author number.
        insertion: insertion code, "" where there is none.
    """

    chain: str
    number: int
    insertion: str = ""

    @property
    def place(self) -> str:
        """Number and insertion code: 52A."""
        return f"{self.number}{self.insertion}"

    def __str__(self) -> str:
        return chain_prefix(self.chain) + self.place


def chain_prefix(chain: str) -> str:
    """A chain name as it stands before a number: a letter alone, any other name with a point behind."""
    return chain if re.fullmatch("[A-Za-z]", chain) else f"{chain}."


def residue_id(protein: Protein, row: int) -> ResidueId:
    """The name of one residue of a protein."""
    return ResidueId(str(protein.chain_ids[row]), int(protein.residue_numbers[row]), str(protein.insertion_codes[row]))


def residue_ids(protein: Protein) -> list[ResidueId]:
    """The name of every residue, in their order."""
    return [residue_id(protein, row) for row in range(protein.length)]


def runs_in_words(protein: Protein, chain: str | None = None) -> str:
    """The residues of a protein in few words: `A108, A139-140, A196`; those of one chain, if one is named."""
    wanted = [chain] if chain is not None else protein.chains
    texts: list[str] = []
    for name in wanted:
        own = [residue_id(protein, row) for row in np.flatnonzero(protein.chain_ids == name).tolist()]
        texts += [_run_text(run) for run in _runs(own)]
    return ", ".join(texts[:MOST_RUNS]) + (" ..." if len(texts) > MOST_RUNS else "")


def _runs(ids: list[ResidueId]) -> list[list[ResidueId]]:
    """Cut where the number neither stays, with another insertion code, nor goes up by one."""
    runs: list[list[ResidueId]] = []
    for one in ids:
        if runs and 0 <= one.number - runs[-1][-1].number <= 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _run_text(run: list[ResidueId]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1].place}"
