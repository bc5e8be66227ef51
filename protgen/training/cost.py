"""What a training will cost: time, memory and disk, from a few real steps of a copy of the model."""

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from protgen.data.dataset import StoreBatches
from protgen.device import pick_device
from protgen.models.model import Model
from protgen.training.batches import Batches, source_of
from protgen.training.checkpoint import moments_of, newest_checkpoint, step_of
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.optimizers import make_optimizer
from protgen.training.processes import Processes, layout
from protgen.training.settings import Machine, TrainSettings
from protgen.training.step import TrainingStep
from protgen.types import Batch

TIMED = 5  # steps
LONGEST = 10.0  # s of timed steps, after which no further one is begun
MOST_BATCHES = 4  # of a timed step; those of a larger one are reckoned from these


@dataclass(frozen=True)
class Cost:
    """What a training will cost, validations and their samples aside.

    Attributes:
        steps: that are to be done.
        seconds: of a step, the median of those timed.
        hours: of all steps, or the limit of the run where that is less.
        memory: bytes at the peak, of this process or, on a GPU, of its tensors there; None where the system does not
            say.
        checkpoint: bytes of one checkpoint.
        disk: bytes of those kept and of one that is being written.
    """

    steps: int
    seconds: float
    hours: float
    memory: int | None
    checkpoint: int
    disk: int

    def in_words(self) -> str:
        """In one line."""
        memory = "memory unknown" if self.memory is None else f"{self.memory / 1e9:.2f} GB of memory"
        minutes = 60 * self.hours
        short = f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
        long = f"{self.hours:.1f} h" if self.hours >= 1 else short
        return (
            f"Cost: about {long} ({self.steps:,} steps of {self.seconds:.3g} s; validations come on top), {memory}, "
            f"{self.disk / 1e6:,.0f} MB of checkpoints ({self.checkpoint / 1e6:,.1f} MB each)"
        )


def estimate_cost(
    model: Model,
    batches: Batches,
    settings: TrainSettings,
    *,
    run: Path | None = None,
    machine: Machine | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Cost:
    """Time a few steps on a copy of a model; the model and all random streams stay as they are.

    The first step is not timed. It takes the batch of a store with most residue pairs, which has the peak of memory.

    Args:
        model: what is to be trained.
        batches: as `train` takes them; an iterable is read from its beginning, so it must not be an iterator.
        settings: of the run.
        run: its folder; the steps of its last checkpoint are done. None for none.
        machine: where to train.
        clock: of seconds.

    Raises:
        DataError: if there are no batches.
    """
    machine = machine or Machine()
    devices, nodes = layout(machine)
    share = -(-settings.accumulate // (int(devices) * nodes if str(devices).isdecimal() else 1))
    small = replace(settings, accumulate=min(share, MOST_BATCHES))
    device = device_of(machine.accelerator)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.random.fork_rng(devices=[]):
        trial = Trial(replace(model, family=copy.deepcopy(model.family)), small, device)
        seconds = trial.seconds(source_of(batches, settings), clock) * share / small.accumulate
    newest = None if run is None else newest_checkpoint(run)
    steps = max(0, settings.steps - (0 if newest is None else step_of(newest) or 0))
    hours = steps * seconds / 3600
    if settings.minutes is not None:
        hours = min(hours, settings.minutes / 60)
    size = trial.checkpoint_bytes()
    return Cost(steps, seconds, hours, peak_memory(device), size, size * (settings.keep + 1))


class Trial:
    """A training that is thrown away.

    Args:
        model: a copy.
        settings: of the run, with the batches of a timed step.
        device: where to train.
    """

    def __init__(self, model: Model, settings: TrainSettings, device: torch.device) -> None:
        self.family, self.settings, self.device = model.family.train().to(device), settings, device
        self.family.autocast_dtype = torch.bfloat16 if settings.bf16 else None
        self.optimizer = make_optimizer(self.family, settings, self.family.adam_betas)
        self.ema = ExponentialMovingAverage(self.family, settings.ema)
        self.step = TrainingStep(model, self.optimizer, settings, Processes(1, 0, device))

    def seconds(self, source: Callable[[int], Batch], clock: Callable[[], float]) -> float:
        """Median seconds of a step.

        Args:
            source: of batches.
            clock: of seconds.
        """
        count = self.settings.accumulate
        numbers = [0, *range(count, count * (TIMED + 1), count)]
        if isinstance(source, StoreBatches):  # lengths change from batch to batch: look at some of the whole epoch
            numbers = [source.heaviest, *(source.per_epoch * i // TIMED for i in range(TIMED))]
        found: list[float] = []
        for i, number in enumerate(numbers):
            if sum(found) > LONGEST:
                break
            begun = clock()
            self.step([source(number + k) for k in range(count)], i)
            self.ema.update(self.family)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            if i:
                found.append(clock() - begun)
        return median(found)

    def checkpoint_bytes(self) -> int:
        """Bytes of the tensors of a checkpoint."""
        held = (self.family.state_dict(), self.ema.shadow, moments_of(self.family, self.optimizer))
        return sum(x.numel() * x.element_size() for tensors in held for x in tensors.values())


def device_of(accelerator: str) -> torch.device:
    """The device that Fabric takes for an accelerator."""
    if accelerator == "auto" and torch.backends.mps.is_available():
        return torch.device("mps")
    return pick_device({"gpu": "cuda"}.get(accelerator, accelerator))


def peak_memory(device: torch.device) -> int | None:
    """Bytes at the peak: of tensors on a GPU, else of this process; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes on macOS, kB elsewhere
