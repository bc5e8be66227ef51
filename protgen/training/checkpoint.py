"""Checkpoints of a run: everything that makes resuming exact, written so that one is always whole.

`<run>/checkpoints/step_00001000/` holds weights, averaged weights and optimizer moments as safetensors and the
counters as JSON, with the size and SHA-256 of each file. It is written under another name and renamed when it is on the
disk; older ones go after that. One that is not what was written is passed over for the one before it.
"""

import math
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from protgen.atomic import move_folder
from protgen.errors import CheckpointError, DivergedError, RecoveredWarning
from protgen.integrity import damage, fingerprints, is_sealed, sealed
from protgen.models.files import load_json, load_tensors, save_json, save_tensors
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.sharding import divided_as
from protgen.types import JSON

_STEP = re.compile(r"step_([0-9]{8,12})")
PARTS = ("weights", "ema", "optimizer")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        folder: where it is.
        state: its counters.
        weights, ema, optimizer: tensors by name; those of the optimizer are named `PARAMETER|KEY`.
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
        counters: `step`, `ema_updates` and whatever else a resumed run needs, as JSON.
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
            save_tensors(held, temporary / f"{part}.safetensors")
    if problem:
        shutil.rmtree(temporary)
        raise DivergedError(problem)
    files = fingerprints(temporary, [f"{part}.safetensors" for part in PARTS])
    save_json(sealed(counters | {"files": files}), temporary / "state.json")
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
        stopping = load_json(folder / "state.json").get("stopping")
    except CheckpointError:
        return None
    return stopping.get("best_step") if isinstance(stopping, dict) else None


def best_averages(run: Path, step: int) -> Mapping[str, Tensor]:
    """The averaged weights of the best validation of a run.

    Args:
        run: folder of the run.
        step: of that validation.

    Raises:
        CheckpointError: if its checkpoint is missing or damaged.
    """
    return read_checkpoint(run / "checkpoints" / f"step_{step:08d}").ema


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
        if value.is_floating_point() and not torch.isfinite(value).all():
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
    for folder in reversed(checkpoints(run)):
        try:
            found = read_checkpoint(folder)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        put(found, module, ema, optimizer)
        if problems:
            warnings.warn(f"{problems[0]}; going on from {folder}", RecoveredWarning, stacklevel=2)
        return found.state
    if problems:
        raise CheckpointError(
            f"{problems[0]}; no checkpoint before it can be used; choose another run=, or remove {run / 'checkpoints'} "
            "to begin anew"
        )
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and look whether it is what was written.

    Raises:
        CheckpointError: if it is not, or holds what no checkpoint of that name holds.
    """
    state = load_json(folder / "state.json")
    if "seal" in state or "files" in state:  # checkpoints of release 0.1 have neither
        if not is_sealed(state):
            raise CheckpointError(f"{folder / 'state.json'}: has other content than was written")
        problem = damage(folder, state["files"])
        if problem:
            raise CheckpointError(f"{folder}: {problem}")
    check_counters(state, folder)
    tensors = [load_tensors(folder / f"{part}.safetensors") for part in PARTS]
    for part, held in zip(PARTS, tensors, strict=True):
        name = not_finite(held)
        if name:
            raise CheckpointError(f"{folder}: {part}: {name} holds values that are not finite")
    return Checkpoint(folder, state, *tensors)


def check_counters(state: JSON, folder: Path) -> None:
    """Check the counters that every checkpoint has.

    Raises:
        CheckpointError: if one is missing or cannot be, or the step is not the folder's.
    """
    for name, kind in (("step", int), ("ema_updates", int), ("minutes", int | float)):
        value = state.get(name, 0 if name == "minutes" else None)
        if not isinstance(value, kind) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise CheckpointError(f"{folder / 'state.json'}: {name} is {str(value)[:40]}")
    if state["step"] != step_of(folder):
        raise CheckpointError(f"{folder / 'state.json'}: is of step {state['step']}")


def put(
    checkpoint: Checkpoint, module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer
) -> None:
    """Put a checkpoint's weights, averages and moments in place; nothing changes where they do not fit.

    Raises:
        CheckpointError: if they are of another model.
    """
    parameters = dict(module.named_parameters())
    by_name: dict[str, dict[str, Tensor]] = {}
    for name, value in checkpoint.optimizer.items():
        owner, _, key = name.rpartition("|")
        by_name.setdefault(owner, {})[key] = value
    for wanted, held in ((module.state_dict(), checkpoint.weights), (ema.shadow, checkpoint.ema)):
        check_shapes({name: value.shape for name, value in wanted.items()}, held, checkpoint.folder)
    for name, entries in by_name.items():
        shape = parameters[name].shape if name in parameters else None
        if shape is None or any(value.ndim and value.shape != shape for value in entries.values()):
            raise CheckpointError(_misfit(checkpoint.folder, f"moments of {name}"))
    held = module.state_dict()
    module.load_state_dict({name: divided_as(held[name], value) for name, value in checkpoint.weights.items()})
    for name, value in ema.shadow.items():
        value.copy_(divided_as(value, checkpoint.ema[name]))
    for name, entries in by_name.items():
        p = parameters[name]
        optimizer.state[p] = {k: divided_as(p, v.to(p.device)) if v.ndim else v.clone() for k, v in entries.items()}
    ema.updates = int(checkpoint.state["ema_updates"])


def check_shapes(wanted: Mapping[str, torch.Size], held: Mapping[str, Tensor], folder: Path) -> None:
    """Check that tensors have the names and shapes of a model's.

    Raises:
        CheckpointError: if they have not.
    """
    for name in sorted(wanted.keys() | held.keys()):
        if name not in wanted or name not in held or held[name].shape != wanted[name]:
            raise CheckpointError(_misfit(folder, name))


def _misfit(folder: Path, what: str) -> str:
    return f"{folder}: does not fit this model ({what}); use the run's own configuration"
