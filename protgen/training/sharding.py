"""Weights, gradients, moments and averages divided among processes, by FSDP (`torch.distributed.fsdp.fully_shard`).

Each process holds a part of the rows of each weight. Within a step the weights of a block of an encoder are gathered
before their first use, and given up when the block's gradient is summed. They are not given up between the two passes:
self-conditioning passes some batches twice, and processes that gather at different times would wait for each other.

A weight without dimensions cannot be divided; each process holds it.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from protgen.device import widest
from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import Family
from protgen.models.model import Model
from protgen.training.loss import TrainingLoss
from protgen.training.processes import Processes

TORCH = (2, 13)  # the first release whose `fully_shard` adds up gradients of weights that some processes do not use
BLOCK = 2**16  # weights from which on a block is gathered by a message of its own


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; one that is divided must be asked for on all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_as(held: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, divided as another one is.

    Args:
        held: divided among processes, or not.
        tensor: in one piece, the same on all processes.
    """
    if not isinstance(held, DTensor):
        return tensor
    given = tensor.to(held.device)
    return distribute_tensor(given, held.device_mesh, held.placements, src_data_rank=None)


def require_divisible(family: Family) -> None:
    """Check that a family can be trained with divided weights.

    Raises:
        ConfigError: if it cannot, or torch is too old.
    """
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < TORCH:
        least = ".".join(map(str, TORCH))
        raise ConfigError(f"machine.sharding=fsdp needs torch {least} or later, and this is {torch.__version__}")
    if type(family).begin is not Family.begin:
        raise ConfigError(
            f"{type(family).__name__} takes its first weights from data, which machine.sharding=fsdp cannot divide; "
            "give machine.sharding=null"
        )


def blocks_of(family: Family) -> list[nn.Module]:
    """The blocks of a family's encoders that are gathered one by one; what is within another comes first.

    A family that differentiates within its loss has none: its weights are gathered together.

    Args:
        family: that is trained.
    """
    if family.adversarial:
        return []
    lists = [
        part
        for encoder in family.modules()
        if isinstance(encoder, Encoder)
        for part in encoder.modules()
        if isinstance(part, nn.ModuleList)
    ]
    found = {id(block): block for part in reversed(lists) for block in part}
    return [block for block in found.values() if sum(p.numel() for p in block.parameters()) >= BLOCK]


class Shards:
    """A model whose weights, gradients, moments and averages are divided among processes.

    Args:
        model: with the same weights on all processes; they are divided in place.
        loss: of that model.
        processes: all of a training.

    Attributes:
        loss: as given; to be called, as that gathers the weights.

    Raises:
        ConfigError: if the family cannot be trained so.
    """

    def __init__(self, model: Model, loss: TrainingLoss, processes: Processes) -> None:
        require_divisible(model.family)
        self.loss, self.processes, self.family = loss, processes, model.family
        known: dict[int, object] = {id(p): nothing_like(p) for p in model.family.parameters()}
        self._copy = replace(model, family=copy.deepcopy(model.family, known))  # buffers alone are copied
        self._numbers = [p for p in self.family.parameters() if not p.ndim]
        mesh = init_device_mesh(processes.device.type, (processes.count,))
        for block in blocks_of(self.family):
            fully_shard(block, mesh=mesh, reshard_after_forward=False, ignored_params=set(self._numbers))
        fully_shard(loss, mesh=mesh, reshard_after_forward=False, ignored_params=set(self._numbers))
        for part in loss.modules():
            if isinstance(part, FSDPModule):  # gradients are sums here and not means; gloo knows sums alone
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
                part.set_reduce_scatter_unused_params(True, recurse=False)
                # Itself, so nothing. By default a block gathers the one that passed before it: a process that passed a
                # batch twice would gather blocks that it has just given up.
                part.set_modules_to_backward_prefetch([part])
        self._used: set[str] = set()
        self._watched: dict[str, nn.Parameter] = {}

    def watch(self) -> None:
        """Note which weights get a gradient; to be called after each forward pass, when they are gathered.

        The sum over processes gives each weight a gradient. A weight that no batch of the step has used must have none:
        its moments and its decay then stay as they are.
        """
        for name, p in self.family.named_parameters():
            known = isinstance(p, DTensor) or self._watched.get(name) is p  # what is not gathered is not used
            if p.ndim and p.requires_grad and not known:
                self._watched[name] = p
                p.register_post_accumulate_grad_hook(lambda _, name=name: self._used.add(name))

    @torch.no_grad()
    def finish(self, clip: float) -> Tensor:
        """Take away gradients that are none, and shorten the others; returns the norm before.

        Args:
            clip: largest norm.
        """
        named = [(name, p) for name, p in self.family.named_parameters() if p.ndim]
        device = self.processes.device
        used = self.processes.add(torch.tensor([float(name in self._used) for name, _ in named], device=device))
        for (_, p), anywhere in zip(named, used.tolist(), strict=True):
            p.grad = p.grad if anywhere else None
        self._used.clear()
        self.processes.add_gradients(self._numbers)
        rows = [p.grad.to_local() for _, p in named if isinstance(p.grad, DTensor)]
        numbers = [p.grad for p in self._numbers if p.grad is not None]
        square = torch.nn.utils.get_total_norm(rows).to(widest(device)).square()
        square = self.processes.add(square.to(device))
        norm = (square + torch.nn.utils.get_total_norm(numbers).to(square).square()).sqrt().float()
        shorter = torch.clamp(clip / (norm + 1e-6), max=1.0)
        for gradient in (*rows, *numbers):
            gradient.mul_(shorter)
        return norm

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors in one piece, one after another, in the memory of the first process; nothing on the others.

        Args:
            tensors: of the same names on all processes, all of which must call this.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            full = whole(tensor.detach())
            if self.processes.is_first:
                found[name] = full.to("cpu", copy=full is tensor)
        return found

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[Model]:
        """The model in one piece, in evaluation mode, with these weights; they are let go of afterwards.

        Args:
            weights: by name; none on processes that have no use for the model.
        """
        yield self.undivided(weights) if weights else self._copy
        let_go(self._copy.family)

    def undivided(self, weights: Mapping[str, Tensor]) -> Model:
        """The model in one piece with these weights, in evaluation mode.

        Args:
            weights: by name.
        """
        device = self.processes.device
        self._copy.family.load_state_dict({name: x.to(device) for name, x in weights.items()}, assign=True)
        self._copy.family.eval()
        return self._copy


def nothing_like(p: nn.Parameter) -> nn.Parameter:
    """A weight of that shape without memory."""
    return nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)


def let_go(module: nn.Module) -> None:
    """Give up the memory of weights."""
    for part in module.modules():
        for name, p in part.named_parameters(recurse=False):
            setattr(part, name, nothing_like(p))
