"""Protein backbones as one rigid frame a residue: the space SE(3)^l.

Fields: `trans` (b, l, 3), CA positions in Å, centred; `rots` (b, l, 3, 3), residue axes. Bond lengths and angles
inside a residue are ideal by construction; a model has to learn how residues are joined and packed.
Noise is Gaussian for positions, with the standard deviation of natives of that length, and uniform for rotations
(Yim et al. 2023, FrameDiff, section 3; FrameFlow).
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from protgen.errors import ConfigError
from protgen.geometry import alignment, frames, igso3, so3
from protgen.geometry import constants as ideal
from protgen.spaces.atoms import ResidueFrames
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Alignable, AuxiliaryLosses, DecoderStart, VectorPoints
from protgen.spaces.hydrogen_bond_loss import hydrogen_bond_error
from protgen.spaces.manifolds import Euclidean, HeatKernel, Manifold
from protgen.spaces.observation import Posable
from protgen.types import Batch, Features, State


class Rotations(Manifold, HeatKernel):
    """SO(3) as (..., 3, 3) matrices; tangent vectors are rotation vectors in the moving frame, radians.

    Its volume is 8 pi^2 rad^3: a density with respect to it is 1 / (8 pi^2) of that with respect to the Haar measure of
    total 1.
    """

    dim = 3
    log_volume = math.log(8 * math.pi**2)

    def expmap(self, x: Tensor, tangent: Tensor) -> Tensor:
        """Rotate x by a rotation vector given in its own frame."""
        return so3.move(x, tangent)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Rotation vector, in the frame of x, from x to y."""
        return so3.relative_log(x, y)

    def squared_error(self, prediction: Tensor, target: Tensor) -> Float[Tensor, "b l"]:
        """Squared chordal distance, 2 (1 - cos angle)."""
        return so3.chordal_squared(prediction, target)

    def log_normaliser(self, std: Tensor) -> Tensor:
        """log of 8 pi times the integral of (1 - cos a) exp(-a^2 / (2 s^2)) over the angle a from 0 to pi.

        (2 - 2 cos a) / a^2 is the density of the Haar measure in rotation vectors, and 8 pi^2 the volume in all.
        """
        # Trapezoids on [0, min(pi, 12 s)]: the integrand vanishes beyond.
        reach = (12 * std).clamp(max=math.pi)[..., None]
        fraction = torch.linspace(0, 1, 513, device=std.device, dtype=std.dtype)
        angle = reach * fraction
        # 2 sin^2(a / 2) stays accurate at small angles, where 1 - cos a cancels.
        values = 2 * (angle / 2).sin().square() * torch.exp(-angle.square() / (2 * std[..., None].square()))
        return (8 * math.pi * torch.trapezoid(values, angle, dim=-1)).log()

    def diffuse(self, x: Tensor, std: Tensor, normals: Tensor) -> Tensor:
        """A draw of IGSO(3) about x."""
        return so3.move(x, igso3.sample_rotvec(normals, std.reshape(len(x))))

    def score(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Tensor:
        """-(d log f / d angle) along the rotation vector back to x_data."""
        vector = so3.relative_log(x_t, x_data)
        # The square root of a sum has no gradient at 0; 1e-12 is below what float32 resolves in an angle.
        angle = (vector.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        return igso3.score_over_angle(angle, std) * vector

    def log_kernel(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Float[Tensor, "b l"]:
        """log of IGSO(3) with respect to volume, rad^-3."""
        angle = so3.angle_between(x_data, x_t)
        return igso3.log_density(angle, std[..., 0]) - self.log_volume

    def log_ratio(
        self, x_t: Tensor, x_data: Tensor, std: Tensor, exists: Bool[Tensor, "b l d"]
    ) -> Float[Tensor, "b l"]:
        """IGSO(3) over the Haar measure; 0 where a rotation does not exist."""
        return masked(self.log_kernel(x_t, x_data, std) + self.log_volume, exists[..., 0])


class FrameHead(nn.Module):
    """Predicts x_data from the first equivariant vectors: a displacement, and new x and y axes by Gram-Schmidt.

    The mixing of vectors has no bias, so the head is equivariant for any equivariant encoder. At the start it takes
    the first three vectors unchanged.
    """

    def __init__(self, vector_dim: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(3, vector_dim))

    def forward(self, features: Features, state: State) -> State:
        """Prediction of the clean frames from features and the noisy frames."""
        step, x, y = torch.einsum("ov,blvi->obli", self.mix, features.vectors.float())
        rots = frames.gram_schmidt(state["rots"][..., 0] + x, state["rots"][..., 1] + y)
        return state.with_fields(trans=state["trans"] + step, rots=rots)


class Backbone(Space, ResidueFrames, Alignable, AuxiliaryLosses, DecoderStart, VectorPoints, Posable):
    """SE(3) frames of a single protein chain.

    Args:
        noise_scale: standard deviation of position noise relative to natives of the same length.
        distance_weight, bond_weight, overlap_weight, hydrogen_bond_weight: weights of the auxiliary losses near the
            data end; hydrogen bonds are left out at 0.

    Raises:
        ConfigError: if a number is out of range.
    """

    volume = "Å^(3 (l - 1)) of centred CA positions times rad^(3 l) of residue rotations (8 pi^2 for all of SO(3))"
    vectors = 3

    def __init__(
        self,
        noise_scale: float = 1.0,
        distance_weight: float = 1.0,
        bond_weight: float = 1.0,
        overlap_weight: float = 1.0,
        hydrogen_bond_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if noise_scale <= 0:
            raise ConfigError(f"noise_scale {noise_scale}: noise has a positive width; 1 is that of natives")
        if min(distance_weight, bond_weight, overlap_weight, hydrogen_bond_weight) < 0:
            raise ConfigError("backbone: weights of losses cannot be negative; 0 leaves one out")
        self.noise_scale = noise_scale
        self.distance_weight = distance_weight
        self.bond_weight = bond_weight
        self.overlap_weight = overlap_weight
        self.hydrogen_bond_weight = hydrogen_bond_weight
        self.manifolds = {"trans": Euclidean(3), "rots": Rotations()}
        self.displaced = frozenset({"trans"})

    def encode(self, batch: Batch) -> State:
        """Frames of the N, CA, C in `batch["atoms"]` (b, l, >= 3, 3), centred."""
        rots, trans = frames.frames_from_backbone(batch["atoms"])
        return self.project(State({"trans": trans, "rots": rots}, batch.mask))

    def decode(self, state: State) -> Batch:
        """Ideal backbone atoms N, CA, C, O: `atoms` (b, l, 4, 3), Å."""
        return Batch({"atoms": masked(self.observe(state), state.mask)}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b l 4 3"]:
        """Backbone atoms N, CA, C, O in Å, differentiable."""
        next_is_real = torch.cat([state.mask[:, 1:], torch.zeros_like(state.mask[:, :1])], dim=1)
        return frames.backbone_from_frames(state["rots"], state["trans"], follows=next_is_real)

    @property
    def normals_per_position(self) -> int:
        """Three for the position, four for a uniform quaternion."""
        return 7

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Gaussian positions with the standard deviation of natives of that length, uniform rotations."""
        sigma = self.noise_std(mask)["trans"]
        state = State({"trans": normals[..., :3] * sigma[:, None, None], "rots": so3.uniform(normals[..., 3:])}, mask)
        return self.project(state)

    def noise_std(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Standard deviation of natives of that length, times `noise_scale`, Å."""
        return {"trans": self.noise_scale * self.scale(mask)["trans"]}

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Positions: std of a coordinate in natives, Rg / sqrt(3) with Rg = 2.2 l^0.38 Å. Rotations: 1 rad."""
        length = mask.sum(-1).float()
        return {"trans": ideal.RG_SCALE * length.pow(ideal.RG_EXPONENT) / 3**0.5, "rots": torch.ones_like(length)}

    def project(self, state: State) -> State:
        """Centre the positions; zero positions and identity rotations under padding."""
        mask = state.mask
        trans = masked(state["trans"] - alignment.masked_mean(state["trans"], mask), mask)
        rots = torch.where(mask[..., None, None], state["rots"], so3.identity_like(state["rots"]))
        return state.with_fields(trans=trans, rots=rots)

    def project_tangent(self, tangent: State) -> State:
        """Tangent vectors without the motion of the centre of positions."""
        mask = tangent.mask
        trans = tangent["trans"] - alignment.masked_mean(tangent["trans"], mask)
        return State({"trans": masked(trans, mask), "rots": masked(tangent["rots"], mask)}, mask)

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Three for each residue and field, minus three of the positions, which are centred."""
        count = mask.sum(-1).float()
        return {"trans": 3 * (count - 1), "rots": 3 * count}

    def align(self, noise: State, data: State) -> State:
        """Superpose the noise as a whole on the data (least RMSD of positions), which shortens the paths."""
        rotation, _ = alignment.kabsch(noise["trans"], data["trans"], data.mask)
        trans = noise["trans"] @ rotation.transpose(-1, -2)
        return self.project(noise.with_fields(trans=trans, rots=rotation[:, None] @ noise["rots"]))

    def to_vectors(self, state: State) -> Float[Tensor, "b l v 3"]:
        """The CA position in units of `scale`, and the x and y axes of the frame."""
        place = state["trans"] / self.scale(state.mask)["trans"][:, None, None]
        return masked(torch.stack([place, state["rots"][..., 0], state["rots"][..., 1]], dim=2), state.mask)

    def from_vectors(self, vectors: Float[Tensor, "b l v 3"], mask: Bool[Tensor, "b l"]) -> State:
        """Frames with the axes made orthonormal, centred."""
        place, x, y = vectors.unbind(2)
        trans = place * self.scale(mask)["trans"][:, None, None]
        return self.project(State({"trans": trans, "rots": frames.gram_schmidt(x, y)}, mask))

    def blank(self, mask: Bool[Tensor, "b l"]) -> State:
        """A coil as compact as natives of that length: CA atoms 3.80 Å apart on a wide helix, frames along the curve.

        With a radius of 0.8 Rg, a height of 2.08 Rg gives the radius of gyration Rg. A decoder then moves no residue
        very far, and no two frames coincide.
        """
        length = mask.sum(-1, keepdim=True).float()
        rg = self.scale(mask)["trans"][:, None] * 3**0.5
        radius, rise = 0.8 * rg, 2.08 * rg / length
        turn = (ideal.CA_CA**2 - rise.square()).clamp(min=1.0).sqrt() / radius
        index = torch.arange(mask.shape[1], device=mask.device) - (length - 1) / 2
        angle = index * turn
        trans = torch.stack([radius * angle.cos(), radius * angle.sin(), rise * index], dim=-1)
        outward = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=-1)
        along = torch.stack([-radius * turn * angle.sin(), radius * turn * angle.cos(), rise.expand_as(angle)], dim=-1)
        return self.project(State({"trans": trans, "rots": frames.gram_schmidt(along, outward)}, mask))

    @torch.no_grad()
    def best_turn(
        self, prediction: State, target: State, stds: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, "b 3 3"]]:
        """The rotation of the prediction that maximises the density of the target, and the precision there (rad^-2).

        Args:
            prediction: frames to rotate.
            target: frames to rotate them onto.
            stds: standard deviation (b,) of each field of the target.
        """
        mask = target.mask
        turn, _ = alignment.kabsch(prediction["trans"], target["trans"], mask)
        trans_weight, rots_weight = (1 / stds[name].square() for name in ("trans", "rots"))
        eye = torch.eye(3, device=mask.device)
        precision = eye.expand(len(mask), 3, 3)
        for _ in range(3):  # Gauss-Newton steps from the best superposition of positions; orientations count as well
            moved = rotated(prediction, turn)
            p, x = moved["trans"], target["trans"]
            inertia = p.square().sum((1, 2))[:, None, None] * eye - p.transpose(1, 2) @ p
            precision = trans_weight[:, None, None] * inertia + (rots_weight * mask.sum(-1))[:, None, None] * eye
            swing = so3.log(target["rots"] @ moved["rots"].transpose(-1, -2))
            torque = trans_weight[:, None] * torch.linalg.cross(p, x).sum(1)
            torque = torque + rots_weight[:, None] * masked(swing, mask).sum(1)
            turn = so3.exp(torch.linalg.solve(precision, torque)) @ turn
        return turn, precision

    def pose(
        self, prediction: State, target: State, stds: Mapping[str, Tensor], rng: Generator | None
    ) -> tuple[State, Float[Tensor, " b"]]:
        """The prediction superposed on the target; the prior of its orientation is uniform (density 1 / 8 pi^2).

        The proposal q is normal in the rotation vector about the most probable rotation, with the precision there.
        """
        turn, precision = self.best_turn(prediction, target, {name: s.detach() for name, s in stds.items()})
        root = torch.linalg.cholesky(precision)
        half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_weight = 1.5 * math.log(2 * math.pi) - half_log_det - math.log(8 * math.pi**2)
        if rng is not None:
            normals = torch.randn(len(turn), 3, generator=rng).to(turn)
            vector = torch.linalg.solve_triangular(root.transpose(-1, -2), normals[..., None], upper=True)[..., 0]
            turn = so3.exp(vector) @ turn
            angle = vector.norm(dim=-1).clamp(min=1e-4)
            # exp(|normals|^2 / 2) cancels the normal density; the last term is the Haar density of a rotation vector.
            log_haar = (4 * (angle / 2).sin().square() / angle.square()).log()
            log_weight = log_weight + normals.square().sum(-1) / 2 + log_haar
        return rotated(prediction, turn), log_weight

    def residue_frames(self, state: State) -> tuple[Float[Tensor, "b l 3 3"], Float[Tensor, "b l 3"]]:
        """The fields themselves."""
        return state["rots"], state["trans"]

    def with_residue_frames(self, state: State, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]) -> State:
        """These frames, centred."""
        return self.project(state.with_fields(rots=rots, trans=trans))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """Frames from the first three equivariant vectors of an encoder."""
        return FrameHead(vector_dim)

    def auxiliary(self, prediction: State, target: State, t: Float[Tensor, " b"]) -> dict[str, Float[Tensor, " b"]]:
        """Near the data: distances of near atoms, joints of consecutive residues, overlaps of other residues.

        Hydrogen bonds too, where they have a weight.
        """
        near_data = (1 - t).clamp(min=0).square()
        predicted, real = self.observe(prediction), self.observe(target)
        mask = target.mask
        terms = {
            "distances": self.distance_weight * near_data * pair_distance_error(predicted, real, mask),
            "bonds": self.bond_weight * near_data * joint_error(predicted, real, mask),
            "overlaps": self.overlap_weight * near_data * overlap_error(predicted, mask),
        }
        if self.hydrogen_bond_weight:
            terms["hydrogen_bonds"] = self.hydrogen_bond_weight * near_data * hydrogen_bond_error(predicted, real, mask)
        return terms


def rotated(state: State, turn: Float[Tensor, "b 3 3"]) -> State:
    """Frames rotated as a whole about the origin."""
    return state.with_fields(trans=state["trans"] @ turn.transpose(-1, -2), rots=turn[:, None] @ state["rots"])


def pair_distance_error(
    predicted: Float[Tensor, "b l 4 3"], real: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]
) -> Float[Tensor, " b"]:
    """Mean error of CA-CA (real < 14 Å) and O-N distances (real < 7 Å, where hydrogen bonds form), Å, Huber-like.

    Both are exact invariants of the structure, so no superposition enters; near pairs alone, because far ones are
    already fixed by the position loss.

    Args:
        predicted: backbone atoms, Å.
        real: those of the data, Å.
        mask: which residues are real.
    """
    pairs = mask[:, :, None] & mask[:, None, :]
    total = predicted.new_zeros(len(mask))
    for first, second, cutoff in ((1, 1, 14.0), (3, 0, 7.0)):
        d_real = safe_distance(real[:, :, None, first], real[:, None, :, second])
        d_pred = safe_distance(predicted[:, :, None, first], predicted[:, None, :, second])
        near = pairs & (d_real < cutoff) & (d_real > 0.1)
        error = nn.functional.smooth_l1_loss(d_pred, d_real, reduction="none", beta=0.5)
        total = total + (error * near).sum((1, 2)) / near.sum((1, 2)).clamp(min=1)
    return total


def joint_error(
    predicted: Float[Tensor, "b l 4 3"], real: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]
) -> Float[Tensor, " b"]:
    """Mean error of the distances that join residue i to i + 1 (C-N, CA-N, C-CA, CA-CA, O-N), in units of 0.1 Å.

    Args:
        predicted: backbone atoms, Å.
        real: those of the data, Å.
        mask: which residues are real.
    """
    # Chain breaks in the data (real C-N > 2 Å) say nothing about joints.
    c_n = safe_distance(real[:, :-1, 2], real[:, 1:, 0])
    joined = mask[:, 1:] & mask[:, :-1] & (c_n < 2.0)
    total = predicted.new_zeros(len(mask))
    goals = {(2, 0): ideal.C_N, (1, 0): ideal.CA_N_NEXT, (2, 1): ideal.C_CA_NEXT}
    for first, second in ((2, 0), (1, 0), (2, 1), (1, 1), (0, 0), (2, 2)):
        d_pred = safe_distance(predicted[:, :-1, first], predicted[:, 1:, second])
        d_real = safe_distance(real[:, :-1, first], real[:, 1:, second])
        # Bonded distances aim at the ideal value: natives scatter about it by refinement error, not by design.
        d_real = torch.full_like(d_real, goals[first, second]) if (first, second) in goals else d_real
        error = nn.functional.smooth_l1_loss(d_pred, d_real, reduction="none", beta=0.1) / 0.1
        total = total + (error * joined).sum(1) / joined.sum(1).clamp(min=1)
    return total / 6


def overlap_error(predicted: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"], least: float = 2.65) -> Tensor:
    """Summed overlap of backbone atoms of residues at least two apart along the chain, Å per residue: (b,).

    Args:
        predicted: backbone atoms, Å.
        mask: (b, l) which residues are real.
        least: distance below which two atoms overlap, Å; hydrogen bonds, the closest native contacts, stay above it.
    """
    length = mask.shape[1]
    flat = predicted.flatten(1, 2)
    distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    residue = torch.arange(length, device=mask.device).repeat_interleave(4)
    real = mask.repeat_interleave(4, dim=1)
    pairs = ((residue[None] - residue[:, None]) >= 2)[None] & real[:, :, None] & real[:, None]
    overlap = (least - distance).clamp(min=0)
    return (overlap * pairs).sum((1, 2)) / mask.sum(-1)


def safe_distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance with a finite gradient at 0."""
    return ((a - b).square().sum(-1) + 1e-8).sqrt()
