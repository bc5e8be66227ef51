"""A clashscore with hydrogens placed, for backbones: overlaps of 0.4 Å or more per 1,000 atoms.

The rule is MolProbity's (Word et al., J. Mol. Biol. 285, 1711, 1999; Chen et al., Acta Cryst. D66, 12, 2010) on the
atoms that a backbone has: N, CA, C, O, CB where it is there, H and HA. Side chains, which make most clashes of a model,
are not in it, so it is near 0 for good natives and does not compare with clashscores of whole models.

As Probe does, each sphere is covered with dots: two atoms clash where a dot of one is 0.4 Å or more inside the other,
inside no atom that is joined to it by few bonds, and not deeper inside a third. So N and O of a hydrogen bond do not
clash, as H is between. Beyond Probe, two atoms clash where the centre of one is in the sphere of the other: no dot of
chains in one place is free of joined atoms. `benchmarks/clashscore.py` compares with MolProbity's programs, pair by
pair of atoms.
"""

from functools import cache

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.clashes import near_pairs
from protgen.metrics.hydrogens import alpha_hydrogens, amide_hydrogens
from protgen.structure.links import Links, links
from protgen.structure.protein import BACKBONE, Protein

OVERLAP = 0.4  # Å
HYDROGEN_BOND = 0.6  # Å that H and O may overlap beside, as Probe allows a hydrogen bond
BONDS = 3  # atoms this many bonds apart do not clash; one more where a hydrogen is among them
# Radii, Å, of Probe: N, CA, C, O, CB, H, HA (carbonyl C 1.65, polar H 1.05, other H 1.22).
RADII = np.array([1.55, 1.70, 1.65, 1.40, 1.70, 1.05, 1.22])
PLACE = np.array([0, 1, 2, 2, 1, 0, 1])  # of the chain atom N, CA, C that each is bonded to, or is
DEPTH = np.array([0, 0, 0, 1, 1, 1, 1])  # bonds from it
OXYGEN, AMIDE, ALPHA = 3, 5, 6
DENSITY = 16.0  # dots an Å² of an atom's sphere, as Probe
_ROUNDING = 1e-9  # Å
_REACH = 2 * float(RADII.max())


def all_atoms(protein: Protein, joints: Links) -> np.ndarray:
    """(l, 7, 3) Å; N, CA, C, O, CB, H, HA, NaN where missing."""
    heavy = np.where(protein.mask[..., None], protein.atoms, np.nan)
    hydrogens = [amide_hydrogens(protein, joints), alpha_hydrogens(protein)]
    return np.concatenate([heavy, np.stack(hydrogens, axis=1)], axis=1)


def overlapping(protein: Protein) -> tuple[int, int]:
    """Number of clashing pairs of atoms, and of atoms."""
    pairs, atoms = clashing_pairs(protein)
    return len(pairs), atoms


def clashing_pairs(protein: Protein) -> tuple[np.ndarray, int]:
    """(n, 2, 2) clashing pairs, each atom its residue and its place in `all_atoms`; and the number of atoms."""
    joints = links(protein)
    xyz = all_atoms(protein, joints)
    residue, kind = np.nonzero(np.isfinite(xyz).all(axis=-1))
    points = xyz[residue, kind]
    if len(points) < 2:
        return np.empty((0, 2, 2), int), len(points)
    pairs = np.stack(near_pairs(points, _REACH, protein.name), axis=1)
    joined = _joined(pairs, residue, kind, joints)
    atoms = _Atoms(points, kind, pairs, joined)
    close = pairs[~joined & (atoms.overlap(pairs) >= atoms.allowed(pairs))]
    within = atoms.centre_within(close).tolist()
    clashing = [
        pair
        for pair, inside in zip(close.tolist(), within, strict=True)
        if inside or atoms.touches(*pair) or atoms.touches(*pair[::-1])
    ]
    chosen = np.array(clashing, int).reshape(-1, 2)
    return np.stack([residue[chosen], kind[chosen]], axis=-1), len(points)


def _joined(pairs: np.ndarray, residue: np.ndarray, kind: np.ndarray, joints: Links) -> np.ndarray:
    """Whether so few bonds are between the atoms of each pair that they cannot clash."""
    segment = np.concatenate([[0], np.cumsum(~joints.bonded)])  # of residues joined by peptide bonds
    place = 3 * residue + PLACE[kind]
    (a, b), (first, second) = pairs.T, kind[pairs].T
    apart = np.abs(place[a] - place[b]) + DEPTH[first] + DEPTH[second]
    hydrogen = (first >= AMIDE) | (second >= AMIDE)
    return (segment[residue[a]] == segment[residue[b]]) & (apart <= BONDS + hydrogen)


class _Atoms:
    """The atoms of a structure with those near each.

    Args:
        points: (n, 3) Å.
        kind: (n,) place in `all_atoms`.
        pairs: (m, 2) within `_REACH`.
        joined: (m,) pairs that cannot clash.
    """

    def __init__(self, points: np.ndarray, kind: np.ndarray, pairs: np.ndarray, joined: np.ndarray) -> None:
        self.points, self.kind, self.radii = points, kind, RADII[kind]
        both = np.concatenate([pairs, pairs[:, ::-1]])
        order = np.argsort(both[:, 0], kind="stable")
        self.near, self.joined = both[order, 1], np.concatenate([joined, joined])[order]
        self.start = np.searchsorted(both[order, 0], np.arange(len(points) + 1))

    def overlap(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) Å by which the spheres of each pair overlap."""
        a, b = pairs.T
        return self.radii[a] + self.radii[b] - np.linalg.norm(self.points[a] - self.points[b], axis=-1)

    def centre_within(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) whether the centre of one atom of each pair is in the sphere of the other."""
        radii = self.radii[pairs]
        return self.overlap(pairs) >= radii.min(axis=1)

    def allowed(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) Å from which on it is a clash."""
        kinds = np.sort(self.kind[pairs], axis=1)
        return OVERLAP + HYDROGEN_BOND * ((kinds == (OXYGEN, AMIDE)).all(axis=1))

    def touches(self, atom: int, other: int) -> bool:
        """Whether a dot on the sphere of an atom is in no atom joined to it, and as deep in no atom as in the other."""
        place = slice(self.start[atom], self.start[atom + 1])
        near, joined = self.near[place], self.joined[place]
        dots = self.points[atom] + self.dots(atom, other, near[joined])
        depth = self.radii[near] - np.linalg.norm(dots[:, None] - self.points[near], axis=-1)
        covered = (depth[:, joined] > 0).any(axis=1)
        of_other = depth[:, near == other][:, 0]
        deepest = depth[:, ~joined].max(axis=1) <= of_other
        limit = self.allowed(np.array([[atom, other]]))[0]
        return bool((~covered & deepest & (of_other >= limit - _ROUNDING)).any())

    def dots(self, atom: int, other: int, joined: np.ndarray) -> np.ndarray:
        """(n, 3) Å from an atom to the dots on its sphere, the first of them towards another atom.

        Args:
            atom: the centre.
            other: where the first dot is.
            joined: atoms that decide how the others are turned, so that they turn with the structure.
        """
        radius, towards = self.radii[atom], _unit(self.points[other] - self.points[atom])
        axis = self.points[joined.min()] - self.points[atom] if len(joined) else np.roll(towards, 1)
        aside = _unit(axis - (axis @ towards) * towards)
        basis = np.stack([towards, aside, np.cross(towards, aside)])
        return radius * sphere(round(DENSITY * 4 * np.pi * radius**2)) @ basis


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), _ROUNDING)


@cache
def sphere(count: int) -> np.ndarray:
    """(count, 3) points spread evenly over the unit sphere along a spiral of golden angles, from the first axis."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return np.stack([height, flat * np.cos(angle), flat * np.sin(angle)], axis=1)


class Clashscore(Metric):
    """Clashes per 1,000 atoms, hydrogens of the backbone among them; NaN for a CA-only structure.

    Of 20 natives it is 2.89 and Probe's, of the same atoms after Reduce, 2.83; of 8 unrelaxed designs 15.79 and 16.03;
    of 121 pairs by Probe 118 are the same (`benchmarks/results/clashscore.json`).

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Clashscore().measure(Protein.from_backbone(ideal_helix(12)))["clashscore_h"]
        0.0
    """

    name = "clashscore"
    requires = ("backbone",)
    quantities = (
        Quantity(
            "clashscore_h",
            "per 1000 atoms",
            "lower",
            "pairs of N, CA, C, O, CB and placed H and HA, more than 3 bonds apart (4 with H), whose radii by Probe "
            "overlap by >= 0.4 Å (H...O by >= 1 Å) with no joined atom between, per 1000 atoms; no side chains, so it "
            "is below MolProbity's clashscore of a whole model; of these atoms alone both agree, within 0.3 over a set",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """The clashscore of one protein."""
        if not sample.mask[:, BACKBONE].all(axis=1).any():
            return {"clashscore_h": np.nan}
        clashes, atoms = overlapping(sample)
        return {"clashscore_h": 1000.0 * clashes / atoms}
