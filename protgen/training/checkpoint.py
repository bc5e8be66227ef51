"""Checkpoints of a run: everything that makes resuming exact, written so that one is always whole.

`<run>/checkpoints/step_00001000/` holds weights, averaged weights and optimizer moments as safetensors and the
counters as JSON. It is written under another name and renamed when complete; older ones go after that.
"""

import shutil
from pathlib import Path

import torch
from torch import nn

from protgen.errors import CheckpointError
from protgen.models.files import load_json, load_tensors, save_json, save_tensors
from protgen.training.ema import ExponentialMovingAverage
from protgen.types import JSON


def save_checkpoint(
    run: Path,
    counters: JSON,
    module: nn.Module,
    ema: ExponentialMovingAverage,
    optimizer: torch.optim.Optimizer,
    keep: int,
) -> Path:
    """Write a checkpoint and delete all but the newest.

    Args:
        run: folder of the run.
        counters: `step` and whatever else a resumed run needs, as JSON.
        module: whose weights are written.
        ema: its averages.
        optimizer: its moments.
        keep: number of checkpoints kept.
    """
    folder = run / "checkpoints"
    temporary = folder / "writing.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_tensors(module.state_dict(), temporary / "weights.safetensors")
    save_tensors(ema.shadow, temporary / "ema.safetensors")
    names = {id(p): name for name, p in module.named_parameters()}
    moments = {
        f"{names[id(p)]}|{key}": value
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    save_tensors(moments, temporary / "optimizer.safetensors")
    save_json(counters | {"ema_updates": ema.updates}, temporary / "state.json")
    final = folder / f"step_{counters['step']:08d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for old in sorted(folder.glob("step_*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(run: Path) -> Path | None:
    """The last complete checkpoint of a run, None if it has none."""
    found = sorted((run / "checkpoints").glob("step_*"))
    return found[-1] if found else None


def load_checkpoint(
    folder: Path, module: nn.Module, ema: ExponentialMovingAverage, optimizer: torch.optim.Optimizer
) -> JSON:
    """Restore weights, averages and moments in place; returns the counters.

    Args:
        folder: of the checkpoint.
        module, ema, optimizer: what is restored.

    Raises:
        CheckpointError: if a file is missing or damaged, or does not fit the model.
    """
    state = load_json(folder / "state.json")
    try:
        module.load_state_dict(load_tensors(folder / "weights.safetensors"))
        shadow = load_tensors(folder / "ema.safetensors")
        for name, value in ema.shadow.items():
            value.copy_(shadow[name])
        moments = load_tensors(folder / "optimizer.safetensors")
        for name, p in module.named_parameters():
            entries = {k.split("|")[1]: v for k, v in moments.items() if k.split("|")[0] == name}
            if entries:
                optimizer.state[p] = {k: v.to(p.device) if v.ndim else v.clone() for k, v in entries.items()}
    except (RuntimeError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder}: does not fit this model ({first}); use the run's own configuration"
        ) from error
    ema.updates = int(state["ema_updates"])
    return state
