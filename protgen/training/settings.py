"""Settings of a training run, and the machine it runs on."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any

from protgen.arguments import misfit, shown
from protgen.errors import ConfigError

MOST = 10**12  # steps, pairs and the like; more is a slip of the finger
RANGES: Mapping[str, tuple[float, float]] = {
    "steps": (1, MOST),
    "minutes": (0, MOST),
    "max_pairs_per_batch": (1, MOST),
    "accumulate": (1, 1_000),  # the random streams of more batches would be those of the next step
    "lr": (0, 10),
    "muon_lr": (0, 10),
    "warmup": (0, MOST),
    "cooldown": (0, 1),
    "weight_decay": (0, 100),
    "clip": (1e-12, math.inf),  # inf clips nothing
    "ema": (0, 1 - 1e-9),  # at 1 the averages would stay at the weights of the first step
    "seed": (0, 2**63 - 1),
    "checkpoint_minutes": (0, MOST),
    "log_every": (1, MOST),
    "validate_every": (1, MOST),
    "keep": (1, 10_000),
    "patience": (1, MOST),
    "min_improvement": (0, MOST),
}  # least and most of each setting
PROCESSES = (1, 1_024)  # nodes, processes of a node, threads of a process


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run.

    Attributes:
        steps: optimizer steps in all.
        minutes: CPU time of this process, on a GPU time by the clock, after which training ends before that many steps,
            and over which the learning rate falls; None for no such limit. What such a run gives depends on the speed
            of the machine.
        max_pairs_per_batch: most residue pairs of a batch that is made of a store (see LengthBuckets).
        accumulate: batches of a step, on all processes together; its gradient is that of all of them as one batch.
            Steps, schedules and curves count optimizer steps.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon, which then takes the matrices of hidden layers; None leaves all weights to
            AdamW (see `training.optimizers`).
        warmup: steps until the peak.
        cooldown: fraction of the run, at its end, over which the learning rate falls. Below 1 it stays at its peak
            until then, and a run can be prolonged without a loss.
        weight_decay: of AdamW, on matrices only.
        clip: largest gradient norm.
        ema: decay of the moving average.
        dropout: fraction of examples in which a condition is unknown, by its name; the others have their own.
        seed: of data order and noise.
        bf16: autocast the encoder to bfloat16.
        checkpoint_minutes: time between checkpoints.
        log_every: steps between lines of the loss curve.
        validate_every: steps between validations.
        keep: checkpoints kept, beside that of the best validation.
        patience: validations without an improvement after which the run ends; None for no such end. The model is then
            that of the best validation, also where all steps were done.
        min_improvement: by how much the validation loss must fall below the best to count as one.
        loggers: names of loggers beside CSV and TensorBoard, `wandb` and `mlflow` (see `training.loggers`).
        pairs: the former name of `max_pairs_per_batch`.

    Raises:
        ConfigError: if a number is outside its range (`RANGES`), or is none.
    """

    steps: int = 10_000
    minutes: float | None = None
    max_pairs_per_batch: int = 100_000
    accumulate: int = 1
    lr: float = 1e-3
    muon_lr: float | None = None
    warmup: int = 500
    cooldown: float = 1.0
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    dropout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    bf16: bool = True
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    validate_every: int = 2_000
    keep: int = 2
    patience: int | None = None
    min_improvement: float = 0.0
    loggers: tuple[str, ...] = ()
    pairs: InitVar[int | None] = None

    def __post_init__(self, pairs: int | None) -> None:
        if pairs is not None:
            warnings.warn("pairs is now max_pairs_per_batch", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "max_pairs_per_batch", pairs)
        wrong = misfit(type(self), {name: getattr(self, name) for name in RANGES})
        if wrong is not None:
            name, wanted = wrong
            raise ConfigError(f"train.{name} is {shown(getattr(self, name))}; give {wanted}")
        check_ranges(self, RANGES, "train")
        if not isinstance(self.dropout, Mapping):
            raise ConfigError(f"train.dropout is {self.dropout!r}; give numbers by name, as in {{'length': 0.3}}")


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]], section: str) -> None:
    """Raise ConfigError if a number is outside its range; None is within any.

    Args:
        settings: with an attribute for each range.
        ranges: least and most by name; infinity for a range without an end.
        section: of the configuration, for messages.
    """
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:  # NaN is within no range
            wanted = f"from {least:.10g} to {most:.10g}" if most < math.inf else f"that is at least {least:.10g}"
            raise ConfigError(f"{section}.{name} is {value}; give a number {wanted}")


def renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names of today: `pairs` was the name of `max_pairs_per_batch`."""
    plain = dict(settings)
    if "pairs" in plain:
        plain["max_pairs_per_batch"] = plain.pop("pairs")
    return plain


@dataclass(frozen=True)
class Machine:
    """Where to train, as Lightning's Fabric takes it.

    Several processes share the batches of each step (`TrainSettings.accumulate`, a multiple of their number) and add
    their gradients. On a CPU one process for each core with one thread each is faster than one process with many
    threads. Under torchrun its processes are taken, and `devices` and `nodes` are not looked at.

    Attributes:
        accelerator: cpu, cuda, mps; auto takes a GPU where there is one.
        devices: processes on this node.
        nodes: number of nodes.
        sharding: `fsdp` divides weights, gradients, moments and averages among the processes (`training.sharding`);
            None gives each process all of them.

    Raises:
        ConfigError: if there is no such sharding, or a number is outside its range.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    nodes: int = 1
    sharding: str | None = None

    def __post_init__(self) -> None:
        check_ranges(
            self, {"nodes": PROCESSES} | ({"devices": PROCESSES} if type(self.devices) is int else {}), "machine"
        )
        if self.sharding not in (None, "fsdp"):
            raise ConfigError(f"machine.sharding is {self.sharding}; give fsdp, or null for none")
