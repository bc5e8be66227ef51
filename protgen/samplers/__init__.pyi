"""Samplers from noise to data, and the guides that wrap a denoiser."""

from protgen.samplers.autoguidance import AutoGuidance as AutoGuidance
from protgen.samplers.base import Denoiser as Denoiser
from protgen.samplers.base import Guidance as Guidance
from protgen.samplers.base import Guide as Guide
from protgen.samplers.base import Sampler as Sampler
from protgen.samplers.base import SamplingTask as SamplingTask
from protgen.samplers.base import Step as Step
from protgen.samplers.base import SteppingSampler as SteppingSampler
from protgen.samplers.ddim import DDIM as DDIM
from protgen.samplers.ddpm import DDPM as DDPM
from protgen.samplers.energy import EnergyGuidance as EnergyGuidance
from protgen.samplers.energy import PosteriorGuidance as PosteriorGuidance
from protgen.samplers.euler import Euler as Euler
from protgen.samplers.guidance import ClassifierFreeGuidance as ClassifierFreeGuidance
from protgen.samplers.heun import Heun as Heun
from protgen.samplers.jumps import Witness as Witness
from protgen.samplers.projection import Projection as Projection
from protgen.samplers.sde import SDE as SDE
from protgen.samplers.smc import SequentialMonteCarlo as SequentialMonteCarlo
from protgen.samplers.smc_best import BestParticle as BestParticle
