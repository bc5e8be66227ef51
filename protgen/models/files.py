"""Tensors and JSON on disk: written atomically; a damaged file gives an error of one line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from protgen.atomic import write_bytes, write_text
from protgen.documents import read_json
from protgen.errors import CheckpointError, DocumentError
from protgen.tensor_header import Kind, read_header
from protgen.types import JSON


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors atomically as safetensors."""
    # As bytes: safetensors' own save_file leaves them readable by their owner alone.
    write_bytes(path, save({k: v.detach().contiguous().cpu() for k, v in tensors.items()}))


def save_json(value: JSON, path: Path) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def load_tensors(path: Path, check: Callable[[Mapping[str, Kind]], None] | None = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: the file.
        check: looks at names, types and shapes, and raises for what does not fit before anything is mapped.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    held = read_header(path)
    if check is not None:
        check(held)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:  # RuntimeError: of mapping it
        reason = (str(error) or "not enough memory").splitlines()[0]
        raise CheckpointError(f"{path}: damaged checkpoint ({reason}); get or train it again") from error


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; those of whole numbers and flags are."""
    # A sum that is finite has no other terms, and takes far less time than a look at each.
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all())


def load_json(path: Path) -> JSON:
    """Read a JSON object.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return read_json(path)
    except DocumentError as error:
        raise CheckpointError(f"{error}; get or train it again (`protgen models` lists the models)") from error
