"""Families of generative models: a loss and a way to sample."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
