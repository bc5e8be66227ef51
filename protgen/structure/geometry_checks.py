"""Checks of a protein's coordinates after reading: breaks, handedness, scale, degenerate atoms."""

from dataclasses import dataclass

import numpy as np

from protgen.structure.angles import cross, dihedral
from protgen.structure.links import Links, links, phi_torsions
from protgen.structure.protein import CA, CB, C, N, O, Protein
from protgen.structure.read_warnings import WarningLog

COINCIDENT = 0.5  # Å; two atoms cannot be closer, the shortest bond is 1.2 Å
FAR_BOND = 3.0  # Å; N-CA, CA-C or C-O twice their length
NM_RANGE = (0.2, 0.6)  # CA to next CA, were the file in nm (0.38)
MIN_SIGNS = 5  # residues needed to determine handedness
WRONG_HANDED = 0.6  # fraction of wrong signs from which a structure counts as a mirror image
_FIRST, _SECOND = np.triu_indices(5, 1)  # the pairs of atoms of a residue
_BONDS = {(N, CA), (CA, C), (C, O), (CA, CB)}
_MOST_APART = np.array([FAR_BOND if pair in _BONDS else np.inf for pair in zip(_FIRST, _SECOND, strict=True)])


@dataclass(frozen=True)
class ChainBreak:
    """A place where a chain is not continuous.

    Attributes:
        index: of the residue before the break.
        distance: Å; CA to CA, or C to N where a CA is missing; NaN if neither is known.
        n_missing: residues missing by the numbering; 0 where it runs on and only geometry shows the break.
    """

    index: int
    distance: float
    n_missing: int


def chain_breaks(protein: Protein, joints: Links | None = None) -> tuple[ChainBreak, ...]:
    """The chain breaks of a protein, by the definition of `protgen.structure.links`.

    Args:
        protein: of any number of chains.
        joints: `links(protein)` when it is at hand.
    """
    joints = links(protein) if joints is None else joints
    jump = np.diff(protein.residue_numbers)
    distance = np.where(np.isnan(joints.ca_distance), joints.cn_distance, joints.ca_distance)
    return tuple(
        ChainBreak(int(i), float(distance[i]), max(0, int(jump[i]) - 1)) for i in np.flatnonzero(joints.broken).tolist()
    )


def check_geometry(protein: Protein, log: WarningLog) -> None:
    """Log chain breaks, mirror images, wrong scale and degenerate coordinates.

    Args:
        protein: what was read.
        log: takes the warnings.
    """
    joints = links(protein)
    breaks = chain_breaks(protein, joints)
    if breaks:
        first = breaks[0]
        cause = f"{first.n_missing} residues missing by number" if first.n_missing else "the numbering runs on"
        log.add(
            "chain_break",
            f"{residue_place(protein, first.index)}: {first.distance:.1f} Å, {cause}",
            len(breaks),
        )
    if scale_looks_nm(protein):
        log.add("scale_suspect_nm", f"the median distance of neighbouring CA is below {NM_RANGE[1]} Å")
    else:
        bad = _degenerate(protein)
        if bad.any():
            log.add("degenerate_coordinates", residue_place(protein, int(np.flatnonzero(bad)[0])), int(bad.sum()))
    if is_mirror_image(protein, joints):
        log.add("mirror_image", f"{protein.name} as a whole")


def residue_place(protein: Protein, index: int) -> str:
    """A residue in words: "chain A residue 57A TYR"."""
    number = f"{protein.residue_numbers[index]}{protein.insertion_codes[index]}"
    return f"chain {protein.chain_ids[index]} residue {number} {protein.residue_names[index]}"


def scale_looks_nm(protein: Protein) -> bool:
    """True if neighbouring CA atoms are about 0.38 apart, as they are in nm."""
    gaps = np.linalg.norm(np.diff(protein.atoms[:, CA], axis=0), axis=-1)
    gaps = gaps[np.isfinite(gaps)]
    return len(gaps) >= 2 and bool(NM_RANGE[0] < np.median(gaps) < NM_RANGE[1])


def _degenerate(protein: Protein) -> np.ndarray:
    """(l,) bool; residues with atoms on top of each other or torn apart; all if the whole lies in a plane."""
    xyz = protein.atoms
    apart = np.linalg.norm(xyz[:, _FIRST] - xyz[:, _SECOND], axis=-1)
    bad = (apart < COINCIDENT).any(axis=1) | (apart > _MOST_APART).any(axis=1)
    bad[1:] |= np.linalg.norm(np.diff(xyz[:, CA], axis=0), axis=-1) < COINCIDENT
    present = xyz[protein.mask]
    if len(present) >= 8 and (np.ptp(present, axis=0) < 1e-6).any():
        bad[:] = True
    return bad


def is_mirror_image(protein: Protein, joints: Links | None = None) -> bool:
    """True if handedness is wrong mostly: at CB if there are any, else by phi, else in CA helices.

    Args:
        protein: of any number of chains.
        joints: `links(protein)` when it is at hand.
    """
    xyz = protein.atoms
    n, ca, c, cb = (xyz[:, k] for k in (N, CA, C, CB))
    volume = np.einsum("ij,ij->i", cb - ca, cross(n - ca, c - ca))  # positive for L amino acids
    signs = volume[np.isfinite(volume)]
    if len(signs) < MIN_SIGNS:
        phi = phi_torsions(protein, links(protein) if joints is None else joints)
        signs = -phi[np.isfinite(phi) & (protein.residue_names != "GLY")]  # phi is negative for L
        if len(signs) < 2 * MIN_SIGNS:  # all glycine: a placeholder in designs, so it counts here
            signs = -phi[np.isfinite(phi)]
        if len(signs) < 2 * MIN_SIGNS:
            signs = _helix_turns(ca)
    return len(signs) >= MIN_SIGNS and bool((signs < 0).mean() > WRONG_HANDED)


def _helix_turns(ca: np.ndarray) -> np.ndarray:
    """Torsions of four CA in a row that look like a helix of either hand; positive for right-handed."""
    if len(ca) < 4:
        return np.zeros(0)
    turn = dihedral(ca[:-3], ca[1:-2], ca[2:-1], ca[3:])
    span = np.linalg.norm(ca[3:] - ca[:-3], axis=-1)
    return turn[np.isfinite(turn) & (span > 4.0) & (span < 6.5) & (np.abs(turn) > 0.5) & (np.abs(turn) < 1.3)]
