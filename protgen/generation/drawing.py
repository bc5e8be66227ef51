"""Draws what a request leaves open of secondary structure: a blueprint for each design, from the model's own prior.

The prior is p(secondary structure | length, fractions) (`models/blueprints.py`); other conditions that bear on it score
what is drawn (`BlueprintScore`), and the best of a number is taken.
"""

from collections.abc import Sequence
from itertools import groupby

from torch import Generator

from protgen.conditions.base import Condition
from protgen.conditions.cath import Cath
from protgen.conditions.fractions import Fractions
from protgen.conditions.motif import fraction_agreeing
from protgen.conditions.roles import BlueprintScore, FixedBlueprint, FixedPairs, FixedResidues, StartingStructure
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.generation.conflicts import find
from protgen.models.blueprints import SHORTEST, BlueprintPrior
from protgen.models.pairing import draw_pairing
from protgen.models.topologies import TopologyPrior

CLOSE = 0.03  # fractions of a drawn topology that are this near to those asked for will do
BLUEPRINT_TRIES = 60  # blueprints drawn to find one of a class, or one that suits a motif or contacts


def fixed_codes(conditions: Sequence[Condition]) -> str | None:
    """The secondary structure a request fixes: what is asked for as such, else what another condition says of it."""
    structure = find(conditions, SecondaryStructure)
    if structure is not None:
        return structure.codes
    other = find(conditions, FixedBlueprint)
    return None if other is None else other.fixed_codes()


def draw_open(
    conditions: Sequence[Condition],
    prior: BlueprintPrior | None,
    length: int,
    motif: FixedResidues | None,
    rng: Generator,
    *,
    pairs: bool = False,
) -> tuple[Condition, ...]:
    """The conditions drawn for a design in addition to the requested ones: secondary structure, where it is open.

    What fixes secondary structure may say which of its strands pair.

    Args:
        conditions: what is asked for.
        prior: of the model; None draws nothing.
        length: residues of the design.
        motif: residues that are held, in their place.
        rng: of the design.
        pairs: whether the model has learned strand pairing.
    """
    if prior is None or find(conditions, SecondaryStructure) is not None:
        return ()
    codes = fixed_codes(conditions)
    start = find(conditions, StartingStructure)
    told = any(isinstance(condition, Fractions | BlueprintScore | FixedResidues) for condition in conditions)
    if codes is None and start is not None and not told:
        codes = start.codes()  # what is drawn would lead away from the structure that is to be varied
    if codes is not None:
        paired = find(conditions, FixedPairs)
        told = pairs and find(conditions, StrandPairing) is None and paired is not None
        ladders = paired.ladders() if told and paired is not None else ()
        return (SecondaryStructure(codes), *([StrandPairing(ladders)] if ladders else []))
    return (draw_blueprint(conditions, prior, length, motif, rng),)


def draw_topology(
    conditions: Sequence[Condition], prior: TopologyPrior, length: int, rng: Generator
) -> tuple[Condition, ...]:
    """Secondary structure with its strand pairing; the pairing alone of secondary structure that is asked for.

    Args:
        conditions: what is asked for; those that some secondary structures suit better score what is drawn. A fold is
            drawn from its members.
        prior: of the model.
        length: residues of the design.
        rng: of the design.
    """
    structure = find(conditions, SecondaryStructure)
    if structure is not None:
        found = draw_pairing(prior, structure.codes.replace("C", "L"), rng)
        return () if found is None else (found,)
    fold = find(conditions, Cath)
    if fold is not None and fold.code in prior.folds:
        prior = prior.of_fold(fold.code)
    fractions = find(conditions, Fractions)
    scored = [condition for condition in conditions if isinstance(condition, BlueprintScore)]

    asked = {} if fractions is None else {"H": fractions.helix, "E": fractions.strand}

    def score(codes: str) -> float:
        known = [(code, fraction) for code, fraction in asked.items() if fraction is not None]
        off = max((abs(codes.count(code) / length - fraction) for code, fraction in known), default=0.0)
        suits = sum(condition.blueprint_weight * (condition.blueprint_score(codes) - 1) for condition in scored)
        return min(0.0, CLOSE - off) + suits

    return prior.draw_best(length, score, 0.0, rng).conditions()


def draw_blueprint(
    conditions: Sequence[Condition], prior: BlueprintPrior, length: int, motif: FixedResidues | None, rng: Generator
) -> SecondaryStructure:
    """A blueprint near the fractions asked for that suits the other conditions, around the motif.

    Args:
        conditions: what is asked for.
        prior: of the model.
        length: residues of the design.
        motif: residues that are held, in their place.
        rng: of the design.
    """
    fractions = find(conditions, Fractions)
    scored = [condition for condition in conditions if isinstance(condition, BlueprintScore)]
    pairing = find(conditions, StrandPairing)
    if motif is None and not scored and pairing is None:
        return SecondaryStructure(draw_codes(prior, length, fractions, rng))
    own, places = (motif.codes(), list(motif.indices())) if motif else ("", [])
    if pairing is not None:  # its residues are strand
        own += "E" * len(pairing.residues())
        places += [residue - 1 for residue in pairing.residues()]
    highest = 1.0 + sum(condition.blueprint_weight for condition in scored)
    best, most = "", -1.0
    for _ in range(BLUEPRINT_TRIES):
        drawn = draw_codes(prior, length, fractions, rng)
        codes = overlay(drawn, own, places)
        score = fraction_agreeing(own, drawn, places)
        for condition in scored:
            score += condition.blueprint_weight * condition.blueprint_score(codes)
        if score > most:
            best, most = codes, score
        if score == highest:
            break
    return SecondaryStructure(best)


def draw_codes(prior: BlueprintPrior, length: int, fractions: Fractions | None, rng: Generator) -> str:
    """One blueprint of the prior, near the fractions if they are asked for.

    Args:
        prior: of the model.
        length: residues.
        fractions: asked for.
        rng: of the design.
    """
    if fractions is None or (fractions.helix is None and fractions.strand is None):
        return prior.draw(length, rng)
    return prior.draw_near(length, fractions, rng)


def overlay(codes: str, own: str, places: Sequence[int]) -> str:
    """A blueprint with a motif's helices and strands in their places; what is cut too short by them becomes free.

    Where the motif is coil the blueprint is left free: out of its protein, strands without a partner are called coil.

    Args:
        codes: the blueprint, H, E and L.
        own: secondary structure of the motif: H, E and C.
        places: where its residues are, from 0.
    """
    letters = list(codes)
    for code, place in zip(own, places, strict=True):
        letters[place] = code if code in "HE" else "L" if letters[place] == "L" else "X"
    kept = set(places)
    place = 0
    for code, run in groupby("".join(letters)):
        count = len(list(run))
        inside = range(place, place + count)
        if count < SHORTEST.get(code, 0) and not kept & set(inside):
            letters[place : place + count] = "X" * count
        place += count
    return "".join(letters)
