"""A backbone from predicted distributions: gradient descent over phi and psi, with ideal bonds and angles.

Several starts run as one batch. Pairs near along the chain count first and the others join later; in the early steps a
share of the pairs, drawn anew in each, stands for all, and a little noise shakes the torsions. The start with the
least energy is kept.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.folding.pair_potential import FIRST, STEP, PairPotential
from protgen.folding.trrosetta_network import Distributions
from protgen.geometry.adam import Adam
from protgen.geometry.internal import IDEAL_ANGLES, place

HELIX, STRAND, TURNED = (-62.0, -42.0), (-110.0, 130.0), (-70.0, -30.0)  # degrees: phi, psi of the starts
HELIX_SPREAD, LOOP_SPREAD = 8.0, 30.0  # degrees
HELICAL = 7.2  # Å between CB of residues i and i + 3, expected: helices have 5.5, strands 10
SHARE_TURNED = 0.12  # of loop residues start in the helical region
PREFERRED_PHI = math.radians(-85.0)  # of a mild pull on phi


@dataclass(frozen=True)
class DescentSettings:
    """How to descend.

    Attributes:
        restarts: starts, as one batch.
        stages: steps, and farthest residues along the chain that count, of each stage.
        rate: of Adam, radians.
        share: of the pairs in each of the early steps.
        noise: radians, on the torsions after each of the early steps.
    """

    restarts: int = 4
    stages: tuple[tuple[int, int], ...] = ((40, 12), (40, 24), (100, 10**6))
    rate: float = 0.15
    share: float = 0.35
    noise: float = 0.03


def descend(found: Distributions, settings: DescentSettings, seed: int = 0) -> Float[Tensor, "l 4 3"]:
    """N, CA, C, O of the best structure, Å.

    Args:
        found: the distributions.
        settings: how to descend.
        seed: of starts, pairs and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    potential = PairPotential(found)
    torsions = start(found.distance, settings.restarts, generator).requires_grad_()
    adam = Adam(torsions, betas=(0.9, 0.98))
    steps = [reach for n, reach in settings.stages for _ in range(n)]
    for step, reach in enumerate(steps):
        done = step / len(steps)
        share = settings.share if done < 0.75 else 1.0
        energy = potential.energy(build(torsions), reach, share, generator) + pull(torsions)
        (slope,) = torch.autograd.grad(energy.sum(), torsions)
        adam.step(slope, settings.rate * (0.05 + 0.475 * (1 + math.cos(math.pi * done))))
        if done < 0.6:
            with torch.no_grad():
                torsions += settings.noise * torch.randn(torsions.shape, generator=generator)
    with torch.no_grad():
        atoms = build(torsions)
        best = int(potential.energy(atoms, 10**6, 1.0, generator).argmin())
    return atoms[best]


def build(torsions: Float[Tensor, "r l 2"]) -> Float[Tensor, "r l 4 3"]:
    """Backbones with flat peptides and ideal bonds and angles, Å."""
    omega = torch.full_like(torsions[..., :1], math.pi)
    angles = torch.tensor(IDEAL_ANGLES, dtype=torsions.dtype).expand(*torsions.shape[:-1], 3)
    return place(torch.cat([torsions, omega], -1), angles).atoms


def pull(torsions: Float[Tensor, "r l 2"]) -> Float[Tensor, " r"]:
    """A mild preference for negative phi; psi is left free."""
    return (1 - (torsions[..., 0] - PREFERRED_PHI).cos()).sum(-1)


def start(distance: Float[Tensor, "l l 37"], restarts: int, generator: torch.Generator) -> Float[Tensor, "r l 2"]:
    """Phi and psi of the starts: helical where residues i and i + 3 are expected to be near, else extended."""
    length = len(distance)
    middles = torch.cat([torch.tensor([20.0]), FIRST + STEP * torch.arange(distance.shape[-1] - 1)])
    near = (distance.diagonal(3).T @ middles < HELICAL).float()  # (l - 3,)
    helical = torch.zeros(length)
    for k in range(4):
        helical[k : k + len(near)] += near / 4
    helix = (helical > 0.5)[None, :, None].expand(restarts, length, 1)
    spread = torch.where(helix, HELIX_SPREAD, LOOP_SPREAD)
    torsions = torch.where(helix, torch.tensor(HELIX), torch.tensor(STRAND))
    torsions = torsions + spread * torch.randn(restarts, length, 2, generator=generator)
    turned = (torch.rand(restarts, length, 1, generator=generator) < SHARE_TURNED) & ~helix
    return torch.where(turned, torch.tensor(TURNED), torsions) * (math.pi / 180)
