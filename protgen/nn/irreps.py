"""Depthwise products of e3nn's irreps, exact in any precision and without constants in checkpoints."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import e3nn
import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn


class DepthwiseProduct(nn.Module):
    """Products of node features with harmonics of edges, channel by channel (`uvu`), with weights for each edge.

    All paths that lead to a degree the features have. The Wigner symbols are computed anew when the module changes its
    precision: rounded to float32 first, those of degree 2 would break equivariance in float64 at 1e-8.

    Args:
        features: irreps of the first factor, all even, one entry a degree.
        harmonics: irreps of the second.
    """

    def __init__(self, features: o3.Irreps, harmonics: o3.Irreps) -> None:
        super().__init__()
        degrees = {irrep.l for _, irrep in features}
        paths = [
            (out, i, j, mul)
            for i, (mul, left) in enumerate(features)
            for j, (_, right) in enumerate(harmonics)
            for out in left * right
            if out.l in degrees
        ]
        paths.sort(key=lambda path: path[0].l)
        self.irreps_out = o3.Irreps([(mul, out) for out, _, _, mul in paths])
        instructions = [(i, j, k, "uvu", True) for k, (_, i, j, _) in enumerate(paths)]
        with interpreted():
            self.product = o3.TensorProduct(
                features, harmonics, self.irreps_out, instructions, internal_weights=False, shared_weights=False
            )
        self.weight_numel: int = self.product.weight_numel
        keep_parameters_alone(self.product)

    def forward(
        self, x: Float[Tensor, "e i"], harmonics: Float[Tensor, "e j"], weights: Float[Tensor, "e w"]
    ) -> Float[Tensor, "e k"]:
        """Products in `irreps_out`, paths side by side."""
        return self.product(x, harmonics, weights)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for part in self.product.modules():
            for name, buffer in part.named_buffers(recurse=False):
                symbol = re.fullmatch(r"_?w3j_(\d)_(\d)_(\d)", name)
                if symbol:
                    one, two, three = (int(degree) for degree in symbol.groups())
                    exact = o3.wigner_3j(one, two, three, dtype=torch.float64)
                    part.register_buffer(name, exact.to(buffer), persistent=False)
        return self


@contextmanager
def interpreted() -> Iterator[None]:
    """Modules of e3nn made in here stay out of TorchScript, which compiles anew for every instance and many shapes."""
    before = e3nn.get_optimization_defaults()["jit_script_fx"]
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(jit_script_fx=before)


def keep_parameters_alone(module: nn.Module) -> None:
    """Leave e3nn's constants out of state_dict: they are no weights, and a checkpoint in bfloat16 would round them."""
    for part in module.modules():
        part._non_persistent_buffers_set.update(part._buffers)
