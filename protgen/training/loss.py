"""The loss of a model on a batch of data, as a module: what a step descends."""

from collections.abc import Mapping

from torch import Generator, Tensor, nn

from protgen.models.model import Model
from protgen.types import Batch


class TrainingLoss(nn.Module):
    """The loss of a model on a batch of data.

    Args:
        model: the model.
        dropout: of conditions by name.
    """

    def __init__(self, model: Model, dropout: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.family = model.family  # a part of this module, which FSDP divides
        self.conditions = model.conditions
        self.dropout = model.conditions.dropouts(dropout or {})

    def forward(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        """The total and its named parts."""
        losses = self.model.loss(batch, rng, self.dropout)
        return {"loss": losses.total, **{f"loss_{name}": value for name, value in losses.terms.items()}}

    def begin(self, batch: Batch, rng: Generator) -> None:
        """Start weights that are taken from data."""
        cond = self.conditions.from_data(batch, rng, self.dropout)
        self.family.begin(self.family.space.encode(batch), cond, rng)
