"""Secondary structure by DSSP (Kabsch & Sander, Biopolymers 22, 2577, 1983), simplified to H, E and C, by mdtraj.

This is the one assignment: `dssp` for a protein, `assign_dssp` for coordinates. Both use N, CA, C and O, cut chains
where C-N exceeds 2.5 Å, and give proline no amide hydrogen where the sequence is known. Every other residue has one:
designs have no sequence yet.
"""

import functools

import numpy as np

from protgen.structure.angles import distance
from protgen.structure.protein import BACKBONE, C, N, Protein

CODES = "CHE"  # index of a code is its label: 0 coil, 1 helix, 2 strand
UNASSIGNED = "-"  # of a residue that lacks an atom the method needs
CUT = 2.5  # Å, C-N: where DSSP itself cuts a chain
_ANGSTROM_PER_NM = 10.0
_FEWEST = 3  # residues; fewer have no hydrogen bond that counts


def dssp(protein: Protein) -> str:
    """Simplified DSSP of the residues with a whole backbone.

    Residues with a missing atom are left out: on NaN coordinates mdtraj returns ordinary codes.

    Returns:
        A string of length l over H, E, C and "-" (a residue that lacks an atom).

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> dssp(Protein.from_backbone(ideal_helix(8)))
        'CHHHHHHC'
    """
    return "".join(_codes(protein.backbone, protein.chain_ids, protein.residue_names == "PRO"))


def assign_dssp(backbones: np.ndarray, chain_lengths: tuple[int, ...] | None = None) -> np.ndarray:
    """DSSP codes of coordinates alone, without a sequence.

    Args:
        backbones: (n, l, 4, 3) Å; N, CA, C, O. Residues with a NaN are left out of the assignment and called C.
        chain_lengths: lengths of the chains, in order; one chain of l residues by default.

    Returns:
        (n, l) array of "H", "E" or "C".
    """
    n, length = backbones.shape[:2]
    lengths = (length,) if chain_lengths is None else chain_lengths
    chains, none = np.repeat(np.arange(len(lengths)), lengths), np.zeros(length, dtype=bool)
    codes = np.array([_codes(np.asarray(one), chains, none) for one in backbones]).reshape(n, length)
    return np.where(codes == UNASSIGNED, "C", codes)


def _codes(backbone: np.ndarray, chains: np.ndarray, prolines: np.ndarray) -> np.ndarray:
    """(l,) codes of one structure.

    Args:
        backbone: (l, 4, 3) Å.
        chains: (l,) chain of each residue, any labels.
        prolines: (l,) bool.
    """
    whole = np.asarray(np.isfinite(backbone[:, BACKBONE]).all(axis=(1, 2)))
    codes = np.full(len(backbone), UNASSIGNED)
    if whole.sum() < _FEWEST:
        codes[whole] = "C"
        return codes
    import mdtraj

    xyz = backbone[whole].astype(np.float64)
    segments = segments_of(xyz, chains[whole])
    topology = _topology(segments.tobytes(), prolines[whole].tobytes())
    atoms = xyz.reshape(-1, 3)
    centred = (atoms - atoms.mean(axis=0)) / _ANGSTROM_PER_NM  # float32 loses digits far from the origin
    codes[whole] = mdtraj.compute_dssp(mdtraj.Trajectory(centred[None].astype(np.float32), topology))[0]
    return codes


def segments_of(backbone: np.ndarray, chains: np.ndarray) -> np.ndarray:
    """(l,) number of the segment of each residue: a chain, or a part of it up to a cut.

    Args:
        backbone: (l, 4, 3) Å, finite.
        chains: (l,) chain of each residue, any labels.
    """
    cuts = (chains[1:] != chains[:-1]) | ~(distance(backbone[1:, N], backbone[:-1, C]) <= CUT)
    return np.concatenate([[0], np.cumsum(cuts)])


@functools.lru_cache(maxsize=512)
def _topology(segments: bytes, prolines: bytes):
    """mdtraj topology of a backbone; designs of one length share it, which halves the time of an assignment.

    Args:
        segments: of (l,) int64, the segment of each residue.
        prolines: of (l,) bool.
    """
    import mdtraj

    topology = mdtraj.Topology()
    elements = {name: mdtraj.element.Element.getBySymbol(name[0]) for name in ("N", "CA", "C", "O")}
    chain, current = None, None
    for segment, proline in zip(np.frombuffer(segments, np.int64), np.frombuffer(prolines, bool), strict=True):
        if chain is None or segment != current:
            chain, current = topology.add_chain(), segment
        residue = topology.add_residue("PRO" if proline else "ALA", chain)
        for name, element in elements.items():
            topology.add_atom(name, element, residue)
    return topology


def to_labels(codes: np.ndarray) -> np.ndarray:
    """Labels (0 coil, 1 helix, 2 strand; uint8) of an array of codes."""
    return np.where(codes == "H", 1, np.where(codes == "E", 2, 0)).astype(np.uint8)


def to_string(labels: np.ndarray) -> str:
    """String of H, E and C of an array of labels."""
    return "".join(CODES[label] for label in labels)
