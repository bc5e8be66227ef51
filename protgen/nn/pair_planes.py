"""Attention biases from the geometry of all pairs of frames, as planes (channel, b, l, l).

Each invariant of a pair is a plane, and a layer over the channels is one matrix product. What is a function of frames
alone needs no gradient where the frames need none.
"""

import functools

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.geometry import frames
from protgen.nn.embedding import chain_offsets
from protgen.nn.precision import full_precision, product_dtype

HIDDEN_KEY = -1e4  # bias of a key that is no residue; bfloat16 holds it
CA_REACHES = (4.0, 5.5, 7.5, 10.0, 14.0, 20.0)  # Å, of the soft steps over CA-CA distances
C_N_REACHES = (3.5, 4.3, 5.5, 8.0)  # Å, over C-N distances, by which hydrogen bonds differ
PLANES = len(CA_REACHES) + 2 * len(C_N_REACHES) + 1 + 3 + 9
NEAR = 5  # chain offsets up to which each has a plane of its own
SCALES = (3.0, 10.0, 30.0)  # residues, of the smooth functions of an offset
OFFSETS = 2 * NEAR + 1 + 2 * len(SCALES)
# Of what is asked of pairs: its weights begin at zero and hear of a few pairs in a thousand.
ASKED_GAIN = 8.0


def offset_planes(
    length: int, like: Tensor, chains: Int[Tensor, "b l"] | None = None
) -> Float[Tensor, "c l l"] | Float[Tensor, "c b l l"]:
    """Functions of the offset j - i along the chain: indicators of near ones, smooth ones of sign and size.

    Args:
        length: residues.
        like: a tensor on the device and in the dtype of the result.
        chains: number of the chain of each position; None for one chain, the same in all examples.
    """
    if chains is None:
        return offsets_of_one_chain(length, like.device, like.dtype)
    return planes_of_offsets(chain_offsets(length, like.device, chains)).to(like.dtype)


@functools.lru_cache(2)
def offsets_of_one_chain(length: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "c l l"]:
    """Functions of the offset within one chain; the same in all blocks and at all steps, so they are kept.

    Args:
        length: residues.
        device: of the result.
        dtype: of the result.
    """
    # Outside inference mode, whatever the caller is in: a network that is trained may use them next.
    with torch.inference_mode(False):
        return planes_of_offsets(chain_offsets(length, device)).to(dtype)


def planes_of_offsets(offset: Tensor) -> Tensor:
    """Functions (c, ...) of offsets (...) along the chain."""
    near = torch.arange(-NEAR, NEAR + 1, device=offset.device)
    planes = [torch.stack([offset == one for one in near]).float()]
    for scale in SCALES:
        planes += [torch.tanh(offset / scale)[None], torch.exp(-offset.abs() / scale)[None]]
    return torch.cat(planes)


def soft_steps(squared: Float[Tensor, "b l l"], reaches: tuple[float, ...]) -> Float[Tensor, "c b l l"]:
    """1 / (1 + (d / reach)^6): one within a reach, and zero beyond; a layer over them makes shells of any width.

    Gaussians say the same in three times as many planes, with an exponential in each.

    Args:
        squared: distances squared, Å^2.
        reaches: Å.
    """
    # All reaches at once, and in place where nothing is differentiated: passes over pairs are most of the cost.
    scaled = squared * squared.new_tensor([reach**-2 for reach in reaches])[:, None, None, None]
    if scaled.requires_grad:
        return (scaled.pow(3) + 1).reciprocal()
    return scaled.pow_(3).add_(1).reciprocal_()


def norm_squared(planes: Float[Tensor, "3 b l l"]) -> Float[Tensor, "b l l"]:
    """Squared lengths of vectors whose components are planes; as a reduction it is several times slower."""
    x, y, z = planes.unbind(0)
    return x.square() + y.square() + z.square()


@full_precision
def pair_planes(rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"], dtype: torch.dtype) -> list[Tensor]:
    """Invariants of every pair: CA-CA and C-N distances, direction of j seen from i, rotation from i to j.

    Args:
        rots: rotations of residues.
        trans: positions, Å.
        dtype: of the result; distances are computed in that of the positions.

    Returns:
        Planes (c, b, l, l), PLANES in all.
    """
    x = trans.permute(2, 0, 1)
    away = x[:, :, None, :] - x[:, :, :, None]  # (3, b, i, j)
    squared = norm_squared(away)
    distance = (squared + 1e-6).sqrt()
    unit = (away / distance).flatten(2).permute(1, 0, 2)  # (b, 3, l l)
    b, length, _ = trans.shape
    # R_i^T u_ij and R_i^T R_j, residue by residue and all at once.
    inverse = rots.transpose(-1, -2)
    direction = (inverse @ unit.reshape(b, 3, length, length).transpose(1, 2)).permute(2, 0, 1, 3)
    columns = rots.permute(0, 2, 3, 1).reshape(b, 3, 3 * length)
    turn = (inverse.reshape(b, 3 * length, 3) @ columns).reshape(b, length, 9, length).permute(2, 0, 1, 3)
    n, _, c = ((trans + rots @ atom).permute(2, 0, 1) for atom in frames.local_backbone(trans))
    c_n = soft_steps(norm_squared(c[:, :, :, None] - n[:, :, None, :]), C_N_REACHES).to(dtype)
    steps, size = soft_steps(squared, CA_REACHES).to(dtype), (torch.log1p(distance) / 3).to(dtype)
    return [steps, c_n, c_n.transpose(2, 3), size[None], direction.to(dtype), turn.to(dtype)]


class PairPlanes(nn.Module):
    """Attention biases of several layers from geometry, chain offset, time and what is asked of pairs.

    Args:
        global_dim: width of what is known of the whole structure.
        biases: number of planes of biases, layers times heads.
        sets: number of sets of frames (the noisy ones, and a prediction of the clean ones).
        hidden: width of the hidden layer.
        asked: width of what is asked of pairs; its weights begin at zero.
    """

    def __init__(self, global_dim: int, biases: int, sets: int = 1, hidden: int = 48, asked: int = 0) -> None:
        super().__init__()
        known = OFFSETS + sets * PLANES
        self.read = nn.Parameter(torch.randn(hidden, known) * known**-0.5)
        self.globals = nn.Linear(global_dim, hidden)
        self.out = nn.Parameter(torch.randn(biases, hidden) * hidden**-0.5)
        self.asked = nn.Parameter(torch.zeros(hidden + biases, asked)) if asked else None

    def forward(
        self,
        globals: Float[Tensor, "b g"],
        sets: list[tuple[Tensor, Tensor] | None],
        asked: Float[Tensor, "b l l p"] | None,
        mask: Bool[Tensor, "b l"],
        chains: Int[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "n b l l"]:
        """Biases; a set of frames that is None adds nothing, nor do requests that are None.

        Args:
            globals: what is known of the whole structure.
            sets: frames.
            asked: of pairs.
            mask: which residues are real.
            chains: number of the chain of each position; None for one chain.
        """
        b, length = mask.shape
        dtype = product_dtype(globals)
        offsets = offset_planes(length, globals.new_empty(0, dtype=dtype), chains)
        if chains is None:
            offsets = offsets[:, None].expand(-1, b, -1, -1)
        first, *others = self.read.split([OFFSETS, *[PLANES] * len(sets)], 1)
        planes, weights = [offsets], [first]
        for one, weight in zip(sets, others, strict=True):
            if one is not None:
                planes += pair_planes(*one, dtype)
                weights.append(weight)
        direct = None
        if self.asked is not None and asked is not None:
            planes.append(asked.permute(3, 0, 1, 2).to(dtype))
            inner, direct = (self.asked * ASKED_GAIN).to(dtype).split([len(self.read), len(self.out)])
            weights.append(inner)
        read = torch.cat([weight.to(dtype) for weight in weights], 1)
        known = torch.cat(planes).flatten(1)
        # Read with the channels last and written with the channels first: of the ways around, the fastest products.
        hidden = (known.t() @ read.t()).unflatten(0, (b, length * length))
        shift = self.globals(globals)[:, None].to(dtype)
        if torch.is_grad_enabled():  # out of place: autograd copies what is changed in a view
            hidden = nn.functional.relu(hidden + shift).flatten(0, 1)
        else:
            hidden = hidden.add_(shift).relu_().flatten(0, 1)
        bias = self.out.to(dtype) @ hidden.t()
        if direct is not None:
            bias = bias + direct @ known[-direct.shape[1] :]
        there = torch.where(mask, 0.0, HIDDEN_KEY).to(dtype)[None, :, None, :]
        bias = bias.unflatten(1, (b, length, length))
        return bias + there if torch.is_grad_enabled() else bias.add_(there)
