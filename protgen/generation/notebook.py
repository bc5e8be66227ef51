"""How a design shows itself in a notebook: its drawing, its conditions as asked and as measured, its validity."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from protgen import registry
from protgen.conditions.base import Condition
from protgen.conditions.measure import evaluators
from protgen.errors import ProtgenError
from protgen.structure.notebook import beside, facts_table, table
from protgen.structure.protein import Protein

# What is shown of each metric; `protgen evaluate` has the rest.
SHOWN = {
    "bonds": ("chain_breaks", "peptide_valid"),
    "clashes": ("n_clashes",),
    "ramachandran": ("rama_favoured",),
    "secondary_structure": ("helix", "strand"),
    "compactness": ("rg",),
}


def design_html(
    protein: Protein, facts: Mapping[str, str], asked: Sequence[Condition], drawn: Sequence[Condition]
) -> str:
    """HTML of a design.

    Args:
        protein: its structure.
        facts: which design it is, name -> value.
        asked: conditions of the user.
        drawn: conditions drawn from the model's p(y).
    """
    sizes = " + ".join(str(int((protein.chain_ids == chain).sum())) for chain in protein.chains)
    parts = [facts_table({**facts, "residues": sizes})]
    rows = condition_rows(protein, asked, "asked") + condition_rows(protein, drawn, "drawn")
    if rows:
        parts.append(table(rows, ["condition", "source", "wanted", "measured", "met"]))
    parts.append(table(validity_rows(protein), ["validity", "value", "unit"]))
    return beside(protein, "".join(parts))


def condition_rows(protein: Protein, conditions: Sequence[Condition], source: str) -> list[list[str]]:
    """A row of HTML cells for each condition that can be measured.

    Args:
        protein: to measure.
        conditions: to compare it with.
        source: "asked" or "drawn".
    """
    rows = []
    for evaluator in evaluators(conditions):
        try:
            found = evaluator.adherence(protein)
            cells = [text_of(found.asked), text_of(found.got), "yes" if found.satisfied else "no"]
        except ProtgenError as error:
            cells = ["", str(error), "no"]
        rows.append([escape(cell) for cell in (evaluator.name, source, *cells)])
    return rows


def validity_rows(protein: Protein) -> list[list[str]]:
    """A row of HTML cells for each number of `SHOWN`, with its definition when the pointer rests on it."""
    rows = []
    for name, quantities in SHOWN.items():
        metric = registry.build("metrics", name)
        values = metric.measure(protein)
        for quantity in metric.quantities:
            if quantity.name in quantities:
                label = f'<span title="{escape(quantity.definition)}">{escape(quantity.name)}</span>'
                rows.append([label, escape(text_of(values[quantity.name])), escape(quantity.unit)])
    return rows


def text_of(value: Any) -> str:
    """A value as it is shown: numbers with three digits behind the point at most, "-" for one that does not exist."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)
