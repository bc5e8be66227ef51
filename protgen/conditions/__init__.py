"""Conditions: what a design is to be. They make features, energies, projections and measurements."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
