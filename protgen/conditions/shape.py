"""Shape: how far from round a design is, the ellipsoid it fills, or a cloud of points it resembles."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, Condition, EnergyCondition
from protgen.conditions.files import checksum, confirm, structure_of
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import ca_of, check_number, pair_distances, parse_number
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.documents import number_in, read_table
from protgen.errors import DocumentError, ProtgenError, UsageError
from protgen.geometry.size import gyration_variances

QUANTILES = 64  # of the distribution of pair distances
MOST_POINTS = 2000  # of a cloud; beyond it every k-th is taken


@dataclass(frozen=True)
class Shape(EnergyCondition):
    """One of three: an asphericity, semi-axes of an ellipsoid, or a file of points.

    Points are compared by the distribution of distances of pairs of CA atoms and of pairs of points, which no rigid
    motion and no mirror changes (Osada et al. 2002, Shape Distributions, D2); its difference is the first Wasserstein
    distance, Å. An ellipsoid is compared by the semi-axes of the uniform one with the same variances, sqrt(5 v).

    Args:
        asphericity: 1 - 3 (v1 v2 + v2 v3 + v3 v1) / (v1 + v2 + v3)^2 of the variances v along the principal axes,
            0 for a ball and 1 for a rod (Rudnick and Gaspari 1986).
        ellipsoid: three semi-axes, Å.
        points: a CSV file with columns x, y, z (Å), or a structure file, whose CA atoms are taken.
        tolerance: largest difference that will do: 0.05 of asphericity, 10 % of each semi-axis, 1.5 Å of distances
            where not given.
        checksum: of the points; filled in, and checked where given.

    Raises:
        UsageError: unless one of the three is given and in range.
    """

    asphericity: float | None = None
    ellipsoid: tuple[float, float, float] | None = None
    points: str | None = None
    tolerance: float | None = None
    checksum: str = ""

    name: ClassVar[str] = "shape"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--shape", "Asphericity 0 to 1, semi-axes 18x12x10 (Å), or a file of points.", metavar="TEXT|FILE"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Nearly round."""
        return {"asphericity": 0.2}

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.asphericity, self.ellipsoid, self.points)) != 1:
            raise UsageError("shape: give one of asphericity, ellipsoid and points")
        if self.asphericity is not None:
            check_number(self.asphericity, "asphericity", 0.0, 1.0)
        if self.ellipsoid is not None:
            if isinstance(self.ellipsoid, str) or len(tuple(self.ellipsoid)) != 3:
                raise UsageError(f"ellipsoid {self.ellipsoid!r}: give three semi-axes in Å")
            for axis in self.ellipsoid:
                check_number(axis, "semi-axis of the ellipsoid", 1.0)
            object.__setattr__(self, "ellipsoid", tuple(sorted(float(axis) for axis in self.ellipsoid)))
        if self.points is not None:
            object.__setattr__(self, "points", str(self.points))
            found = checksum(read_points(str(self.points)))
            object.__setattr__(self, "checksum", confirm(self.checksum, found, str(self.points)))
        if self.tolerance is None:
            usual = 0.05 if self.asphericity is not None else 0.1 if self.ellipsoid is not None else 1.5
            object.__setattr__(self, "tolerance", usual)
        check_number(self.tolerance, "tolerance of the shape", 0.0)

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """A number (asphericity), `AxBxC` (semi-axes, Å), or the name of a file of points.

        Raises:
            UsageError: for anything else.
        """
        words = text.strip().split("x")
        if Path(text.strip()).is_file():
            return cls(points=text.strip())
        if len(words) == 3:
            a, b, c = (parse_number(word, "semi-axis of the ellipsoid", "18x12x10 (Å)") for word in words)
            return cls(ellipsoid=(a, b, c))
        return cls(asphericity=parse_number(text, "shape", "0.1 (asphericity), 18x12x10 (Å), or a file of points"))

    def conflicts_with(self, other: Condition) -> str | None:
        """A radius of gyration that the ellipsoid does not have."""
        if self.ellipsoid is None or not isinstance(other, RadiusOfGyration):
            return None
        assert self.tolerance is not None
        own = (sum(axis**2 for axis in self.ellipsoid) / 5) ** 0.5
        if abs(own / other.radius - 1) <= other.tolerance + self.tolerance:
            return None
        return (
            f"radius_of_gyration {other.radius:g} Å conflicts with the ellipsoid of shape, which has {own:.1f} Å; "
            "change one of them"
        )

    def adherence(self, structure: Any) -> Adherence:
        """Difference of asphericity, largest relative difference of a semi-axis, or distance of distributions in Å."""
        ca = torch.from_numpy(np.ascontiguousarray(ca_of(structure, self.name)))[None]
        mask = torch.ones(ca.shape[:2], dtype=torch.bool)
        assert self.tolerance is not None
        if self.points is not None:
            off = float((distance_quantiles(ca, mask) - target_quantiles(self.points)).abs().mean())
            return Adherence(self.name, self.points, f"{off:.2f} Å", off, off <= self.tolerance, self.tolerance)
        variances = gyration_variances(ca, mask)
        if self.ellipsoid is not None:
            axes = (5 * variances[0]).sqrt().tolist()
            off = max(abs(axis / asked - 1) for axis, asked in zip(axes, self.ellipsoid, strict=True))
            shown = [round(axis, 2) for axis in axes]
            return Adherence(self.name, list(self.ellipsoid), shown, off, off <= self.tolerance, self.tolerance)
        got = float(asphericity(variances))
        off = abs(got - (self.asphericity or 0.0))
        return Adherence(self.name, self.asphericity, round(got, 3), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Squared difference in Å^2 a residue, of semi-axes, of pair distances, or of asphericity times Rg."""
        ca, count = xyz[:, :, 1], mask.sum(-1)
        if self.points is not None:
            goal = target_quantiles(self.points).to(ca)
            return 2.0 * count * (distance_quantiles(ca, mask) - goal).square().mean(-1)
        variances = gyration_variances(ca, mask)
        if self.ellipsoid is not None:
            asked = torch.tensor(self.ellipsoid, dtype=ca.dtype, device=ca.device) / 5**0.5
            return 0.5 * count * ((variances + 1e-8).sqrt() - asked).square().sum(-1)
        off = asphericity(variances) - (self.asphericity or 0.0)
        return count * variances.sum(-1) * off.square()


def asphericity(variances: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
    """Relative shape anisotropy of the variances along the principal axes, 0 to 1."""
    a, b, c = variances.unbind(-1)
    return 1 - 3 * (a * b + b * c + c * a) / ((a + b + c).square() + 1e-8)


def distance_quantiles(x: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b q"]:
    """Quantiles of the distances of all pairs of points, Å: differentiable, invariant to rigid motions."""
    rows = []
    for points, real in zip(x, mask, strict=True):
        kept = points[real]
        i, j = torch.triu_indices(len(kept), len(kept), offset=1, device=x.device)
        ordered = pair_distances(kept[i], kept[j]).sort().values
        place = (torch.arange(QUANTILES, device=x.device) + 0.5) / QUANTILES * (len(ordered) - 1)
        low = place.floor().long().clamp(max=max(len(ordered) - 2, 0))
        high = (low + 1).clamp(max=len(ordered) - 1)
        rows.append(torch.lerp(ordered[low], ordered[high], (place - low).to(x.dtype)))
    return torch.stack(rows)


@functools.lru_cache(maxsize=16)
def target_quantiles(path: str) -> Float[Tensor, " q"]:
    """Quantiles of the distances of pairs of a file's points, Å."""
    points = torch.from_numpy(read_points(path))[None]
    return distance_quantiles(points, torch.ones(points.shape[:2], dtype=torch.bool))[0]


def read_points(path: str) -> Float[np.ndarray, "n 3"]:
    """Points of a CSV file with columns x, y, z, or the CA atoms of a structure file, Å.

    Raises:
        UsageError: if there are fewer than 4, or the file cannot be read.
    """
    if path.lower().endswith(".csv"):
        try:
            points = np.array([[number_in(row[axis]) for axis in "xyz"] for row in read_table(path)])
        except (DocumentError, ValueError, KeyError) as error:
            raise UsageError(
                f"{path}: cannot be read as points; a CSV file with columns x,y,z (Å) is needed"
            ) from error
    else:
        try:
            protein = structure_of(path)
        except ProtgenError as error:
            raise UsageError(f"points of the shape: {error}") from error
        points = protein.atoms[protein.mask[:, 1], 1]
    if len(points) < 4 or not np.isfinite(points).all():
        raise UsageError(f"{path}: has {len(points)} points; a shape needs at least 4, all finite")
    return np.ascontiguousarray(points[:: max(1, len(points) // MOST_POINTS)], dtype=np.float64)
