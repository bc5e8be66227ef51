"""The header of a safetensors file: names, types and shapes of its tensors, looked at before any of them is mapped.

A file begins with the length of its header (8 bytes, little-endian) and the header, JSON; the values follow, without
gaps and to the end of the file. Values are not read here, so that a header that lies costs nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protgen.documents import MAX_SMALL, json_of
from protgen.errors import CheckpointError, DocumentError

MOST_BYTES = MAX_SMALL  # of a header: some 50,000 tensors
MOST_AXES = 16
MOST_ALONG = 2**40  # of an axis
LONGEST_NAME = 500
METADATA = "__metadata__"
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What is known of a tensor without its values.

    Attributes:
        dtype: of its values.
        shape: of its axes.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]


def kinds_of(tensors: Mapping[str, Tensor]) -> dict[str, Kind]:
    """The kinds of tensors, by name."""
    return {name: Kind(value.dtype, tuple(value.shape)) for name, value in tensors.items()}


def read_header(path: Path) -> dict[str, Kind]:
    """The kinds of the tensors of a safetensors file, by name.

    Args:
        path: the file.

    Raises:
        CheckpointError: if it is missing, the header is damaged, holds a name twice or a type that no file of ours
            has, or the file holds more or fewer bytes than the header says.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; `protgen models` lists the models at hand")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(MOST_BYTES, size - 8):
                raise damaged(path, f"its header cannot be read: {length:,} bytes of a file of {size:,}")
            header = json_of(file.read(length).decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, f"its header cannot be read: {error}") from None
    except DocumentError as error:
        raise CheckpointError(f"{error}; get or train it again") from None
    header.pop(METADATA, None)
    found: dict[str, Kind] = {}
    spans = []
    for name, entry in header.items():
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise damaged(path, f"{name[:40]!r} is no name of a tensor")
        try:
            found[name], span = _kind_of(entry)
        except ValueError as error:
            raise damaged(path, f"{name}: {error}") from None
        spans.append(span)
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise damaged(path, f"its values have a gap or overlap at byte {min(first, end):,}")
        end = last
    if end != size - 8 - length:
        raise damaged(path, f"it holds {size - 8 - length:,} bytes of values, its header says {end:,}")
    return found


def type_name(dtype: torch.dtype) -> str:
    """The name of a type of values, as in `float32`."""
    return str(dtype).removeprefix("torch.")


def _kind_of(entry: Any) -> tuple[Kind, tuple[int, int]]:
    """The kind of a tensor and the first and last byte of its values.

    Raises:
        ValueError: if the entry is none of a header of ours.
    """
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("its entry is not dtype, shape and data_offsets")
    name, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(name, str) or name not in TYPES:
        raise ValueError(f"holds {str(name)[:20]!r}, and only {', '.join(TYPES)} are read")
    if not _are_counts(shape, MOST_ALONG) or len(shape) > MOST_AXES:
        raise ValueError(f"{str(shape)[:40]!r} is no shape")
    if not _are_counts(span, 2**63) or len(span) != 2:
        raise ValueError(f"{str(span)[:40]!r} is no place of its values")
    wanted = math.prod(shape) * TYPES[name].itemsize
    if span[1] - span[0] != wanted:
        raise ValueError(f"has {span[1] - span[0]:,} bytes in place of {str(wanted)[:40]}")
    return Kind(TYPES[name], tuple(shape)), (span[0], span[1])


def _are_counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and all(type(x) is int and 0 <= x <= most for x in value)


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error of a file of weights that cannot be what was written."""
    return CheckpointError(f"{path}: damaged checkpoint ({reason}); get or train it again")
