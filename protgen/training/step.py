"""One optimizer step over several batches: its gradient is that of all of them as one batch.

The loss of a family is a mean, over the examples of a batch or over their positions (`Family.mean_over`). The loss of a
step is the mean of its batches' losses, weighted by these numbers. Batch k of step s draws its noise from (seed, s, k)
alone, whichever process it falls to.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from protgen.device import widest
from protgen.errors import ConfigError
from protgen.families.base import ClosedFormFamily, Family
from protgen.models.model import Model
from protgen.training.loss import TrainingLoss
from protgen.training.processes import Processes
from protgen.training.settings import TrainSettings
from protgen.training.sharding import Shards
from protgen.types import Batch


def step_generator(seed: int, step: int, number: int = 0) -> Generator:
    """The random stream of one batch of a training step.

    Args:
        seed: of the run.
        step: from 0.
        number: of the batch within the step.
    """
    return Generator().manual_seed((seed * 1_000_003 + step * 1_009 + number) % 2**63)


def weight_of(family: Family, batch: Batch) -> int:
    """What the loss of a batch is a mean over: the number of its examples or of their positions."""
    if family.mean_over == "examples":
        return len(batch.mask)
    return int(family.space.encode(batch).mask.sum())


class TrainingStep:
    """Optimizer steps of a model.

    Args:
        model: what is trained, on its device.
        optimizer: of its weights.
        settings: of the run.
        processes: those that share the batches of a step.
        shards: of the model, where its weights are divided among the processes; else None.

    Raises:
        ConfigError: if they cannot share them.
    """

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        processes: Processes,
        shards: Shards | None = None,
    ) -> None:
        self.shards = shards
        self.loss = TrainingLoss(model, settings.dropout) if shards is None else shards.loss
        self.family, self.optimizer, self.settings, self.processes = model.family, optimizer, settings, processes
        self.mine = processes.share(settings.accumulate)
        if processes.count > 1 and isinstance(model.family, ClosedFormFamily):
            raise ConfigError("a family that is fitted in closed form takes one process; give machine.devices=1")

    def begin(self, first: Batch) -> None:
        """Start weights that are taken from data, before the first step of a run whose steps take several batches.

        Args:
            first: batch of the run, on all processes.
        """
        self.loss.begin(first.to(self.processes.device), step_generator(self.settings.seed, 0))

    def __call__(self, batches: Sequence[Batch], step: int) -> list[dict[str, float]]:
        """One optimizer step; a step whose gradient is not finite is left out.

        Args:
            batches: this process's share, in the order of `mine`.
            step: from 0.

        Returns:
            For each batch of the step, also those of other processes, its loss and the parts of it, `grad_norm` of the
            whole step, and `share`: its weight in the step, all of them 1 together.
        """
        self.optimizer.zero_grad(set_to_none=True)
        given = [batch.to(self.processes.device) for batch in batches]
        weights = self.weights(given)
        buffers = Buffers(self.family) if self.settings.accumulate > 1 else None
        found: dict[int, dict[str, float]] = {}
        for k, batch in zip(self.mine, given, strict=True):
            losses = self.loss(batch, step_generator(self.settings.seed, step, k))
            if self.shards is not None:
                self.shards.watch()
            total = losses["loss"]
            if total.requires_grad:  # that of a family fitted in closed form has nothing to descend
                (total if len(weights) == 1 else total * (weights[k] / sum(weights))).backward()
            if buffers is not None:
                buffers.take(weights[k])
            found[k] = {name: float(value.detach()) for name, value in losses.items()}
        if buffers is not None:
            buffers.settle(sum(weights), self.processes)
        norm = self.clipped_norm()
        if torch.isfinite(norm):
            self.optimizer.step()
        more = [{"grad_norm": float(norm), "share": weight / sum(weights)} for weight in weights]
        return [terms | more[k] for k, terms in enumerate(self.of_all(found))]

    def clipped_norm(self) -> Tensor:
        """The norm of the step's gradient, which is summed over all processes and then clipped."""
        if self.shards is not None:
            return self.shards.finish(self.settings.clip)
        self.processes.add_gradients(self.family.parameters())
        return torch.nn.utils.clip_grad_norm_(self.family.parameters(), self.settings.clip)

    def weights(self, batches: Sequence[Batch]) -> list[int]:
        """The weight of each batch of the step, also of those of other processes."""
        if self.settings.accumulate == 1:
            return [1]
        own = torch.zeros(self.settings.accumulate, dtype=torch.int64, device=self.processes.device)
        for k, batch in zip(self.mine, batches, strict=True):
            own[k] = weight_of(self.family, batch)
        return self.processes.add(own).tolist()

    def of_all(self, found: Mapping[int, Mapping[str, float]]) -> list[dict[str, float]]:
        """The loss and its parts of each batch, from all processes.

        Args:
            found: those of this process, by the number of the batch.
        """
        names = list(next(iter(found.values())))
        device = self.processes.device
        table = torch.zeros(self.settings.accumulate, len(names), dtype=widest(device), device=device)
        for k, terms in found.items():
            table[k] = torch.tensor([terms[name] for name in names], dtype=table.dtype)
        return [dict(zip(names, row, strict=True)) for row in self.processes.add(table).tolist()]


def mean_terms(batches: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The loss of a step and its parts, as means over its batches.

    Args:
        batches: as `TrainingStep` gives them.
    """
    names = [name for name in batches[0] if name not in ("share", "grad_norm")]
    means = {name: sum(terms["share"] * terms[name] for terms in batches) for name in names}
    return means | {"grad_norm": batches[0]["grad_norm"]}


class Buffers:
    """Counters and running statistics of a family over a step of several batches.

    Each batch starts from those of the step before. The step ends with their weighted mean: a counter of steps has gone
    up by one, and a running mean has moved to the mean of all. A family that is fitted in closed form adds batch to
    batch.

    Args:
        family: whose buffers are looked after; they are those of the step before.
    """

    def __init__(self, family: Family) -> None:
        closed = isinstance(family, ClosedFormFamily)
        self.held: dict[str, Tensor] = {} if closed else dict(family.named_buffers())
        self.before = {name: value.clone() for name, value in self.held.items()}
        self.moved: dict[str, Any] = {name: torch.zeros_like(x, dtype=_wide(x)) for name, x in self.held.items()}

    @torch.no_grad()
    def take(self, weight: int) -> None:
        """Note what one batch has made of them, and go back.

        Args:
            weight: of the batch.
        """
        for name, value in self.held.items():
            self.moved[name] += weight * (value.to(_wide(value)) - self.before[name])
            value.copy_(self.before[name])

    @torch.no_grad()
    def settle(self, total: int, processes: Processes) -> None:
        """Take the mean of all batches.

        Args:
            total: of the weights.
            processes: those that share the batches.
        """
        for name, value in self.held.items():
            value.copy_(self.before[name] + processes.add(self.moved[name]) / total)


def _wide(x: Tensor) -> torch.dtype:
    return widest(x.device)
