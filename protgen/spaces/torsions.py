"""Protein backbones as internal coordinates: torsions on a torus, bond angles, and ideal bond lengths.

Fields: `torsions` (b, l, 3), phi, psi and omega in [-pi, pi); `angles` (b, l, 3), the bond angles N-CA-C, CA-C-N and
C-N-CA as deviations from their ideal values in units of their standard deviation. Every point of the space is an
unbroken chain; a model learns the fold. Points from data also carry `known` (b, l, 6): False
for coordinates that chain ends or breaks leave undefined, torsions first.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.geometry import alignment, beginnings, frames, internal, so3
from protgen.geometry import constants as ideal
from protgen.spaces.atoms import BackboneAtoms
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Admissible, Framed, PartlyDefined, PositionalContext, Promising, shifted
from protgen.spaces.manifolds import Euclidean, Torus, wrap
from protgen.types import Batch, Features, State

# Standard deviation of bond angles in natives, radians: Engh and Huber 2001, table 18.3.2.3 (2.7 degrees for N-CA-C).
ANGLE_STD = (math.radians(2.7), ideal.CA_C_N_SIGMA, ideal.C_N_CA_SIGMA)
BROKEN = 2.0  # Å; a C-N distance above it is a chain break
# Å below which two atoms overlap: the least distance of natives is 2.7 Å, of hydrogen-bonded N and O too.
CONTACT, CA_CONTACT = 2.6, 3.6


class TorsionHead(nn.Module):
    """Predicts internal coordinates from invariant scalars: a turn of each torsion, and the angles."""

    def __init__(self, scalar_dim: int) -> None:
        super().__init__()
        self.read = nn.Linear(scalar_dim, 9)

    def forward(self, features: Features, state: State) -> State:
        """Prediction of clean coordinates; torsions relative to the noisy ones, as a direction on each circle."""
        values = self.read(features.scalars.float())
        # At zero weight the direction is that of no turn, and its gradient is finite.
        turn = torch.atan2(values[..., :3], 1 + values[..., 3:6])
        return state.with_fields(torsions=wrap(state["torsions"] + turn), angles=values[..., 6:])


class Torsions(Space, BackboneAtoms, PositionalContext, Framed, PartlyDefined, Admissible, Promising):
    """Internal coordinates of a single protein chain; bond lengths are ideal.

    Args:
        cis: whether cis peptides are admissible in samples. Natives have one in 300 residues, nearly all before a
            proline; designs have no sequence yet, and a CA-CA distance of 2.9 Å counts as a break elsewhere.
    """

    # A gradient through the network would move bond angles alone, the only flat field.
    moved_by_gradients = frozenset()
    frame_fields = ("trans", "rots")
    volume = "rad for each known torsion times the std in natives for each known bond angle (2.7, 1.6, 1.8 degrees)"

    def __init__(self, cis: bool = False) -> None:
        super().__init__()
        self.cis = cis
        self.manifolds = {"torsions": Torus(3), "angles": Euclidean(3)}

    def encode(self, batch: Batch) -> State:
        """Internal coordinates of `batch["atoms"]` (b, l, >= 3, 3), Å."""
        mask = batch.mask
        found = internal.internal_coordinates(batch["atoms"])
        known = within(mask, found.bonds[:, :-1, 1] < BROKEN)
        angles = (found.angles - self.ideal_angles(found.angles)) / found.angles.new_tensor(ANGLE_STD)
        # Torsions across a break stay as measured: they keep the orientation of what follows.
        angles = torch.where(known[..., 3:], angles, torch.zeros_like(angles))
        fields = {"torsions": found.torsions, "angles": angles, "known": known}
        return self.project(State(fields, mask))

    def decode(self, state: State) -> Batch:
        """Backbone atoms N, CA, C, O: `atoms` (b, l, 4, 3), Å, centred."""
        return Batch({"atoms": self.observe(state)}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b l 4 3"]:
        """Backbone atoms N, CA, C, O in Å, centred on CA, differentiable."""
        atoms = self.place(state).atoms
        return masked(atoms - alignment.masked_mean(atoms[..., 1, :], state.mask)[..., None, :], state.mask)

    def place(self, state: State) -> internal.Placed:
        """The chain as built from its first residue on, at the origin."""
        state = self.project(state)
        angles = state["angles"] * state["angles"].new_tensor(ANGLE_STD) + self.ideal_angles(state["angles"])
        # Only a failed model has a bond angle beyond 20 standard deviations: keep it from passing 0 or pi.
        return internal.place(state["torsions"], angles.clamp(0.1, math.pi - 0.1))

    def ideal_angles(self, like: Tensor) -> Float[Tensor, " 3"]:
        """N-CA-C, CA-C-N, C-N-CA, radians, in the dtype and on the device of `like`."""
        return like.new_tensor(internal.IDEAL_ANGLES)

    def context(self, state: State) -> State:
        """The chain placed before each residue: frames on its CA, of which N-CA and the C before are known.

        In addition to `trans` (Å, from the first residue on) and `rots`, the coordinates of the residue before.
        """
        placed = self.place(state)
        before = shifted(State({name: state[name] for name in self.manifolds}, state.mask))
        rots = torch.where(state.mask[..., None, None], placed.rots, so3.identity_like(placed.rots))
        return before.with_fields(trans=masked(placed.trans, state.mask), rots=rots)

    def with_frames(self, state: State) -> State:
        """The point with the frame of each residue: `trans` (Å, centred) and `rots`, as `Backbone` has them."""
        atoms = self.place(state).atoms  # under padding the chain goes on, so that every frame has a gradient
        rots, trans = frames.frames_from_backbone(atoms)
        rots = torch.where(state.mask[..., None, None], rots, so3.identity_like(rots))
        trans = masked(trans - alignment.masked_mean(trans, state.mask), state.mask)
        return state.with_fields(trans=trans, rots=rots)

    def defined(self, state: State) -> dict[str, Bool[Tensor, "b l d"]]:
        """Coordinates that are defined: within the chain and, where the state has `known`, not across a break."""
        known = state["known"] if "known" in state.fields else within(state.mask)
        return {"torsions": known[..., :3], "angles": known[..., 3:]}

    def trans(self, omega: Tensor) -> Bool[Tensor, "..."]:
        """Whether peptides are trans, or may be cis."""
        return (omega.abs() > math.pi / 2) | self.cis

    def admits(self, state: State) -> Bool[Tensor, " b"]:
        """Whether all peptides are trans; of chains that overlap nothing is said."""
        return (self.trans(state["torsions"][..., 2]) | ~within(state.mask)[..., 2]).all(-1)

    def admissible(self, state: State) -> Bool[Tensor, " b"]:
        """Whether the atoms that the last residue places (its C and O, the next N and CA) overlap no earlier atom.

        Unless `cis` is set, the peptide must also be trans.
        """
        fits = self.trans(state["torsions"][:, -1, 2])
        if state.mask.shape[1] < 4:
            return fits
        # One residue more, of any coordinates, adds the placed N and CA to the chain.
        one_more = {name: torch.cat([state[name], state[name][:, -1:]], 1) for name in self.manifolds}
        mask = torch.cat([state.mask, state.mask[:, -1:]], 1)
        atoms = self.place(State(one_more, mask)).atoms
        new = torch.cat([atoms[:, -2, 2:], atoms[:, -1, :2]], 1)  # C, O, then N and CA of the next
        old = atoms[:, :-4].flatten(
            1, 2
        )  # residues at least two before: the distances to nearer ones follow from bond angles
        distance = torch.cdist(new, old, compute_mode="donot_use_mm_for_euclid_dist")
        least = torch.full((4, 4), CONTACT, device=distance.device)
        least[3, 1] = CA_CONTACT
        return (distance >= least.repeat(1, old.shape[1] // 4)).flatten(1).all(-1) & fits

    def promise(self, state: State, lengths: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """As compact and as much bonded as beginnings of natives (`protgen.geometry.beginnings`)."""
        return beginnings.promise(self.place(state).atoms, state.mask, lengths)

    @property
    def normals_per_position(self) -> int:
        """Three for torsions, three for angles."""
        return 6

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Uniform torsions, standard normal angles."""
        torsions = wrap(2 * math.pi * torch.special.ndtr(normals[..., :3]))
        return self.project(State({"torsions": torsions, "angles": normals[..., 3:]}, mask))

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Torsions: pi / sqrt(3), that of a uniform angle. Angles: 1, as they are standardised."""
        one = torch.ones(len(mask), device=mask.device)
        return {"torsions": one * math.pi / math.sqrt(3), "angles": one}

    def project(self, state: State) -> State:
        """Torsions wrapped; those that chain ends leave undefined set to fixed values; zeros under padding."""
        defined = within(state.mask)
        undefined = wrap(state["torsions"].new_tensor(internal.UNDEFINED_TORSIONS))
        torsions = torch.where(defined[..., :3], wrap(state["torsions"]), undefined)
        angles = torch.where(defined[..., 3:], state["angles"], torch.zeros_like(state["angles"]))
        fields = dict(state.fields) | {"torsions": torsions, "angles": angles}
        return State({name: masked(x, state.mask) for name, x in fields.items()}, state.mask)

    def project_tangent(self, tangent: State) -> State:
        """Tangent vectors that leave the coordinates which chain ends leave undefined where they are."""
        exists = within(tangent.mask)
        parts = {"torsions": exists[..., :3], "angles": exists[..., 3:]}
        fields = {name: torch.where(parts[name], x, torch.zeros_like(x)) for name, x in tangent.fields.items()}
        return State(fields, tangent.mask)

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Three torsions and three angles a residue, less the first phi, last psi and omega, and two last angles."""
        exists = within(mask).sum(1).float()
        return {"torsions": exists[:, :3].sum(-1), "angles": exists[:, 3:].sum(-1)}

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """Coordinates from an encoder's invariant scalars."""
        return TorsionHead(scalar_dim)


def within(mask: Bool[Tensor, "b l"], bonded: Bool[Tensor, "b k"] | None = None) -> Bool[Tensor, "b l 6"]:
    """Which internal coordinates exist: torsions, then angles.

    Args:
        mask: (b, l) which residues are real.
        bonded: (b, l - 1) whether residue i is bonded to i + 1; wherever both are real by default.
    """
    joined = mask[:, :-1] & mask[:, 1:]
    joined = joined if bonded is None else joined & bonded
    end = torch.zeros_like(mask[:, :1])
    after, before = torch.cat([joined, end], 1), torch.cat([end, joined], 1)
    return torch.stack([before, after, after, mask, after, after], -1)
