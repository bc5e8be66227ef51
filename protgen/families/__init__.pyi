"""Families of generative models: a loss and a way to sample."""

from protgen.families.autoregressive import Autoregressive as Autoregressive
from protgen.families.base import ClosedFormFamily as ClosedFormFamily
from protgen.families.base import Family as Family
from protgen.families.base import IterativeFamily as IterativeFamily
from protgen.families.base import LatentFamily as LatentFamily
from protgen.families.base import Likelihood as Likelihood
from protgen.families.base import LikelihoodFamily as LikelihoodFamily
from protgen.families.base import Role as Role
from protgen.families.classical import Classical as Classical
from protgen.families.diffusion import Diffusion as Diffusion
from protgen.families.flow_matching import FlowMatching as FlowMatching
from protgen.families.gan import GAN as GAN
from protgen.families.latent import Latent as Latent
from protgen.families.normalizing_flow import NormalizingFlow as NormalizingFlow
from protgen.families.vae import VAE as VAE
