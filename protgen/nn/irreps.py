"""Depthwise products of e3nn's irreps, exact in any precision and without constants in checkpoints."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import e3nn
import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn


def even_irreps(channels: Sequence[int]) -> o3.Irreps:
    """Irreps with that many channels of degree 0, 1, ...; all even, as SE(3) has no parity."""
    # A cast: with e3nn's metaclass a type checker does not know the type of the result.
    return cast(o3.Irreps, o3.Irreps([(count, (degree, 1)) for degree, count in enumerate(channels)]))


class DepthwiseProduct(nn.Module):
    """Products of node features with harmonics of edges, channel by channel (`uvu`), with weights for each edge.

    All paths to a degree of the features. The Wigner symbols are recomputed when the module changes its precision:
    rounded to float32, those of degree 2 would break equivariance in float64 at 1e-8.

    Args:
        features: channels of each degree 0, 1, ... of the first factor.
        harmonics: channels of each degree of the second.
    """

    weight_numel: int

    def __init__(self, features: Sequence[int], harmonics: Sequence[int]) -> None:
        super().__init__()
        paths = [
            (out, left, right)
            for out in range(len(features))
            for left in range(len(features))
            for right in range(len(harmonics))
            if abs(left - right) <= out <= left + right
        ]
        self.irreps_out = o3.Irreps([(features[left], (out, 1)) for out, left, _ in paths])
        instructions = [(left, right, k, "uvu", True) for k, (_, left, right) in enumerate(paths)]
        with interpreted(optimize_einsums=True):
            self.product = o3.TensorProduct(
                even_irreps(features),
                even_irreps(harmonics),
                self.irreps_out,
                instructions,
                internal_weights=False,
                shared_weights=False,
            )
        self.weight_numel = sum(features[left] * harmonics[right] for _, left, right in paths)
        keep_parameters_alone(self.product)

    def forward(
        self, x: Float[Tensor, "e i"], harmonics: Float[Tensor, "e j"], weights: Float[Tensor, "e w"]
    ) -> Float[Tensor, "e k"]:
        """Products in `irreps_out`, paths concatenated.

        Args:
            x: features of nodes, for each edge.
            harmonics: of edges.
            weights: of each path and channel, for each edge.
        """
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
def interpreted(optimize_einsums: bool = False) -> Iterator[None]:
    """Modules of e3nn built here do not use TorchScript, which compiles again for every instance and many shapes.

    Args:
        optimize_einsums: whether to search for the best order of products: slow, worth it with three factors.
    """
    wanted = {"jit_script_fx": False, "optimize_einsums": optimize_einsums}
    before = {key: e3nn.get_optimization_defaults()[key] for key in wanted}
    e3nn.set_optimization_defaults(**wanted)
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**before)


def keep_parameters_alone(module: nn.Module) -> None:
    """Keep e3nn's constants out of state_dict: they are not weights, and a checkpoint in bfloat16 would round them."""
    for part in module.modules():
        part._non_persistent_buffers_set.update(part._buffers)
