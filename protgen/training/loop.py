"""The training loop: a model, batches and settings in, a trained model out, resumable to the bit.

Step s sees a batch and a random stream that depend on (seed, s) alone, so an interrupted run and an unbroken one give
the same weights. Lightning's Fabric places the model (CPU, GPU, several of them).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from protgen.data.dataset import StoreBatches, has_parts
from protgen.errors import CheckpointError, DivergedError
from protgen.folder_lock import locked
from protgen.models.files import save_json
from protgen.models.fits import require_several_chains
from protgen.models.model import Model, save_model
from protgen.training.batches import Batches, items_of, source_of
from protgen.training.checkpoint import newest_checkpoint, restore, save_checkpoint
from protgen.training.curve import LossCurve
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.guard import LossGuard
from protgen.training.optimizers import make_optimizer, set_rate
from protgen.training.requirements import require_extra
from protgen.training.schedule import Budget, learning_rate
from protgen.training.settings import Machine, TrainSettings
from protgen.types import JSON, Batch

if TYPE_CHECKING:
    from lightning.fabric import Fabric


@dataclass(frozen=True)
class Progress:
    """What a caller gets after a logged step.

    Attributes:
        step: steps done.
        losses: means of the loss and its parts since the last logged step.
        steps_per_second: since then.
    """

    step: int
    losses: Mapping[str, float]
    steps_per_second: float


def step_generator(seed: int, step: int, rank: int = 0) -> Generator:
    """The random stream of one training step on one process."""
    return Generator().manual_seed((seed * 1_000_003 + step * 1_009 + rank) % 2**63)


class StepInput:
    """What one step needs. A plain object, as Fabric looks into dataclasses and refuses frozen ones."""

    def __init__(self, batch: Batch, rng: Generator) -> None:
        self.batch = batch
        self.rng = rng


class TrainingLoss(nn.Module):
    """The loss of a model as one forward pass, which is what DDP wraps.

    Args:
        model: the model.
        dropout: of conditions by name.
    """

    def __init__(self, model: Model, dropout: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.family = model.family
        self.conditions = model.conditions
        self.dropout = model.conditions.dropouts(dropout or {})

    def forward(self, given: StepInput) -> dict[str, Tensor]:
        """The total and its named parts."""
        cond = self.conditions.from_data(given.batch, given.rng, self.dropout)
        losses = self.family.loss(self.family.space.encode(given.batch), cond, given.rng)
        return {"loss": losses.total, **{f"loss_{name}": value for name, value in losses.terms.items()}}


def train(
    model: Model,
    batches: Batches,
    settings: TrainSettings | None = None,
    *,
    run: Path | str | None = None,
    machine: Machine | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_validation: Callable[[Model, int, Path | None], Mapping[str, float]] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Model:
    """Train a model, resuming the run if it has a checkpoint.

    Args:
        model: freshly built; its weights are replaced when resuming.
        batches: a Store, of which the training split is taken; a function of the step; or an iterable of batches,
            which is begun again where it ends.
        settings: see TrainSettings.
        run: folder of the run: checkpoints, `losses.csv`, TensorBoard events, pictures, and `model/` for sampling. None
            leaves nothing behind but the model that is returned.
        machine: where to train.
        on_progress: called at every logged step.
        on_validation: called with the averaged model at every validation; returns figures for the curves.
        should_stop: asked between steps (of several processes, between logged steps); True writes a checkpoint and
            ends early, so that nothing done is lost.

    Returns:
        The model with averaged weights.

    Raises:
        DataError: if there are no batches, or too few.
        ConfigError: if the batches lack a field that a condition of the model is learned from, or a dropout is wrong.
        LockedError: if another process trains in that folder.
        CheckpointError: if the run has checkpoints and none can be used, or the folder cannot be written.
        DivergedError: if a loss is not finite or explodes; the last good checkpoint stays.
    """
    require_extra()
    settings = settings or TrainSettings()
    source = source_of(batches, settings)
    fabric = launched(machine or Machine())
    folder = None if run is None else Path(run)
    calls = Calls(on_progress, on_validation, should_stop)
    with held(folder if fabric.is_global_zero else None):
        if folder is not None and fabric.is_global_zero:
            with writing(folder):
                save_json(about(model, source, settings, fabric.world_size), folder / "run.json")
        return Training(model, settings, fabric, folder).fit(source, calls)


def held(folder: Path | None) -> AbstractContextManager[None]:
    """The lock of a run's folder, which is made if need be; nothing for no folder."""
    if folder is None:
        return nullcontext()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return locked(folder, "protgen train")


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into one line that says what is left.

    Raises:
        CheckpointError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{run}: cannot be written ({error.strerror or error}); {what_is_kept(run)}. Make room or the folder "
            "writable, and give the same command again"
        ) from error


def what_is_kept(run: Path | None) -> str:
    """The last checkpoint of a run, in words."""
    newest = None if run is None else newest_checkpoint(run)
    return "there is no checkpoint yet" if newest is None else f"{newest} is kept"


def launched(machine: Machine) -> "Fabric":
    """Fabric on a machine, its processes started."""
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    # Steps without self-conditioning leave parts of the network unused; DDP needs a flag for that.
    several = machine.nodes > 1 or machine.devices not in (1, "1")
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    fabric = Fabric(
        accelerator=machine.accelerator, devices=machine.devices, num_nodes=machine.nodes, strategy=strategy
    )
    fabric.launch()
    return fabric


def about(model: Model, source: object, settings: TrainSettings, processes: int) -> JSON:
    """The content of `run.json`."""
    data = str(source.store.folder) if isinstance(source, StoreBatches) else None
    return {"model": model.config, "settings": asdict(settings), "store": data, "processes": processes}


@dataclass(frozen=True)
class Calls:
    """Callbacks to the caller of `train`."""

    on_progress: Callable[[Progress], None]
    on_validation: Callable[[Model, int, Path | None], Mapping[str, float]] | None
    should_stop: Callable[[], bool]


class Averages:
    """Means of the losses since the last logged step, and the speed.

    Args:
        before: what `to_json` gave in the process that began this stretch; None for a new one.
    """

    def __init__(self, before: JSON | None = None) -> None:
        before = before or {}
        self.sums: dict[str, float] = {name: float.fromhex(x) for name, x in before.get("sums", {}).items()}
        self.count = int(before.get("count", 0))
        self.since = time.monotonic()

    def to_json(self) -> JSON:
        """All that a resumed run needs for the same means; hexadecimal, as a gradient's norm may be infinite."""
        return {"sums": {name: x.hex() for name, x in self.sums.items()}, "count": self.count}

    def add(self, terms: Mapping[str, float]) -> None:
        """Take in one step."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def take(self, step: int, rate: float) -> Progress:
        """The means, and begin anew."""
        now = time.monotonic()
        means = {name: value / self.count for name, value in self.sums.items()} | {"lr": rate}
        progress = Progress(step, means, self.count / (now - self.since))
        self.sums, self.count, self.since = {}, 0, now
        return progress


class Training:
    """A run under way: the model with its optimizer and averages, at a step.

    Args:
        model: what is trained.
        settings: of the run.
        fabric: launched.
        run: folder of the run, None for none.

    Raises:
        CheckpointError: if the run's newest checkpoint is damaged or of another model.
    """

    def __init__(self, model: Model, settings: TrainSettings, fabric: "Fabric", run: Path | None) -> None:
        self.model, self.settings, self.fabric, self.run = model, settings, fabric, run
        self.family = model.family.train()
        self.family.autocast_dtype = torch.bfloat16 if settings.bf16 else None
        loss = TrainingLoss(model, settings.dropout)
        optimizer = make_optimizer(model.family, settings, model.family.adam_betas)
        self.ema = ExponentialMovingAverage(self.family, settings.ema)
        state = (None if run is None else restore(run, self.family, self.ema, optimizer)) or {"step": 0}
        self.start = int(state["step"])
        self.budget = Budget(settings.steps, settings.warmup, settings.minutes, float(state.get("minutes", 0.0)))
        # Fabric gives the optimizer back as a wrapper of it.
        self.loss, self.optimizer = fabric.setup(loss, optimizer)
        self.ema.shadow = {name: value.to(fabric.device) for name, value in self.ema.shadow.items()}
        self.curve: LossCurve | None = None
        if run is not None and fabric.is_global_zero:
            with writing(run):
                self.curve = LossCurve(run, self.start)
        self.averages = Averages(state.get("averages"))
        self.guard = LossGuard()
        self.saved = time.monotonic()

    def fit(self, source: Callable[[int], Batch], calls: Calls) -> Model:
        """Train to the end, or until asked to stop."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        for step in range(self.start, self.settings.steps):
            batch = source(step * world + rank)
            if step == self.start:
                self.model.conditions.require_fields(batch.arrays, "the data")
                if has_parts(batch):
                    require_several_chains(self.model.family, self.model.conditions, "the data")
            progress = self.budget.progress(step)
            rate = learning_rate(self.settings.lr, step, self.settings.warmup, progress, self.settings.cooldown)
            terms = self.step(batch, step, rate)
            self.look(terms, step, source)
            last = self.is_last(step + 1, calls.should_stop)
            if self.fabric.is_global_zero:
                self.averages.add(terms)
                self.after(step + 1, rate, last, calls)
            if last:
                break
        self.family.load_state_dict(self.ema.shadow)
        self.family.eval()
        if self.run is not None and self.fabric.is_global_zero:
            with writing(self.run):
                save_model(self.model, self.run / "model")
        return self.model

    def look(self, terms: Mapping[str, float], step: int, source: Callable[[int], Batch]) -> None:
        """Stop a run that has lost its way.

        Raises:
            DivergedError: with the step, the items of its batch, and the checkpoint that is kept. `diverged.json` of
                the run names all items.
        """
        try:
            self.guard.look(terms)
        except DivergedError as error:
            number = step * self.fabric.world_size + self.fabric.global_rank
            items = items_of(source, number)
            if self.run is not None:
                about = {"step": step + 1, "reason": str(error), "batch": number, "items": items}
                with writing(self.run):
                    save_json(about, self.run / "diverged.json")
            some = ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
            where = f"batch {number} ({some})" if items else f"batch {number}"
            advice = "Look at these items, or lower train.lr"
            raise DivergedError(f"step {step + 1}: {error}, at {where}; {what_is_kept(self.run)}. {advice}") from None

    def step(self, batch: Batch, step: int, rate: float) -> dict[str, float]:
        """One optimizer step; returns the loss and its parts.

        Args:
            batch: of this process.
            step: from 0.
            rate: learning rate.
        """
        set_rate(self.optimizer, rate)
        rng = step_generator(self.settings.seed, step, self.fabric.global_rank)
        given = StepInput(batch.to(self.fabric.device), rng)
        terms = train_step(self.fabric, self.loss, self.optimizer, given, self.settings.clip)
        self.ema.update(self.family)
        return terms

    def is_last(self, done: int, should_stop: Callable[[], bool]) -> bool:
        """Whether a run ends after that many steps; all processes say the same."""
        ends = done == self.settings.steps
        if self.fabric.world_size == 1 or done % self.settings.log_every == 0:  # to agree costs a message
            stop = should_stop() or self.budget.is_spent()
            ends = self.fabric.strategy.reduce_boolean_decision(stop, all=False) or ends
        return ends

    def after(self, done: int, rate: float, last: bool, calls: Calls) -> None:
        """Log, write a checkpoint and validate, where it is time for it.

        Args:
            done: steps done.
            rate: learning rate of the last.
            last: whether the run ends here.
            calls: callbacks to the caller.
        """
        ends = done == self.settings.steps or (last and self.budget.is_spent())
        if done % self.settings.log_every == 0 or ends:
            progress = self.averages.take(done, rate)
            self.note(done, progress.losses)
            calls.on_progress(progress)
        if ends or done % self.settings.validate_every == 0:
            self.validate(done, calls)
        # After all that is written of this step: a run that is resumed here does not write it again.
        due = time.monotonic() - self.saved > 60 * self.settings.checkpoint_minutes
        if last or (due and not self.guard.suspicious):
            self.save(done)

    def note(self, done: int, values: Mapping[str, float]) -> None:
        """Add a point to the curves."""
        if self.curve is not None:
            with writing(self.curve.path.parent):
                self.curve.add(done, values)

    def save(self, done: int) -> None:
        """Write a checkpoint."""
        if self.run is not None:
            counters = {"step": done, "minutes": self.budget.spent(), "averages": self.averages.to_json()}
            with writing(self.run):
                if self.curve is not None:
                    self.curve.sync()
                try:
                    save_checkpoint(self.run, counters, self.family, self.ema, self.optimizer, self.settings.keep)
                except DivergedError as error:
                    raise DivergedError(f"step {done}: {error}; {what_is_kept(self.run)}. Lower train.lr") from None
        self.saved = time.monotonic()

    def validate(self, done: int, calls: Calls) -> None:
        """Show the averaged model to the caller."""
        if calls.on_validation is None:
            return
        with self.ema.applied(self.family), nullcontext() if self.run is None else writing(self.run):
            self.family.eval()
            if self.run is not None:
                save_model(self.model, self.run / "model")
            self.note(done, calls.on_validation(self.model, done, self.run))
            self.family.train()


def train_step(fabric: "Fabric", wrapped: Any, optimizer: Any, given: StepInput, clip: float) -> dict[str, float]:
    """One optimizer step; returns the loss and its parts. A step whose gradient is not finite is left out.

    Args:
        fabric: launched.
        wrapped, optimizer: as `Fabric.setup` gives them.
        given: the batch and the random stream.
        clip: largest gradient norm.
    """
    losses = wrapped(given)
    optimizer.zero_grad(set_to_none=True)
    if losses["loss"].requires_grad:  # that of a family fitted in closed form has nothing to descend
        fabric.backward(losses["loss"])
    norm = torch.nn.utils.clip_grad_norm_(wrapped.parameters(), clip)
    if torch.isfinite(norm):
        optimizer.step()
    return {name: float(value.detach()) for name, value in losses.items()} | {"grad_norm": float(norm)}
