"""Checkpoints of a run: everything that makes resuming exact, written so that one is always whole.

`<run>/checkpoints/step_00001000/` holds weights, averaged weights and optimizer moments as safetensors and the
counters as JSON, with the size and SHA-256 of each file. It is written under another name and renamed when it is on the
disk; older ones go after that. One that is not what was written is passed over for the one before it.
"""

import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from protgen.atomic import move_folder
from protgen.errors import CheckpointError, DivergedError, RecoveredWarning
from protgen.integrity import damage, fingerprints, sealed
from protgen.models.files import is_finite, load_json, load_tensors, save_json, save_tensors
from protgen.tensor_header import Kind, kinds_of, type_name
from protgen.training.counters import FILE, check_state, is_count
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.optimizers import moments_by_parameter
from protgen.training.sharding import divided_as
from protgen.types import JSON

_STEP = re.compile(r"step_([0-9]{8,12})")
PARTS = ("weights", "ema", "optimizer")
FILES = {part: f"{part}.safetensors" for part in PARTS}


class _MisfitError(CheckpointError):
    """A checkpoint that is whole, and of another model: none before it is of this one either."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        folder: where it is.
        state: its counters.
        weights, ema, optimizer: tensors by name; those of the optimizer are named `PARAMETER|KEY`. None of a part that
            was not asked for.
    """

    folder: Path
    state: JSON
    weights: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def snapshot(
    module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    """The tensors of a checkpoint, by part and name; divided as they are.

    Args:
        module: whose weights are written.
        ema: its averages.
        optimizer: its moments.
    """
    return {"weights": module.state_dict(), "ema": ema.shadow, "optimizer": moments_of(module, optimizer)}


Part = tuple[str, Mapping[str, Tensor]]


def save_checkpoint(run: Path, counters: JSON, parts: Iterable[Part], keep: int) -> Path:
    """Write a checkpoint and delete all but the newest.

    Those of later steps go too: a run that writes step 5 while there is a step 8 has not begun from that. One that a
    kept checkpoint names as its best validation stays.

    Args:
        run: folder of the run.
        counters: `step`, `ema_updates` and the others of `protgen.training.counters`, as JSON.
        parts: the items of a `snapshot`, in one piece; each is written before the next is asked for.
        keep: number of checkpoints kept.

    Raises:
        DivergedError: if a value is not finite; the checkpoints before it stay.
        OSError: if it cannot be written; the checkpoints before it stay.
    """
    folder = run / "checkpoints"
    temporary = folder / "writing.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    problem = ""
    for part, held in parts:  # to the last one, whatever is in them: other processes help to make them
        name = not_finite(held)
        problem = problem or (f"{part}: {name} holds values that are not finite" if name else "")
        if not problem:
            save_tensors(held, temporary / FILES[part])
    if problem:
        shutil.rmtree(temporary)
        raise DivergedError(problem)
    save_json(sealed(counters | {"files": fingerprints(temporary, FILES.values())}), temporary / FILE)
    final = folder / f"step_{counters['step']:08d}"
    if final.exists():
        shutil.rmtree(final)
    move_folder(temporary, final)
    known = checkpoints(run)
    here = known.index(final)
    kept = known[max(0, here + 1 - keep) : here + 1]
    best = {best_step(folder) for folder in kept}
    for old in known:
        if old not in kept and step_of(old) not in best:
            shutil.rmtree(old, ignore_errors=True)
    return final


def best_step(folder: Path) -> int | None:
    """The step of the best validation that a checkpoint names; None where it names none."""
    try:
        stopping = load_json(folder / FILE).get("stopping")
    except CheckpointError:
        return None
    step = stopping.get("best_step") if isinstance(stopping, dict) else None
    return step if is_count(step) else None


def best_averages(run: Path, step: int, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The averaged weights of the best validation of a run.

    Args:
        run: folder of the run.
        step: of that validation.
        own: averages of the model, by name.

    Raises:
        CheckpointError: if its checkpoint is missing, damaged, or of another model.
    """
    return read_checkpoint(run / "checkpoints" / f"step_{step:08d}", {"ema": kinds_of(own)}).ema


def moments_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors an optimizer keeps for each parameter, as `PARAMETER|KEY`."""
    names = {id(p): name for name, p in module.named_parameters()}
    return {
        f"{names[id(p)]}|{key}": value
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The first tensor that holds a value that is not finite; "" for none."""
    for name, value in tensors.items():
        if not is_finite(value):
            return name
    return ""


def checkpoints(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, the oldest first; whatever else lies there is left alone."""
    found = {path: step_of(path) for path in (run / "checkpoints").glob("step_*") if path.is_dir()}
    return sorted((path for path, step in found.items() if step is not None), key=lambda path: int(path.name[5:]))


def step_of(folder: Path) -> int | None:
    """The step a checkpoint's folder is named after, None for another name."""
    found = _STEP.fullmatch(folder.name)
    return None if found is None else int(found[1])


def newest_checkpoint(run: Path) -> Path | None:
    """The last checkpoint of a run, None if it has none."""
    found = checkpoints(run)
    return found[-1] if found else None


def restore(
    run: Path, module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer
) -> JSON | None:
    """Restore the newest checkpoint that is whole; returns its counters, None where there is no checkpoint.

    Args:
        run: folder of the run.
        module, ema, optimizer: what is restored.

    Raises:
        CheckpointError: if all are damaged, or the one that is not does not fit the model.
    """
    problems: list[str] = []
    wanted = wanted_of(module, ema, optimizer)
    for folder in reversed(checkpoints(run)):
        try:
            found = read_checkpoint(folder, wanted)
        except _MisfitError:
            raise
        except CheckpointError as error:
            problems.append(str(error).partition("; get or train")[0])  # advice on models; here an older one is taken
            continue
        put(found, module, ema, optimizer)
        if problems:
            warnings.warn(f"{'; '.join(problems)}; going on from {folder}", RecoveredWarning, stacklevel=2)
        return found.state
    if problems:
        raise CheckpointError(
            f"{'; '.join(problems)}; no checkpoint before it can be used; choose another run=, or remove "
            f"{run / 'checkpoints'} to begin anew"
        )
    return None


Wanted = Mapping[str, Mapping[str, Kind]]


def wanted_of(module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer) -> Wanted:
    """The kinds of the tensors of a model's checkpoint, by part and name; moments of all parameters."""
    by_id = moments_by_parameter(optimizer)
    moments = {}
    for name, p in module.named_parameters():
        for key in by_id.get(id(p), ()):
            moments[f"{name}|{key}"] = Kind(torch.float32, ()) if key == "step" else Kind(p.dtype, tuple(p.shape))
    return {"weights": kinds_of(module.state_dict()), "ema": kinds_of(ema.shadow), "optimizer": moments}


def read_checkpoint(folder: Path, wanted: Wanted) -> Checkpoint:
    """Read a checkpoint and look whether it is what was written.

    Args:
        folder: of the checkpoint.
        wanted: kinds of the tensors of the parts that are read (`wanted_of`), looked at before any of them is mapped.
            Size and SHA-256 of all files are compared also where none is.

    Raises:
        CheckpointError: if it is not, holds what no checkpoint of that name holds, or is of another model.
    """
    state = load_json(folder / FILE)
    check_state(state, folder, step_of(folder), FILES.values())
    problem = damage(folder, state["files"]) if "files" in state else ""
    if problem:
        raise CheckpointError(f"{folder}: {problem}")
    tensors: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for part, kinds in wanted.items():
        check = partial(check_kinds, kinds, folder=folder, part=part)
        tensors[part] = load_tensors(folder / FILES[part], check)
        name = not_finite(tensors[part])
        if name:
            raise CheckpointError(f"{folder}: {part}: {name} holds values that are not finite")
    check_steps(tensors["optimizer"], state["step"], folder)
    return Checkpoint(folder, state, **tensors)


def check_kinds(wanted: Mapping[str, Kind], held: Mapping[str, Kind], folder: Path, part: str) -> None:
    """Check that a part of a checkpoint has the tensors of a model.

    Moments of a parameter are all there, or none where it had no gradient so far.

    Args:
        wanted: of the model.
        held: of the file.
        folder: of the checkpoint.
        part: one of `PARTS`.

    Raises:
        CheckpointError: if a name or a shape is not the model's, or the type of a tensor is none of its own.
    """
    begun = {name.rpartition("|")[0] for name in held}
    for name in sorted(wanted.keys() | held.keys()):
        if part == "optimizer" and name not in held and name.rpartition("|")[0] not in begun:
            continue
        if name not in wanted or name not in held or held[name].shape != wanted[name].shape:
            what = f"moments {name}" if part == "optimizer" else name
            raise _MisfitError(f"{folder}: does not fit this model ({what}); use the run's own configuration")
        if held[name].dtype != wanted[name].dtype:
            kinds = f"{type_name(held[name].dtype)}, not {type_name(wanted[name].dtype)}"
            raise CheckpointError(f"{folder}: {part}: {name} holds {kinds}")


def check_steps(moments: Mapping[str, Tensor], step: int, folder: Path) -> None:
    """Check the steps that an optimizer has counted for each parameter.

    Raises:
        CheckpointError: if one is below 0, or beyond the checkpoint's.
    """
    for name, value in moments.items():
        if name.endswith("|step") and not 0 <= value.item() <= step:
            raise CheckpointError(f"{folder}: optimizer: {name} is {value.item():g}, of step {step}")


def put(
    checkpoint: Checkpoint, module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer
) -> None:
    """Put a checkpoint's weights, averages and moments, which fit, in place."""
    parameters = dict(module.named_parameters())
    by_name: dict[str, dict[str, Tensor]] = {}
    for name, value in checkpoint.optimizer.items():
        owner, _, key = name.rpartition("|")
        by_name.setdefault(owner, {})[key] = value
    held = module.state_dict()
    module.load_state_dict({name: divided_as(held[name], value) for name, value in checkpoint.weights.items()})
    for name, value in ema.shadow.items():
        value.copy_(divided_as(value, checkpoint.ema[name]))
    for name, entries in by_name.items():
        p = parameters[name]
        optimizer.state[p] = {k: divided_as(p, v.to(p.device)) if v.ndim else v.clone() for k, v in entries.items()}
    ema.updates = int(checkpoint.state["ema_updates"])
