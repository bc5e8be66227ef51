"""Denoisers whose answer is known: of a Gaussian, one certain of a structure; a network where a test states its own."""

import torch

from protgen.encoders.base import Encoder
from protgen.samplers.base import Denoiser, SamplingTask
from protgen.samplers.schedules import Path
from protgen.types import Conditioning, Features, State
from tests.toy_space import Line

STD, MEAN = 0.5, 1.0
LINE = Line()


class Nothing(Encoder):
    """No features: the test states the prediction itself."""

    symmetry, reads, vector_dim, scalar_dim = "none", ("pixels",), 0, 1

    def forward(self, state, t, cond, x_pred=None):
        return Features(torch.zeros(*state.mask.shape, 1), torch.zeros(*state.mask.shape, 0, 3))


class ExactGaussian(Denoiser):
    """E[x_data | x_t] for x_data ~ N(mean, std^2) and x_t = alpha x_data + sigma noise."""

    def __init__(self, path: Path | None = None, std: float = STD, mean: float = MEAN):
        self._path = path or Path()
        self.std, self.mean = std, mean

    @property
    def path(self):
        return self._path

    def denoise(self, x_t, t, cond, x_pred=None):
        t = t.double()[:, None, None]
        alpha, sigma = self.path.flat.alpha(t).detach(), self.path.flat.sigma(t).detach()
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return x_t.with_fields(x=self.mean + gain * (x_t["x"] - alpha * self.mean))


class Towards(Denoiser):
    """A denoiser that always answers the same structure, or another when y is free."""

    def __init__(self, asked: State, free: State, path: Path | None = None):
        self.asked, self.free = asked, free
        self._path = path or Path()

    @property
    def path(self):
        return self._path

    def denoise(self, x_t, t, cond, x_pred=None):
        known = cond.globals[:, 0].bool()
        fields = {
            k: torch.where(known.reshape(-1, *[1] * (v.ndim - 1)), v, self.free[k])
            for k, v in self.asked.fields.items()
        }
        return State(fields, x_t.mask)


def task(count: int, seed: int = 0, length: int = 1, y: int = 0, **settings) -> SamplingTask:
    """A task of that many samples, each with a stream of its own; y is that many ones."""
    mask = torch.ones(count, length, dtype=torch.bool)
    cond = Conditioning(torch.zeros(count, length, 0), torch.ones(count, y))
    generators = [torch.Generator().manual_seed(seed * 10_000 + i) for i in range(count)]
    return SamplingTask(**({"mask": mask, "cond": cond, "generators": generators} | settings))


def drawn(sampler, path: Path | None = None, **settings) -> torch.Tensor:
    """10,000 numbers: positions of the toy space do not see each other."""
    return sampler.sample(ExactGaussian(path), LINE, task(5, length=1000, **settings))["x"].flatten()
