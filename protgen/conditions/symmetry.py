"""Symmetry: copies of one chain about an axis (Cn) or about an axis and two-fold axes across it (Dn)."""

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import check_number
from protgen.conditions.roles import Assembly
from protgen.errors import UsageError
from protgen.geometry.superposition import best_rotation

MOST_COPIES = 24
POLYHEDRAL = ("T", "O", "I", "TETRAHEDRAL", "OCTAHEDRAL", "ICOSAHEDRAL")  # RFdiffusion takes these words too
MOST_REORDERED = 6  # chains whose orders are all tried where the file's own order does not fit


@dataclass(frozen=True)
class Symmetry(Condition, Assembly):
    """A point group; a length requested with it is that of one chain.

    Args:
        group: C2, C3, ... or D2, D3, ...
        tolerance: largest RMSD of N, CA, C from the nearest perfectly symmetric assembly, Å.

    Raises:
        UsageError: for another group.

    Examples:
        >>> Symmetry("d2").copies
        4
    """

    group: str
    tolerance: float = 0.1

    name: ClassVar[str] = "symmetry"
    whole_assembly: ClassVar[bool] = True
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--symmetry", "C2, C3, ... or D2, D3, ...", metavar="GROUP"),)

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Four copies about three axes."""
        return {"group": "D2"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", str(self.group).strip().upper())
        if self.group in POLYHEDRAL:
            raise UsageError(
                f"symmetry {self.group!r}: tetrahedral, octahedral and icosahedral cages are not offered; choose C2 to "
                f"C{MOST_COPIES} or D2 to D{MOST_COPIES // 2}, such as C3, the trimer that a cage of group T is made of"
            )
        found = re.fullmatch(r"([CD])([0-9]{1,2})", self.group, flags=re.ASCII)
        if not found or int(found.group(2)) < 2 or self.copies > MOST_COPIES:
            raise UsageError(f"symmetry {self.group!r}: choose C2 to C{MOST_COPIES} or D2 to D{MOST_COPIES // 2}")
        check_number(self.tolerance, "tolerance of the symmetry", 0.0)

    @classmethod
    def parse(cls, text: str) -> "Symmetry":
        """The name of a group.

        Raises:
            UsageError: for another.
        """
        return cls(text)

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """Copies are made together where the model can, else those of one chain are laid about the axes."""
        return frozenset({"construction"} | ({"assembly"} if model.assemblies else set()))

    def describe(self) -> str:
        """The group."""
        return self.group

    @property
    def fold(self) -> int:
        """n of Cn or Dn."""
        return int(self.group[1:])

    @property
    def copies(self) -> int:
        """Number of chains."""
        return self.fold * (2 if self.group[0] == "D" else 1)

    def operations(self) -> np.ndarray:
        """(copies, 3, 3) rotations of the group, the identity first: n about z, then each after a half turn about x."""
        angles = 2 * math.pi * np.arange(self.fold) / self.fold
        turns = np.zeros((self.fold, 3, 3))
        turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angles)
        turns[:, 1, 0], turns[:, 0, 1] = np.sin(angles), -np.sin(angles)
        turns[:, 2, 2] = 1.0
        if self.group[0] == "C":
            return turns
        return np.concatenate([turns, turns @ np.diag([1.0, -1.0, -1.0])])

    def adherence(self, structure: Any) -> Adherence:
        """RMSD to the nearest perfectly symmetric assembly of the chains, Å."""
        chains = [structure.backbone[structure.chain_ids == chain][:, :3] for chain in structure.chains]
        if len(chains) != self.copies:
            raise UsageError(f"{structure.name}: {self.group} has {self.copies} chains, the structure {len(chains)}")
        lengths = {len(chain) for chain in chains}
        if len(lengths) != 1:
            raise UsageError(f"{structure.name}: the chains of {self.group} have different lengths {sorted(lengths)}")
        stacked = np.stack([chain.reshape(-1, 3) for chain in chains])
        if not np.isfinite(stacked).all():
            raise UsageError(f"{structure.name}: symmetry needs N, CA and C of every residue, and some are missing")
        off = symmetry_rmsd(stacked, self.operations())
        if off > self.tolerance and self.copies <= MOST_REORDERED:
            for order in itertools.permutations(range(1, self.copies)):
                off = min(off, symmetry_rmsd(stacked[[0, *order]], self.operations()))
                if off <= self.tolerance:
                    break
        got = {"rmsd": round(off, 4)}
        return Adherence(self.name, self.group, got, off, off <= self.tolerance, self.tolerance)


def symmetry_rmsd(copies: np.ndarray, operations: np.ndarray) -> float:
    """RMSD of copies (n, p, 3) from the nearest assembly that the operations (n, 3, 3) map onto itself in this order.

    The group's orientation Q solves S_g Q = Q R_g in the least-squares sense, with S_g the rotation that lays copy 0
    on copy g; the solutions form a linear space, in which a proper rotation is looked for. Then the protomer and Q are
    each fitted to the other.
    """
    centred = copies - copies.mean((0, 1))
    found = np.stack([rotation_onto(centred[0] - centred[0].mean(0), copy - copy.mean(0)) for copy in centred])
    eye = np.eye(3)
    rows = [np.kron(s, eye) - np.kron(eye, r.T) for s, r in zip(found, operations, strict=True)]
    _, values, vt = np.linalg.svd(np.concatenate(rows))
    space = vt[values <= max(values[-1] + 0.3, 0.3)]
    rng = np.random.default_rng(0)
    best = math.inf
    for _ in range(8):
        q = nearest_rotation((rng.standard_normal(len(space)) @ space).reshape(3, 3))
        for _ in range(20):
            axes = q @ operations
            protomer = np.einsum("gji,gpj->pi", axes, centred) / len(axes)
            ideal = np.einsum("gij,pj->gpi", axes, protomer)
            off = float(np.sqrt(np.square(ideal - centred).sum(-1).mean()))
            if off > best - 1e-9:
                break
            best = off
            model = np.einsum("gij,pj->gpi", operations, protomer).reshape(-1, 3)
            q = rotation_onto(model, centred.reshape(-1, 3))
    return best


def rotation_onto(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation that superposes points about the origin on others, (p, 3) each."""
    return best_rotation((mobile.T @ target)[..., None])[..., 0]


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The proper rotation nearest to a 3 x 3 matrix: the one that superposes the unit vectors on its columns."""
    return best_rotation(matrix.T[..., None])[..., 0]
