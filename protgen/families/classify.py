"""Bayes classifier: p(y | x) from any family with a likelihood p(x | y).

    p(y_k | x) = p(x | y_k) p(y_k) / sum_j p(x | y_j) p(y_j)

Estimates and bounds of likelihoods have noise. Every candidate gets the same random numbers (Li et al. 2023, Your
Diffusion Model is Secretly a Zero-Shot Classifier, section 3.3), so that noise common to all candidates cancels. With a
bound in place of the likelihood, the posterior is off by the difference of the gaps.

Example, the fold class of the structures of a batch:

    x = model.family.space.encode(batch)
    asked = [model.conditions.from_requests([[FoldClass(fold)]] * len(batch.mask), batch.mask) for fold in CLASSES]
    folds = [CLASSES[k] for k in classify(model.family, x, asked).best.tolist()]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.families.base import LikelihoodFamily, LikelihoodKind
from protgen.types import Conditioning, State


@dataclass(frozen=True)
class Classification:
    """The posterior of y given x.

    Attributes:
        log_posterior: (b, k) log p(y_k | x), nats.
        log_likelihood: (b, k) log p(x | y_k), nats, the mean over repeats.
        kind: of the likelihood.
    """

    log_posterior: Float[Tensor, "b k"]
    log_likelihood: Float[Tensor, "b k"]
    kind: LikelihoodKind

    @property
    def best(self) -> Tensor:
        """(b,) number of the most probable candidate."""
        return self.log_posterior.argmax(-1)


def classify(
    family: LikelihoodFamily,
    x_data: State,
    candidates: Sequence[Conditioning],
    log_priors: Float[Tensor, " k"] | None = None,
    seed: int = 0,
    repeats: int = 1,
) -> Classification:
    """p(y | x) over given candidates.

    Args:
        family: with a likelihood.
        x_data: b points of its space.
        candidates: k values of y, each for the whole batch, as the encoder reads them.
        log_priors: log p(y_k), nats; need not be normalised; uniform by default.
        seed: of the random numbers that all candidates share.
        repeats: estimates of each likelihood to average, each with its own random numbers.

    Raises:
        UsageError: if there are no candidates, or not one prior for each.
    """
    if not candidates:
        raise UsageError("classify needs at least one candidate y")
    if log_priors is not None and log_priors.shape != (len(candidates),):
        raise UsageError(
            f"{len(candidates)} candidates but priors of shape {tuple(log_priors.shape)}; give one for each"
        )
    if repeats < 1:
        raise UsageError(f"repeats {repeats}: at least 1")
    columns = []
    kind: LikelihoodKind = "exact"
    for cond in candidates:
        total = torch.zeros(len(x_data.mask), device=x_data.mask.device)
        for repeat in range(repeats):
            # A new generator in the same state: all candidates get the same draws.
            rng = Generator().manual_seed(seed * 1_000_003 + repeat)
            found = family.log_prob(x_data, cond, rng)
            kind = found.kind
            total = total + found.nats.detach()
        columns.append(total / repeats)
    likelihood = torch.stack(columns, -1)
    joint = likelihood if log_priors is None else likelihood + log_priors.to(likelihood)
    return Classification(joint.log_softmax(-1), likelihood, kind)
