"""The training loop: one configuration in, a run folder out, resumable to the bit.

Step s sees a batch and a random stream that depend on (seed, s) alone, so an interrupted run and an unbroken one give
the same weights. Lightning's Fabric places the model (CPU, GPU, several of them).
"""

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator

from protgen.data.dataset import training_batches
from protgen.data.store import Store
from protgen.errors import DataError
from protgen.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from protgen.training.ema import ExponentialMovingAverage
from protgen.models.model import Model, save_json, save_model
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


def step_generator(seed: int, step: int) -> Generator:
    """The random stream of one training step."""
    return Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def make_optimizer(model: Model, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices, none on biases, gains and tables of scalars."""
    matrices = [p for p in model.family.parameters() if p.ndim > 1]
    others = [p for p in model.family.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))


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
    accelerator: str = "auto",
    devices: int | str = 1,
) -> Model:
    """Train a model, resuming the run if it has a checkpoint.

    Args:
        model: freshly built; its weights are replaced when resuming.
        store: training data.
        run: folder of the run: checkpoints, `losses.csv`, TensorBoard events, pictures, and `model/` for sampling.
        settings: see TrainSettings.
        on_progress: called at every logged step.
        on_validation: called with the averaged model at every validation; returns figures for the curves.
        accelerator, devices: as Fabric takes them.

    Returns:
        The model with averaged weights.

    Raises:
        DataError: if the store has no training items.
    """
    from lightning.fabric import Fabric

    indices = store.indices("train")
    if not len(indices):
        raise DataError(f"{store.folder}: no items in the training split; build the store with some")
    fabric = Fabric(accelerator=accelerator, devices=devices)
    fabric.launch()
    run.mkdir(parents=True, exist_ok=True)
    save_json({"model": model.config, "settings": asdict(settings), "store": str(store.folder)}, run / "run.json")

    family = model.family.train()
    family.autocast_dtype = torch.bfloat16 if settings.bf16 else None
    optimizer = make_optimizer(model, settings)
    ema = ExponentialMovingAverage(family, settings.ema)
    start = 0
    if (checkpoint := newest_checkpoint(run)) is not None:
        start = int(load_checkpoint(checkpoint, family, ema, optimizer)["step"])
    wrapped, optimizer = fabric.setup(family, optimizer)
    wrapped.mark_forward_method("loss")
    ema.shadow = {name: value.to(fabric.device) for name, value in ema.shadow.items()}
    curve = LossCurve(run, start)

    sums: dict[str, float] = {}
    saved = logged = time.monotonic()
    batches = training_batches(store, indices, settings.pairs, settings.seed, start)
    for step in range(start, settings.steps):
        rate = learning_rate(step, settings.steps, settings.lr, settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rng = step_generator(settings.seed, step)
        batch = next(batches)
        terms = train_step(fabric, wrapped, model, optimizer, batch.to(fabric.device), rng, settings.clip)
        ema.update(family)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value
        done = step + 1
        if done % settings.log_every == 0 or done == settings.steps:
            count = (done - 1) % settings.log_every + 1
            means = {name: value / count for name, value in sums.items()} | {"lr": rate}
            now = time.monotonic()
            curve.add(done, means)
            on_progress(Progress(done, means, count / (now - logged)))
            sums, logged = {}, now
        last = done == settings.steps
        if last or time.monotonic() - saved > 60 * settings.checkpoint_minutes:
            save_checkpoint(run, done, family, ema, optimizer, settings.keep)
            saved = time.monotonic()
        if on_validation is not None and (last or done % settings.validate_every == 0):
            with ema.applied(family):
                family.eval()
                save_model(model, run / "model")
                curve.add(done, on_validation(model, done, run))
                family.train()
    family.load_state_dict(ema.shadow)
    family.eval()
    save_model(model, run / "model")
    return model


def train_step(fabric, wrapped, model: Model, optimizer, batch: Batch, rng: Generator, clip: float) -> dict[str, float]:  # noqa: ANN001
    """One optimizer step; returns the loss and its parts. A step whose gradient is not finite is left out."""
    cond = model.conditions.from_data(batch, rng)
    losses = wrapped.loss(model.family.space.encode(batch), cond, rng)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(losses.total)
    norm = torch.nn.utils.clip_grad_norm_(model.family.parameters(), clip)
    if torch.isfinite(norm):
        optimizer.step()
    terms = {"loss": float(losses.total.detach()), "grad_norm": float(norm)}
    return terms | {f"loss_{name}": float(value) for name, value in losses.terms.items()}
