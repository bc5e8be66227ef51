"""What a second designer thinks of the sequences of the first: a score a sequence, and how far both agree.

A designer judges its own sequences kindly. One that was trained by others, on other features, is an independent view.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protgen.errors import ProtgenError, UsageError
from protgen.inverse_folding.base import SequenceModel
from protgen.metrics.base import Quantity
from protgen.structure.protein import Protein
from protgen.types import JSON

COLUMN, MESSAGE = "second_score", "second_message"
AGREEMENT = "agreement.json"
QUANTITY = Quantity(
    COLUMN, "nats a residue", "lower", "mean negative log-likelihood of the designed letters by a second designer"
)
FEWEST = 3  # points of a correlation

Row = dict[str, Any]


def add_scores(rows: Sequence[Row], protein: Protein, free: np.ndarray, scorer: SequenceModel, seed: int) -> None:
    """Add to the rows of one backbone's sequences what the scorer thinks of them, or why it thinks nothing.

    Args:
        rows: of the sequences.
        protein: the backbone.
        free: (l,) True where the letter was designed, as in the designer's own score; all count where none was.
        scorer: the second designer.
        seed: of the order in which it reads letters.

    Raises:
        UsageError: if it cannot work here.
    """
    if not rows:
        return
    counted = free if free.any() else np.ones_like(free)
    try:
        found = scorer.score(protein, [str(row["sequence"]) for row in rows], seed)
    except UsageError:
        raise
    except ProtgenError as error:
        for row in rows:
            row[MESSAGE] = " ".join(str(error).split())
        return
    for row, each in zip(rows, found, strict=True):
        row[COLUMN] = round(float(-each.log_probs[counted].mean()), 4)


def agreement(rows: Sequence[Row], first: JSON, second: JSON) -> JSON:
    """Pearson's r of both scores: over all sequences, and over backbones (means), which alone are independent.

    Args:
        rows: of all sequences.
        first: settings of the designer.
        second: settings of the scorer.

    Returns:
        Both settings; and for "sequences" and "backbones": r, null for fewer than three points or scores that are all
        alike; and n.
    """
    both = [(str(row["design"]), row["score"], row[COLUMN]) for row in rows if "score" in row and COLUMN in row]
    points = np.array([pair[1:] for pair in both]).reshape(-1, 2)
    names = np.array([pair[0] for pair in both])
    means = np.array([points[names == name].mean(axis=0) for name in dict.fromkeys(names.tolist())]).reshape(-1, 2)
    found = {name: {"r": pearson(xy), "n": len(xy)} for name, xy in (("sequences", points), ("backbones", means))}
    return {"designer": first, "scorer": second, **found}


def pearson(points: np.ndarray) -> float | None:
    """Pearson's r of (n, 2) pairs; None for fewer than three, or where one of both does not vary."""
    if len(points) < FEWEST or np.ptp(points, axis=0).min() == 0:
        return None
    return float(np.corrcoef(points.T)[0, 1])


def in_words(content: JSON) -> str:
    """The agreement as a line."""
    parts = []
    for name in ("sequences", "backbones"):
        r, n = content[name]["r"], content[name]["n"]
        parts.append(f"over {n} {name} r = {'-' if r is None else format(r, '.2f')}")
    return f"Scores of {content['designer']['name']} and {content['scorer']['name']}: {', '.join(parts)}."
