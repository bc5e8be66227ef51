"""Guides of a batch: gradients of energies that act on designs while they are made, and motifs held in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from protgen.conditions.base import EnergyCondition
from protgen.conditions.roles import Anchor, FixedResidues
from protgen.families.base import Family, IterativeFamily
from protgen.generation.design import ResolvedSettings
from protgen.generation.energies import BatchEnergy, Weighted
from protgen.generation.motif_projection import MotifProjection
from protgen.generation.plan import Plan
from protgen.samplers.base import Denoiser
from protgen.samplers.energy import EnergyGuidance, PosteriorGuidance
from protgen.samplers.projection import Projection
from protgen.spaces.atoms import BackboneAtoms, ResidueFrames
from protgen.spaces.base import Space
from protgen.spaces.capabilities import moves_through_network, require

GuideMaker = Callable[[Denoiser], Denoiser]

# Gradient descent on the predicted structure moves residues by Å at once, in half steps: x_t follows the prediction by
# a few hundredths a step, so small moves are lost. It goes on to the end, since the network can undo part of each move.
# (Chosen on two or three designs with five native contacts each, several settings changed together; no comparison.)
ENERGY_FRACTION, ENERGY_LONGEST = 0.5, 4.0
# Through the network, with five native contacts for each of eight designs: weights of 4, 7, 10 brought 93, 100, 100 %
# within 8 Å at 84, 88 and 89 % Ramachandran favoured; descent on the prediction alone gave 70 % at 72 %. With the
# native's strings asked for too, 10 to the end left 12 % of these unmet in six designs, and 10 down to time 0.4 left
# 6 %. What then remains is small, and done by descent on the prediction. With a radius as well, 12 % of the strings
# were unmet in eight designs with gradient descent on each prediction, and 7 % with guidance through the network.
ENERGY_WEIGHT, ENERGY_REST, LAST_PART = 10.0, 0.4, 0.1
# If the network does not predict the motif, the scaffold breaks at the joins. Of twelve designs for three problems of
# MotifBench with small pieces (15_7A8S, 21_1B73, 23_1MPY), 4 had unbroken joins by projection alone, 7 with a weight of
# 5 down to time 0.4, 8 with 10 down to 0.25, and all with 7 down to 0.1, at 0.03 to 0.11 Å in place of 0.14 to 2.04.
MOTIF_WEIGHT, MOTIF_REST = 7.0, 0.1


@dataclass(frozen=True)
class Acting:
    """What acts on the designs of a batch, a row each.

    Attributes:
        through: energies whose gradient goes through the network, with weights: of designs where some are local. Those
            of the whole go with them, as the backward pass is paid for anyway, and what the network comes to by itself
            needs no scaling of the last prediction, which stretches hydrogen bonds.
        direct: energies of the other designs, or of all in a space without a gradient through the network, descended at
            the predicted structure.
        anchors: what ties each design to the frame of a file.
        motifs: the motif of each design that is projected.
    """

    through: Sequence[Weighted]
    direct: Sequence[Weighted]
    anchors: Sequence[Anchor | None]
    motifs: Sequence[FixedResidues | None]

    @classmethod
    def of(cls, plans: Sequence[Plan], space: Space, energies: bool) -> "Acting":
        """What the plans of a batch say; energies may be turned off."""
        rows = [plan.energies if energies else [] for plan in plans]
        able = moves_through_network(space)
        through = [own if able and any(condition.local for condition, _ in own) else [] for own in rows]
        direct = [[] if pulled else own for pulled, own in zip(through, rows, strict=True)]
        return cls(through, direct, [plan.anchor() for plan in plans], [plan.projected for plan in plans])


def guides_of(
    family: Family, plans: Sequence[Plan], settings: ResolvedSettings, device: torch.device
) -> list[GuideMaker]:
    """Guides of a batch; what one design asks for acts on that one alone.

    Args:
        family: of the model; families of latents take energies without guides.
        plans: the designs of the batch.
        settings: of the run.
        device: of the states.
    """
    space = family.space
    if not isinstance(space, BackboneAtoms) or not isinstance(family, IterativeFamily):
        return []
    acting = Acting.of(plans, space, settings.energy_scale > 0)
    return [
        *posterior_guides(space, acting, settings),
        *energy_guides(space, acting, settings),
        *projection_guides(space, acting, device),
    ]


def posterior_guides(space: Space, acting: Acting, settings: ResolvedSettings) -> list[GuideMaker]:
    """The one guide for all gradients through the network: around another there would be no gradient left.

    Args:
        space: of the model.
        acting: what acts on the designs of the batch.
        settings: of the run.
    """
    rows = [
        [*own, *([(motif, 1.0)] if isinstance(motif, EnergyCondition) else [])]
        for own, motif in zip(acting.through, acting.motifs, strict=True)
    ]
    energy = BatchEnergy(rows, acting.anchors)
    if energy.empty:
        return []
    scale = settings.energy_scale
    weight = torch.tensor([ENERGY_WEIGHT * scale * mean_weight(own) if own else MOTIF_WEIGHT for own in acting.through])
    rest = torch.tensor([ENERGY_REST if motif is None else MOTIF_REST for motif in acting.motifs])
    return [lambda own: PosteriorGuidance(own, space, energy, weight, rest)]


def energy_guides(space: Space, acting: Acting, settings: ResolvedSettings) -> list[GuideMaker]:
    """Gradient descent at the predicted structure itself, below some time.

    Args:
        space: of the model.
        acting: what acts on the designs of the batch.
        settings: of the run.
    """
    pace: dict[str, Any] = {"steps": settings.energy_steps, "longest": ENERGY_LONGEST}

    def guide(energy: BatchEnergy, start: float) -> GuideMaker:
        return lambda own: EnergyGuidance(
            own, space, energy, ENERGY_FRACTION * settings.energy_scale, start=start, **pace
        )

    # A radius after contacts: moving a few residues changes it, and it hardly moves single residues.
    parts = ((True, acting.through, LAST_PART), (False, acting.through, LAST_PART), (False, acting.direct, 1.0))
    found = [(BatchEnergy.of_kind(rows, acting.anchors, local), start) for local, rows, start in parts]
    return [guide(energy, start) for energy, start in found if not energy.empty]


def projection_guides(space: Space, acting: Acting, device: torch.device) -> list[GuideMaker]:
    """What lays motifs onto predicted structures.

    Args:
        space: of the model.
        acting: what acts on the designs of the batch.
        device: of the states.
    """
    if not any(motif is not None for motif in acting.motifs):
        return []
    pairs = zip(acting.anchors, acting.motifs, strict=True)
    frames = require(space, ResidueFrames, "a projected motif")
    projection = MotifProjection(frames, [anchor if motif else None for anchor, motif in pairs], device)
    return [lambda own: Projection(own, projection)]


def mean_weight(requests: Weighted) -> float:
    """Mean weight of the conditions of a design whose energies are local; 1 without any."""
    weights = [weight for condition, weight in requests if condition.local]
    return sum(weights) / len(weights) if weights else 1.0
