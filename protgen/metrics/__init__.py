"""Metrics: numbers measured on one structure, each with its definition."""

from protgen.exports import lazy

__getattr__, __dir__ = lazy(__name__)
