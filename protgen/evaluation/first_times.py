"""The time at which likelihoods of grey values begin, chosen on images of validation.

A likelihood of diffusion or flow matching begins at a time with some noise: the network answers for what happens after
it, a table of the values' probabilities for what happens before. Any such time gives a bound. At little noise the
table is nearly free (0.1 nats a pixel where values are four standard deviations apart) and a network of a short
training errs by far more than the noise, which the integral multiplies by 1 / noise^2; at much noise the table costs
log2 of the values that it hides. The best time depends on the training, so it is looked for: on images that neither
trained the network nor are reported.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Generator

from protgen.data.images import Images, to_batch
from protgen.families.diffusion import Diffusion
from protgen.families.flow_matching import FlowMatching
from protgen.families.ode_likelihood import cell_time
from protgen.models.model import Model
from protgen.spaces.capabilities import support_of
from protgen.types import JSON

FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # of the time at which values are four standard deviations apart
LATEST = 0.5
CHOSEN_ON = 64  # images


@contextmanager
def best_first(model: Model, images: Images) -> Iterator[JSON | None]:
    """The model with likelihoods that begin at the best of a few times; as it was afterwards.

    Args:
        model: of images.
        images: with a split of validation; without one nothing is chosen.

    Yields:
        The time, the noise there in steps of grey values, and on how many images it was chosen; None where a family,
        a path or pixels (binary ones, which have probabilities) leave nothing to choose.
    """
    family, held_out = model.family, images.of("validation")
    if not isinstance(family, Diffusion | FlowMatching) or not len(held_out):
        yield None
        return
    earliest, support, before = cell_time(family.space, family.path), support_of(family.space), family.first
    if earliest == 1 or support is None:
        yield None
        return
    count = min(CHOSEN_ON, len(held_out))
    x = family.space.encode(to_batch(held_out, np.arange(count)).to(next(family.parameters()).device))
    best, least = before, math.inf
    try:
        for factor in FACTORS:
            family.first = min(factor * earliest, LATEST)
            nats = -family.log_prob(x, model.conditions.unknown(x.mask), Generator().manual_seed(0)).nats.mean().item()
            if not nats < least:
                break
            best, least = family.first, nats
        family.first = best
        alpha, sigma = family.path.flat.at(best)
        yield {"time": round(best, 5), "noise_in_steps": round(sigma / alpha / support.step, 2), "chosen_on": count}
    finally:
        family.first = before
