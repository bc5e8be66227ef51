"""Spaces: what a family knows of its data, and the manifolds they are made of."""

from protgen.spaces.backbone import Backbone as Backbone
from protgen.spaces.backbone import Rotations as Rotations
from protgen.spaces.base import Euclidean as Euclidean
from protgen.spaces.base import HeatKernel as HeatKernel
from protgen.spaces.base import Manifold as Manifold
from protgen.spaces.base import Space as Space
from protgen.spaces.base import Torus as Torus
from protgen.spaces.descriptors import Descriptors as Descriptors
from protgen.spaces.frame_latents import FrameLatents as FrameLatents
from protgen.spaces.image import Image as Image
from protgen.spaces.latent import LatentSpace as LatentSpace
from protgen.spaces.torsions import Torsions as Torsions
