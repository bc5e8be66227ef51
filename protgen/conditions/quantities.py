"""What geometric conditions have in common: reading numbers, coordinates of a structure, invariants of CA atoms."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.documents import number_in
from protgen.errors import UsageError


def parse_number(text: str, what: str, example: str) -> float:
    """A finite number.

    Args:
        text: what was written.
        what: to call it in the message.
        example: of a number, for the message.

    Raises:
        UsageError: for anything else, naming what was to be read.
    """
    try:
        return number_in(text)
    except ValueError:
        raise UsageError(f"{what} {text.strip()!r}: give a number such as {example}") from None


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_number(value: Any, what: str, low: float, high: float = math.inf) -> None:
    """Raise UsageError unless the value is a finite number from low to high.

    Args:
        value: to check.
        what: to call it in the message.
        low, high: bounds, both allowed.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what} {value!r}: give a finite number")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise UsageError(f"{what} {value:g}: give a number {bounds}")


def backbone_of(structure: Any, name: str) -> Float[np.ndarray, "l 4 3"]:
    """All backbone atoms of a protein, Å.

    Raises:
        UsageError: if one is missing.
    """
    backbone = structure.backbone
    if not len(backbone) or not np.isfinite(backbone).all():
        raise UsageError(f"{structure.name}: {name} needs N, CA, C and O of every residue, and some are missing")
    return backbone


def ca_of(structure: Any, name: str) -> Float[np.ndarray, "l 3"]:
    """CA positions of a protein, Å.

    Raises:
        UsageError: if one is missing.
    """
    ca = structure.atoms[:, 1]
    if not len(ca) or not np.isfinite(ca).all():
        raise UsageError(f"{structure.name}: {name} needs the CA of every residue, and some are missing")
    return ca


def pair_distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances over the last axis with a finite gradient at 0, Å."""
    return ((a - b).square().sum(-1) + 1e-8).sqrt()


def chain_ends(xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> tuple[Tensor, Tensor]:
    """Backbone atoms (b, 4, 3) of the first and of the last real residue of each row."""
    rows = torch.arange(len(mask), device=mask.device)
    return xyz[:, 0], xyz[rows, (mask.sum(-1) - 1).clamp(min=0)]
