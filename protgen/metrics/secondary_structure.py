"""Secondary structure: DSSP from N, CA, C, O; P-SEA where only CA atoms are there.

Three states: H (helix: alpha, 3-10, pi), E (strand: extended, isolated bridge), C (the rest), and "-" for a
residue that lacks the atoms the method needs.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np

from protgen.metrics.base import Metric, Quantity, Value
from protgen.structure.angles import angle, distance
from protgen.structure.dssp import UNASSIGNED, dssp
from protgen.structure.links import ca_dihedrals, links
from protgen.structure.protein import BACKBONE, CA, Protein

HELIX_CLASS = 0.15  # Nakashima, Nishikawa & Ooi, J. Biochem. 99, 153 (1986): helix at least 15 % of the residues
STRAND_CLASS = 0.10  # and strand at least 10 %

DSSP, P_SEA = "dssp", "p-sea"  # methods


def method_of(protein: Protein) -> str:
    """DSSP where one residue has all of N, CA, C and O; P-SEA else."""
    return DSSP if protein.mask[:, BACKBONE].all(axis=1).any() else P_SEA


def secondary_structure(protein: Protein, method: str | None = None) -> str:
    """One letter a residue.

    Args:
        protein: any protein.
        method: "dssp" or "p-sea"; by default DSSP where the backbone allows it, P-SEA for a CA-only structure. Numbers
            of the two methods do not compare: give one for all that is compared.

    Returns:
        A string of length l over H, E, C and "-".
    """
    return p_sea(protein) if (method or method_of(protein)) == P_SEA else dssp(protein)


# P-SEA's ranges (Labesse et al., CABIOS 13, 291, 1997, Table 1): mean ± tolerance, Å and degrees.
_HELIX_D3, _HELIX_D4 = (5.3, 0.5), (6.4, 0.6)
_HELIX_ANGLE, _HELIX_DIHEDRAL = (89.0, 12.0), (50.0, 20.0)
_STRAND_D2, _STRAND_D3, _STRAND_D4 = (6.7, 0.6), (9.9, 0.9), (12.4, 1.1)
_STRAND_ANGLE, _STRAND_DIHEDRAL = (124.0, 14.0), (-170.0, 45.0)


def p_sea(protein: Protein) -> str:
    """P-SEA's three states from CA atoms alone (Labesse et al., 1997).

    A helix is five residues in a row, a strand four, that satisfy the strict ranges of distances or of
    angles; each end grows by one residue that satisfies the relaxed range. Strands of three, which the
    paper accepts with enough neighbours, are left as coil.
    """
    length = protein.length
    ca = protein.atoms[:, CA]
    codes = np.where(protein.mask[:, CA], "C", UNASSIGNED)
    if length < 5:
        return "".join(codes)
    d2, d3, d4, bend, turn = _ca_measures(protein, ca)
    near, close = _within(d3, _HELIX_D3), _within(bend, _HELIX_ANGLE)
    helix = (near & _within(d4, _HELIX_D4)) | (close & _within(turn, _HELIX_DIHEDRAL))
    extended = _within(d3, _STRAND_D3)
    strand = (_within(d2, _STRAND_D2) & extended & _within(d4, _STRAND_D4)) | (
        _within(bend, _STRAND_ANGLE) & _within(turn, _STRAND_DIHEDRAL)
    )
    helix = _grow(_in_runs(helix, 5), near | close)
    strand = _grow(_in_runs(strand, 4), extended)
    codes[helix & (codes == "C")] = "H"
    codes[strand & ~helix & (codes == "C")] = "E"
    return "".join(codes)


def _ca_measures(protein: Protein, ca: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distances i-1 to i+1, i+2, i+3 (Å), angle and dihedral (degrees) at residue i; NaN across breaks."""
    joints = links(protein)
    whole = joints.same_chain & ~joints.broken
    d2, d3, d4, bend, turn = (np.full(len(ca), np.nan) for _ in range(5))
    pairs = whole[:-1] & whole[1:]
    triples = pairs[:-1] & whole[2:]
    quads = triples[:-1] & whole[3:]
    d2[1:-1] = np.where(pairs, distance(ca[:-2], ca[2:]), np.nan)
    d3[1:-2] = np.where(triples, distance(ca[:-3], ca[3:]), np.nan)
    d4[1:-3] = np.where(quads, distance(ca[:-4], ca[4:]), np.nan)
    bend[1:-1] = np.where(pairs, np.rad2deg(angle(ca[:-2], ca[1:-1], ca[2:])), np.nan)
    turn[1:-2] = np.rad2deg(ca_dihedrals(protein, joints))
    return d2, d3, d4, bend, turn


def _within(values: np.ndarray, about: tuple[float, float]) -> np.ndarray:
    """|values - mean| <= tolerance on the circle of 360, which distances in Å never come near."""
    mean, tolerance = about
    with np.errstate(invalid="ignore"):
        return np.abs((values - mean + 180.0) % 360.0 - 180.0) <= tolerance


def runs(codes: Iterable[Any], wanted: Any, least: int = 1) -> list[tuple[int, int]]:
    """(first, one past the last) of the runs of one value that are long enough.

    Examples:
        >>> runs("CEEECCE", "E", 2)
        [(1, 4)]
    """
    found, place = [], 0
    for code, group in groupby(codes):
        n = len(list(group))
        if code == wanted and n >= least:
            found.append((place, place + n))
        place += n
    return found


def _in_runs(mask: np.ndarray, least: int) -> np.ndarray:
    """The part of a mask in runs of at least so many."""
    kept = np.zeros(len(mask), dtype=bool)
    for start, stop in runs(mask.tolist(), True, least):
        kept[start:stop] = True
    return kept


def _grow(core: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Extend every run by at most one residue at each side, where allowed."""
    neighbours = np.zeros_like(core)
    neighbours[1:] |= core[:-1]
    neighbours[:-1] |= core[1:]
    return core | (neighbours & allowed)


def fractions(codes: str) -> dict[str, float]:
    """Helix, strand and coil fractions of the assigned residues of a string; NaN if none is assigned."""
    n = len(codes) - codes.count(UNASSIGNED)
    if n == 0:
        return {"helix": np.nan, "strand": np.nan, "coil": np.nan}
    return {"helix": codes.count("H") / n, "strand": codes.count("E") / n, "coil": codes.count("C") / n}


def longest_run(codes: str, letter: str = "H") -> int:
    """Length of the longest run of one letter."""
    return max((stop - start for start, stop in runs(codes, letter)), default=0)


def fold_class(codes: str) -> str:
    """Class of a three-state string: "alpha", "beta", "mixed" or "irregular" (Nakashima et al., 1986).

    alpha: helix >= 15 %, strand < 10 %; beta: helix < 15 %, strand >= 10 %; mixed: both reached; irregular:
        neither.
    """
    fraction = fractions(codes)
    helical, stranded = fraction["helix"] >= HELIX_CLASS, fraction["strand"] >= STRAND_CLASS
    if helical:
        return "mixed" if stranded else "alpha"
    return "beta" if stranded else "irregular"


class SecondaryStructure(Metric):
    """Fractions of helix, strand and coil, longest helix, and the string itself."""

    name = "secondary_structure"
    requires = ("ca", "backbone")
    quantities = (
        Quantity("helix", "fraction", None, "residues in H, G or I by DSSP (mdtraj); P-SEA if only CA is there"),
        Quantity("strand", "fraction", None, "residues in E or B by DSSP (mdtraj); P-SEA if only CA is there"),
        Quantity("coil", "fraction", None, "the other assigned residues"),
        Quantity("longest_helix", "count", None, "residues in the longest run of H"),
        Quantity("n_strands", "count", None, "runs of at least 3 E"),
    )
    labels = ("ss_method", "fold_class", "ss")

    def measure(self, sample: Protein) -> dict[str, Value]:
        """Fractions and strings for one protein."""
        return self.measure_by(sample, method_of(sample))

    def measure_by(self, sample: Protein, method: str) -> dict[str, Value]:
        """The same by a given method: "dssp" or "p-sea"."""
        codes = secondary_structure(sample, method)
        known = len(codes) > codes.count(UNASSIGNED)
        return {
            **fractions(codes),
            "longest_helix": float(longest_run(codes)) if known else np.nan,
            "n_strands": float(len(runs(codes, "E", 3))) if known else np.nan,
            "ss_method": method,
            "fold_class": fold_class(codes),
            "ss": codes,
        }
