"""The processes of a training: one, or several that share the batches of each step.

Lightning's Fabric starts them or finds those that torchrun has started, and chooses the device of each. What they tell
each other is here: sums of gradients and losses, and decisions that all take together.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta

import torch
from torch import Tensor, nn

from protgen.device import widest
from protgen.errors import ConfigError, UsageError
from protgen.training.settings import Machine

# What the programs that start a process on each node set for it: torchrun, srun (not the script of sbatch), mpirun; or
# who starts them by hand.
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "NODE_RANK")
PATIENCE = timedelta(hours=6)  # of a process for the others: the first one validates and writes while they wait


class Processes:
    """The processes of a training, as one of them sees them.

    Args:
        count: how many there are.
        rank: number of this one.
        device: of this one.
        sharded: whether several processes divide the weights among them.
    """

    def __init__(self, count: int, rank: int, device: torch.device, sharded: bool = False) -> None:
        self.count, self.rank, self.device, self.sharded = count, rank, device, sharded

    @property
    def is_first(self) -> bool:
        """Whether this process writes, validates and logs."""
        return self.rank == 0

    def share(self, batches: int) -> range:
        """Which of a step's batches are this process's.

        Args:
            batches: of a step.

        Raises:
            ConfigError: if they cannot be shared evenly.
        """
        if batches % self.count:
            raise ConfigError(
                f"train.accumulate is {batches}, and {self.count} processes share the batches of a step; give a "
                f"multiple of {self.count}"
            )
        return range(self.rank, batches, self.count)

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over all processes, in one message; a weight that no process used keeps none.

        A weight that a step does not use is left alone by the optimizer, by its moments and its decay. So it matters
        which have no gradient, and all processes must say the same.

        Args:
            parameters: the same on all processes, in the same order.
        """
        if self.count == 1:
            return
        known = list(parameters)
        used = torch.tensor([float(p.grad is not None) for p in known], device=self.device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
        total = self.add(torch.cat([used, *(part.reshape(-1) for part in parts)]))
        place = len(known)
        for p, anywhere in zip(known, total[: len(known)].tolist(), strict=True):
            p.grad = total[place : place + p.numel()].view_as(p).to(p.dtype) if anywhere else None
            place += p.numel()

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all of them must ask."""
        return flag if self.count == 1 else bool(self.add(torch.tensor(float(flag), device=self.device)))

    def first(self, value: float) -> float:
        """The value of the first process; all of them must ask."""
        if self.count == 1:
            return value
        own = value if self.is_first else 0.0
        return float(self.add(torch.tensor(own, device=self.device, dtype=widest(self.device))))

    def copy_first(self, module: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""
        if self.count > 1:
            for value in module.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def require_same(self, step: int, run: object) -> None:
        """Check that all processes begin at the same step.

        Raises:
            UsageError: if they do not: they do not see the same folder.
        """
        if self.any(step != self.first(step)):
            raise UsageError(
                f"{run}: the processes begin at different steps; put run= on a file system that all nodes share"
            )


def launched(machine: Machine) -> Processes:
    """The processes of a machine, started; under torchrun those that it has started.

    Args:
        machine: where to train.

    Raises:
        ConfigError: if there are several nodes, and nothing that starts the processes of all.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    require_launcher(machine)
    devices, nodes = layout(machine)
    several = nodes > 1 or devices not in (1, "1")
    # Of the strategy only the start of the processes is used: gradients are added by `Processes.add_gradients`.
    strategy = DDPStrategy(timeout=PATIENCE) if several else "auto"
    fabric = Fabric(accelerator=machine.accelerator, devices=devices, num_nodes=nodes, strategy=strategy)
    # Where another node never comes the wait has no end, and within it no handler of Python's runs: a signal ends it.
    with plain_signals() if nodes > 1 else contextlib.nullcontext():
        fabric.launch()
    sharded = machine.sharding is not None and fabric.world_size > 1
    return Processes(fabric.world_size, fabric.global_rank, fabric.device, sharded)


def require_launcher(machine: Machine) -> None:
    """Refuse several nodes where this process was started by hand: it would wait for the others for ever.

    Raises:
        ConfigError: with how to start them.
    """
    if machine.nodes > 1 and not any(name in os.environ for name in LAUNCHERS):
        raise ConfigError(
            f"machine.nodes={machine.nodes}: nothing has started the processes of the other nodes; run "
            f"torchrun --nnodes={machine.nodes} on each, in place of machine.nodes"
        )


@contextlib.contextmanager
def plain_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process at once, as they do without handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def layout(machine: Machine) -> tuple[int | str, int]:
    """Processes on each node, and the number of nodes."""
    if not under_torchrun():
        return machine.devices, machine.nodes
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here


def under_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first_process() -> bool:
    """Whether this process is the first of its training, or the only one; known before they are started."""
    if under_torchrun():
        return os.environ["RANK"] == "0"
    # Fabric starts the others with these.
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
