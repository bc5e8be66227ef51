"""Mixture density layer: components are products of von Mises (circles) and Gaussian (lines) densities.

p(x) = sum_k w_k prod_c f(x_c; loc_kc, width_kc). Coordinates are independent within a component and coupled by the
choice of component; leaving out coordinates is exact marginalisation.

References:
    Bishop 1994, Mixture Density Networks.
    Best and Fisher 1979, Efficient simulation of the von Mises distribution, Appl. Statist. 28, 152.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.nn.densities import Density

# Bounds that keep likelihoods of repeated values finite: an angle is known to 0.4 degrees at best, a standardised
# coordinate to a hundredth of its standard deviation.
MOST_CONCENTRATED, LEAST_STD = 2.0e4, 1e-2
TRIES = 24  # each accepts with probability above 0.65 (Best and Fisher): all fail once in 1e11 draws


class Mixture(Density):
    """A mixture of products of von Mises and Gaussian densities whose parameters are linear in the features.

    Args:
        feature_dim: d of the features.
        circular: for each coordinate, whether it is on a circle.
        components: number of components.
    """

    def __init__(self, feature_dim: int, circular: Sequence[bool], components: int) -> None:
        super().__init__()
        self.components = components
        self.circles = [i for i, circle in enumerate(circular) if circle]
        self.lines = [i for i, circle in enumerate(circular) if not circle]
        self.uniforms = 1 + 3 * TRIES * len(self.circles) + len(self.lines)
        self.widths = [1, 3 * len(self.circles), 2 * len(self.lines)]
        self.read = nn.Linear(feature_dim, components * sum(self.widths))
        # Components start at different places on the circle and the line; equal ones would stay equal.
        with torch.no_grad():
            self.read.weight.mul_(0.5)
            _, circles, lines = self.read.bias.view(components, -1).split(self.widths, -1)
            circles.copy_(torch.randn(circles.shape))
            lines.copy_(torch.randn(lines.shape))
            circles.unflatten(-1, (-1, 3))[..., 2] = 1.0
            lines.unflatten(-1, (-1, 2))[..., 1] = 0.0

    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Log-weights (..., k); directions and concentrations (..., k, circles); means and stds (..., k, lines)."""
        values = self.read(features).unflatten(-1, (self.components, -1))
        weight, circles, lines = values.split(self.widths, -1)
        circles, lines = circles.unflatten(-1, (-1, 3)), lines.unflatten(-1, (-1, 2))
        # A constant offset avoids the origin, where the gradient of atan2 is not finite.
        direction = torch.atan2(circles[..., 0], circles[..., 1] + 1e-6)
        concentration = circles[..., 2].clamp(-6, math.log(MOST_CONCENTRATED)).exp()
        std = lines[..., 1].clamp(math.log(LEAST_STD), 6).exp()
        return weight[..., 0].log_softmax(-1), direction, concentration, lines[..., 0], std

    def log_prob(
        self, features: Float[Tensor, "*n d"], x: Float[Tensor, "*n c"], observed: Bool[Tensor, "*n c"]
    ) -> Float[Tensor, "*n"]:
        """Log-density of the observed coordinates, nats.

        Args:
            features: of the position.
            x: coordinates.
            observed: which of them exist.
        """
        weights, direction, concentration, mean, std = self.parameters_of(features)
        circles, lines = x[..., None, self.circles], x[..., None, self.lines]
        # exp(-kappa) I0(kappa) stays finite where I0 does not.
        on_circles = concentration * ((circles - direction).cos() - 1) - torch.special.i0e(concentration).log()
        on_circles = on_circles - math.log(2 * math.pi)
        on_lines = -0.5 * ((lines - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
        total = weights + (on_circles * observed[..., None, self.circles]).sum(-1)
        return (total + (on_lines * observed[..., None, self.lines]).sum(-1)).logsumexp(-1)

    def draw(
        self, features: Float[Tensor, "*n d"], uniforms: Float[Tensor, "*n u"], temperature: float
    ) -> Float[Tensor, "*n c"]:
        """A draw; a temperature T raises weights and each component's density to the power 1 / T^2.

        So standard deviations are T times theirs: of lines exactly, of circles where they are concentrated.

        Args:
            features: of the position.
            uniforms: uniform numbers.
            temperature: T.
        """
        temperature = max(temperature, 1e-4)
        square = temperature * temperature
        weights, *shapes = (p.cpu().double() for p in self.parameters_of(features))
        cumulative = (weights / square).softmax(-1).cumsum(-1)
        chosen = (uniforms[..., :1] > cumulative).sum(-1).clamp(max=self.components - 1)
        picked = [
            p.gather(-2, chosen[..., None, None].expand(*chosen.shape, 1, p.shape[-1]))[..., 0, :] for p in shapes
        ]
        direction, concentration, mean, std = picked
        place = 1 + 3 * TRIES * len(self.circles)
        tries = uniforms[..., 1:place].unflatten(-1, (len(self.circles), TRIES, 3))
        x = torch.zeros(*chosen.shape, len(self.circles) + len(self.lines), dtype=torch.float64)
        rotated = direction + von_mises(concentration / square, tries)
        x[..., self.circles] = (rotated + math.pi).remainder(2 * math.pi) - math.pi
        normals = torch.special.ndtri(uniforms[..., place:].clamp(1e-12, 1 - 1e-12))
        x[..., self.lines] = mean + std * temperature * normals
        return x.to(features)


def von_mises(concentration: Float[Tensor, "*n"], uniforms: Float[Tensor, "*n tries 3"]) -> Float[Tensor, "*n"]:
    """Draws from von Mises densities about 0 by Best and Fisher's rejection: the first accepted of the tries."""
    kappa = concentration.clamp(1e-3, 1e8)[..., None]
    tau = 1 + (1 + 4 * kappa.square()).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
    r = (1 + rho.square()) / (2 * rho)
    first, second, third = uniforms.unbind(-1)
    z = (math.pi * first).cos()
    f = (1 + r * z) / (r + z)
    c = kappa * (r - f)
    accepted = (c * (2 - c) - second > 0) | ((c / second).log() + 1 - c >= 0)
    proposal = (third - 0.5).sign() * f.clamp(-1, 1).acos()
    return proposal.gather(-1, accepted.int().argmax(-1, keepdim=True))[..., 0]
