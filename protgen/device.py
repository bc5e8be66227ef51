"""The device to compute on, by name."""

import torch

from protgen.errors import UsageError


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes a CUDA GPU when there is one.

    Args:
        name: auto, cpu, cuda, cuda:1, mps, ...

    Raises:
        UsageError: if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here; use auto or cpu") from error
    return device


def widest(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: float64, but float32 on Apple's mps, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64
