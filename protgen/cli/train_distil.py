"""`protgen train distil.model=MODEL`: a student, and the ways of its teacher that it reads."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protgen.cli.console import progress, stderr
from protgen.cli.interruption import Interrupted, deferred
from protgen.cli.train_task import TrainTask
from protgen.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from protgen.cli.train_config import TrainConfig
    from protgen.models.model import Model, Objective
    from protgen.training.ways import Asked, Teacher, Teaching
    from protgen.types import Batch

FOLDER, HELD_OUT = "ways", "ways_validation"  # in the run's folder
PULLED, HELD = "pulled", "held"
MOST_HELD_OUT = 64  # ways at y of the validation split, a twentieth of the others at the most
TRIAL = 8  # ways that a dry run makes


def taught(config: "TrainConfig", task: TrainTask, *, trial: bool = False) -> TrainTask:
    """A training whose model becomes a student of the one that `distil.model` names; makes the ways that are missing.

    The student has the teacher's weights. It is sampled as its teacher is, in its own steps and without guidance, and
    draws blueprints from what its teacher draws them from.

    Args:
        config: of the training.
        task: of a model with the teacher's weights, and the data whose y is asked of the teacher.
        trial: make a few ways alone, elsewhere than in the run's folder, for a dry run.

    Raises:
        ConfigError: if the teacher cannot be distilled, steps do not fit, or the run has ways that were made otherwise.
        Interrupted: if the user stopped it; the ways that were made are kept.
    """
    from protgen.models.released import load
    from protgen.training.distillation import distillation_loss
    from protgen.training.validation import mean_losses
    from protgen.training.ways import Teacher, WayBatches

    name = config.distil.model
    assert name is not None
    if config.machine.sharding is not None:
        raise ConfigError("distil.model: the weights of a student are not divided; leave out machine.sharding")
    try:
        source = load(name)
        teaching = teaching_of(config, source)
        teacher = Teacher(source.family, source.conditions, teaching, source.guide)
    except (CheckpointError, ConfigError) as error:
        raise ConfigError(f"distil.model={name}: {error}") from error
    count = min(config.distil.ways, TRIAL) if trial else config.distil.ways
    folder = trial_folder() if trial else config.run / FOLDER
    pairs, family, seed = config.settings.max_pairs_per_batch, teacher.family, config.settings.seed
    begun = time.perf_counter()
    written(folder, source, teacher, task.examples, count, config)
    if trial:
        say_cost(config.distil.ways, (time.perf_counter() - begun) / count, folder, count)
    batches, fixed = WayBatches(folder, range(count), family, pairs, seed), None
    if task.held_out is not None and not trial:
        apart = max(1, min(MOST_HELD_OUT, count // 20))
        written(config.run / HELD_OUT, source, teacher, task.held_out, apart, config)
        fixed = WayBatches(config.run / HELD_OUT, range(apart), family, pairs, 0)

    def validation(own: "Model", step: int, run: Path | None) -> dict[str, float]:
        found = {} if fixed is None else mean_losses(own, [fixed(k) for k in range(fixed.per_epoch)], 0)
        return found | (dict(task.evaluator(own, step, run)) if task.evaluator is not None else {})

    model = student(task.model, source, teaching, name, distillation_loss)
    return replace(task, model=model, batches=batches, validation=validation, count=f"{count:,} ways")


def say_cost(ways: int, seconds: float, folder: Path, count: int) -> None:
    """Say what the ways of a training will cost.

    Args:
        ways: of the training.
        seconds: of one.
        folder: of the few that were made.
        count: of these.
    """
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / count * ways / 1e6
    stderr().print(f"Ways: about {seconds * ways / 60:.1f} min ({ways:,} of {seconds:.2f} s), {megabytes:,.0f} MB")


def written(
    folder: Path,
    source: "Model",
    teacher: "Teacher",
    examples: "Callable[[int], Batch]",
    count: int,
    config: "TrainConfig",
) -> None:
    """Make the ways that are missing; processes other than the first wait for them.

    Args:
        folder: of the ways.
        source: the teacher's model.
        teacher: whose ways they are.
        examples: whose y is asked of the teacher, by number.
        count: of the ways.
        config: of the training.
    """
    from protgen.device import pick_device
    from protgen.integrity import fingerprint
    from protgen.models.model import WEIGHTS
    from protgen.models.released import find_model
    from protgen.training.processes import is_first_process
    from protgen.training.ways import make_ways, path_of

    if not is_first_process():
        while not all(path_of(folder, number).is_file() for number in range(count)):
            time.sleep(1)
        return
    wanted = {"gpu": "cuda"}.get(config.machine.accelerator, config.machine.accelerator)
    teacher.family.to(pick_device(wanted))
    if teacher.weak is not None:
        teacher.weak.to(pick_device(wanted))
    about = {
        "model": config.distil.model,
        "weights": fingerprint(find_model(str(config.distil.model)) / WEIGHTS),
        "store": None if config.store is None else str(config.store),
        "dropout": dict(config.settings.dropout),
    }
    with progress("ways") as show, deferred() as stop:

        def on_way(done: int) -> None:
            show(done, count, folder.name.replace("_", " "))
            if stop.exit_code is not None:
                raise Interrupted(stop.exit_code, f"interrupted: the same command goes on after {done} ways")

        def asked(number: int) -> "Asked":
            return asked_of(source, examples(number), config, number)

        make_ways(folder, teacher, asked, count, config.settings.seed, about, on_way)
    teacher.family.to("cpu")


def trial_folder() -> Path:
    """A folder for the ways of a dry run, which is removed when the command ends."""
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="protgen-ways-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def asked_of(model: "Model", batch: "Batch", config: "TrainConfig", number: int) -> "Asked":
    """y of one example, each condition unknown as often as in training.

    Args:
        model: the teacher.
        batch: of the one example.
        config: of the training.
        number: of the way.

    Raises:
        ConfigError: if it has several chains, which ways do not keep.
    """
    import numpy as np
    from torch import Generator

    from protgen.training.ways import Asked

    seed = int(np.random.SeedSequence([config.settings.seed, number, 1]).generate_state(1)[0])
    dropout = model.conditions.dropouts(config.settings.dropout)
    cond = model.conditions.from_data(batch, Generator().manual_seed(seed), dropout)
    if cond.chains is not None:
        raise ConfigError(f"distil.model: items of {config.store} have several chains; give a store of single chains")
    return Asked(cond, batch.mask)


def student(model: "Model", teacher: "Model", teaching: "Teaching", name: str, objective: "Objective") -> "Model":
    """A model with what its folder says of a student, and its loss.

    Args:
        model: with the teacher's weights.
        teacher: the model it learns from.
        teaching: how that is sampled.
        name: of the teacher.
        objective: its loss.
    """
    own = teacher.config.get("sampling", {})
    alone = {"guidance": 1.0, "autoguidance": 1.0}
    sampling = {**own, "temperature": teaching.temperature, "steps": teaching.steps, "sampler": "euler", **alone}
    for kind in (PULLED, HELD):
        if isinstance(own.get(kind), Mapping):
            sampling[kind] = {**own[kind], **alone}
    about = {
        "model": name,
        "steps": teaching.teacher_steps,
        "guidance": teaching.guidance,
        "guidance_interval": list(teaching.guidance_interval),
        "autoguidance": teaching.autoguidance,
    }
    config = model.config | {"sampling": sampling, "about": {**model.config.get("about", {}), "teacher": about}}
    return replace(
        model, objective=objective, config=config, blueprints=teacher.blueprints, topologies=teacher.topologies
    )


def teaching_of(config: "TrainConfig", teacher: "Model") -> "Teaching":
    """How a teacher samples: as is asked, then as its config asks for, then by the defaults of designs or of pictures.

    Args:
        config: of the training.
        teacher: the model.
    """
    from protgen.generation.design import settings_for
    from protgen.models.image_samples import ImageSampling
    from protgen.samplers.euler import Euler
    from protgen.spaces.image import Image
    from protgen.training.ways import Teaching

    asked = config.distil
    if isinstance(teacher.family.space, Image):
        plain = ImageSampling()
        own = Teaching(1, Euler().steps, plain.temperature, plain.guidance)
    else:
        s = settings_for(teacher)
        own = Teaching(1, s.steps, s.temperature, s.guidance, s.guidance_interval, s.autoguidance)
    many = asked.teacher_steps
    return Teaching(
        asked.steps,
        asked.steps * max(1, -(-own.teacher_steps // asked.steps)) if many is None else many,
        own.temperature if asked.temperature is None else asked.temperature,
        own.guidance if asked.guidance is None else asked.guidance,
        own.guidance_interval,
        own.autoguidance if asked.autoguidance is None else asked.autoguidance,
    )
