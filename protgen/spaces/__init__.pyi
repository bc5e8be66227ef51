"""Spaces: what a family knows of its data, and the manifolds they are made of."""

from protgen.spaces.backbone import Backbone as Backbone
from protgen.spaces.base import Space as Space
from protgen.spaces.descriptors import Descriptors as Descriptors
from protgen.spaces.frame_latents import FrameLatents as FrameLatents
from protgen.spaces.image import Image as Image
from protgen.spaces.latent import LatentSpace as LatentSpace
from protgen.spaces.torsions import Torsions as Torsions
