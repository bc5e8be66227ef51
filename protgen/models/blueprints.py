"""p(y | length): secondary-structure blueprints as natives have them, for residues whose structure nobody asked for.

A generator of backbones given secondary structure needs secondary structure. Where a user leaves it open, it is drawn
here first, and the backbone after it: p(x | length) = sum over y of p(x | y) p(y | length), sampled from the top down.
A blueprint is a semi-Markov chain over helices and strands joined by loops: the kind of an element depends on the two
before it, its length on its kind, the length of a loop on the kinds it joins. Counts come from the compact ones among
the training natives (`fit_store`) and travel with a model as `blueprints.json`: chains with a helix of half their
length are natives too, but they are extended, and a domain is what most people want of whom nothing else is known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from protgen.conditions.fractions import Fractions
from protgen.data.fields import CHAIN_INDEX
from protgen.data.store import Item, Store
from protgen.errors import CheckpointError
from protgen.metrics.reference_data import typical_radius_of_gyration
from protgen.models.files import load_json
from protgen.models.renamed import OLD_BLUEPRINTS
from protgen.structure.dssp import to_string
from protgen.structure.trace import radius_of_gyration
from protgen.types import JSON

FILE = "blueprints.json"
MOST_LOOP = 0.5  # fraction of loop residues, as the filter of the training data has it
COMPACT = 0.15  # largest deviation of Rg from the median of natives of that length, as a fraction of it
FIELDS = ("kinds", "elements", "loops", "longest")
LONGEST, MOST = 10**5, 10**12  # of an element or loop in a file, and of a count
SHORTEST = {"H": 4, "E": 2}  # shorter runs of DSSP codes are read as loop


@dataclass(frozen=True)
class BlueprintPrior:
    """Counts of a semi-Markov chain over secondary-structure elements.

    Attributes:
        kinds: previous two kinds ("^" before the first) -> {next kind, "$" for the end: count}.
        elements: kind -> {length: count}.
        loops: two kinds joined -> {length: count}.
        longest: fraction of a chain that its longest element has at the most, but for one native in twenty.
    """

    kinds: dict[str, dict[str, int]]
    elements: dict[str, dict[str, int]]
    loops: dict[str, dict[str, int]]
    longest: float = 1.0

    def draw(self, length: int, rng: Generator) -> str:
        """A blueprint of exactly that many residues: H, E and L.

        Blueprints that are mostly loop, or mostly one element, are drawn again: training items are not
        (`Filters.max_coil`), but loops and elements drawn apart and whatever the length of the chain can be.
        """
        codes = ""
        for _ in range(20):
            codes = self.draw_any(length, rng)
            if codes.count("L") <= MOST_LOOP * length and longest_fraction(codes) <= self.longest:
                break
        return codes

    def draw_any(self, length: int, rng: Generator) -> str:
        """A blueprint, loopy or not.

        Chains are drawn until one ends within a twentieth of the length, the lengths of elements being independent
        of it; what is then missing or over is distributed over loops and elements, a residue at a time.
        """
        best: list[tuple[str, int]] = []
        for _ in range(400):
            runs = self.draw_runs(length, rng)
            if sum(kind == "E" for kind, _ in runs) == 1:
                continue  # a strand needs another to pair with
            off = abs(sum(n for _, n in runs) - length)
            if not best or off < abs(sum(n for _, n in best) - length):
                best = runs
            if off <= 0.05 * length:
                break
        return "".join(kind * n for kind, n in fit_runs(best, length, rng))

    def draw_runs(self, length: int, rng: Generator) -> list[tuple[str, int]]:
        """Runs of one chain, stopped where it has clearly passed the length."""
        before, kind = "^", "^"
        runs: list[tuple[str, int]] = []
        total = 0
        while total <= 1.1 * length:
            following = pick(self.kinds[before + kind], rng)
            loop = int(pick(self.loops[kind + following], rng))
            runs.append(("L", loop))
            if following == "$":
                break
            runs.append((following, int(pick(self.elements[following], rng))))
            total += loop + runs[-1][1]
            before, kind = kind, following
        return runs

    def draw_near(self, length: int, fractions: Fractions, rng: Generator, tries: int = 100) -> str:
        """The blueprint nearest to asked fractions among a number drawn; stops at one within 0.03."""
        best, least = "", float("inf")
        for _ in range(tries):
            codes = self.draw(length, rng)
            off = max(
                abs(codes.count(code) / length - fraction)
                for code, fraction in (("H", fractions.helix), ("E", fractions.strand))
                if fraction is not None
            )
            if off < least:
                best, least = codes, off
            if least <= 0.03:
                break
        return best

    def to_json(self) -> JSON:
        """As written to `blueprints.json`."""
        return {"kinds": self.kinds, "elements": self.elements, "loops": self.loops, "longest": self.longest}


def pick(counts: dict[str, int], rng: Generator) -> str:
    """A key with probability in proportion to its count."""
    place = torch.rand((), generator=rng).item() * sum(counts.values())
    key = ""
    for key, count in counts.items():
        place -= count
        if place < 0:
            return key
    return list(counts)[-1]  # by rounding


def fit_runs(runs: list[tuple[str, int]], length: int, rng: Generator) -> list[tuple[str, int]]:
    """Runs changed a residue at a time, at random places, until they sum to the length."""
    if not runs:
        return [("L", length)]
    counts = [n for _, n in runs]
    kinds = [kind for kind, _ in runs]
    while (missing := length - sum(counts)) != 0:
        step = 1 if missing > 0 else -1
        least = [SHORTEST.get(kind, 1 if 0 < i < len(kinds) - 1 else 0) for i, kind in enumerate(kinds)]
        open_to_change = [i for i, n in enumerate(counts) if n + step >= least[i]]
        if not open_to_change and len(kinds) <= 2:
            return [("L", length)]
        if not open_to_change:
            kinds, counts = kinds[:-2], counts[:-2]  # too short for so many elements: drop the last
            continue
        weights = torch.tensor([float(counts[i] + 1) for i in open_to_change])
        counts[open_to_change[int(torch.multinomial(weights, 1, generator=rng))]] += step
    return list(zip(kinds, counts, strict=True))


def runs_of(codes: str) -> Iterator[tuple[str, int]]:
    """Alternating loops and elements of a DSSP string, first and last a loop (of length 0 at need)."""
    plain = []
    for kind, group in groupby(codes):
        n = len(list(group))
        plain.append((kind if n >= SHORTEST.get(kind, n + 1) else "L", n))
    loop = 0
    for kind, n in plain:
        if kind == "L":
            loop += n
        else:
            yield "L", loop
            yield kind, n
            loop = 0
    yield "L", loop


def fit_blueprints(strings: Sequence[str]) -> BlueprintPrior:
    """Count elements and loops of natives' DSSP strings (letters H, E, and anything else for coil)."""
    kinds: dict[str, dict[str, int]] = {}
    elements: dict[str, dict[str, int]] = {}
    loops: dict[str, dict[str, int]] = {}
    for codes in strings:
        runs = list(runs_of(codes))
        before, kind = "^", "^"
        for (_, loop), (following, n) in zip(runs[0::2], [*runs[1::2], ("$", 0)], strict=True):
            add(kinds, before + kind, following)
            add(loops, kind + following, str(loop))
            if following != "$":
                add(elements, following, str(n))
            before, kind = kind, following
    longest = [longest_fraction(codes) for codes in strings if codes]
    return BlueprintPrior(kinds, elements, loops, round(float(np.quantile(longest, 0.95)), 3) if longest else 1.0)


def fit_store(store: Store) -> BlueprintPrior:
    """Blueprints of those training items whose Rg is within 15 % of natives of their length (of all, if none is)."""
    rows = [int(i) for i in store.indices("train")]
    compact = []
    for i in rows:
        item = store[i]
        xyz = np.asarray(item.atoms, float)[:, 1]  # CA
        ratio = radius_of_gyration(xyz) / typical_radius_of_gyration(len(xyz))
        compact += [i] if abs(ratio - 1) <= COMPACT else []
    return fit_blueprints([to_string(own) for i in compact or rows for own in _labels(store[i])])


def _labels(item: Item) -> list[np.ndarray]:
    """Secondary structure of each chain or segment of an item."""
    own = item.residue.get(CHAIN_INDEX.name)
    return [item.labels] if own is None else np.split(item.labels, np.flatnonzero(np.diff(own)) + 1)


def longest_fraction(codes: str) -> float:
    """Length of the longest helix or strand as a fraction of the chain."""
    return max((len(list(group)) for kind, group in groupby(codes) if kind in "HE"), default=0) / len(codes)


def add(table: dict[str, dict[str, int]], key: str, value: str) -> None:
    """Count one occurrence."""
    row = table.setdefault(key, {})
    row[value] = row.get(value, 0) + 1


def load_blueprints(folder: Path) -> BlueprintPrior | None:
    """The blueprints of a model folder, None if it has none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = next((folder / name for name in (FILE, OLD_BLUEPRINTS) if (folder / name).is_file()), None)
    if path is None:
        return None
    value = load_json(path)
    try:
        return prior_of(value)
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error}); get the model again") from None


def prior_of(value: JSON) -> BlueprintPrior:
    """What `to_json` gave. All that a draw can come to must be there, with counts of which it can pick one.

    Raises:
        ValueError: if it cannot be.
    """
    missing, unknown = {"kinds", "elements", "loops"} - value.keys(), value.keys() - set(FIELDS)
    if missing or unknown:
        raise ValueError(f"{min(missing)} is missing" if missing else f"{min(unknown)[:40]!r} is none of its fields")
    kinds, elements, loops = (checked_counts(value[name], name) for name in FIELDS[:3])
    longest = value.get("longest", 1.0)
    if type(longest) not in (int, float) or not 0 < longest <= 1:
        raise ValueError(f"longest is {str(longest)[:40]}")
    for name, counts, least in (("elements", elements, 1), ("loops", loops, 0)):
        for key, length in ((key, length) for key, entry in counts.items() for length in entry):
            if not (length.isascii() and length.isdigit() and str(int(length)) == length):
                raise ValueError(f"{name} of {key} have a length of {length[:20]!r}")
            if not least <= int(length) <= LONGEST:
                raise ValueError(f"{name} of {key} have a length of {length}")
    if "^^" not in kinds:
        raise ValueError("kinds has no beginning")
    for pair, entry in kinds.items():
        if len(pair) != 2 or not set(pair) <= set("^HE") or not entry.keys() <= set("HE$"):
            raise ValueError(f"kinds of {pair[:20]!r} are none of a chain")
        for following in entry:
            ends = following == "$"
            if pair[1] + following not in loops or not (
                ends or (following in elements and pair[1] + following in kinds)
            ):
                raise ValueError(f"nothing is said of {following} after {pair}")
    return BlueprintPrior(kinds, elements, loops, float(longest))


def checked_counts(value: object, name: str) -> dict[str, dict[str, int]]:
    """Counts of counts.

    Raises:
        ValueError: if they are none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    for key, entry in value.items():
        if not isinstance(entry, dict) or not entry:
            raise ValueError(f"{name} of {key[:20]!r} is no object with counts")
        for inner, count in entry.items():
            if type(count) is not int or not 0 < count <= MOST:
                raise ValueError(f"{name} of {key[:20]!r} has {str(count)[:40]} times {inner[:20]!r}")
    return value
