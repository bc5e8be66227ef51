"""Mixed precision: where networks run in low precision, and which parts leave it."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager:
    """A region whose matrix products run in `dtype`; None leaves the precision as it is.

    Families put the encoder alone in it: coordinates and losses keep float32.
    """
    return torch.autocast(device.type, dtype=dtype or torch.float32, enabled=dtype is not None)


def product_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype of matrix products with `x`: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function of coordinates outside autocast: bfloat16 keeps 3 digits, frames need 6."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped
