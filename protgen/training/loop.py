"""The training loop: a model, batches and settings in, a trained model out, resumable to the bit.

Step s sees batches and random streams that depend on (seed, s) alone, so an interrupted run and an unbroken one give
the same weights, on any number of processes up to rounding.
"""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch

from protgen.allocator import keep_freed_memory
from protgen.data.dataset import has_parts
from protgen.errors import CheckpointError, ConfigError, DivergedError, RecoveredWarning
from protgen.models.files import save_json
from protgen.models.fits import require_several_chains
from protgen.models.model import Model, save_model
from protgen.training.batches import Ahead, Batches, items_of, source_of
from protgen.training.checkpoint import Part, best_averages, restore, save_checkpoint, snapshot
from protgen.training.curve import LossCurve
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.guard import LossGuard, suspects
from protgen.training.loggers import open_loggers, require_loggers
from protgen.training.loss import TrainingLoss
from protgen.training.optimizers import make_optimizer, set_rate
from protgen.training.processes import Processes, launched
from protgen.training.progress import Averages, Calls, Progress
from protgen.training.requirements import require_extra
from protgen.training.run_folder import about, held, what_is_kept, writing
from protgen.training.schedule import Budget, learning_rate
from protgen.training.settings import Machine, TrainSettings
from protgen.training.sharding import Shards, whole
from protgen.training.step import TrainingStep, mean_terms
from protgen.training.stopping import EarlyStopping
from protgen.types import JSON, Batch


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
        should_stop: asked between steps; True writes a checkpoint and ends early, so that nothing done is lost.

    Returns:
        The model with averaged weights; with `settings.patience` those of the best validation.

    Raises:
        DataError: if there are no batches, or too few.
        ConfigError: if the batches lack a field that a condition of the model is learned from, a dropout is wrong,
            several processes cannot share the batches of a step, or there is no validation loss to be patient with.
        UsageError: if a logger is not known or not installed.
        LockedError: if another process trains in that folder.
        CheckpointError: if the run has checkpoints and none can be used, or the folder cannot be written.
        DivergedError: if a loss is not finite or explodes; the last good checkpoint stays.
    """
    require_extra()
    keep_freed_memory()
    settings = settings or TrainSettings()
    folder = None if run is None else Path(run)
    require_loggers(settings.loggers, folder)
    if settings.patience is not None and on_validation is None:
        raise ConfigError("train.patience needs a validation loss; give on_validation, or patience None")
    source = source_of(batches, settings)
    processes = launched(machine or Machine())
    calls = Calls(on_progress, on_validation, should_stop)
    with held(folder if processes.is_first else None):
        training = Training(model, settings, processes, folder)
        training.describe(source, None)
        with training.curves():
            ended = training.fit(source, calls)
        training.describe(source, ended)
        return training.finish()


class Training:
    """A run under way: the model with its optimizer and averages, at a step.

    Args:
        model: what is trained.
        settings: of the run.
        processes: launched.
        run: folder of the run, None for none.

    Raises:
        CheckpointError: if the run's newest checkpoint is damaged or of another model.
        ConfigError: if the processes cannot share the batches of a step.
    """

    def __init__(self, model: Model, settings: TrainSettings, processes: Processes, run: Path | None) -> None:
        self.model, self.settings, self.processes, self.run = model, settings, processes, run
        self.family = model.family.train().to(processes.device)
        self.family.autocast_dtype = torch.bfloat16 if settings.bf16 else None
        processes.copy_first(self.family)
        self.shards: Shards | None = None
        if processes.sharded:
            self.shards = Shards(model, TrainingLoss(model, settings.dropout), processes)
        self.optimizer = make_optimizer(self.family, settings, self.family.adam_betas)
        self.step = TrainingStep(model, self.optimizer, settings, processes, self.shards)
        self.ema = ExponentialMovingAverage(self.family, settings.ema)
        state = (None if run is None else restore(run, self.family, self.ema, self.optimizer)) or {"step": 0}
        self.start = int(state["step"])
        processes.require_same(self.start, run)
        spent = float(state.get("minutes", 0.0))
        self.budget = Budget(settings.steps, settings.warmup, settings.minutes, spent, processes.device.type)
        self.stopping = EarlyStopping(settings, state.get("stopping"))
        self.best: Mapping[str, torch.Tensor] | None = None  # averages of the best step, where there is no run folder
        self.curve: LossCurve | None = None
        self.averages = Averages(state.get("averages"))
        self.guard = LossGuard()
        self.saved = time.monotonic()

    def describe(self, source: object, ended: JSON | None) -> None:
        """Write `run.json`.

        Args:
            source: of the batches.
            ended: how the run has ended; None at its beginning.
        """
        if self.run is not None and self.processes.is_first:
            with writing(self.run):
                content = about(self.model, source, self.settings, self.processes.count)
                save_json(content if ended is None else content | {"ended": ended}, self.run / "run.json")

    @contextmanager
    def curves(self) -> Iterator[None]:
        """Curves of the run, for as long as it trains."""
        if self.run is None or not self.processes.is_first:
            yield
            return
        with writing(self.run):
            shown = {"model": self.model.config, "settings": asdict(self.settings)}
            self.curve = LossCurve(self.run, self.start, open_loggers(self.settings.loggers, self.run, shown))
        failed = True
        try:
            yield
            failed = False
        finally:
            self.curve.close(failed)

    def fit(self, source: Callable[[int], Batch], calls: Calls) -> JSON:
        """Train to the end, or until asked to stop; returns how the run has ended."""
        on_gpu = self.processes.device.type != "cpu"
        with Ahead(lambda step: self.batches_of(step, source), self.settings.steps, on_gpu) as batches_of:
            return self.fit_on(batches_of, source, calls)

    def fit_on(self, batches_of: Callable[[int], list[Batch]], source: Callable[[int], Batch], calls: Calls) -> JSON:
        """Train to the end, or until asked to stop.

        Args:
            batches_of: this process's share of the batches of a step.
            source: of all batches.
            calls: callbacks to the caller.
        """
        if self.stopping.is_over:
            return self.ended(self.start, "patience")
        for step in range(self.start, self.settings.steps):
            batches = batches_of(step)
            progress = self.budget.progress(step)
            if self.settings.minutes is not None:  # each process has a clock of its own
                progress = self.processes.first(progress)
            rate = learning_rate(self.settings.lr, step, self.settings.warmup, progress, self.settings.cooldown)
            set_rate(self.optimizer, rate)
            found = self.step(batches, step)
            self.ema.update(self.family)
            self.look(found, step, source)
            last = self.is_last(step + 1, calls.should_stop)
            over = False
            if self.processes.is_first:
                self.averages.add(mean_terms(found))
            if self.processes.is_first or self.shards is not None:
                over = self.after(step + 1, rate, last, calls)
            if self.stopping.is_on:
                over = self.processes.any(over)
            if over:
                return self.ended(step + 1, "patience")
            if last and step + 1 < self.settings.steps:
                return self.ended(step + 1, "minutes" if self.budget.is_spent() else "stopped")
        return self.ended(self.settings.steps, "steps")

    def batches_of(self, step: int, source: Callable[[int], Batch]) -> list[Batch]:
        """This process's share of the batches of a step; before the first step what begins from data begins."""
        first = step * self.settings.accumulate
        start = source(first) if step == 0 and self.settings.accumulate > 1 else None
        batches = [source(first + k) if k or start is None else start for k in self.step.mine]
        if step == self.start and self.model.objective is None:
            self.model.conditions.require_fields(batches[0].arrays, "the data")
            if has_parts(batches[0]):
                require_several_chains(self.model.family, self.model.conditions, "the data")
        if start is not None:
            self.step.begin(start)
        return batches

    def ended(self, step: int, reason: str) -> JSON:
        """How the run has ended, for `run.json`.

        Args:
            step: steps done.
            reason: "minutes" that are spent; "patience"; or "stopped" by the caller. Where all steps are done it is
                "steps".
        """
        found: JSON = {"step": step, "reason": reason if step < self.settings.steps else "steps"}
        if self.stopping.best_step:
            found |= {"best_step": self.stopping.best_step, "best_validation_loss": self.stopping.best}
        return found

    def finish(self) -> Model:
        """The model with the averages of the best step, where one was looked for; else of the last."""
        best = self.best_averages()
        if self.shards is None:
            self.family.load_state_dict(dict(best or self.ema.shadow))
            self.family.eval()
        else:
            last = {name: whole(value) for name, value in self.ema.shadow.items()}
            self.model = self.shards.undivided(best or last)
        self.processes.copy_first(self.model.family)
        if self.run is not None and self.processes.is_first:
            with writing(self.run):
                save_model(self.model, self.run / "model")
        return self.model

    def best_averages(self) -> Mapping[str, torch.Tensor] | None:
        """The averages of the best validation; None where there was none, or they cannot be read, with a warning."""
        if not self.stopping.is_on or not self.stopping.best_step or self.run is None:
            return self.best
        try:
            return best_averages(self.run, self.stopping.best_step, self.ema.shadow)
        except CheckpointError as error:
            warnings.warn(f"{error}; the model is that of the last step", RecoveredWarning, stacklevel=2)
            return None

    def look(self, found: Sequence[Mapping[str, float]], step: int, source: Callable[[int], Batch]) -> None:
        """Stop a run that has lost its way.

        Args:
            found: losses of the batches of the step.
            step: from 0.
            source: of the batches.

        Raises:
            DivergedError: with the step, the items of its batch, and the checkpoint that is kept. `diverged.json` of
                the run names all items.
        """
        try:
            self.guard.look(mean_terms(found))
        except DivergedError as error:
            numbers = [step * self.settings.accumulate + k for k in suspects(found)]
            items = [item for number in numbers for item in items_of(source, number)]
            if self.run is not None and self.processes.is_first:
                about = {
                    "step": step + 1,
                    "reason": str(error),
                    "batch": numbers[0],
                    "batches": numbers,
                    "items": items,
                }
                with writing(self.run):
                    save_json(about, self.run / "diverged.json")
            some = ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
            where = f"batch {numbers[0]}" if len(numbers) == 1 else f"batches {numbers[0]} to {numbers[-1]}"
            where += f" ({some})" if items else ""
            advice = "Look at these items, or lower train.lr"
            raise DivergedError(f"step {step + 1}: {error}, at {where}; {what_is_kept(self.run)}. {advice}") from None

    def is_last(self, done: int, should_stop: Callable[[], bool]) -> bool:
        """Whether a run ends after that many steps; all processes say the same."""
        return self.processes.any(should_stop() or self.budget.is_spent()) or done == self.settings.steps

    def told(self, flag: bool) -> bool:
        """What the first process says, where weights are divided: all then gather them at the same time."""
        return flag if self.shards is None else bool(self.processes.first(flag))

    def after(self, done: int, rate: float, last: bool, calls: Calls) -> bool:
        """Log, write a checkpoint and validate, where it is time for it.

        Called by the first process alone, or by all of them where weights are divided; the first one acts.

        Args:
            done: steps done.
            rate: learning rate of the last.
            last: whether the run ends here.
            calls: callbacks to the caller.

        Returns:
            Whether patience is over.
        """
        ends = self.told(done == self.settings.steps or (last and self.budget.is_spent()))
        if done % self.settings.log_every == 0 or ends:
            self.log(done, rate, calls)
        better = False
        if ends or done % self.settings.validate_every == 0:
            better = self.validate(done, calls)
        if self.stopping.is_over and self.averages.count:
            self.log(done, rate, calls)
        # After all that is written of this step: a run that is resumed here does not write it again.
        due = time.monotonic() - self.saved > 60 * self.settings.checkpoint_minutes
        if self.told(last or better or self.stopping.is_over or (due and not self.guard.suspicious)):
            self.save(done)
        return self.stopping.is_over

    def log(self, done: int, rate: float, calls: Calls) -> None:
        """Tell the caller and the curves the means since the last time."""
        if not self.processes.is_first:
            return
        progress = self.averages.take(done, rate)
        self.note(done, progress.losses)
        calls.on_progress(progress)

    def note(self, done: int, values: Mapping[str, float]) -> None:
        """Add a point to the curves."""
        if self.curve is not None:
            with writing(self.curve.path.parent):
                self.curve.add(done, values)

    def save(self, done: int) -> None:
        """Write a checkpoint."""
        if self.run is not None:
            parts = snapshot(self.family, self.ema, self.optimizer).items()
            if self.shards is None:
                self.write(self.run, done, parts)
            else:
                whole_parts = ((name, self.shards.gathered(held)) for name, held in parts)
                if self.processes.is_first:
                    self.write(self.run, done, whole_parts)
                deque(whole_parts, maxlen=0)  # the other processes only help to gather
        self.saved = time.monotonic()

    def write(self, run: Path, done: int, parts: Iterable[Part]) -> None:
        """Write a checkpoint.

        Args:
            run: folder of the run.
            done: steps done.
            parts: tensors in one piece.
        """
        counters: JSON = {"step": done, "minutes": self.budget.spent(), "averages": self.averages.to_json()}
        counters["ema_updates"] = self.ema.updates
        if self.stopping.is_on:
            counters["stopping"] = self.stopping.to_json()
        with writing(run):
            if self.curve is not None:
                self.curve.sync()
            try:
                save_checkpoint(run, counters, parts, self.settings.keep)
            except DivergedError as error:
                raise DivergedError(f"step {done}: {error}; {what_is_kept(run)}. Lower train.lr") from None

    @contextmanager
    def averaged(self) -> Iterator[Model]:
        """The averaged model, in one piece and in evaluation mode; on the first process."""
        if self.shards is not None:
            with self.shards.holding(self.shards.gathered(self.ema.shadow)) as model:
                yield model
            return
        with self.ema.applied(self.family):
            self.family.eval()
            yield self.model
            self.family.train()

    def validate(self, done: int, calls: Calls) -> bool:
        """Show the averaged model to the caller; returns whether it is the best so far, of a run that may end early."""
        if calls.on_validation is None:
            return False
        with self.averaged() as model, nullcontext() if self.run is None else writing(self.run):
            if not self.processes.is_first:
                return False
            if self.run is not None:
                save_model(model, self.run / "model")
            figures = calls.on_validation(model, done, self.run)
            self.note(done, figures)
            better = self.stopping.look(done, figures, trusted=not self.guard.suspicious)
            if better and self.run is None:
                self.best = {name: value.clone() for name, value in model.family.state_dict().items()}
        return better
