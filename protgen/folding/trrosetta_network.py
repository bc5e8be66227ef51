"""The network of trRosetta: from an alignment to distributions of distances and orientations between residues.

References: Yang et al. 2020, PNAS 117, 1496; ported to torch in the package tr-rosetta-pytorch (MIT), whose names of
parameters these classes have, so that its weights fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.errors import UsageError

LETTERS = "ARNDCQEGHILKMFPSTWYV-"
DISTANCES, DIHEDRALS, ANGLES = 37, 25, 13  # classes; the first of each is "no contact", 20 Å or more between CB atoms
WIDTH = 64
DILATIONS = (1, 2, 4, 8, 16)
BLOCKS = 61
SIMILAR = 0.8  # sequences that share more of their letters share a weight
SHRINKAGE = 4.5


@dataclass(frozen=True)
class Distributions:
    """Probabilities of the geometry of pairs; [i, j] is that of residue i looking at residue j.

    Attributes:
        distance: (l, l, 37) CB-CB: 20 Å or more, then 36 classes of 0.5 Å from 2 to 20 Å.
        omega: (l, l, 25) dihedral CA-CB-CB-CA: no contact, then 24 classes of 15 degrees from -180.
        theta: (l, l, 25) dihedral N-CA-CB-CB, likewise.
        phi: (l, l, 13) angle CA-CB-CB: no contact, then 12 classes of 15 degrees from 0.
    """

    distance: Float[Tensor, "l l 37"]
    omega: Float[Tensor, "l l 25"]
    theta: Float[Tensor, "l l 25"]
    phi: Float[Tensor, "l l 13"]


class TrRosettaNetwork(nn.Module):
    """Residual blocks of dilated convolutions over pairs of residues, and a head for each kind of geometry."""

    def __init__(self) -> None:
        super().__init__()
        self.first_block = nn.Sequential(nn.Conv2d(526, WIDTH, 1), norm(), nn.ELU(inplace=True))
        self.layers = nn.ModuleList([block(DILATIONS[k % len(DILATIONS)]) for k in range(BLOCKS)])
        self.to_prob_theta = head(DIHEDRALS)
        self.to_prob_phi = head(ANGLES)
        self.to_distance = head(DISTANCES)
        self.to_prob_bb = head(3)  # has weights, and is not used
        self.to_prob_omega = head(DIHEDRALS)

    def forward(self, x: Float[Tensor, "b c l l"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Probabilities of theta, phi, distance and omega, (b, classes, l, l) each."""
        x = self.first_block(x)
        for layer in self.layers:
            x = F.elu(x + layer(x))
        both = 0.5 * (x + x.transpose(2, 3))
        return self.to_prob_theta(x), self.to_prob_phi(x), self.to_distance(both), self.to_prob_omega(both)


def norm() -> nn.Module:
    """Instance normalisation as the weights know it."""
    return nn.InstanceNorm2d(WIDTH, affine=True, eps=1e-6)


def block(dilation: int) -> nn.Sequential:
    """The layers of one residual block. An identity stands for the dropout, so that the others keep their numbers."""
    convolutions = [nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation) for _ in range(2)]
    return nn.Sequential(convolutions[0], norm(), nn.ELU(inplace=True), nn.Identity(), convolutions[1], norm())


def head(classes: int) -> nn.Sequential:
    """Probabilities of so many classes."""
    return nn.Sequential(nn.Conv2d(WIDTH, classes, 1), nn.Softmax(dim=1))


def network_of(weights: Mapping[str, Tensor]) -> TrRosettaNetwork:
    """The network with published weights, ready for use.

    Raises:
        UsageError: if they are those of another network.
    """
    network = TrRosettaNetwork()
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise UsageError(f"trrosetta: its weights do not fit: {' '.join(str(error).split())[:200]}") from None
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # in the order of memory that the convolutions of a CPU want
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def predict(networks: Sequence[TrRosettaNetwork], alignment: Int[Tensor, "n l"]) -> Distributions:
    """Mean of the networks' probabilities.

    Args:
        networks: one or more of the published five.
        alignment: letters by number; the first sequence is the one to fold.
    """
    x = features(alignment).permute(2, 1, 0)[None].contiguous(memory_format=torch.channels_last)
    total: list[Tensor] = []
    for network in networks:
        found = [each[0].float() for each in network(x)]
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    # The input has residue i along its last axis, and so has the output.
    theta, phi, distance, omega = (each.permute(2, 1, 0) / len(networks) for each in total)
    return Distributions(distance, omega, theta, phi)


def features(alignment: Int[Tensor, "n l"]) -> Float[Tensor, "l l 526"]:
    """What the network reads of each pair of residues: both residues' profiles, and their covariance."""
    letters = F.one_hot(alignment, len(LETTERS)).float()
    n, length, _ = letters.shape
    weights = weights_of(letters)
    profile = (weights[:, None, None] * letters).sum(0) / weights.sum() + 1e-9
    entropy = -(profile * profile.log()).sum(-1, keepdim=True)
    single = torch.cat([letters[0, :, :20], profile, entropy], -1)
    pair = covariance(letters, weights) if n > 1 else torch.zeros(length, length, 442)
    rows, columns = single[:, None].expand(-1, length, -1), single[None].expand(length, -1, -1)
    return torch.cat([rows, columns, pair], -1)


def weights_of(letters: Float[Tensor, "n l 21"]) -> Float[Tensor, " n"]:
    """One over the number of sequences that are alike, itself among them."""
    shared = torch.einsum("nlc,mlc->nm", letters, letters)
    return 1 / (shared > SIMILAR * letters.shape[1]).float().sum(-1)


def covariance(letters: Float[Tensor, "n l 21"], weights: Float[Tensor, " n"]) -> Float[Tensor, "l l 442"]:
    """The inverse of the shrunk covariance of letters, and the contact score it gives with the average product removed.

    With n sequences the covariance is of rank n at most. So its inverse, 21 l numbers wide, needs but that of an n x n
    matrix (Woodbury): (lambda 1 + x^T x)^-1 = (1 - x^T (lambda 1 + x x^T)^-1 x) / lambda.
    """
    n, length, width = letters.shape
    x = letters.reshape(n, -1).double()
    w = weights.double()
    points = w.sum() - w.mean().sqrt()
    x = (x - (x * w[:, None]).sum(0) / points) * (w / points).sqrt()[:, None]
    shrinkage = SHRINKAGE / w.sum().sqrt()
    core = torch.linalg.solve(x @ x.T + shrinkage * torch.eye(n, dtype=x.dtype), x)
    inverse = ((torch.eye(length * width, dtype=x.dtype) - x.T @ core) / shrinkage).float()
    blocks = inverse.view(length, width, length, width)
    off = 1 - torch.eye(length)
    strength = blocks[:, :-1, :, :-1].square().sum((1, 3)).sqrt() * off
    product = strength.sum(0, keepdim=True) * strength.sum(1, keepdim=True) / strength.sum()
    contacts = (strength - product) * off
    return torch.cat([blocks.transpose(1, 2).reshape(length, length, width * width), contacts[..., None]], -1)
