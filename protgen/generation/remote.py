"""Designs that the workers of a Dask cluster make: the same, to the bit, as this machine makes on its own CPU.

A worker is sent the request, not the weights: it loads the model by name or folder, once for each request, and compares
its files with those of this machine. It plans and makes one design at a time. What was asked and drawn is planned again
here, by the conditions as they were given, so that records are those of a run without a cluster.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy
import torch

import protgen
from protgen.conditions.base import Conditions
from protgen.conditions.files import files_of, with_absolute_files
from protgen.dask_cluster import require_workers
from protgen.errors import CheckpointError, ToolError, UsageError
from protgen.generation.design import Design, ResolvedSettings
from protgen.generation.generate import make_designs
from protgen.generation.job import Job, prepare
from protgen.generation.plan import plan_design
from protgen.generation.sampling import Progress
from protgen.integrity import damage, fingerprints
from protgen.models.released import find_model, weights_folder
from protgen.parallel import run
from protgen.types import JSON

CPU = "cpu"
PARTS = (".json", ".safetensors")  # files of a model that decide what it makes
_PREPARED: dict[str, Job] = {}  # the last job of this worker, by its order's key
_PREPARING = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What a worker needs to make any design of a run.

    Attributes:
        key: of the request and the model's files; orders of one key are the same.
        model: name of a released model, or the absolute path of a folder.
        files: size and SHA-256 of each file of the model.
        conditions: the request; the files that it names have absolute paths.
        settings: of the run, on a CPU.
        seed: of the run.
        trajectory: whether to keep what the sampler predicts at each step.
    """

    key: str
    model: str
    files: JSON
    conditions: Conditions
    settings: ResolvedSettings
    seed: int
    trajectory: bool = False


def order_of(job: Job, model: str, key: str, seed: int, *, trajectory: bool = False) -> Order:
    """The order of a job.

    Args:
        job: the request.
        model: name or folder it was prepared with.
        key: a text that tells this request from others.
        seed: of the run.
        trajectory: whether to keep what the sampler predicts at each step.

    Raises:
        UsageError: if the settings name a device other than the CPU.
    """
    if job.settings.device not in ("auto", CPU):
        raise UsageError(
            f"--device {job.settings.device}: a cluster makes designs on the CPUs of its workers; leave out --device, "
            "or divide the run over GPUs by --shard"
        )
    folder = find_model(model)
    files = fingerprints(
        folder, sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    )
    name = folder.name if folder.parent == weights_folder() else str(folder.absolute())
    asked = Conditions(tuple(map(with_absolute_files, job.conditions)), job.conditions.weights)
    return Order(f"{key} {files}", name, files, asked, replace(job.settings, device=CPU), seed, trajectory)


def designs_of_cluster(
    order: Order, job: Job, indices: Sequence[int], address: str, on_design: Progress | None = None
) -> Iterator[Design]:
    """Designs as workers finish them, in any order. The design of a worker that dies is made by another.

    Args:
        order: of the run.
        job: the same request, as it was prepared here.
        indices: of the designs.
        address: of the Dask scheduler.
        on_design: called with (designs made, designs in all).

    Raises:
        ConfigError, UsageError: if Dask is not installed, no scheduler answers, or workers lack what they need.
        ToolError: at the end, if a design killed each worker that made it.
    """
    paths = [Path(order.model)] if Path(order.model).is_absolute() else []
    paths += [Path(file) for condition in order.conditions for file in files_of(condition).values()]
    versions = {module.__name__: str(module.__version__) for module in (protgen, torch, numpy)}
    require_workers(address, paths, versions)
    lost: list[int] = []
    for done, outcome in enumerate(run(partial(make_one, order=order), indices, cluster=address, chunk=1), start=1):
        if on_design is not None:
            on_design(done, len(indices))
        if outcome.result is None:
            lost.append(indices[outcome.index])
            continue
        made = outcome.result
        plan = plan_design(job, order.seed, made.index, made.candidate)
        motif = () if plan.motif is None else tuple(plan.motif.mapping())
        yield replace(made, asked=tuple(plan.asked), drawn=plan.drawn, motif=motif)
    if lost:
        raise ToolError(
            f"--cluster {address}: each worker that made design {lost[0]} died ({len(lost)} such designs), out of "
            "memory or by a crash; give workers more memory, and run it again with --resume"
        )


def make_one(index: int, order: Order) -> Design:
    """One design of an order, on a worker; without what the client plans again.

    Args:
        index: of the design.
        order: of the run.

    Raises:
        CheckpointError: if the model here has other files.
    """
    job = prepared(order)
    (design,) = make_designs([job] * (index + 1), order.seed, indices=[index], trajectory=order.trajectory)
    return replace(design, asked=(), drawn=(), motif=())


def prepared(order: Order) -> Job:
    """The job of an order, made once on each worker.

    Raises:
        CheckpointError: if the model here has other files.
    """
    with _PREPARING:
        if order.key not in _PREPARED:
            _PREPARED.clear()
            wrong = damage(find_model(order.model), order.files)
            if wrong:
                raise CheckpointError(
                    f"model {order.model} of a worker is not that of this machine: {wrong}; install the same there"
                )
            _PREPARED[order.key] = prepare(order.model, order.conditions, order.settings)
        return _PREPARED[order.key]
