"""What of the training items is nearest to the held-out ones: by sequence, and by fold.

A held-out item is what a model was not trained on, and a figure of held-out items says something only if nothing like
them was. So each store states its closest pair across the split, and is called held out, by sequence or by fold, only
if that pair is below a threshold.

By sequence: the highest identity of a significant local alignment that covers the shorter item. The pairs are found by
the built-in search (`sequence_search.py`), which checks what another program clustered. It takes 4 to 11 CPU
microseconds a pair: above 50 million pairs MMseqs2 finds them, where clusters are made by it. The alignment is ours.
By fold: the highest TM-score, normalised by the length of the held-out item; of many items some are searched, drawn by
a hash of their names. The search of folds lies above this package and is handed in.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from protgen.data.gathering import Gathered, Row
from protgen.data.mmseqs import matched_pairs
from protgen.data.sequence_search import matches
from protgen.types import JSON

TRAIN = "train"
SAME_FOLD = 0.5  # TM-score: above it two chains have one fold (Xu & Zhang, Bioinformatics 26, 889, 2010)
MOST_PAIRS = 50_000_000  # of sequences that the built-in search compares where MMseqs2 is at hand: 10 CPU minutes
SEARCHED = 50  # held-out items whose nearest fold is searched


class Nearest(Protocol):
    """The nearest of some references to each sample."""

    @property
    def max_tm(self) -> np.ndarray:
        """(n,) highest TM-score by the sample's length; NaN where no reference is long enough."""
        ...

    @property
    def nearest(self) -> np.ndarray:
        """(n,) index of that reference."""
        ...


class FoldSearch(Protocol):
    """Finds the nearest reference of each sample, given CA atoms (l, 3) Å of both."""

    def __call__(self, samples: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> Nearest:
        """Search."""
        ...


@dataclass(frozen=True)
class LeakageOptions:
    """What is looked for across the split.

    Attributes:
        identity: of sequences that are alike; the store is held out by sequence below it.
        coverage: of the shorter of them.
        tm: of folds that are alike.
        folds: the search of folds; None to leave it out.
        searched: held-out items whose folds are searched at the most.
        mmseqs: path of the program for many pairs; None for the built-in search alone.
    """

    identity: float
    coverage: float
    tm: float = SAME_FOLD
    folds: FoldSearch | None = None
    searched: int = SEARCHED
    mmseqs: str | None = None


def leakage(gathered: Gathered, options: LeakageOptions, jobs: int = 1) -> JSON:
    """The closest pairs across the split, for the manifest.

    Args:
        gathered: the rows of the store, with their splits.
        options: what is looked for.
        jobs: processes that compare sequences.
    """
    held_out = [row for row in gathered.rows if row.split != TRAIN]
    train = [row for row in gathered.rows if row.split == TRAIN]
    report: JSON = {"held_out_items": len(held_out), "training_items": len(train)}
    if not held_out or not train:
        return report
    return {
        **report,
        "sequence": _by_sequence(gathered, held_out, train, options, jobs),
        "fold": _by_fold(gathered, held_out, train, options),
    }


def _by_sequence(
    gathered: Gathered, held_out: Sequence[Row], train: Sequence[Row], options: LeakageOptions, jobs: int
) -> JSON:
    """The pair of highest identity, and how many held-out items have one above the threshold."""
    (ours, owners), (theirs, other_owners) = (_sequences(gathered, rows) for rows in (held_out, train))
    program = options.mmseqs if len(ours) * len(theirs) > MOST_PAIRS else None
    if program is None:
        found = matches(ours, theirs, identity=0.0, coverage=options.coverage, jobs=jobs)
    else:
        found = matched_pairs(program, ours, theirs, options.coverage, jobs)
    over = {owners[match.first] for match in found if match.identity >= options.identity}
    report: JSON = {"threshold": options.identity, "coverage": options.coverage, "items_over": len(over)}
    report["held_out"] = not over
    report |= {"program": "mmseqs"} if program else {}
    if found:
        best = max(found, key=lambda match: (match.identity, -match.first, -match.second))
        pair = {"identity": round(best.identity, 4), "covered": round(best.coverage, 4)}
        items = {"item": held_out[owners[best.first]].id, "training_item": train[other_owners[best.second]].id}
        report["closest"] = {**items, **pair}
    return report


def _sequences(gathered: Gathered, rows: Sequence[Row]) -> tuple[list[bytes], list[int]]:
    """The sequences of rows, of a complex that of each chain, and the row that each is of."""
    texts, owners = [], []
    for k, row in enumerate(rows):
        chain = gathered.chains[row.unit]
        own = chain.sequences if chain.ends else [chain.sequence[row.start : row.stop]]
        texts += own
        owners += [k] * len(own)
    return texts, owners


def _by_fold(gathered: Gathered, held_out: Sequence[Row], train: Sequence[Row], options: LeakageOptions) -> JSON:
    """The pair of highest TM-score among the items that are searched, and how many of these are above the threshold."""
    drawn = sorted(held_out, key=lambda row: hashlib.sha256(row.id.encode()).digest())[: options.searched]
    report: JSON = {"threshold": options.tm, "items_searched": len(drawn)}
    if options.folds is None or not drawn:
        return report | {"items_searched": 0}
    traces = [[gathered.chains[row.unit].ca[row.start : row.stop] for row in rows] for rows in (drawn, train)]
    nearest = options.folds(traces[0], traces[1])
    known = np.flatnonzero(np.isfinite(nearest.max_tm))
    over = int((nearest.max_tm[known] >= options.tm).sum())
    report |= {"items_over": over, "held_out": not over and len(drawn) == len(held_out)}
    if len(known):
        best = int(known[nearest.max_tm[known].argmax()])
        pair = {"item": drawn[best].id, "training_item": train[int(nearest.nearest[best])].id}
        report["closest"] = {**pair, "tm": round(float(nearest.max_tm[best]), 4)}
    return report


def in_words(report: JSON) -> list[str]:
    """A report as lines for people: the closest pairs, and what the split may be called."""
    if "sequence" not in report:
        return ["Across the split: nothing is held out, or nothing is trained on."]
    return [_words_of_sequence(report["sequence"]), _words_of_fold(report["fold"], report["held_out_items"])]


def _words_of_sequence(found: JSON) -> str:
    verdict = "held out by sequence" if found["held_out"] else "NOT held out by sequence"
    by = "; searched by MMseqs2" if found.get("program") == "mmseqs" else ""
    line = f"Across the split, by sequence: {verdict} (identity below {found['threshold']:g}{by})"
    if "closest" not in found:
        return f"{line}; no pair is alike."
    pair = found["closest"]
    closest = f"{pair['item']} and {pair['training_item']} share {pair['identity']:.0%} over {pair['covered']:.0%}"
    return f"{line}; closest: {closest} of the shorter; {found['items_over']} held-out items are above."


def _words_of_fold(found: JSON, n: int) -> str:
    if not found["items_searched"]:
        return "Across the split, by fold: not searched."
    searched = f"{found['items_searched']} of {n} held-out items searched"
    if found["held_out"]:
        verdict = "held out by fold"
    elif found["items_over"]:
        verdict = "NOT held out by fold"
    else:
        verdict = "no fold was found on both sides"
    line = f"Across the split, by fold: {verdict} (TM-score below {found['threshold']:g}; {searched})"
    if "closest" not in found:
        return f"{line}; none has a training item of half its length."
    pair = found["closest"]
    return (
        f"{line}; closest: {pair['item']} and {pair['training_item']} have {pair['tm']:.2f}; "
        f"{found['items_over']} are above."
    )


def warning_of(report: JSON | None) -> str:
    """Why figures of the held-out items of a store say less than they seem to; "" where nothing is known against it."""
    found = (report or {}).get("sequence", {})
    if found.get("held_out", True):
        return ""
    pair = found["closest"]
    return (
        f"{found['items_over']} held-out items of the store have relatives among the training items (closest: "
        f"{pair['item']} and {pair['training_item']}, identity {pair['identity']:.2f} >= {found['threshold']:g}); "
        "the validation loss is not of held-out sequences"
    )
