"""Histogram density layer: coordinates in bins, one after the other, each by a softmax given those before it.

This is the output of a GPT over discretised coordinates, as a density: log p(x) = sum over coordinates of
log P(bin | bins before) - log(width of the bin at x), piecewise constant on circles. On lines the bins have equal
probability under a Gaussian, so that the outermost extend to infinity, and the density within a bin has the shape of
that Gaussian. Where coordinates are discrete (`Support`), a bin is a value, and the probabilities are exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.nn.densities import Density

STD = 2.0  # of the Gaussian whose quantiles are the edges of bins on lines: twice that of a standardised coordinate


@dataclass(frozen=True)
class Support:
    """The values that discrete coordinates take, evenly spaced.

    Attributes:
        least: the lowest value.
        step: from one value to the next.
        count: how many there are.
        volume: of the cell of a value: its density is its probability divided by it. 1 where values have probabilities
            and no cells.
    """

    least: float
    step: float
    count: int
    volume: float

    def values(self, device: torch.device) -> Float[Tensor, " v"]:
        """All of them, ascending."""
        return self.least + self.step * torch.arange(self.count, device=device)

    def index(self, x: Tensor) -> Int[Tensor, "..."]:
        """The number of the nearest value, from 0."""
        return ((x - self.least) / self.step).round().long().clamp(0, self.count - 1)


class Binned(Density):
    """A product of histograms, each conditioned on the bins of the coordinates before it.

    Args:
        feature_dim: d of the features.
        circular: for each coordinate, whether it is on a circle.
        bins: number of bins a coordinate.
        support: the values of discrete coordinates, in place of bins.
    """

    def __init__(self, feature_dim: int, circular: Sequence[bool], bins: int, support: Support | None = None) -> None:
        super().__init__()
        bins = bins if support is None else support.count
        self.support = support
        self.bins = bins
        self.circular = tuple(circular)
        self.uniforms = 2 * len(self.circular)
        # One embedding a coordinate; index `bins` stands for a coordinate that is not observed.
        self.embed = nn.ModuleList(nn.Embedding(bins + 1, feature_dim) for _ in self.circular[1:])
        self.read = nn.ModuleList(
            nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.SiLU(), nn.Linear(feature_dim, bins))
            for _ in self.circular
        )

    def unit(self, x: Tensor, circle: bool) -> tuple[Tensor, Tensor]:
        """A coordinate mapped to [0, 1), and the log-slope of the map."""
        if self.support is not None:
            cell = (x - self.support.least) / self.support.step + 0.5
            slope = -math.log(self.support.count * self.support.volume)
            return cell / self.support.count, torch.full_like(x, slope)
        if circle:
            return (x + math.pi).div(2 * math.pi).remainder(1.0), torch.full_like(x, -math.log(2 * math.pi))
        scaled = x / STD
        return torch.special.ndtr(scaled), -0.5 * scaled.square() - math.log(STD * math.sqrt(2 * math.pi))

    def bin_of(self, unit: Tensor) -> Int[Tensor, "*n"]:
        """The bin that a number in [0, 1] falls into."""
        return (unit * self.bins).long().clamp(0, self.bins - 1)

    def log_prob(
        self, features: Float[Tensor, "*n d"], x: Float[Tensor, "*n c"], observed: Bool[Tensor, "*n c"]
    ) -> Float[Tensor, "*n"]:
        """Log-density of the observed coordinates, nats.

        Args:
            features: of the position.
            x: coordinates.
            observed: which of them exist.
        """
        total = torch.zeros_like(x[..., 0])
        for number, circle in enumerate(self.circular):
            unit, slope = self.unit(x[..., number], circle)
            chosen = self.bin_of(unit)
            logits = self.read[number](features).log_softmax(-1)
            found = logits.gather(-1, chosen[..., None])[..., 0] + math.log(self.bins) + slope
            total = total + found * observed[..., number]
            if number < len(self.embed):
                features = features + self.embed[number](torch.where(observed[..., number], chosen, self.bins))
        return total

    def draw(
        self, features: Float[Tensor, "*n d"], uniforms: Float[Tensor, "*n u"], temperature: float
    ) -> Float[Tensor, "*n c"]:
        """A draw; a temperature T raises probabilities to the power 1 / T^2.

        Within its bin a draw has the density of that bin.

        Args:
            features: of the position.
            uniforms: uniform numbers, two for each coordinate.
            temperature: T.
        """
        drawn = []
        for number, circle in enumerate(self.circular):
            logits = self.read[number](features).cpu().double() / max(temperature, 1e-4) ** 2
            cumulative = logits.softmax(-1).cumsum(-1)
            chosen = (uniforms[..., 2 * number, None] > cumulative).sum(-1).clamp(max=self.bins - 1)
            unit = (chosen + uniforms[..., 2 * number + 1]) / self.bins
            if self.support is not None:
                drawn.append(self.support.least + self.support.step * chosen.double())
            elif circle:
                drawn.append(unit * 2 * math.pi - math.pi)
            else:
                drawn.append(STD * torch.special.ndtri(unit.clamp(1e-9, 1 - 1e-9)))
            if number < len(self.embed):
                features = features + self.embed[number](chosen.to(features.device))
        return torch.stack(drawn, -1).to(features)
