"""Whether the tensors of a file are those of a network: names, types and shapes, by the header of the file."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from protgen.errors import CheckpointError
from protgen.models.renamed import current_tensors
from protgen.tensor_header import Kind, damaged, type_name


def check_fit(own: Mapping[str, Tensor], held: Mapping[str, Kind | Tensor], path: Path) -> None:
    """Check that tensors of a file have the names, shapes and types of a network's.

    Weights and buffers are written as floats, so floats of any width fit; whole numbers and flags fit those alone.

    Args:
        own: of the network, which need not have memory.
        held: of the file, by the names of today or of before 0.2.
        path: of the file.

    Raises:
        CheckpointError: if one is missing, not the network's, there by two names, or differs in shape or type.
    """
    current = current_tensors(held)
    if len(current) < len(held):
        raise damaged(path, "a tensor is there by two names, of today and of before 0.2")
    for name in sorted(own.keys() | current.keys()):
        if name not in own or name not in current:
            where = "config" if name in current else "file"
            raise CheckpointError(
                f"{path}: {name} is missing in the {where}; config.json and weights do not belong together"
            )
        shape, dtype = tuple(current[name].shape), current[name].dtype
        if shape != tuple(own[name].shape):
            raise CheckpointError(f"{path}: {name} has shape {shape}, config.json asks for {tuple(own[name].shape)}")
        if dtype != own[name].dtype and not (dtype.is_floating_point and not own[name].dtype.is_complex):
            raise damaged(path, f"{name} holds {type_name(dtype)}, and {type_name(own[name].dtype)} is asked for")
