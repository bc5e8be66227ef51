"""Observation models: the density p(x_data | prediction) of data about a decoder's prediction.

A space may state its own (`ObservationModel`); the default is normal in the geodesic distance of each field. So
families with a decoder know neither proteins nor pixels.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from protgen.errors import UsageError
from protgen.spaces.base import Space
from protgen.spaces.capabilities import defined_coordinates, freedoms
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.types import State

SPREAD = "spread"  # field of a prediction: log of the factor of the standard deviation of each coordinate
WIDEST = 3.0  # of its absolute values, a factor of 20


class Observation(nn.Module, ABC):
    """A density over points of a space about a predicted point."""

    @abstractmethod
    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """log p(x_data | prediction) in nats, summed over the real positions of each example.

        Args:
            prediction: a point of the space, as a head gives it.
            x_data: where the density is evaluated.
            rng: in a space with symmetries the pose of the prediction is a further latent variable. With a generator
                the pose is drawn, and the weight log p(pose) - log q(pose) is added, so that the mean of exp() is
                unbiased. Without one the most probable pose is taken, with a Laplace approximation of its volume.
        """

    @abstractmethod
    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """A draw of p(x_data | prediction), made of given standard normals.

        Args:
            prediction: its centre.
            normals: (b, l, k) with k the sum of the dimensions of the fields.
            temperature: T times the standard deviation, or probabilities to the power 1 / T^2; 0 gives the centre.
        """


class ObservationModel(ABC):
    """A space that states its own p(x_data | prediction)."""

    advice: ClassVar[str] = "an observation model of its own (`ObservationModel`), such as image"

    @abstractmethod
    def observation(self, std: float = 0.5) -> Observation:
        """The observation model.

        Args:
            std: initial standard deviation, in units of the scale of the data.
        """


class Posable(ABC):
    """A space with symmetries whose pose an observation model integrates out."""

    advice: ClassVar[str] = "a pose (`Posable`), such as backbone"

    @abstractmethod
    def pose(
        self, prediction: State, target: State, stds: Mapping[str, Tensor], rng: Generator | None
    ) -> tuple[State, Float[Tensor, " b"]]:
        """The prediction moved by a symmetry onto the target, and the weight log p - log q of that motion.

        Args:
            prediction: what is moved.
            target: what it is moved onto.
            stds: standard deviation (b,) of each field of the target about the prediction.
            rng: draws the motion; None takes the most probable one (see `Observation.log_prob`).
        """


def observation_of(space: Space, std: float = 0.5) -> Observation:
    """The observation model of a space; normal in geodesic distances unless it states another.

    Args:
        space: of the data.
        std: initial standard deviation, in units of the scale of the data.
    """
    return space.observation(std) if isinstance(space, ObservationModel) else RiemannianNormal(space, std)


def check_spread(space: Space) -> None:
    """Refuse a space whose predictions cannot bring a standard deviation of each coordinate.

    Raises:
        UsageError: if it states its own observation model, has a pose, or a field that is neither lines nor circles.
    """
    separable = all(isinstance(manifold, Euclidean | Torus) for manifold in space.manifolds.values())
    if isinstance(space, ObservationModel | Posable) or not separable:
        raise UsageError(
            f"local_std: {type(space).__name__} has no standard deviation of each coordinate; leave it out, or use the "
            "space torsions"
        )


def with_spread(prediction: State, values: Float[Tensor, "b l k"]) -> State:
    """The prediction with the log of a factor of each coordinate's standard deviation, within `WIDEST`.

    Args:
        prediction: centres of p(x_data | prediction).
        values: any numbers, of the coordinates of all fields in their order.
    """
    return prediction.with_fields(**{SPREAD: WIDEST * (values / WIDEST).tanh()})


def moved_onto(
    space: Space, prediction: State, target: State, stds: Mapping[str, Tensor], rng: Generator | None
) -> tuple[State, Float[Tensor, " b"]]:
    """`Posable.pose`; without symmetries the prediction itself, with weight 0.

    Args:
        space: of the points.
        prediction: what is moved.
        target: what it is moved onto.
        stds: standard deviation (b,) of each field.
        rng: draws the motion; None takes the most probable one.
    """
    if isinstance(space, Posable):
        return space.pose(prediction, target, stds, rng)
    return prediction, torch.zeros(len(target.mask), device=target.mask.device)


class RiemannianNormal(Observation):
    """Each field normal in its geodesic distance to the prediction: p(x | m) = exp(-d(x, m)^2 / (2 s^2)) / Z(s).

    Z is that of the field's manifold, so densities are with respect to its volume. Each field has one standard
    deviation s, in units of the space's scale, learned with the other parameters. It balances the fields, and
    reconstruction against other terms, without a weight (Rybkin et al. 2021, Simple and Effective VAE Training with
    Calibrated Decoders, section 3).

    A prediction may bring a factor of s for each of its coordinates (`with_spread`), where fields are lines or circles
    and the space has no pose: what is narrow there, as the torsions of helices, then counts as much as what is wide.

    References:
        Pennec 2006, Intrinsic Statistics on Riemannian Manifolds, section 5.
        Kingma and Welling 2014, Auto-Encoding Variational Bayes, appendix C.2 (a deviation of each coordinate).

    Args:
        space: whose fields are observed.
        std: s at the start, in units of `space.scale`.
        learned: whether s is a parameter.

    Raises:
        UsageError: if std is not positive.
    """

    def __init__(self, space: Space, std: float = 0.5, learned: bool = True) -> None:
        super().__init__()
        if std <= 0:
            raise UsageError(f"std {std}: a density needs a positive width; give one in units of the data's own")
        # Not a submodule: the family owns the space, and a state_dict lists each parameter once.
        object.__setattr__(self, "space", space)
        self.space: Space
        start = torch.full((len(space.manifolds),), math.log(std))
        self.log_std = nn.Parameter(start, requires_grad=learned)

    def log_prob(self, prediction: State, x_data: State, rng: Generator | None = None) -> Float[Tensor, " b"]:
        """Sum of the fields' log-densities, and the weight of the pose."""
        scales = self.space.scale(x_data.mask)
        fields = zip(self.space.manifolds, self.log_std, strict=True)
        stds = {name: scales[name] * log_std.exp() for name, log_std in fields}
        placed, total = moved_onto(self.space, prediction, x_data, stds, rng)
        dof, seen = freedoms(self.space, x_data), defined_coordinates(self.space, x_data)
        factors = self.factors(prediction)
        for name, manifold in self.space.manifolds.items():
            squared = manifold.logmap(placed[name], x_data[name]).square()
            if factors is None:
                squared = torch.where(seen[name], squared, 0.0).sum((1, 2))
                log_z = manifold.log_normaliser(stds[name]) * dof[name] / manifold.dim
                total = total - squared / (2 * stds[name].square()) - log_z
            else:
                std = stds[name][:, None, None] * factors[name]
                each = squared / (2 * std.square()) + manifold.log_normaliser(std) / manifold.dim
                total = total - torch.where(seen[name], each, 0.0).sum((1, 2))
        return total

    def factors(self, prediction: State) -> dict[str, Float[Tensor, "b l d"]] | None:
        """What the coordinates of each field multiply s by; None where the prediction does not say."""
        if SPREAD not in prediction.fields:
            return None
        widths = [manifold.dim for manifold in self.space.manifolds.values()]
        parts = prediction[SPREAD].exp().split(widths, -1)
        return dict(zip(self.space.manifolds, parts, strict=True))

    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """Normal tangent vectors: exact on flat fields, and on curved ones for standard deviations well below 1 rad."""
        scales = self.space.scale(prediction.mask)
        fields, start, factors = {}, 0, self.factors(prediction)
        for (name, manifold), log_std in zip(self.space.manifolds.items(), self.log_std, strict=True):
            std = (temperature * scales[name] * log_std.exp())[:, None, None]
            std = std if factors is None else std * factors[name]
            tangent = normals[..., start : start + manifold.dim] * std
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
        # Probability of the value; below the floor float32 cannot distinguish tanh from 1.
        p = (1 + prediction[self.field] * x_data[self.field].sign()) / 2
        return torch.where(x_data.mask[..., None], p.clamp(min=1e-7).log(), 0.0).sum((1, 2))

    def draw(self, prediction: State, normals: Float[Tensor, "b l k"], temperature: float) -> State:
        """Pixels -1 or 1; the mean itself at temperature 0, logits divided by its square else."""
        mean = prediction[self.field]
        if temperature == 0:
            return prediction
        p = torch.sigmoid(2 * mean.clamp(-1 + 1e-6, 1 - 1e-6).atanh() / temperature**2)
        return prediction.with_fields(**{self.field: torch.where(torch.special.ndtr(normals) < p, 1.0, -1.0)})


class DiscretisedLogistic(Observation):
    """Pixels of `levels` evenly spaced values on [-1, 1], each the integral of a logistic density over its cell.

    The end cells extend to infinity (Salimans et al. 2017, PixelCNN++, eq. 2). The probability divided by the width of
    a cell is a density of dequantised pixels, constant on each cell. That density is returned, so that values can be
    compared with those of families of continuous densities.

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
