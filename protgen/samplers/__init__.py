"""Samplers from noise to data, and the guides that wrap a denoiser."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
