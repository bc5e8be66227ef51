"""Keep out: volumes no backbone atom may enter, such as a binding partner next to a motif, or a channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, Condition, EnergyCondition
from protgen.conditions.files import checksum, confirm, structure_of
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import backbone_of, check_number, pair_distances, parse_number
from protgen.conditions.roles import Assembly
from protgen.documents import number_in, read_table
from protgen.errors import DocumentError, UsageError

ATOM = 3.2  # Å: how near to an atom of a structure file no other atom may come; hydrogen bonds are 2.6 to 3.2 Å

Sphere = tuple[float, float, float, float]


@dataclass(frozen=True)
class KeepOut(EnergyCondition):
    """Spheres, or the atoms of a structure.

    They stand in the frame of the motif's or the partial structure's file where one is requested too, and
    designs are written in that frame; else the origin is the centre of the design's CA atoms.

    Args:
        spheres: (x, y, z, radius) each, Å.
        file: a CSV file with columns x, y, z, r, or a structure file, around whose backbone atoms 3.2 Å are kept.
        tolerance: how deep an atom may lie in, Å.
        checksum: of the file's spheres; filled in, and checked where given.

    Raises:
        UsageError: unless either is given, with positive radii.
    """

    spheres: tuple[Sphere, ...] = ()
    file: str | None = None
    tolerance: float = 0.2
    checksum: str = ""

    name: ClassVar[str] = "keep_out"
    invariant: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True
    in_frame: ClassVar[bool] = True
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--keep-out", "Spheres x,y,z,radius (Å), or a file of them or of atoms.", metavar="TEXT|FILE", many=True),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """A sphere near the origin."""
        return {"spheres": ((5.0, 0.0, 0.0, 6.0),)}

    def __post_init__(self) -> None:
        check_number(self.tolerance, "tolerance of the volumes to keep out of", 0.0)
        if isinstance(self.spheres, str) or not isinstance(self.spheres, Sequence):
            raise UsageError(f"keep_out: {self.spheres!r} are no spheres; give (x, y, z, radius) each")
        if bool(self.spheres) == (self.file is not None):
            raise UsageError("keep_out: give spheres or a file, one of the two")
        try:
            spheres = tuple(tuple(float(value) for value in sphere) for sphere in self.spheres)
        except (TypeError, ValueError):
            raise UsageError(f"keep_out: {self.spheres!r} are no spheres; give (x, y, z, radius) each") from None
        object.__setattr__(self, "spheres", spheres)
        if self.file is not None:
            object.__setattr__(self, "file", str(self.file))
        for sphere in self.table():
            if len(sphere) != 4 or not np.isfinite(sphere).all() or sphere[3] <= 0:
                raise UsageError(f"keep_out: {tuple(sphere)} is no sphere; give x, y, z and a positive radius in Å")
        if self.file is not None:
            found = checksum(self.table())
            object.__setattr__(self, "checksum", confirm(self.checksum, found, self.file))

    @classmethod
    def parse(cls, text: str) -> "KeepOut":
        """`x,y,z,r` spheres between blanks or semicolons, or the name of a file.

        Raises:
            UsageError: naming the sphere that cannot be read.
        """
        bare = text.strip()
        if bare.lower().endswith((".csv", ".pdb", ".cif", ".bcif", ".gz", ".ent")):
            return cls(file=bare)
        spheres = []
        for entry in bare.replace(";", " ").split():
            values = [parse_number(word, "keep_out", "0,0,0,5 (x,y,z,radius in Å)") for word in entry.split(",")]
            if len(values) != 4:
                raise UsageError(f"keep_out: cannot read {entry!r}; write x,y,z,radius in Å, or a file")
            spheres.append((values[0], values[1], values[2], values[3]))
        return cls(tuple(spheres))

    def conflicts_with(self, other: Condition) -> str | None:
        """An assembly: it is laid about its axis, and volumes would stay behind."""
        if not isinstance(other, Assembly):
            return None
        return f"keep_out and {other.name} {other.describe()} cannot be asked for together; leave one of them out"

    def table(self) -> Float[np.ndarray, "n 4"]:
        """Centres and radii, Å."""
        if self.file is None:
            return np.array(self.spheres, dtype=float)
        if self.file.lower().endswith(".csv"):
            try:
                rows = read_table(self.file)
                return np.array([[number_in(row[key]) for key in "xyzr"] for row in rows])
            except (DocumentError, ValueError, KeyError) as error:
                raise UsageError(
                    f"{self.file}: cannot be read as spheres; a CSV file with x,y,z,r is needed"
                ) from error
        protein = structure_of(self.file)
        atoms = protein.atoms[protein.mask]
        return np.concatenate([atoms, np.full((len(atoms), 1), ATOM)], axis=1)

    def adherence(self, structure: Any) -> Adherence:
        """How deep the deepest backbone atom lies in a volume, Å."""
        atoms = backbone_of(structure, self.name).reshape(-1, 3)
        table = self.table()
        depth = table[None, :, 3] - np.linalg.norm(atoms[:, None] - table[None, :, :3], axis=-1)
        off = max(0.0, float(depth.max()))
        inside = int((depth.max(1) > self.tolerance).sum())
        asked = f"{len(table)} spheres" if self.file is None else self.file
        got = f"{inside} atoms inside, {off:.2f} Å deep"
        return Adherence(self.name, asked, got, off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Half the squared depths of all atoms, Å^2: a step of weight 1 takes a lone atom out of a sphere."""
        table = torch.from_numpy(self.table()).to(xyz)
        atoms = xyz.flatten(1, 2)
        distance = pair_distances(atoms[:, :, None], table[None, None, :, :3])
        depth = (table[:, 3] - distance).clamp(min=0) * mask.repeat_interleave(4, dim=1)[..., None]
        return 0.5 * depth.square().sum((1, 2))
