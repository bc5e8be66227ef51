"""The training loop: one configuration in, a run folder out, resumable to the bit.

Step s sees a batch and a random stream that depend on (seed, s) alone, so an interrupted run and an unbroken one give
the same weights. Lightning's Fabric places the model (CPU, GPU, several of them).
"""

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from protgen.data.dataset import training_batches
from protgen.data.store import Store
from protgen.errors import DataError
from protgen.models.files import save_json
from protgen.models.model import Model, save_model
from protgen.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.schedule import learning_rate
from protgen.types import Batch


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run.

    Attributes:
        steps: optimizer steps in all.
        pairs: most residue pairs of a batch (see LengthBuckets).
        lr: peak learning rate.
        warmup: steps until the peak.
        weight_decay: of AdamW, on matrices only.
        clip: largest gradient norm.
        ema: decay of the moving average.
        seed: of data order and noise.
        bf16: autocast the encoder to bfloat16.
        checkpoint_minutes: time between checkpoints.
        log_every: steps between lines of the loss curve.
        validate_every: steps between validations.
        keep: checkpoints kept.
    """

    steps: int = 10_000
    pairs: int = 100_000
    lr: float = 1e-3
    warmup: int = 500
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bf16: bool = True
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    validate_every: int = 2_000
    keep: int = 2


@dataclass(frozen=True)
class Progress:
    """What a caller is told after a logged step."""

    step: int
    losses: Mapping[str, float]
    steps_per_second: float


def step_generator(seed: int, step: int, rank: int = 0) -> Generator:
    """The random stream of one training step on one process."""
    return Generator().manual_seed((seed * 1_000_003 + step * 1_009 + rank) % 2**63)


def make_optimizer(model: Model, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices, none on biases, gains and tables of scalars."""
    matrices = [p for p in model.family.parameters() if p.ndim > 1]
    others = [p for p in model.family.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # Fused: one pass over all weights, a sixth of a step of a small model on a CPU.
    return torch.optim.AdamW(groups, lr=settings.lr, betas=model.family.adam_betas, fused=True)


class StepInput:
    """What one step needs. A plain object, as Fabric looks into dataclasses and refuses frozen ones."""

    def __init__(self, batch: Batch, rng: Generator) -> None:
        self.batch = batch
        self.rng = rng


class TrainingLoss(nn.Module):
    """The loss of a model as one forward pass, which is what DDP wraps."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.family = model.family
        self.conditions = model.conditions

    def forward(self, given: StepInput) -> dict[str, Tensor]:
        """The total and its named parts."""
        cond = self.conditions.from_data(given.batch, given.rng)
        losses = self.family.loss(self.family.space.encode(given.batch), cond, given.rng)
        return {"loss": losses.total, **{f"loss_{name}": value for name, value in losses.terms.items()}}


class LossCurve:
    """Loss curves as CSV and TensorBoard events; a resumed run goes on in the same CSV."""

    def __init__(self, run: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "losses.csv"
        self.rows = []
        if self.path.is_file() and start:
            with self.path.open(newline="") as lines:
                self.rows = [row for row in csv.DictReader(lines) if int(row["step"]) <= start]
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=start or None)
        self.fields: list[str] = list(self.rows[0]) if self.rows else []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the CSV and one point a curve."""
        row = {"step": str(step)} | {k: f"{v:.6g}" for k, v in values.items()}
        new = [key for key in row if key not in self.fields]
        self.rows.append(row)
        self.fields += new
        rewrite = bool(new) or not self.path.is_file() or len(self.rows) == 1
        with self.path.open("w" if rewrite else "a", newline="") as out:
            table = csv.DictWriter(out, self.fields)
            if rewrite:
                table.writeheader()
            table.writerows(self.rows if rewrite else [row])
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)


def train(
    model: Model,
    store: Store,
    run: Path,
    settings: TrainSettings,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_validation: Callable[[Model, int, Path], Mapping[str, float]] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    accelerator: str = "auto",
    devices: int | str = 1,
    num_nodes: int = 1,
) -> Model:
    """Train a model, resuming the run if it has a checkpoint.

    Args:
        model: freshly built; its weights are replaced when resuming.
        store: training data.
        run: folder of the run: checkpoints, `losses.csv`, TensorBoard events, pictures, and `model/` for sampling.
        settings: see TrainSettings.
        on_progress: called at every logged step.
        on_validation: called with the averaged model at every validation; returns figures for the curves.
        should_stop: asked between steps (of several processes, between logged steps); True writes a checkpoint and
            ends early, so that nothing done is lost.
        accelerator, devices, num_nodes: as Fabric takes them; several processes share each step's work by averaging
            gradients (DDP), each with its own batch. On a CPU, one process a core with one thread each beats one
            process with many threads.

    Returns:
        The model with averaged weights.

    Raises:
        DataError: if the store has no training items.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    indices = store.indices("train")
    if not len(indices):
        raise DataError(f"{store.folder}: no items in the training split; build the store with some")
    # Parts of the network rest in some steps (no estimate to condition on), which DDP must be told.
    several = num_nodes > 1 or devices not in (1, "1")
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy)
    fabric.launch()
    rank, world = fabric.global_rank, fabric.world_size
    run.mkdir(parents=True, exist_ok=True)
    if fabric.is_global_zero:
        about = {
            "model": model.config,
            "settings": asdict(settings),
            "store": str(store.folder),
            "processes": world,
        }
        save_json(about, run / "run.json")

    family = model.family.train()
    family.autocast_dtype = torch.bfloat16 if settings.bf16 else None
    optimizer = make_optimizer(model, settings)
    ema = ExponentialMovingAverage(family, settings.ema)
    start = 0
    if (checkpoint := newest_checkpoint(run)) is not None:
        start = int(load_checkpoint(checkpoint, family, ema, optimizer)["step"])
    wrapped, optimizer = fabric.setup(TrainingLoss(model), optimizer)
    ema.shadow = {name: value.to(fabric.device) for name, value in ema.shadow.items()}
    curve = LossCurve(run, start) if fabric.is_global_zero else None

    sums: dict[str, float] = {}
    summed = 0
    saved = logged = time.monotonic()
    batches = training_batches(store, indices, settings.pairs, settings.seed, start * world)
    batches = islice(batches, rank, None, world)
    for step in range(start, settings.steps):
        rate = learning_rate(step, settings.steps, settings.lr, settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rng = step_generator(settings.seed, step, rank)
        given = StepInput(next(batches).to(fabric.device), rng)
        terms = train_step(fabric, wrapped, optimizer, given, settings.clip)
        ema.update(family)
        done = step + 1
        last = done == settings.steps
        if world == 1 or done % settings.log_every == 0:  # processes must agree, which costs a message
            last = fabric.strategy.reduce_boolean_decision(should_stop(), all=False) or last
        if curve is None:
            if last:
                break
            continue
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value
        summed += 1
        if done % settings.log_every == 0 or last:
            means = {name: value / summed for name, value in sums.items()} | {"lr": rate}
            now = time.monotonic()
            curve.add(done, means)
            on_progress(Progress(done, means, summed / (now - logged)))
            sums, summed, logged = {}, 0, now
        if last or time.monotonic() - saved > 60 * settings.checkpoint_minutes:
            save_checkpoint(run, done, family, ema, optimizer, settings.keep)
            saved = time.monotonic()
        if on_validation is not None and (done == settings.steps or done % settings.validate_every == 0):
            with ema.applied(family):
                family.eval()
                save_model(model, run / "model")
                curve.add(done, on_validation(model, done, run))
                family.train()
        if last:
            break
    family.load_state_dict(ema.shadow)
    family.eval()
    if fabric.is_global_zero:
        save_model(model, run / "model")
    return model


def train_step(fabric, wrapped, optimizer, given: StepInput, clip: float) -> dict[str, float]:
    """One optimizer step; returns the loss and its parts. A step whose gradient is not finite is left out."""
    losses = wrapped(given)
    optimizer.zero_grad(set_to_none=True)
    if losses["loss"].requires_grad:  # that of a family fitted in closed form has nothing to descend
        fabric.backward(losses["loss"])
    norm = torch.nn.utils.clip_grad_norm_(wrapped.parameters(), clip)
    if torch.isfinite(norm):
        optimizer.step()
    return {name: float(value.detach()) for name, value in losses.items()} | {"grad_norm": float(norm)}
