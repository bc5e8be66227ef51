"""Guides of a batch: energies down which designs go while they are made, and motifs that are held in place."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from protgen.conditions.base import Condition
from protgen.conditions.motif import Motif
from protgen.families.base import Family, IterativeFamily
from protgen.generation.design import SampleSettings
from protgen.generation.energies import Anchor, BatchEnergy, is_local
from protgen.generation.motif_projection import MotifProjection
from protgen.samplers.base import Denoiser
from protgen.samplers.energy import EnergyGuidance, PosteriorGuidance
from protgen.samplers.projection import Projection
from protgen.spaces.atoms import BackboneAtoms, ResidueFrames
from protgen.spaces.capabilities import require

# Down an energy residues move by Å at once, in half steps: x_t follows the estimate by a few hundredths a step, so
# small moves seem to be forgotten; and to the very end, since the network may take back part of what the last ones did.
# (Chosen on two or three designs with five native contacts each, several settings changed together; no comparison.)
ENERGY_FRACTION, ENERGY_LONGEST = 0.5, 4.0
# Through the network, of five native contacts each of eight designs: pushes of 4, 7, 10 brought 93, 100, 100 % within
# 8 Å at 84, 88 and 89 % Ramachandran favoured, where descent at the estimate alone gave 70 % at 72 %. With the native's
# strings asked for too, 10 all the way left 12 % of these unmet in six designs, and 10 down to time 0.4 left 6 %. What
# then remains at the end is small, and done at the estimate. With a radius as well, 12 % of the strings were unmet in
# eight designs where it was descended at each estimate, and 7 % where it was part of the push.
ENERGY_PUSH, ENERGY_REST, LAST_PART = 10.0, 0.4, 0.1
# Where the network did not come to a motif, its scaffold breaks at the joins. Of twelve designs for three problems of
# MotifBench with small pieces (15_7A8S, 21_1B73, 23_1MPY), 4 had whole joins by projection alone, 7 with a push of 5
# down to time 0.4, 8 with 10 down to 0.25, and all with 7 down to 0.1, at 0.03 to 0.11 Å in place of 0.14 to 2.04.
MOTIF_PUSH, MOTIF_REST = 7.0, 0.1


def guides_of(
    family: Family,
    settings: SampleSettings,
    energies: Sequence[Sequence[tuple[Condition, float]]],
    anchors: Sequence[Anchor | None],
    held: Sequence[Motif | None],
    device: torch.device,
) -> list[Callable[[Denoiser], Denoiser]]:
    """Guides of a batch; what one design asks for acts on that one alone.

    Args:
        family: of the model; families of latents take energies without guides.
        settings: of the run.
        energies: the conditions of each design that act by their energy, with weights.
        anchors: what ties each design to the frame of a file.
        held: the motif of each design that is projected.
        device: of the states.
    """
    space = family.space
    if not isinstance(space, BackboneAtoms) or not isinstance(family, IterativeFamily):
        return []
    guides: list[Callable[[Denoiser], Denoiser]] = []
    scale = settings.energy_scale
    if scale == 0:
        energies = [[] for _ in energies]
    # Energies through the network, for designs where some are local: those of the whole too, as the way back is gone
    # anyway. What the network comes to by itself needs no scaling of the last estimate, which stretches hydrogen bonds.
    through_network = space.moved_by_gradients is None or bool(space.moved_by_gradients)
    pulled = [own if through_network and any(is_local(c) for c, _ in own) else [] for own in energies]
    alone = [[] if through else own for through, own in zip(pulled, energies, strict=True)]

    def descend(energy: BatchEnergy, start: float) -> None:
        """Down an energy at the estimate itself, below some time."""
        pace: dict[str, Any] = {"steps": settings.energy_steps, "longest": ENERGY_LONGEST, "start": start}
        guides.append(lambda own: EnergyGuidance(own, space, energy, ENERGY_FRACTION * scale, **pace))

    # One guide for all that goes through the network: around another there would be no gradient left.
    joined = [[*own, *([] if motif is None else [(motif, 1.0)])] for own, motif in zip(pulled, held, strict=True)]
    through = BatchEnergy(joined, anchors)
    if not through.empty:
        push = torch.tensor([ENERGY_PUSH * scale * mean_weight(own) if own else MOTIF_PUSH for own in pulled])
        rest = torch.tensor([ENERGY_REST if motif is None else MOTIF_REST for motif in held])
        guides.append(lambda own: PosteriorGuidance(own, space, through, push, rest))
    # A radius after contacts: what a few residues do changes it, and hardly the other way round.
    for kind, rows, start in (
        (True, pulled, LAST_PART),
        (False, pulled, LAST_PART),
        (True, alone, 1.0),
        (False, alone, 1.0),
    ):
        energy = BatchEnergy.of_kind(rows, anchors, kind)
        if not energy.empty:
            descend(energy, start)
    if any(motif is not None for motif in held):
        frames = require(space, ResidueFrames, "a projected motif")
        projection = MotifProjection(frames, [a if m else None for a, m in zip(anchors, held, strict=True)], device)
        guides.append(lambda own: Projection(own, projection))
    return guides


def mean_weight(requests: Sequence[tuple[Condition, float]]) -> float:
    """Mean weight of the conditions of a design whose energies are local; 1 without any."""
    weights = [weight for condition, weight in requests if is_local(condition)]
    return sum(weights) / len(weights) if weights else 1.0
