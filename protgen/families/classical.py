"""Classical generative models in closed form: naive Bayes, Gaussian discriminant analysis, Gaussian mixtures.

    p(x, y) = p(y) p(x | y)         and, with several components a class,  p(x, z | y) = p(z | y) p(x | y, z)

x is a point of the space as one vector; y is the class that a condition of the whole structure names. Nothing is
learned by gradients. In training mode `loss` adds each batch to the sufficient statistics: with one component for each
class this is the maximum-likelihood fit of all batches, with several it is stepwise EM, initialised by scikit-learn.

References:
    Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, sections 4.3, 6.6.3 and 8.5.
    Cappé and Moulines 2009, On-line Expectation-Maximization, eq. 6 (stepwise EM).
"""

import math
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError, UsageError
from protgen.families.base import ClosedFormFamily, Family, Likelihood, LikelihoodFamily
from protgen.families.direct import guided, require_direct
from protgen.samplers.base import Sampler, SamplingTask
from protgen.spaces.base import Space
from protgen.spaces.capabilities import grid_of, within_cells
from protgen.spaces.manifolds import Euclidean
from protgen.types import Conditioning, Losses, State

MODELS = ("naive_bayes", "discriminant", "mixture")
CHUNK = 4096  # examples whose distances are in memory at a time


class Classical(Family, LikelihoodFamily, ClosedFormFamily):
    """Gaussian class densities fitted in closed form.

    A class is a value of the whole-structure features of y, numbered in order of appearance. Features that are all 0
    mean unknown: p(x) is then the mixture over classes.

    Args:
        space: where x lives: Euclidean fields and a fixed number of positions.
        encoder: not used; every family is built with one.
        global_dim: width of y.
        model: "naive_bayes" (independent coordinates), "discriminant" (a covariance for each class) or "mixture"
            (several components for each class, each with its covariance).
        components: of a class, for "mixture".
        classes: largest number of classes.
        positions: number of positions of a point.
        ridge: added to every variance, in units of the scale of the field squared, so that constant coordinates have a
            density.

    Raises:
        ConfigError: if the space has a field that is not Euclidean, or the model is not known.
    """

    needs = ()
    dequantised = True

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        global_dim: int = 0,
        model: str = "discriminant",
        components: int = 4,
        classes: int = 10,
        positions: int = 1,
        ridge: float = 1e-3,
    ) -> None:
        super().__init__()
        if model not in MODELS:
            raise ConfigError(f"model {model!r}: choose from {', '.join(MODELS)}")
        if min(components, classes, positions) < 1 or ridge <= 0:
            raise ConfigError(f"classical: components, classes and positions are at least 1, ridge {ridge} above 0")
        require_euclidean(space)
        grid = grid_of(space)
        self.space, self.encoder = space, encoder
        self.positions = positions if grid is None else grid[0] * grid[1]
        self.widths = [cast(int, m.dim) for m in space.manifolds.values()]
        self.diagonal = model == "naive_bayes"
        self.components = components if model == "mixture" else 1
        self.ridge = ridge
        d = self.positions * sum(self.widths)
        k = self.components
        for name, shape in {
            "codes": (classes, global_dim),
            "known": (),
            "examples": (classes,),
            "weights": (classes, k),
            "sums": (classes, k, d),
            "products": (classes, k, d) if self.diagonal else (classes, k, d, d),
            "steps": (classes,),
        }.items():
            self.register_buffer(name, torch.zeros(shape))
        self.codes: Tensor
        self.known: Tensor
        self.examples: Tensor
        self.weights: Tensor
        self.sums: Tensor
        self.products: Tensor
        self.steps: Tensor

    def vectors(self, x: State) -> Float[Tensor, "b d"]:
        """Points as vectors.

        Raises:
            UsageError: if they have another number of positions.
        """
        if x.mask.shape[1] != self.positions or not bool(x.mask.all()):
            raise UsageError(
                f"classical models take points of exactly {self.positions} positions; set its `positions`, or use a "
                "space of fixed size such as image"
            )
        return torch.cat([x[name] for name in self.space.manifolds], -1).flatten(1).float()

    def classes_of(self, cond: Conditioning, learn: bool = False) -> Int[Tensor, " b"]:
        """Number of each example's class; -1 where y is unknown or a new value.

        Raises:
            UsageError: if there are more classes than `classes`.
        """
        whole = cond.globals.float()
        if learn:
            for row in whole.unique(dim=0) if whole.shape[1] else whole[:1]:
                count = int(self.known)
                new = not (self.codes[:count] == row).all(-1).any()
                if new and (bool(row.any()) or not whole.shape[1]):
                    if count == len(self.codes):
                        raise UsageError(f"more than {count} classes; raise `classes`, or condition on a class alone")
                    self.codes[count] = row
                    self.known += 1
        match = (whole[:, None] == self.codes[None, : int(self.known)]).all(-1)
        return torch.where(match.any(-1), match.int().argmax(-1), -1)

    @torch.no_grad()
    def fit(self, x: State, cond: Conditioning) -> None:
        """Add a batch to the fit: exact for one component in each class, a step of EM for several."""
        vectors, classes = self.vectors(x), self.classes_of(cond, learn=True)
        for c in classes.unique().tolist():
            if c >= 0:
                self.fit_class(int(c), vectors[classes == c])

    def fit_class(self, c: int, x: Float[Tensor, "n d"]) -> None:
        """Update the statistics of one class."""
        seen = float(self.examples[c])
        self.examples[c] += len(x)
        if self.components == 1:
            fraction, rate = x.new_ones(len(x), 1), len(x) / (seen + len(x))
        elif seen == 0:
            fraction, rate = self.first_responsibilities(x), 1.0
        else:
            fraction, rate = self.joint(x, c).softmax(-1), float(self.steps[c] + 2) ** -0.6
        self.steps[c] += 1
        products = fraction.T @ x.square() if self.diagonal else torch.einsum("nk,nd,ne->kde", fraction, x, x)
        for statistic, value in (
            (self.weights, fraction.sum(0)),
            (self.sums, fraction.T @ x),
            (self.products, products),
        ):
            statistic[c].lerp_(value / len(x), rate)

    def first_responsibilities(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Responsibilities of a mixture that scikit-learn fits to the first batch of a class.

        Raises:
            UsageError: if that batch has fewer examples than components.
        """
        from sklearn.mixture import GaussianMixture

        if len(x) < self.components:
            raise UsageError(f"{len(x)} examples for {self.components} components; fit larger batches first")
        reg = self.ridge * float(x.var().clamp(min=1e-6))
        start = GaussianMixture(self.components, covariance_type="diag", reg_covar=reg, random_state=0)
        fractions = start.fit(x.cpu().double().numpy()).predict_proba(x.cpu().double().numpy())
        return torch.from_numpy(np.ascontiguousarray(fractions)).to(x)

    def shapes(self, c: int) -> tuple[Tensor, Tensor]:
        """Means (k, d) and Cholesky factors (k, d, d), or standard deviations (k, d), of a class; float64."""
        # On the CPU, as not every device has float64.
        weight = self.weights[c].cpu().double().clamp(min=1e-6)
        mean = self.sums[c].cpu().double() / weight[:, None]
        scale = torch.cat(
            [v.double() for v in self.space.scale(torch.ones(1, self.positions, dtype=torch.bool)).values()]
        )
        ridge = self.ridge * scale.repeat_interleave(torch.tensor(self.widths)).repeat(self.positions).square()
        if self.diagonal:
            variance = self.products[c].cpu().double() / weight[:, None] - mean.square()
            return mean, (variance.clamp(min=0) + ridge).sqrt()
        covariance = self.products[c].cpu().double() / weight[:, None, None] - mean[:, :, None] * mean[:, None]
        # Rounding of the statistics to float32 can make an eigenvalue negative by this much.
        slack = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True)
        return mean, torch.linalg.cholesky(covariance + torch.diag_embed(ridge + slack))

    def joint(self, x: Float[Tensor, "n d"], c: int) -> Float[Tensor, "n k"]:
        """log p(x, z | y = c), nats."""
        mean, shape = self.shapes(c)
        found = []
        for part in x.cpu().double().split(CHUNK):
            off = part[:, None] - mean
            if self.diagonal:
                scaled, log_det = off / shape, shape.log().sum(-1)
            else:
                scaled = torch.linalg.solve_triangular(shape, off.permute(1, 2, 0), upper=False).permute(2, 0, 1)
                log_det = shape.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            found.append(-0.5 * scaled.square().sum(-1) - log_det - 0.5 * x.shape[1] * math.log(2 * math.pi))
        fraction = self.weights[c].cpu().double() / self.weights[c].cpu().sum()
        return (torch.cat(found) + fraction.clamp(min=1e-12).log()).to(x)

    def nats(self, x: State, cond: Conditioning) -> Float[Tensor, " b"]:
        """log p(x | y), or log p(x) where y is unknown."""
        count = int(self.known)
        if not count:
            raise UsageError("this classical model has not been fitted; train it first")
        vectors, classes = self.vectors(x), self.classes_of(cond)
        each = torch.stack([self.joint(vectors, c).logsumexp(-1) for c in range(count)], -1)
        prior = (self.examples[:count] / self.examples[:count].sum()).log()
        given = each.gather(-1, classes.clamp(min=0)[:, None])[:, 0]
        return torch.where(classes >= 0, given, (each + prior).logsumexp(-1))

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative log-likelihood in nats per position; in training mode the batch is added to the fit first."""
        x_data = within_cells(self.space, x_data, rng)
        if self.training:
            self.fit(x_data, cond)
        total = -self.nats(x_data, cond).mean() / self.positions
        return Losses(total, {"nats_per_position": total.detach()})

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Exact log-density, nats; the generator is not used."""
        return Likelihood(self.nats(x_data, cond), "exact")

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Draw the class where it is unknown, the component, and x. Temperature scales standard deviations.

        Raises:
            UsageError: if a sampler or guides are given, or nothing was fitted.
        """
        require_direct("classical", task, sampler)
        count = int(self.known)
        if not count:
            raise UsageError("this classical model has not been fitted; train it first")
        d = self.positions * sum(self.widths)
        uniforms = torch.stack([torch.rand(2, generator=g) for g in task.generators]).to(self.sums.device)
        normals = torch.stack([torch.randn(d, generator=g) for g in task.generators]).to(self.sums.device)
        shapes = [self.shapes(c) for c in range(count)]

        def make(cond: Conditioning) -> State:
            classes = self.classes_of(cond)
            rows = []
            for row, c in enumerate(classes.tolist()):
                c = picked(self.examples[:count], uniforms[row, 0]) if c < 0 else c
                z = picked(self.weights[c], uniforms[row, 1])
                mean, shape = shapes[c][0][z], shapes[c][1][z]
                step = task.temperature * normals[row].cpu().double()
                rows.append(mean + (shape * step if self.diagonal else shape @ step))
            values = torch.stack(rows).float().to(task.mask.device).unflatten(-1, (self.positions, -1))
            return State(dict(zip(self.space.manifolds, values.split(self.widths, -1), strict=True)), task.mask)

        return self.space.project(guided(self.space, make, task))


def require_euclidean(space: Space) -> None:
    """Refuse a space with a field that is not Euclidean.

    Raises:
        ConfigError: with what to use instead.
    """
    strange = [name for name, m in space.manifolds.items() if not isinstance(m, Euclidean)]
    if strange:
        raise ConfigError(
            f"classical has normal densities, and the field {strange[0]!r} of {type(space).__name__} is not "
            "Euclidean; use the space descriptors for proteins, or the family flow_matching"
        )


def picked(weights: Float[Tensor, " k"], uniform: Tensor) -> int:
    """The index at which the cumulative fraction of weights exceeds a uniform number."""
    running = weights.cumsum(0) / weights.sum()
    return min(int((uniform > running).sum()), len(weights) - 1)
