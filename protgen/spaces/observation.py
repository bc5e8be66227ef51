"""How likely data are about a prediction: p(x_data | prediction), which families with a decoder maximise.

A space says which one is its own (`Space.observation`), so that families know neither proteins nor pixels.
"""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from protgen.errors import UsageError
from protgen.types import State

if TYPE_CHECKING:
    from protgen.spaces.base import Space


class Observation(nn.Module, ABC):
    """A density over points of a space about a predicted point."""

    @abstractmethod
    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """log p(x_data | prediction) in nats, summed over the real positions of each example.

        Args:
            prediction: a point of the space, as a head gives it.
            x_data: where the density is asked.
            rng: where the space has symmetries, the pose of the prediction is a further latent variable. With a
                generator it is drawn, and the weight log p(pose) - log q(pose) added, so that the mean of exp() is
                unbiased; without one the pose is the best one and its volume a Laplace approximation.
        """

    @abstractmethod
    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """A draw of p(x_data | prediction), made of given standard normals.

        Args:
            prediction: its centre.
            normals: (b, l, k) with k the sum of the dimensions of the fields.
            temperature: scales the spread; 0 gives the centre.
        """


class RiemannianNormal(Observation):
    """Each field normal in its geodesic distance to the prediction: p(x | m) = exp(-d(x, m)^2 / (2 s^2)) / Z(s).

    Z is that of the field's manifold, so densities are with respect to its volume. One spread s for each field, in
    units of the space's scale, learned with everything else: that balances fields and reconstruction against the rest
    without a weight (Rybkin et al. 2021, Simple and Effective VAE Training with Calibrated Decoders, section 3).

    References:
        Pennec 2006, Intrinsic Statistics on Riemannian Manifolds, section 5.

    Args:
        space: whose fields are observed.
        std: s at the start, in units of `space.scale`.
        learned: whether s is a parameter.

    Raises:
        UsageError: if the spread is not positive.
    """

    def __init__(self, space: "Space", std: float = 0.5, learned: bool = True) -> None:
        super().__init__()
        if std <= 0:
            raise UsageError(f"spread {std}: a density needs a positive width; give one in units of the data's own")
        # Not a submodule: the family owns the space, and a state_dict lists a thing once.
        object.__setattr__(self, "space", space)
        self.space: Space
        start = torch.full((len(space.manifolds),), math.log(std))
        self.log_std = nn.Parameter(start, requires_grad=learned)

    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """Sum of the fields' log-densities, and the weight of the pose."""
        mask = x_data.mask
        scales = self.space.scale(mask)
        fields = zip(self.space.manifolds, self.log_std, strict=True)
        stds = {name: scales[name] * log_std.exp() for name, log_std in fields}
        frame_latents, total = self.space.pose(prediction, x_data, stds, rng)
        dof, seen = self.space.field_dof(mask), self.space.defined(x_data)
        for name, manifold in self.space.manifolds.items():
            squared = manifold.logmap(frame_latents[name], x_data[name]).square()
            squared = torch.where(seen[name], squared, 0.0).sum((1, 2))
            unseen = mask.sum(-1) * manifold.dim - seen[name].sum((1, 2))
            log_z = manifold.log_normaliser(stds[name]) * (dof[name] - unseen) / manifold.dim
            total = total - squared / (2 * stds[name].square()) - log_z
        return total

    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """Normal tangent vectors: exact on flat fields, and on curved ones while spreads are well below one radian."""
        scales = self.space.scale(prediction.mask)
        fields, start = {}, 0
        for (name, manifold), log_std in zip(self.space.manifolds.items(), self.log_std, strict=True):
            std = temperature * scales[name] * log_std.exp()
            tangent = normals[..., start : start + manifold.dim] * std[:, None, None]
            fields[name] = manifold.expmap(prediction[name], tangent)
            start += manifold.dim
        return self.space.project(State(fields, prediction.mask))


class ScaledBernoulli(Observation):
    """Binary pixels at -1 and 1; the prediction is their mean, m = 2 p - 1.

    Args:
        field: the field of pixels.
    """

    def __init__(self, field: str = "pixels") -> None:
        super().__init__()
        self.field = field

    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """log-probability (a probability, not a density) of the pixels."""
        # Probability of what is there; the floor is where float32 stops telling tanh from 1.
        p = (1 + prediction[self.field] * x_data[self.field].sign()) / 2
        return torch.where(x_data.mask[..., None], p.clamp(min=1e-7).log(), 0.0).sum((1, 2))

    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """Pixels -1 or 1; the mean itself at temperature 0, logits divided by the temperature else."""
        mean = prediction[self.field]
        if temperature == 0:
            return prediction
        p = torch.sigmoid(2 * mean.clamp(-1 + 1e-6, 1 - 1e-6).atanh() / temperature)
        return prediction.with_fields(**{self.field: torch.where(torch.special.ndtr(normals) < p, 1.0, -1.0)})


class DiscretisedLogistic(Observation):
    """Pixels of `levels` evenly spaced values on [-1, 1], each the integral of a logistic density over its cell.

    The end cells reach to infinity (Salimans et al. 2017, PixelCNN++, eq. 2). Divided by the width of a cell this is a
    density on the dequantised pixels as well, constant on each cell; that is what is returned, so that numbers compare
    with those of families of continuous densities.

    Args:
        levels: number of values.
        std: scale of the logistic at the start; learned.
        field: the field of pixels.
    """

    def __init__(self, levels: int, std: float = 0.5, field: str = "pixels") -> None:
        super().__init__()
        self.levels = levels
        self.field = field
        self.log_std = nn.Parameter(torch.tensor(math.log(std)))

    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """log-density of dequantised pixels."""
        width = 2 / self.levels
        value = ((x_data[self.field] + 1) / width).floor().clamp(0, self.levels - 1)
        left = value * width - 1
        scale = self.log_std.exp()
        low = (left - prediction[self.field]) / scale
        high = low + width / scale
        log_p = log_logistic_interval(low, high)
        log_p = torch.where(value == 0, nn.functional.logsigmoid(high), log_p)
        log_p = torch.where(value == self.levels - 1, nn.functional.logsigmoid(-low), log_p)
        return torch.where(x_data.mask[..., None], log_p - math.log(width), 0.0).sum((1, 2))

    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """The middle of the cell in which a draw of the logistic falls."""
        uniform = torch.special.ndtr(normals).clamp(1e-6, 1 - 1e-6)
        value = prediction[self.field] + temperature * self.log_std.exp() * uniform.logit()
        cell = ((value + 1) / 2 * self.levels).floor().clamp(0, self.levels - 1)
        return prediction.with_fields(**{self.field: (cell + 0.5) * 2 / self.levels - 1})


def log_logistic_interval(low: Tensor, high: Tensor) -> Tensor:
    """log(sigmoid(high) - sigmoid(low)) without cancellation: both tails come from softplus alone.

    sigmoid(b) - sigmoid(a) = (1 - exp(a - b)) sigmoid(b) sigmoid(-a).
    """
    gap = torch.log(-torch.expm1(low - high))
    return gap + nn.functional.logsigmoid(high) + nn.functional.logsigmoid(-low)
