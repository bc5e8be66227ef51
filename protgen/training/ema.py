"""Exponential moving average of weights: what is sampled from and released."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Shadow weights w' <- d w' + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)) so that early steps fade fast.

    Args:
        module: whose weights to follow.
        decay: d in the long run.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {name: p.detach().clone() for name, p in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's weights of now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = module.state_dict()
        weights = {name for name, _ in module.named_parameters()}
        for name, value in state.items():
            # Buffers are statistics and counters: an average of them over time would be none of the data.
            self.shadow[name].lerp_(value, 1 - decay if name in weights else 1.0)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module with averaged weights, its own put back afterwards."""
        own: dict[str, Tensor] = {name: p.detach().clone() for name, p in module.state_dict().items()}
        module.load_state_dict(self.shadow)
        try:
            yield
        finally:
            module.load_state_dict(own)
