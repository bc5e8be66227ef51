"""Capabilities of spaces of proteins: backbone atoms, and rigid residue frames."""

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from protgen.spaces.capabilities import Observable, Positional
from protgen.types import State


class BackboneAtoms(Positional, Observable):
    """A space whose points are protein backbones, in any coordinates.

    `encode` reads N, CA, C (and O where there is one) from `batch["atoms"]` (b, l, >= 3, 3), Å. Such a space can be
    sampled by `protgen sample`, with energies and, for families that iterate, partial diffusion.
    """

    advice = "protein backbones (`BackboneAtoms`), such as backbone or torsions"

    @abstractmethod
    def observe(self, state: State) -> Float[Tensor, "b l 4 3"]:
        """Backbone atoms N, CA, C, O in Å, differentiable in the fields."""


class ResidueFrames(BackboneAtoms):
    """A space of backbones that can place single residues as rigid frames: motifs are held in it by projection."""

    advice = "a rigid frame of each residue (`ResidueFrames`), such as backbone"

    @abstractmethod
    def residue_frames(self, state: State) -> tuple[Float[Tensor, "b l 3 3"], Float[Tensor, "b l 3"]]:
        """Rotation and CA position (Å) of each residue."""

    @abstractmethod
    def with_residue_frames(self, state: State, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]) -> State:
        """The point with these frames, and with the conventions of the space.

        Args:
            state: the point to change.
            rots: rotation of each residue.
            trans: CA position of each residue, Å.
        """
