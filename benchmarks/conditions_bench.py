"""What the parts of `conditions.py` share: the model, how to sample, natives, and summaries of what was measured."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from protgen.conditions.base import Condition
from protgen.conditions.measure import evaluators
from protgen.data.store import Store
from protgen.errors import ProtgenError
from protgen.evaluation.validity import validity
from protgen.generation.design import Design, SampleSettings
from protgen.generation.generate import generate_each
from protgen.metrics.base import summarise
from protgen.models.model import Model
from protgen.models.released import load
from protgen.structure.protein import Protein

LOW, HIGH = 60, 100
VALIDITY = ("chain_breaks_rfdiffusion3", "n_clashes", "rama_favoured")  # kept of each scaffold


class Bench:
    """What the parts share: the model, how to sample, where natives and motifs are."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model: Model = load(options.model)
        given = {"candidates": options.candidates, "steps": options.steps}
        chosen = {name: value for name, value in given.items() if value is not None}
        self.settings = SampleSettings(batch_size=options.batch_size, **chosen)  # the rest is the model's own
        self.reach = self.model.trained_lengths or (3, 10**6)
        self.n: int = options.n
        self.seed: int = options.seed
        self.out: Path = options.out
        self.options = options

    def natives(self) -> list:
        """Validation items of the lengths sampled."""
        if self.options.store is None:
            raise SystemExit("this part needs --store")
        store = Store(self.options.store)
        chosen = [int(i) for i in store.indices("validation") if LOW <= store.lengths[i] <= HIGH]
        return [store[i] for i in chosen[: self.n]]

    def make(self, requests: Sequence[Sequence[Condition]], settings: SampleSettings | None = None) -> list[Design]:
        """One design for each request, in order."""
        made = generate_each(self.model, requests, self.seed, settings or self.settings)
        return sorted(made, key=lambda design: design.index)


def interval(values: Iterable[float]) -> dict:
    """Mean with its 95 % interval."""
    return asdict(summarise(np.array(list(values), dtype=float)))


def valid(proteins: Sequence[Protein]) -> dict:
    """The validity figures conditions must not spoil."""
    return valid_rows([validity(protein) for protein in proteins])


def valid_rows(rows: Sequence[Mapping]) -> dict:
    """The same of rows that were measured before."""
    return {
        "no chain break": interval(row["chain_breaks_rfdiffusion3"] == 0 for row in rows),
        "no clash < 2.0 Å": interval(row["n_clashes"] == 0 for row in rows),
        "Ramachandran favoured": interval(row["rama_favoured"] for row in rows),
    }


def measured(design: Design, name: str) -> tuple[float, bool]:
    """Difference and verdict of one condition of a design, NaN and False where it cannot be measured.

    On positions to 0.001 Å, as files have them: what is finer nobody gets.
    """
    protein = replace(design.protein, atoms=design.protein.atoms.round(3))
    for evaluator in evaluators(design.asked):
        if evaluator.name == name:
            try:
                met = evaluator.adherence(protein)
            except ProtgenError:
                return float("nan"), False
            return met.difference, met.satisfied
    raise ValueError(name)
