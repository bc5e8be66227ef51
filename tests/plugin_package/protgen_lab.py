"""Parts for protgen that live outside it: one small working plug-in of most kinds."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Generator, Tensor, nn

from protgen.conditions.base import Adherence, EnergyCondition, LearnedCondition
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import check_number
from protgen.encoders.base import Encoder
from protgen.errors import ToolError, UsageError
from protgen.folding.base import CHAIN, Folded, StructurePredictor
from protgen.inverse_folding.base import InverseFolder
from protgen.metrics.base import Metric, Quantity
from protgen.nn.embedding import fourier_features
from protgen.samplers.base import Step, SteppingSampler
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import CA, Protein
from protgen.types import Batch, Conditioning, Features, State

UNIT = 50.0  # Å, of the learned feature
TIMES = 16  # features of the time


class MaxDimension(Metric[Protein]):
    """Largest distance between two CA atoms."""

    name = "max_dimension"
    requires = ("ca",)
    quantities = (Quantity("max_dimension", "Å", None, "largest distance between two CA atoms"),)
    labels = ("max_dimension_pair",)

    def measure(self, sample: Protein) -> dict[str, float | str]:
        """The distance, and the places of the two residues, counted from 1."""
        index = np.flatnonzero(sample.mask[:, CA])
        if len(index) < 2:
            return {"max_dimension": np.nan, "max_dimension_pair": ""}
        distances = pdist(sample.atoms[index, CA])
        rows, columns = np.triu_indices(len(index), 1)
        k = int(distances.argmax())
        return {
            "max_dimension": float(distances[k]),
            "max_dimension_pair": f"{index[rows[k]] + 1}-{index[columns[k]] + 1}",
        }


@dataclass(frozen=True)
class Span(EnergyCondition, LearnedCondition):
    """Largest distance between two CA atoms, as a request.

    Args:
        at_most: Å.
        tolerance: Å above it that will do.
    """

    at_most: float
    tolerance: float = 1.0

    name: ClassVar[str] = "span"
    requires: ClassVar[tuple[str, ...]] = ("atoms",)
    global_dim: ClassVar[int] = 2
    dropout: ClassVar[float | None] = 0.5
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--span", "Largest distance between two CA atoms, Å.", metavar="Å"),)

    def __post_init__(self) -> None:
        check_number(self.at_most, "span", 0.0)
        check_number(self.tolerance, "tolerance of the span", 0.0)

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """A little shorter than an ideal helix of 24 residues."""
        return {"at_most": 25.0}

    @classmethod
    def parse(cls, text: str) -> "Span":
        """A number of Å."""
        try:
            return cls(float(text))
        except ValueError:
            raise UsageError(f"span {text!r}: give a number such as 40 (Å)") from None

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the distance in the structure."""
        got = float(pdist(structure.atoms[:, CA]).max())
        excess = max(0.0, got - self.at_most)
        return Adherence(self.name, self.at_most, round(got, 3), excess, excess <= self.tolerance, self.tolerance)

    def energy(self, xyz: Tensor, mask: Tensor) -> Tensor:
        """Half the square of what the largest distance is above the request."""
        ca = xyz[:, :, CA]
        pairs = (ca[:, :, None] - ca[:, None]).square().sum(-1)
        pairs = torch.where(mask[:, :, None] & mask[:, None], pairs, torch.zeros_like(pairs))
        largest = (pairs.flatten(1).amax(-1) + 1e-8).sqrt()
        return 0.5 * (largest - self.at_most).clamp(min=0).square()

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """The distance where it is known."""
        ca = batch["atoms"][:, :, CA]
        pairs = torch.cdist(ca, ca) * (batch.mask[:, :, None] & batch.mask[:, None])
        given = (torch.rand(len(ca), generator=rng) >= cls.rate(dropout)).to(ca)
        return torch.stack([pairs.flatten(1).amax(-1) / UNIT * given, given], -1)

    @classmethod
    def unknown(cls, mask: Tensor) -> Tensor:
        """Free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Tensor) -> Tensor:
        """The request in the unit, and a flag."""
        return torch.tensor([self.at_most / UNIT, 1.0])


class LabMLP(Encoder):
    """A perceptron of each residue's own frame, that of x_pred, and the mean over the chain; no symmetry.

    Args:
        residue_dim, global_dim: widths of y.
        dim: width of the hidden layers.
    """

    symmetry = "none"
    reads = ("trans", "rots")
    vector_dim = 3

    def __init__(self, residue_dim: int, global_dim: int, dim: int = 64) -> None:
        super().__init__()
        self.scalar_dim = dim
        self.read = nn.Linear(12 + 12 + 1 + TIMES + residue_dim + global_dim, dim)
        self.mix = nn.Linear(2 * dim, dim)
        self.vectors = nn.Linear(dim, 9)

    @classmethod
    def example(cls) -> dict[str, Any]:
        """A narrow one."""
        return {"dim": 32}

    def forward(self, state: State, t: Tensor, cond: Conditioning, x_pred: State | None = None) -> Features:
        """Scalars (b, l, dim) and three vectors of each residue."""
        mask, dtype = state.mask, self.read.weight.dtype
        frames = [numbers(state), torch.zeros_like(numbers(state)) if x_pred is None else numbers(x_pred)]
        known = torch.full_like(t[:, None], float(x_pred is not None))
        each = [known, fourier_features(t * 1000, TIMES), cond.globals]
        each = torch.cat([part.to(dtype) for part in each], -1)[:, None].expand(-1, mask.shape[1], -1)
        h = torch.cat([*(x.to(dtype) for x in frames), cond.residue.to(dtype), each], -1)
        h = nn.functional.silu(self.read(h)) * mask[..., None]
        mean = h.sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        h = nn.functional.silu(self.mix(torch.cat([h, mean.expand_as(h)], -1))) * mask[..., None]
        return Features(h, self.vectors(h).unflatten(-1, (3, 3)) * mask[..., None, None])


def numbers(state: State) -> Tensor:
    """Position (in 10 Å) and axes of each frame: (b, l, 12)."""
    return torch.cat([state["trans"] / 10, state["rots"].flatten(-2)], -1)


class LabEuler(SteppingSampler):
    """Steps of equal length along the probability flow.

    Args:
        steps: number of steps.
    """

    def __init__(self, steps: int = 50) -> None:
        super().__init__(steps, rotation_rate=10.0, spacing=1.0, self_condition=True)

    def brownian(self, step: Step) -> tuple[float, float]:
        """Rotations follow the flow: no fresh noise."""
        return step.stds()[1], 0.0

    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """Keep the prediction and the noise that it implies."""
        alpha_t, sigma_t, alpha_s, sigma_s = step.flat()
        keep = sigma_s / sigma_t
        return keep * x + (alpha_s - alpha_t * keep) * x_pred


class HelixPredictor(StructurePredictor):
    """Predicts an ideal helix for every sequence, with the confidence it is given.

    Args:
        plddt: of every residue.
    """

    name = "lab_helix"

    def __init__(self, plddt: str = "90") -> None:
        self.plddt = float(plddt)

    @property
    def settings(self) -> dict[str, Any]:
        """The confidence."""
        return {"name": self.name, "plddt": self.plddt}

    def prepare(self) -> None:
        """There is nothing to check."""

    def fold(self, sequence: str) -> Folded:
        """A helix; chains are refused."""
        if CHAIN in sequence or not sequence:
            raise ToolError("lab_helix: one chain, please")
        return Folded(Protein.from_backbone(ideal_helix(len(sequence))), np.full(len(sequence), self.plddt))


class Alanine(InverseFolder):
    """Writes alanine, with leucine where the seed says."""

    name = "lab_alanine"

    @property
    def settings(self) -> dict[str, Any]:
        """Nothing but the name."""
        return {"name": self.name}

    def prepare(self) -> None:
        """There is nothing to check."""

    def design(self, protein: Protein, n: int, seed: int) -> list[str]:
        """n sequences."""
        rng = np.random.default_rng(seed)
        rows = ["".join(rng.choice(["A", "L"], protein.length)) for _ in range(n)]
        ends = np.flatnonzero(protein.chain_ids[1:] != protein.chain_ids[:-1]) + 1
        return [CHAIN.join("".join(part) for part in np.split(np.array(list(row)), ends)) for row in rows]
