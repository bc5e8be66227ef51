"""AdamW for all weights, or Muon for the matrices of hidden layers and AdamW for the others.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") makes each update of a matrix
nearly orthogonal. Updates are scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training",
eq. 4).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from protgen.training.settings import TrainSettings
from protgen.training.sharding import divided_as, whole

SCALING = "match_rms_adamw"
MOMENTUM = 0.95  # of Muon, as torch has it
ADAM_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
MUON_MOMENTS = ("momentum_buffer",)
HIDDEN = 96  # rows and columns from which on a matrix is one of a hidden layer: inputs and outputs are narrower


def make_optimizer(module: nn.Module, settings: TrainSettings, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """The optimizer of a run; weight decay on matrices, none on biases, gains and tables of scalars.

    Each group of parameters has `scale`, its learning rate in units of that of AdamW.

    Args:
        module: whose weights are trained.
        settings: of the run.
        betas: of AdamW.
    """
    hidden = [] if settings.muon_lr is None else hidden_matrices(module)
    taken = {id(p) for p in hidden}
    others = [p for p in module.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": settings.weight_decay, "scale": 1.0},
        {"params": [p for p in others if p.ndim == 1], "weight_decay": 0.0, "scale": 1.0},
    ]
    numbers = [p for p in others if p.ndim == 0]
    if numbers:  # whole where the others are divided among processes, and one fused pass takes either kind
        groups.append({"params": numbers, "weight_decay": 0.0, "scale": 1.0})
    # Fused: one pass over all weights, a sixth of a step of a small model on a CPU.
    adam = torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)
    if not hidden or settings.muon_lr is None:
        return adam
    group = {"params": hidden, "scale": settings.muon_lr / settings.lr}
    decay = settings.weight_decay
    if isinstance(hidden[0], DTensor):
        return Together([DividedMuon(group, settings.muon_lr, decay), adam])
    return Together([torch.optim.Muon([group], lr=settings.muon_lr, weight_decay=decay, adjust_lr_fn=SCALING), adam])


def moments_by_parameter(optimizer: torch.optim.Optimizer) -> dict[int, tuple[str, ...]]:
    """The names of the tensors that an optimizer keeps for each parameter, by the parameter's `id`."""
    parts = optimizer.parts if isinstance(optimizer, Together) else (optimizer,)
    return {
        id(p): ADAM_MOMENTS if isinstance(part, torch.optim.AdamW) else MUON_MOMENTS
        for part in parts
        for group in part.param_groups
        for p in group["params"]
    }


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its learning rate, for a rate of AdamW."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """The weights of linear layers whose inputs and outputs are both wide."""
    linear = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear)}
    return [p for p in module.parameters() if id(p) in linear and min(p.shape) >= HIDDEN]


class Together(torch.optim.Optimizer):
    """Optimizers of disjoint sets of parameters as one.

    Args:
        parts: the optimizers; their groups and their states become those of this one.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([dict(group) for part in parts for group in part.param_groups], {})
        self.parts = tuple(parts)
        self.param_groups = [group for part in parts for group in part.param_groups]
        for part in parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each.

        Args:
            closure: none is taken; the loss is computed before.
        """
        assert closure is None
        for part in self.parts:
            part.step()


class DividedMuon(torch.optim.Optimizer):
    """Muon of matrices whose rows are divided among processes.

    Moments stay divided. An update needs the whole matrix: matrix by matrix it is gathered, each process makes it as
    torch's Muon does, and keeps its rows.

    Args:
        group: of parameters.
        lr: learning rate.
        weight_decay: of all.
    """

    def __init__(self, group: dict[str, Any], lr: float, weight_decay: float) -> None:
        super().__init__([group], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step.

        Args:
            closure: none is taken; the loss is computed before.
        """
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, group["lr"], group["weight_decay"])

    def move(self, p: nn.Parameter, lr: float, weight_decay: float) -> None:
        """Take the step of one matrix.

        Args:
            p: divided, with its gradient.
            lr: learning rate.
            weight_decay: of this step.
        """
        assert p.grad is not None
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p.grad)
        buffer = state["momentum_buffer"].lerp_(p.grad, 1 - MOMENTUM)
        matrix = nn.Parameter(whole(p.detach()))
        matrix.grad = whole(p.grad.lerp(buffer, MOMENTUM))
        one = torch.optim.Muon(
            [matrix], lr=lr, weight_decay=weight_decay, momentum=0.0, nesterov=False, adjust_lr_fn=SCALING
        )
        one.step()
        p.copy_(divided_as(p, matrix.detach()))
