"""From sampled points to backbone atoms, for every space whose points are backbones."""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from protgen.errors import ConfigError
from protgen.families.base import Family
from protgen.generation.relax import relax_frames, with_closing_oxygen
from protgen.samplers.energy import Energy
from protgen.spaces.atoms import BackboneAtoms, ResidueFrames
from protgen.spaces.backbone import Backbone
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Grid, require
from protgen.types import Batch, State


def require_backbones(space: Space) -> None:
    """Refuse a model of anything else.

    Raises:
        ConfigError: if points of the space are no backbones.
    """
    if not isinstance(space, BackboneAtoms):
        raise ConfigError(
            f"this model generates points of {type(space).__name__}, not protein backbones, and no structure can be "
            "made of them; choose a model whose space is backbone or torsions (`protgen models`)"
            + ("; `protgen sample-images` draws its pictures" if isinstance(space, Grid) else "")
        )


def finished_atoms(
    space: Space,
    raw: State,
    relax: bool,
    held: Bool[Tensor, "b l"] | None = None,
    kept: Energy | None = None,
    rings: Bool[Tensor, " b"] | None = None,
    tied: Callable[[State], State] | None = None,
) -> tuple[Float[Tensor, "b l 4 3"], Float[Tensor, "b l 4 3"]]:
    """Backbone atoms of sampled points as they are handed out, and as they were sampled; Å.

    The relaxation moves rigid residues, so points of other spaces become frames first; without it they stay what they
    are.

    Args:
        space: where the points are from; see `require_backbones`.
        raw: sampled points.
        relax: whether to relax peptide joints and overlaps.
        held: residues that the relaxation leaves where they are, such as those of a motif.
        kept: what the relaxation is not to make worse.
        rings: chains whose last residue is bonded to the first.
        tied: makes copies of a chain, of frames whose chains are to stay alike.
    """
    sampled = with_closing_oxygen(require(space, BackboneAtoms, "sampling").observe(raw), raw.mask, rings)
    if not relax:
        return sampled, sampled
    frames = Backbone()
    if isinstance(space, ResidueFrames):
        rots, trans = space.residue_frames(raw)
        start = State({"trans": trans, "rots": rots}, raw.mask)
    else:
        start = frames.encode(Batch({"atoms": sampled}, raw.mask))
    relaxed = frames.observe(relax_frames(frames, start, held=held, kept=kept, rings=rings, tied=tied))
    return with_closing_oxygen(relaxed, raw.mask, rings), sampled


def steps_of(family: Family, steps: int, longest: int) -> int:
    """How often a family reports progress on a batch: once a sampler step, or at most once a residue.

    Args:
        family: of the model.
        steps: of the sampler.
        longest: residues of the longest design of the batch.
    """
    return steps if family.takes_sampler else longest
