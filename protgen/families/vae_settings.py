"""What a VAE is told: objective, latents and sampling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protgen.errors import UsageError

LATENT_DIM = 16


@dataclass(frozen=True)
class VAESettings:
    """Objective, latents and sampling of a VAE.

    Attributes:
        beta: weight of the KL divergence; 1 is a VAE, 0 an autoencoder without noise, prior, samples or likelihood.
        warmup: training steps over which beta rises from 0.
        free_bits: nats of each latent dimension below which its KL costs nothing.
        samples: L, latents drawn for each example of a step.
        importance: K of the importance-weighted bound of training; 1 is the ELBO with closed-form KL.
        elbo_steps: training steps on the ELBO, with its warm-up, before those on the importance-weighted bound: each of
            those costs K decodings, and latents that are never used stay unused.
        levels: T of the Markov chain z_1 ... z_T; 1 is a plain VAE.
        settle: training steps in which z_1 has the prior N(0, I), while the levels above are trained to model it. An
            untrained chain makes the encoder leave latents unused.
        pool: one latent for the whole instead of one for each position.
        noise: smallest standard deviation of frame latents, and the time that the decoder reads.
        passes: times the decoder runs, each but the first with the previous prediction (self-conditioning); gradients
            go through the last alone.
        std: initial learned standard deviation of p(x | z), in units of the data's scale; one of each field.
        local_std: whether the decoder gives a factor of it for each coordinate of each position.
        bound_samples: K of `log_prob`.
        observation_noise: whether samples are drawn from p(x | z, y), which makes them samples of p(x | y), or are its
            centre, as is customary for images.

    Raises:
        UsageError: if a number is out of range, or two cannot be combined.
    """

    beta: float = 1.0
    warmup: int = 0
    free_bits: float = 0.0
    samples: int = 1
    importance: int = 1
    elbo_steps: int = 0
    levels: int = 1
    settle: int = 0
    pool: bool = False
    noise: float = 0.1
    passes: int = 1
    std: float = 0.5
    local_std: bool = False
    bound_samples: int = 50
    observation_noise: bool = True

    def __post_init__(self) -> None:
        if min(self.samples, self.importance, self.levels, self.passes, self.bound_samples) < 1:
            raise UsageError("vae: latent_dim, samples, importance, levels, passes and bound_samples are at least 1")
        if min(self.beta, self.warmup, self.free_bits, self.elbo_steps, self.settle, self.noise) < 0:
            raise UsageError("vae: beta, warmup, free_bits, elbo_steps, settle and noise cannot be negative")
        if self.importance > 1 and (self.beta != 1 or self.free_bits > 0):
            raise UsageError(
                "vae: the importance-weighted bound has no separate KL; use beta 1 and free_bits 0 with it"
            )


def width_of(keywords: Mapping[str, Any]) -> int:
    """Latents of a position as networks read them in addition to y: none where they are frames."""
    return 0 if keywords.get("frame_latents") else keywords.get("latent_dim", LATENT_DIM)
