"""The interface of generative families. Knows nothing of proteins."""

import types
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder
from protgen.samplers.base import Denoiser, Sampler, SamplingTask
from protgen.samplers.euler import Euler
from protgen.samplers.guidance import ClassifierFreeGuidance
from protgen.samplers.projection import Projection
from protgen.samplers.schedules import Path
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Positional, support_of, within_range
from protgen.types import Conditioning, Losses, State

LikelihoodKind = Literal["exact", "lower_bound", "estimate"]


@dataclass(frozen=True)
class Role:
    """A network that a family takes in addition to its encoder, under the keyword of the same name.

    Attributes:
        reads: "points" of the space, as the encoder does, or "latents": a state with the one field `latents`, which is
            `Family.latent_width` wide. Where that is 0, latents are points and are read as such.
        latents_beside: whether it reads the latents of each position in addition to y.
        coordinates_beside: whether it reads, beside frames that a space only builds from its coordinates, these
            themselves (`protgen.models.framed`), unless a configuration says otherwise.
    """

    reads: Literal["points", "latents"] = "points"
    latents_beside: bool = False
    coordinates_beside: bool = False


class Family(nn.Module, ABC):
    """A way to learn p(x | y): an encoder over a space, and a loss.

    Its constructor takes a space, an encoder, a network for each of its `roles`, and further keywords with defaults. If
    it takes `residue_dim` or `global_dim` it is given the widths of y.

    Attributes:
        space: where x lives.
        encoder: the network; its symmetry must fit the space.
        needs: capabilities that the space must have (`protgen.spaces.capabilities`), checked when a model is built.
        takes_sampler: whether `sample` integrates from noise to data with a sampler.
        takes_energy: whether `sample` of a family without steps moves its latents, or its noise, down the gradient of a
            task's energy (`families.latent_descent`).
        guidance_weight: weight of y where neither a request nor the model's config gives one. What extrapolates samples
            (`families.direct.guided`) has 1, plain conditioning: at 2 angles that y leaves open go anywhere.
        causal: whether the features of a position must not depend on later positions.
        reads_context: whether the encoder reads the context of positions too (`PositionalContext`).
        adam_betas: decay rates of Adam's averages that its training needs.
        autocast_dtype: low precision of the encoder; a property of the machine, not of the model: the user sets it.
        roles: networks other than the encoder. A model's configuration names each under the role's name.
        exact_loss: whether its loss is the exact negative log-likelihood.
        adversarial: whether its networks compete, so that its loss need not fall.
        mean_over: what `loss` is a mean over, so that the loss of several batches is their mean weighted by it: the
            examples of a batch, or its positions.
        dequantised: whether `log_prob` is a density of the continuum, for which discrete values are spread over their
            cells first (`spaces.capabilities.within_cells`); others take values as they are.
    """

    needs: ClassVar[tuple[type, ...]] = (Positional,)
    takes_sampler: ClassVar[bool] = False
    takes_energy: ClassVar[bool] = False
    guidance_weight: ClassVar[float] = 1.0
    causal: ClassVar[bool] = False
    reads_context: ClassVar[bool] = False
    adam_betas: ClassVar[tuple[float, float]] = (0.9, 0.98)
    roles: ClassVar[Mapping[str, Role]] = types.MappingProxyType({})
    exact_loss: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False
    mean_over: ClassVar[Literal["examples", "positions"]] = "examples"
    dequantised: ClassVar[bool] = False
    space: Space
    encoder: Encoder
    autocast_dtype: torch.dtype | None = None

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords that make a small instance for tests, other than space and networks."""
        return {}

    @classmethod
    def latent_width(cls, keywords: Mapping[str, Any]) -> int:
        """How many numbers of each position its networks read as latents; 0 where there are none.

        Args:
            keywords: of its constructor, as a configuration has them.
        """
        return 0

    def begin(self, x_data: State, cond: Conditioning, rng: Generator) -> None:
        """Start weights that are taken from data, as those of an activation normalisation.

        Called once, before the first step of a training whose steps take several batches: all of them then start from
        the same weights. With one batch a step `loss` does this by itself.

        Args:
            x_data: points of the first batch.
            cond: their y.
            rng: generator on the CPU.
        """

    @abstractmethod
    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Training loss of a batch of points.

        Args:
            x_data: points of the space.
            cond: their y, with dropout applied.
            rng: generator on the CPU, the only source of randomness.
        """

    @abstractmethod
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Samples of p(x | y), one for each generator of the task; sample i depends on its own generator only.

        Args:
            task: shapes, y, random streams, temperature, guidance.
            sampler: for families that iterate from noise to data.

        Raises:
            UsageError: if the family does not support the task or the sampler.
        """


class IterativeFamily(Family):
    """A family that samples iteratively from noise: it states a denoiser, and samplers integrate.

    Attributes:
        path: from data to noise.
        first: first time of likelihoods where the path has no noise at t = 0.
        draws: of the noisy point at that time, for likelihoods by a flow (`protgen.families.ode_likelihood`).
    """

    takes_sampler = True
    guidance_weight = 2.0
    path: Path
    first: float
    draws: int = 2

    @abstractmethod
    def denoiser(self) -> Denoiser:
        """The family behind the interface of samplers: E[x_data | x_t, y]."""

    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Run a sampler (Euler with its defaults if none is given) on the guided denoiser."""
        denoiser = self.denoiser()
        # Energies and projections act on the result of classifier-free guidance.
        if task.guidance is not None:
            denoiser = ClassifierFreeGuidance(denoiser, self.space, task.guidance)
        # Data have a range, so their mean has too. Where a path has little signal, the division by alpha makes small
        # errors large, and guidance leaves the range (Saharia et al. 2022, Imagen, section 2.3: static thresholding).
        if support_of(self.space) is not None:
            denoiser = Projection(denoiser, partial(within_range, self.space))
        for guide in task.guides:
            denoiser = guide(denoiser)
        return (sampler or Euler()).sample(denoiser, self.space, task)


@dataclass(frozen=True)
class Likelihood:
    """Log-probability of each example in nats, and the kind of number.

    Attributes:
        nats: (b,) log p(x | y), with respect to the volume of the space's manifolds in its own units.
        kind: exact, a lower bound, or an estimate (unbiased or not).
        error: (b,) standard error of nats by the scatter of its draws; None where nothing is drawn, or once.
    """

    nats: Float[Tensor, " b"]
    kind: LikelihoodKind
    error: Float[Tensor, " b"] | None = None


class LikelihoodFamily(ABC):
    """A family that also has a likelihood; tested with isinstance."""

    @abstractmethod
    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Log-probability of points of the space.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: generator on the CPU, for estimates and bounds.
        """


class ClosedFormFamily(ABC):
    """A family that is fitted in closed form, without gradients."""

    @abstractmethod
    def fit(self, x: State, cond: Conditioning) -> None:
        """Add a batch to the fit; `loss` does so in training mode."""


class LatentFamily(ABC):
    """A family with latent variables."""

    @abstractmethod
    def encode(self, x_data: State, cond: Conditioning, rng: Generator | None = None) -> Tensor:
        """Latents (b, l, z) of points of the space: drawn from q(z | x) with a generator, its mean without one.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: draws latents; None takes the mean.
        """

    @abstractmethod
    def decode(self, latents: Tensor, mask: Bool[Tensor, "b l"], cond: Conditioning) -> State:
        """Points of the space from latents (b, l, z).

        Args:
            latents: (b, l, z).
            mask: which positions are real.
            cond: y of the points.
        """


def reconstruct(family: LatentFamily, x_data: State, cond: Conditioning) -> State:
    """Points of the space after encoding and decoding.

    Args:
        family: with latents.
        x_data: points of the space.
        cond: their y.
    """
    return family.decode(family.encode(x_data, cond), x_data.mask, cond)


def interpolate(
    family: LatentFamily, start: State, end: State, cond: Conditioning, fractions: Float[Tensor, " k"]
) -> State:
    """Points on the straight line in latent space between two points.

    Args:
        family: with latents.
        start, end: states with batch size 1 and equal length.
        cond: y of all points, with batch size 1.
        fractions: k positions on the line, from 0 (start) to 1 (end).
    """
    first, last = family.encode(start, cond), family.encode(end, cond)
    count = len(fractions)
    latents = torch.lerp(first, last, fractions.to(first)[:, None, None])
    repeated = cond.rows(lambda x: x.expand(count, *x.shape[1:]))
    return family.decode(latents, start.mask.expand(count, -1), repeated)
