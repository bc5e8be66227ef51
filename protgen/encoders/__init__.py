"""Encoders: networks that read a state and give scalars and vectors."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
