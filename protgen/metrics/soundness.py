"""Whether a backbone is a sound fold: compact, packed, in one piece, with ends that are held and strands that pair.

Each number has a limit that at most one in twenty globular natives of its length exceeds; what exceeds a limit is a
fault and has a word. Limits and medians are fitted by `benchmarks/fit_soundness.py`. Chains are judged one by one,
with what other chains add to their packing, and the worst one counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from protgen.metrics.base import Metric, Quantity, Value, number_of
from protgen.metrics.compactness import radius_of_gyration
from protgen.metrics.packing import bare_end, share_apart, side_neighbours, touching, weakest_joint
from protgen.metrics.reference_data import soundness_reference, typical_radius_of_gyration
from protgen.metrics.secondary_structure import p_sea, runs, secondary_structure
from protgen.structure.dssp import UNASSIGNED
from protgen.structure.protein import BACKBONE, Protein

FEWEST = 30  # residues; a shorter chain is a peptide, which need not have a core
ELEMENT = {"H": 5, "E": 3}  # residues at least of a helix and a strand that count as elements
EXTENDED = 5  # residues at least of a strand by P-SEA that should have a partner
HELD = 6  # CA within 10 Å, six or more residues away: a coil residue with as many is no loose end
MARGIN = 0.2  # of the length: either side of a joint has that much of it
LEAST_MARGIN = 12  # residues


@dataclass(frozen=True)
class Fault:
    """A limit.

    Attributes:
        word: what a structure beyond it is called.
        column: the number that is compared.
        sign: +1 if high values are wrong, -1 if low ones are.
    """

    word: str
    column: str
    sign: int


FAULTS = (
    Fault("open", "rg_chain_ratio", 1),
    Fault("no core", "packing", -1),
    Fault("in pieces", "apart", 1),
    Fault("in pieces", "joint", -1),
    Fault("coil", "coil", 1),
    Fault("loose end", "loose_end", 1),
    Fault("loose end", "coil_end", 1),
    Fault("unpaired strands", "unpaired_strands", 1),
)


_OF_BACKBONE = ("neighbours", "apart", "coil", "loose_end", "coil_end", "unpaired_strands")


def measures(protein: Protein) -> dict[str, float]:
    """The numbers of every chain of 30 residues or more, the worst of each; NaN where no chain has one.

    Returns:
        By column of `FAULTS` but for packing; among them "coil", the share of residues in neither helix nor strand by
        DSSP. "neighbours" is the mean of `packing.side_neighbours`, "length" that of the shortest chain.
    """
    codes, extended = np.array(list(secondary_structure(protein))), np.array(list(p_sea(protein)))
    around, pairs = side_neighbours(protein), touching(protein)
    rows = [
        _of_chain(protein, np.flatnonzero(protein.chain_ids == chain), codes, extended, around, pairs)
        for chain in protein.chains
        if (protein.chain_ids == chain).sum() >= FEWEST
    ]
    signs = {fault.column: fault.sign for fault in FAULTS if fault.column != "packing"} | {
        "neighbours": -1,
        "length": -1,
    }
    with np.errstate(all="ignore"):
        return {
            column: sign * float(np.fmax.reduce([sign * row[column] for row in rows])) if rows else np.nan
            for column, sign in signs.items()
        }


def _of_chain(
    protein: Protein,
    members: np.ndarray,
    codes: np.ndarray,
    extended: np.ndarray,
    around: np.ndarray,
    pairs: np.ndarray,
) -> dict[str, float]:
    """The numbers of one chain.

    Args:
        protein: with all chains.
        members: (n,) rows of the chain, in order.
        codes: (l,) secondary structure of all residues.
        extended: (l,) the same by P-SEA.
        around: (l,) neighbours in front of each side chain.
        pairs: (m, 2) touching pairs.
    """
    length = len(members)
    chain, own = protein.select(members), codes[members]
    place = np.full(protein.length, -1)
    place[members] = np.arange(length)
    inside = place[pairs][(place[pairs] >= 0).all(axis=1)]
    ratio = radius_of_gyration(chain) / typical_radius_of_gyration(length)
    margin = max(LEAST_MARGIN, int(np.ceil(MARGIN * length)))
    row = {"length": float(length), "rg_chain_ratio": ratio, "joint": weakest_joint(inside, length, margin)}
    if not chain.mask[:, BACKBONE].all(axis=1).any():
        return row | dict.fromkeys(_OF_BACKBONE, np.nan)
    neighbours = float(np.nanmean(around[members]))
    held = np.bincount(pairs.ravel(), minlength=protein.length)[members] >= HELD
    elements = [run for letter, least in ELEMENT.items() for run in runs(own, letter, least)]
    structured = np.isin(own, list(ELEMENT))
    return row | {
        "neighbours": neighbours,
        "apart": share_apart(inside, sorted(elements)),
        "coil": float((own == "C").sum() / max(1, (own != UNASSIGNED).sum())),
        "loose_end": float(bare_end(structured | held)),
        "coil_end": float(bare_end(structured)),
        "unpaired_strands": float(unpaired(own, extended[members])),
    }


def unpaired(codes: np.ndarray, extended: np.ndarray) -> int:
    """Number of strands by P-SEA, five residues or more, in which DSSP finds no residue with a partner."""
    return sum(not (codes[start:stop] == "E").any() for start, stop in runs(extended, "E", EXTENDED))


def faults_of(values: Mapping[str, Value | None], length: float) -> list[str]:
    """The words of the limits that values exceed, each once; a value that does not exist exceeds none.

    Args:
        values: by column of `FAULTS`.
        length: residues of the chain.
    """
    reference = soundness_reference()
    found = [
        fault.word
        for fault in FAULTS
        if fault.sign * number_of(values.get(fault.column)) > fault.sign * reference.at(fault.column, length)
    ]
    return list(dict.fromkeys(found))


class Soundness(Metric):
    """Compactness, packing, pieces, ends and strands against natives, and the words for what is wrong.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Soundness().measure(Protein.from_backbone(ideal_helix(60)))["faults"]
        'open, no core, in pieces'
    """

    name = "soundness"
    requires = ("ca", "backbone")
    quantities = (
        Quantity("sound", "fraction", "higher", "1 if no number of a fold is beyond its limit: `faults` is empty"),
        Quantity("rg_chain_ratio", "", "lower", "Rg of a chain / median Rg of natives of its length; the largest"),
        Quantity(
            "packing",
            "",
            "higher",
            "mean number of neighbours in front of the side chains (Rosetta's cone, on ideal CB atoms) / median of "
            "natives of that length; the lowest of a chain",
        ),
        Quantity(
            "apart",
            "fraction",
            "lower",
            "residues of helices (>= 5) and strands (>= 3) outside the largest group that touches (4 CA pairs < 10 Å)",
        ),
        Quantity(
            "joint",
            "",
            "higher",
            "least number of CA pairs < 10 Å, |i - j| >= 6, across a cut of the chain that leaves a fifth of it on "
            "either side, over the residues of the smaller side; low for a dumbbell",
        ),
        Quantity(
            "loose_end",
            "count",
            "lower",
            "residues of the longer end before helix, strand or a residue with 6 CA < 10 Å, |i - j| >= 6",
        ),
        Quantity("coil_end", "count", "lower", "residues of the longer end before the first helix or strand"),
        Quantity(
            "unpaired_strands",
            "count",
            "lower",
            "runs of >= 5 residues that are strand by P-SEA (shape) and without a partner by DSSP (hydrogen bonds)",
        ),
    )
    labels = ("faults",)

    def measure(self, sample: Protein) -> dict[str, Value]:
        """Every number of one protein, and what is beyond its limit."""
        values = measures(sample)
        values["packing"] = values["neighbours"] / soundness_reference().at("neighbours", values["length"])
        words = faults_of(values, values["length"])
        known = np.isfinite(values["packing"])
        row: dict[str, Value] = {quantity.name: values.get(quantity.name, np.nan) for quantity in self.quantities}
        return row | {"sound": float(not words) if known else np.nan, "faults": ", ".join(words)}
