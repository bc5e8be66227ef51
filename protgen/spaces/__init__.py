"""Spaces: what a family knows of its data, and the manifolds they are made of."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
