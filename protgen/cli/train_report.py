"""What `protgen train` says of a training: what it will cost, and how it ended."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from protgen.cli.console import print_json, stderr, stdout
from protgen.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.cli.train_config import TrainConfig
    from protgen.cli.train_task import TrainTask
    from protgen.models.model import Model
    from protgen.training.cost import Cost
    from protgen.types import JSON


def say(*lines: str) -> None:
    """Lines of output, as they are."""
    for line in lines:
        stdout().print(line, markup=False, soft_wrap=True)


def cost_of(config: "TrainConfig", task: "TrainTask") -> "Cost":
    """What a training will cost, by a few steps on a copy of its model."""
    from protgen.training.cost import estimate_cost

    with stderr().status("timing a few steps"):
        machine = config.machine.machine
        return estimate_cost(task.model, task.batches, config.settings, run=config.run, machine=machine)


def show_cost(config: "TrainConfig", task: "TrainTask", as_json: bool) -> None:
    """What `--dry-run` does: say what a training costs.

    Raises:
        UsageError: if the model is to be divided among processes.
    """
    if config.machine.sharding is not None:
        raise UsageError(
            "--dry-run times steps of a whole model on one process; give machine.sharding=null, or a short train.steps"
        )
    cost = cost_of(config, task)
    if as_json:
        print_json({"parameters": n_parameters(task.model)} | asdict(cost))
    else:
        say(f"{n_parameters(task.model) / 1e6:.2f} M parameters, {task.count}", cost.in_words())


def cannot_be_built(error: Exception, given: "Sequence[str]") -> str:
    """The line for a model that its parts do not make.

    Args:
        error: of a part or of torch: a keyword of the right name and the wrong value.
        given: the overrides of its parts, as typed.
    """
    reason = (str(error) or type(error).__name__).splitlines()[0]
    where = f" with {' '.join(given)}" if given else ""
    return f"the model cannot be built{where}: {reason}; check its keywords"


def how_it_ended(config: "TrainConfig") -> "JSON":
    """How the run of a folder has ended, as its `run.json` says; empty if it does not say."""
    from protgen.documents import read_json

    try:
        return read_json(config.run / "run.json").get("ended") or {}
    except DocumentError:
        return {}


def ending_in_words(ended: "JSON", patience: int | None) -> list[str]:
    """What to say of a run that looked for its best step: one line, or none.

    Args:
        ended: as `run.json` has it.
        patience: of the run.
    """
    if patience is None or "best_step" not in ended:
        return []
    best = f"the model is that of step {ended['best_step']}, validation loss {ended['best_validation_loss']:.4g}"
    if ended["reason"] == "patience":
        return [f"Stopped at step {ended['step']}: no improvement in {patience} validations; {best}"]
    return [best[0].upper() + best[1:]]


def describe_run(config: "TrainConfig", trained: tuple[int, float | None]) -> "JSON":
    """What `--json` prints of a run: its folder and model, the number of weights, the last loss, and how it ended."""
    parameters, loss = trained
    model = config.run / "model"
    ended = how_it_ended(config)
    return {"run": config.run, "model": model, "parameters": parameters, "loss": loss, "steps": ended.get("step")} | {
        key: value for key, value in ended.items() if key != "step"
    }


def n_parameters(model: "Model") -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in model.family.parameters())


def last_step(config: "TrainConfig") -> str:
    """Where a resumed run would go on."""
    from protgen.training.checkpoint import newest_checkpoint, step_of

    found = newest_checkpoint(config.run)
    return "the start" if found is None else f"step {step_of(found)}"
