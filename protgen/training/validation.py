"""The validation loss: always the same examples and noise, so that two numbers differ by the model alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator

from protgen.data.dataset import LengthBuckets, collate
from protgen.data.store import Store
from protgen.models.model import Model
from protgen.training.step import weight_of
from protgen.types import Batch

Evaluator = Callable[[Model, int, Path | None], Mapping[str, float]]


@dataclass(frozen=True)
class Validation:
    """What the training loop calls at every validation: `validation(model, step, run)`.

    Attributes:
        store: where the validation split is.
        max_pairs_per_batch: most residue pairs of a batch.
        batches: number of batches.
        seed: of the choice of batches and of their noise.
        evaluator: a further look at the model, for instance at samples; its figures join the loss.
    """

    store: Store
    max_pairs_per_batch: int = 100_000
    batches: int = 8
    seed: int = 0
    evaluator: Evaluator | None = None

    def __call__(self, model: Model, step: int, run: Path | None) -> dict[str, float]:
        """Figures for the curves; a store without a validation split gives no loss."""
        found = validation_loss(model, self.store, self.max_pairs_per_batch, self.batches, self.seed)
        if self.evaluator is not None:
            found |= self.evaluator(model, step, run)
        return found


@torch.no_grad()
def validation_loss(model: Model, store: Store, max_pairs: int, batches: int, seed: int) -> dict[str, float]:
    """Mean loss and parts over the first batches of the validation split, named `validation_...`.

    Args:
        model: in evaluation mode.
        store: where the validation split is.
        max_pairs: most residue pairs of a batch.
        batches: how many batches at the most.
        seed: of the choice of batches and of their noise.
    """
    indices = store.indices("validation")
    if not len(indices):
        return {}
    chosen = LengthBuckets(store.lengths[indices], max_pairs, seed).epoch(0)[:batches]
    return mean_losses(model, (collate([store[int(i)] for i in indices[rows]]) for rows in chosen), seed)


@torch.no_grad()
def mean_losses(model: Model, batches: Iterable[Batch], seed: int) -> dict[str, float]:
    """Mean loss and parts over batches, as of one batch, named `validation_...`; nothing for no batch.

    Args:
        model: in evaluation mode.
        batches: always the same ones.
        seed: of their noise.
    """
    device = next(model.family.parameters()).device
    sums: dict[str, float] = {}
    count = 0
    for number, given in enumerate(batches):
        rng = Generator().manual_seed(seed * 1_000_003 + number)
        batch = given.to(device)
        weight = weight_of(model.family, batch)
        losses = model.loss(batch, rng)
        terms = {"validation_loss": losses.total}
        terms |= {f"validation_{name}": value for name, value in losses.terms.items()}
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value) * weight
        count += weight
    return {name: value / count for name, value in sums.items()}
