"""Mixed precision: which parts of a network run in bfloat16, and which leave it."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def autocast(dtype: torch.dtype | None, device: torch.device) -> torch.autocast:
    """Autocast to a dtype on a device; None switches it off.

    Args:
        dtype: of matrix products, such as `torch.bfloat16`.
        device: where they run.

    Example:
        >>> with autocast(torch.bfloat16, torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    return torch.autocast(device.type, dtype=dtype or torch.float32, enabled=dtype is not None)


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function of coordinates outside autocast: bfloat16 keeps 3 digits, frames need 6."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped
