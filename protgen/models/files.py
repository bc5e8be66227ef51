"""Tensors and JSON on disk: written atomically; a damaged file gives an error of one line."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from protgen.atomic import write_bytes, write_text
from protgen.documents import read_json
from protgen.errors import CheckpointError, DocumentError
from protgen.types import JSON


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors atomically as safetensors."""
    # As bytes: safetensors' own save_file leaves them readable by their owner alone.
    write_bytes(path, save({k: v.detach().contiguous().cpu() for k, v in tensors.items()}))


def save_json(value: JSON, path: Path) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; `protgen models` lists the models at hand")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error}); get or train it again") from error


def load_json(path: Path) -> JSON:
    """Read a JSON object.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return read_json(path)
    except DocumentError as error:
        raise CheckpointError(f"{error}; get or train it again (`protgen models` lists the models)") from error
