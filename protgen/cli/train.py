"""`protgen train`: one configuration in, a run folder out; the same command again resumes it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, progress, stderr, stdout, table, warn
from protgen.cli.exit_codes import of_failures
from protgen.cli.interruption import Interrupted, deferred
from protgen.cli.train_distil import taught
from protgen.cli.train_report import (
    cannot_be_built,
    cost_of,
    describe_run,
    ending_in_words,
    how_it_ended,
    last_step,
    n_parameters,
    say,
    show_cost,
)
from protgen.cli.train_start import begin_from, guided, sampled_as
from protgen.cli.train_task import TrainTask
from protgen.errors import ConfigError, DocumentError, ProtgenError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protgen.cli.train_config import TrainConfig
    from protgen.data.store import Store
    from protgen.models.model import Model
    from protgen.training.validation import Evaluator
    from protgen.types import Batch

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
SWEEP = ("-m", "--multirun")


DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Time a few steps, say what the training costs, and write nothing.")
]


def train(context: typer.Context, as_json: JsonOption = False, dry_run: DryRunOption = False) -> None:
    """Train a model: protgen train experiment=flow_small data.store=STORE run=DIR key=value ...

    Images: protgen train data=digits family=vae run=DIR; also data=mnist, fashion, cifar10 with data.folder=DIR.

    The run folder holds checkpoints, losses.csv, TensorBoard events, pictures of samples, and model/ for
    `protgen sample --model`. The same command resumes an interrupted run. Keys: run, data.store, train.*,
    encoder.*, family.*, space.*, conditions, distil.*, validation.*, machine.*, logger. With -m, values separated by
    commas are trained one after another, each in a folder of its own: -m family=flow_matching,vae encoder=egnn,gvp

    A student in few steps of another model: protgen train distil.model=flow-small data.store=STORE run=DIR
    """
    from protgen.training.requirements import require_extra

    require_extra()
    from protgen.cli.train_config import choices
    from protgen.training.processes import is_first_process

    if not [argument for argument in context.args if argument not in SWEEP]:
        raise UsageError(
            f"say what to train: experiment={'|'.join(choices('experiment'))} data.store=STORE, "
            "or data=digits family=vae"
        )
    if any(argument in SWEEP for argument in context.args):
        if dry_run:
            raise UsageError("--dry-run takes one training; leave out -m")
        train_all([argument for argument in context.args if argument not in SWEEP], as_json)
        return
    with stderr().status("loading"):
        from protgen.cli.train_config import load_config

        config = load_config(context.args)
    if dry_run:
        show_cost(config, prepared_task(config, trial=True), as_json)
        return
    trained = train_one(config, quiet=as_json)
    if as_json and is_first_process():
        print_json(describe_run(config, trained))


def train_all(overrides: list[str], as_json: bool) -> None:
    """Train each combination of a sweep; one that fails is named, and the others go on."""
    with stderr().status("loading"):
        from protgen.cli.sweep import expand, name_of
        from protgen.cli.train_config import load_config
        from protgen.training.processes import is_first_process

        # Everything is checked before the first hour is spent.
        jobs = []
        for combination in expand(overrides):
            config = load_config(combination.overrides)
            jobs.append((name_of(combination), replace(config, run=config.run / name_of(combination))))
    results = table("<run", "M parameters", "loss", "<status", title="Sweep")
    failed, runs = 0, []
    for name, config in jobs:
        if not as_json and is_first_process():
            stdout().rule(name)
        try:
            size, loss = train_one(config, quiet=as_json)
            results.add_row(name, f"{size / 1e6:.2f}", "" if loss is None else f"{loss:.3f}", "done")
            runs.append({"name": name, "status": "done"} | describe_run(config, (size, loss)))
        except ProtgenError as error:
            failed += 1
            warn(f"{name}: {error}")
            results.add_row(name, "", "", "failed")
            runs.append({"name": name, "status": "failed", "message": str(error)})
    if as_json and is_first_process():
        print_json({"runs": runs})
    elif is_first_process():
        stdout().print(results)
    raise typer.Exit(of_failures(failed, len(jobs)))


def train_one(config: "TrainConfig", quiet: bool = False) -> tuple[int, float | None]:
    """Train what a configuration says; returns the number of weights and the last training loss."""
    from protgen.evaluation.tables import make_folder
    from protgen.training.processes import is_first_process

    task = prepared_task(config)
    make_folder(config.run)
    quiet = quiet or not is_first_process()
    if not quiet:
        stdout().print(f"{n_parameters(task.model) / 1e6:.2f} M parameters, {task.count}, run {config.run}")
        if config.machine.sharding is None:  # the steps that are timed are those of a whole model on one process
            say(cost_of(config, task).in_words())
    loss = run_training(config, task)
    if not quiet:
        ending = ending_in_words(how_it_ended(config), config.settings.patience)
        say(*ending, f"Model: {config.run / 'model'}", *task.next_lines)
    return n_parameters(task.model), loss


def prepared_task(config: "TrainConfig", *, trial: bool = False) -> TrainTask:
    """The task of a configuration, its model freshly built from the seed; checked against the run that it resumes.

    Args:
        config: of the training.
        trial: for a few steps alone: of what a teacher makes for its student, make little.
    """
    with stderr().status("loading"):
        import torch

        torch.manual_seed(config.settings.seed)
        from protgen.training.loggers import require_loggers
        from protgen.training.processes import require_launcher

        require_launcher(config.machine.machine)
        require_loggers(config.settings.loggers, config.run)
        task = image_task(config) if config.images is not None else structure_task(config)
        if config.distil.model is None:
            check_resumable(config, task.model)
        if config.machine.threads:
            torch.set_num_threads(config.machine.threads)
    if config.distil.model is not None:
        task = taught(config, task, trial=trial)
        check_resumable(config, task.model)
    return task


def image_task(config: "TrainConfig") -> TrainTask:
    """The task of a configuration with images.

    Raises:
        ProtgenError: if files are missing or damaged, or the model cannot be built.
    """
    from protgen.cli.train_images import next_lines, open_images
    from protgen.data.images import ImageBatches

    assert config.images is not None
    opened = open_images(config, config.images)
    if config.start is not None:
        begin_from(config.start, opened.model)
    lines = tuple(next_lines(config, opened.model))
    opened.model.conditions.dropouts(config.settings.dropout)  # raises for a wrong one before the run begins
    many, rest = opened.batches, opened.held_out
    alone = ImageBatches(many.images, 1, many.seed, many.change)
    held_out = ImageBatches(rest, 1, 0, many.change) if len(rest) else None
    count, look = f"{opened.count:,} images", opened.validation.look
    return TrainTask(opened.model, many, opened.validation, count, lines, alone, held_out, look)


def structure_task(config: "TrainConfig") -> TrainTask:
    """The task of a configuration with a store of structures.

    Raises:
        ProtgenError: if there is no such store, or the model cannot be built.
    """
    from protgen.data.leakage import warning_of
    from protgen.data.store import Store
    from protgen.families.vae import is_autoencoder
    from protgen.spaces.atoms import BackboneAtoms
    from protgen.training.validation import Validation

    assert config.store is not None
    store, v = Store(config.store), config.validation
    leaking = warning_of(store.manifest.get("leakage"))
    if leaking:
        warn(leaking)
    model = prepare_model(config, store)
    structures = isinstance(model.family.space, BackboneAtoms)
    looked_at = v.samples and structures and not is_autoencoder(model.family)
    evaluator = sample_evaluator(v.samples, v.length, v.steps) if looked_at else None
    if config.settings.patience is not None and not len(store.indices("validation")):
        raise ConfigError(
            f"train.patience needs a validation loss, and {store.folder} has no validation split; build it with one, "
            "or give train.patience=null"
        )
    validation = Validation(store, v.max_pairs_per_batch, v.batches, evaluator=evaluator)
    line = f"Next:  protgen sample --model {config.run / 'model'} --length {v.length} --out designs"
    if is_autoencoder(model.family):
        line = f"Next:  protgen reconstruct DIR --model {config.run / 'model'} --out reconstructions"
    lines, count = (line,) if structures else (), f"{len(store):,} structures"
    held_out = example_of(store, "validation") if len(store.indices("validation")) else None
    return TrainTask(model, store, validation, count, lines, example_of(store, "train"), held_out, evaluator)


def example_of(store: "Store", split: str) -> "Callable[[int], Batch]":
    """Items of a split by number, in a random order that is always the same, each a batch of one."""
    import numpy as np

    from protgen.data.dataset import collate

    order = np.random.default_rng(0).permutation(store.indices(split))
    return lambda number: collate([store[int(order[number % len(order)])]])


def run_training(config: "TrainConfig", task: TrainTask) -> float | None:
    """Train a model with a bar of progress; returns the last training loss.

    Raises:
        Interrupted: if the user stopped it; what was done is kept.
    """
    from protgen.training.loop import Progress, train

    losses: list[float] = []
    with progress("training") as show, deferred() as stop:

        def on_progress(p: Progress) -> None:
            losses.append(p.losses["loss"])
            note = f"loss {p.losses['loss']:.3f}, {p.steps_per_second:.2f} steps/s"
            show(p.step, config.settings.steps, note)

        train(
            task.model,
            task.batches,
            config.settings,
            run=config.run,
            machine=config.machine.machine,
            on_progress=on_progress,
            on_validation=task.validation,
            should_stop=stop,
        )
    if stop.exit_code is not None:
        raise Interrupted(stop.exit_code, f"interrupted: the same command goes on from {last_step(config)}")
    return losses[-1] if losses else None


def prepare_model(config: "TrainConfig", store: "Store") -> "Model":
    """A fresh model that knows its data: lengths for warnings, blueprints for open secondary structure.

    Raises:
        ConfigError: if a part cannot be built with its keywords, or a condition needs a field that the store lacks.
    """
    from protgen.conditions.embedding import with_fields
    from protgen.conditions.strand_pairing import StrandPairing
    from protgen.models.blueprints import fit_store
    from protgen.models.fits import require_several_chains
    from protgen.models.model import build_model
    from protgen.models.topologies import fit_topologies

    where = f"the store {store.folder}"
    conditions = with_fields(config.model["conditions"], store.fields, where)
    rows = store.indices("train")
    lengths = store.lengths[rows]
    about = {"n_train": len(rows), "lengths": [int(lengths.min()), int(lengths.max())]} if len(rows) else {}
    try:
        model = build_model(config.model | {"conditions": conditions, "about": about})
    except ProtgenError:
        raise
    except Exception as error:  # a keyword of the right name and the wrong value, refused by torch
        raise ConfigError(cannot_be_built(error, config.given)) from error
    model.conditions.require_fields(store.fields, where)
    if store.of_parts:
        require_several_chains(model.family, model.conditions, where)
    model.conditions.dropouts(config.settings.dropout)  # raises for a wrong one before the run begins
    if config.start is not None:
        begin_from(config.start, model)
    if config.guide is not None:
        model = guided(model, config.guide)
    if isinstance(config.start, str):
        model = sampled_as(config.start, model)
    pairing = StrandPairing.name in model.conditions.names
    return replace(model, blueprints=fit_store(store), topologies=fit_topologies(store) if pairing else None)


def check_resumable(config: "TrainConfig", model: "Model") -> None:
    """Refuse to resume a run of another model; warn where other settings differ.

    Raises:
        ConfigError: if the run folder holds another model's checkpoints.
    """
    import json

    from protgen.cli.design_folder import first_difference
    from protgen.documents import read_json
    from protgen.training.checkpoint import newest_checkpoint
    from protgen.training.settings import renamed

    about = config.run / "run.json"
    if newest_checkpoint(config.run) is None or not about.is_file():
        return
    try:
        before = read_json(about)
    except DocumentError as error:
        raise ConfigError(f"{error}; choose another run=") from None
    difference = first_difference(unguided(before.get("model")), unguided(json.loads(json.dumps(model.config))))
    if difference:
        raise ConfigError(f"{config.run}: cannot resume, that run had {difference}; choose another run=")
    was, is_now = renamed(before.get("settings") or {}), json.loads(json.dumps(asdict(config.settings)))
    is_now = {key: value for key, value in is_now.items() if key in was}
    size = {} if config.images is None or "batch" not in before else {"data.batch": config.images.batch}
    of_data = first_difference({key: before["batch"] for key in size}, size)
    for difference in filter(None, (first_difference(was, is_now), of_data)):
        warn(f"{config.run}: that run had {difference}; it goes on with the new value")


def unguided(config: Any) -> Any:
    """A model's configuration without what takes no part in the training: its guide, and how it is sampled."""
    apart = ("guide", "sampling")
    return {key: value for key, value in config.items() if key not in apart} if isinstance(config, dict) else config


def sample_evaluator(samples: int, length: int, steps: int) -> "Evaluator":
    """What a validation does with samples: always the same seeds, drawn as ribbons, and figures for the curves.

    Args:
        samples: how many backbones.
        length: residues of each.
        steps: of the sampler.

    Returns:
        A function of the model, the step and the run folder, whose `pictures/` the drawing goes to.
    """

    def evaluator(model: "Model", step: int, run: Path | None) -> "Mapping[str, float]":
        import numpy as np

        from protgen.conditions.length import Length
        from protgen.evaluation.validity import validity
        from protgen.generation.design import SampleSettings
        from protgen.generation.generate import generate
        from protgen.structure.picture import draw_backbones

        device = str(next(model.family.parameters()).device)
        settings = SampleSettings(steps=steps, relax=False, device=device)
        designs = sorted(generate(model, [Length(length)], samples, 0, settings), key=lambda d: d.index)
        found = [validity(design.protein) for design in designs]
        if run is not None:
            titles = [f"{100 * float(v['helix']):.0f} % helix, {100 * float(v['strand']):.0f} % strand" for v in found]
            path = run / "pictures" / f"step_{step:08d}.png"
            path.parent.mkdir(exist_ok=True)
            draw_backbones([design.protein for design in designs], path, titles=titles)
        means = {name: np.array([float(v[name]) for v in found]) for name in ("helix", "strand", "peptide_valid")}
        means |= {"unbroken": np.array([v["chain_breaks"] == 0 for v in found])}
        means |= {"clash_free": np.array([v["n_clashes"] == 0 for v in found])}
        return {f"sample_{name}": float(np.nanmean(values)) for name, values in means.items()}

    return evaluator
