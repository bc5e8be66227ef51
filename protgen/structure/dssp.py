"""Secondary structure by DSSP (Kabsch and Sander 1983) as mdtraj computes it, simplified to H, E and C.

Only N, CA, C and O are used, and every residue counts as having an amide hydrogen: designs have no sequence yet, and
natives must be judged by the same rule.
"""

import functools

import numpy as np

CODES = "CHE"  # index of a code is its label: 0 coil, 1 helix, 2 strand


@functools.lru_cache(maxsize=512)
def backbone_topology(chain_lengths: tuple[int, ...]):
    """mdtraj topology of glycines with N, CA, C, O, one chain for each length."""
    import mdtraj

    topology = mdtraj.Topology()
    elements = {name: mdtraj.element.Element.getBySymbol(name[0]) for name in ("N", "CA", "C", "O")}
    for length in chain_lengths:
        chain = topology.add_chain()
        for _ in range(length):
            residue = topology.add_residue("GLY", chain)
            for name, element in elements.items():
                topology.add_atom(name, element, residue)
    return topology


def assign_dssp(backbones: np.ndarray, chain_lengths: tuple[int, ...] | None = None) -> np.ndarray:
    """DSSP codes of structures of one composition.

    Args:
        backbones: (n, l, 4, 3) Å; N, CA, C, O. Residues with a NaN are left out of the assignment and called C.
        chain_lengths: lengths of the chains, in order; one chain of l residues by default.

    Returns:
        (n, l) array of "H", "E" or "C".
    """
    import mdtraj

    backbones = np.asarray(backbones, dtype=np.float32)
    n, length = backbones.shape[:2]
    complete = np.asarray(np.isfinite(backbones).all(axis=(2, 3)))
    if n > 1 and not complete.all():
        return np.concatenate([assign_dssp(one[None], chain_lengths) for one in backbones])
    result = np.full((n, length), "C")
    keep = complete[0] if n else np.ones(length, dtype=bool)
    chain = np.repeat(np.arange(len(chain_lengths or (1,))), chain_lengths or (length,))[keep]
    lengths = tuple(int(count) for count in np.unique(chain, return_counts=True)[1])
    if not n or not keep.any():
        return result
    xyz = backbones[:, keep].reshape(n, -1, 3) / 10  # mdtraj is in nm
    codes = mdtraj.compute_dssp(mdtraj.Trajectory(xyz, backbone_topology(lengths)), simplified=True)
    result[:, keep] = np.where((codes == "H") | (codes == "E"), codes, "C")
    return result


def to_labels(codes: np.ndarray) -> np.ndarray:
    """Labels (0 coil, 1 helix, 2 strand; uint8) of an array of codes."""
    return np.where(codes == "H", 1, np.where(codes == "E", 2, 0)).astype(np.uint8)


def to_string(labels: np.ndarray) -> str:
    """String of H, E and C of an array of labels."""
    return "".join(CODES[label] for label in labels)
