"""What a space can offer in addition to the core of `Space`: small interfaces, each tested with isinstance.

A family, sampler or guide says which of them it needs. A space that has one derives from it; a space that has not is
either treated by the stated default (the functions below) or refused by `require`, with what to use instead. So a new
space is one file, and gets energies, guidance and likelihoods by the interfaces it implements.

    Positional         one position for each residue or pixel         most families
    Observable         coordinates or pixels, differentiable          energies, particle samplers
    Alignable          symmetries of the space                        optional: flow matching, guidance of means
    AuxiliaryLosses    further loss terms                             optional
    EncoderView        another form for the encoder                   optional
    Framed             frames beside its own coordinates              optional: encoders that read frames
    PositionalContext  what precedes a position                       optional: autoregression, normalizing flows
    PartlyDefined      coordinates that do not exist                  optional: autoregression, normalizing flows
    Admissible         which next positions are possible              optional: autoregression
    Promising          how promising a beginning is                   optional: autoregression
    DiscreteValues     a finite set of values                         optional: autoregression, diffusion, flows
    Grid               positions that are the cells of a grid         optional
    DecoderStart       where a decoder starts                         optional: VAE
    VectorPoints       equivariant vectors of each position           frame latents of VAE and latent
"""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from protgen.errors import ConfigError
from protgen.nn.binned import Support
from protgen.spaces.base import Space
from protgen.types import State

T = TypeVar("T")


class Positional:
    """A space whose points have one position for each residue or pixel, from which data can be decoded.

    Encoders compute features of each position, so every family with a network needs it.
    """

    advice: ClassVar[str] = "one position for each residue or pixel, such as backbone or torsions"


class Observable(ABC):
    """A space whose points show coordinates (Å) or pixels: energies are functions of them.

    Attributes:
        moved_by_gradients: fields that a gradient through the network may move (`PosteriorGuidance`). None: all flat
            fields.
    """

    advice: ClassVar[str] = "coordinates or pixels that an energy can be computed from (`Observable`), such as backbone"
    moved_by_gradients: ClassVar[frozenset[str] | None] = None

    @abstractmethod
    def observe(self, state: State) -> Float[Tensor, "b l ..."]:
        """Coordinates in Å, or brightness of pixels, differentiable in the fields."""


class Alignable(ABC):
    """A space with symmetries, such as rotations of the whole structure."""

    advice: ClassVar[str] = "symmetries (`Alignable`), such as backbone"

    @abstractmethod
    def align(self, noise: State, data: State) -> State:
        """Noise moved by a symmetry of the space to the least distance from the data."""


class AuxiliaryLosses(ABC):
    """A space that adds loss terms of its own, such as bond lengths."""

    advice: ClassVar[str] = "auxiliary losses (`AuxiliaryLosses`), such as backbone"

    @abstractmethod
    def auxiliary(self, prediction: State, target: State, t: Float[Tensor, " b"]) -> dict[str, Float[Tensor, " b"]]:
        """Further loss terms, each (b,) and weighted.

        Args:
            prediction: of x_data.
            target: x_data.
            t: the noise fraction: terms fade out towards 1.
        """


class EncoderView(ABC):
    """A space whose points an encoder reads in another form."""

    advice: ClassVar[str] = "another form for the encoder (`EncoderView`), such as frame latents"

    @abstractmethod
    def view(self, state: State) -> State:
        """The point as an encoder reads it."""


class Framed(ABC):
    """A space of other coordinates that can place a frame on each residue, for encoders that read frames.

    Attributes:
        frame_fields: names of the fields that are added.
    """

    advice: ClassVar[str] = "frames beside its own coordinates (`Framed`), such as torsions"
    frame_fields: ClassVar[tuple[str, ...]]

    @abstractmethod
    def with_frames(self, state: State) -> State:
        """The point with the fields of frames beside its own, differentiable in these."""


class PositionalContext(ABC):
    """A space that states what precedes a position, such as the part of a chain that is placed already."""

    advice: ClassVar[str] = "a context of each position (`PositionalContext`), such as torsions"

    @abstractmethod
    def context(self, state: State) -> State:
        """What precedes each position, as an encoder reads it: position i depends on the positions before i only."""


class PartlyDefined(ABC):
    """A space in which some coordinates of a point do not exist, such as torsions at chain ends."""

    advice: ClassVar[str] = "coordinates that may be undefined (`PartlyDefined`), such as torsions"

    @abstractmethod
    def defined(self, state: State) -> dict[str, Bool[Tensor, "b l d"]]:
        """Which coordinates of each field exist; likelihoods are those of these coordinates."""


class Admissible(ABC):
    """A space that knows which positions may follow those before them, such as a chain without overlaps."""

    advice: ClassVar[str] = "admissible positions (`Admissible`), such as torsions"

    @abstractmethod
    def admissible(self, state: State) -> Bool[Tensor, " b"]:
        """Whether the last position is compatible with those before it."""

    def admits(self, state: State) -> Bool[Tensor, " b"]:
        """Whether each position of a whole sample is admissible by itself, whatever is before it; all by default."""
        return torch.ones(len(state.mask), dtype=torch.bool, device=state.mask.device)


class Promising(ABC):
    """A space that knows how promising the positions so far are, by beginnings of natives."""

    advice: ClassVar[str] = "promising beginnings (`Promising`), such as torsions"

    @abstractmethod
    def promise(self, state: State, lengths: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """A log-weight of each beginning, at most 0; it goes on to be that of the whole point.

        Args:
            state: the positions so far.
            lengths: positions of the whole points.
        """


class DiscreteValues(ABC):
    """A space whose coordinates take a finite set of values, such as grey values."""

    advice: ClassVar[str] = "discrete values (`DiscreteValues`), such as image"

    @abstractmethod
    def support(self) -> Support:
        """The values that coordinates take."""


class Grid(ABC):
    """A space whose positions are the cells of a grid, row by row."""

    advice: ClassVar[str] = "positions on a grid (`Grid`), such as image"

    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """Height and width."""


class DecoderStart(ABC):
    """A space with a point of its own from which decoders start."""

    advice: ClassVar[str] = "a start for decoders (`DecoderStart`), such as backbone"

    @abstractmethod
    def blank(self, mask: Bool[Tensor, "b l"]) -> State:
        """A point that depends on the mask only."""


class VectorPoints(ABC):
    """A space whose points equivalently are a few vectors at each position, which turn with the structure.

    Attributes:
        vectors: how many; the first is a position vector.
    """

    advice: ClassVar[str] = "equivariant vectors at each position (`VectorPoints`), such as backbone"
    vectors: ClassVar[int]

    @abstractmethod
    def to_vectors(self, state: State) -> Float[Tensor, "b l v 3"]:
        """The point as vectors of order one."""

    @abstractmethod
    def from_vectors(self, vectors: Float[Tensor, "b l v 3"], mask: Bool[Tensor, "b l"]) -> State:
        """The point of any vectors."""


def require(space: Space, capability: type[T], user: str) -> T:
    """The space as that capability.

    Args:
        space: any.
        capability: one of the interfaces of this module.
        user: what needs it, for the message.

    Raises:
        ConfigError: if the space has not got it; the message says which spaces have.
    """
    if isinstance(space, capability):
        return space
    raise ConfigError(lacking(space, capability, user))


def lacking(space: Space, capability: type, user: str) -> str:
    """The message for a space without a capability.

    Args:
        space: the space.
        capability: what it has not.
        user: what needs it.
    """
    advice = getattr(capability, "advice", capability.__name__)
    return f"{user} needs a space with {advice}; {type(space).__name__} has no {capability.__name__}"


def moves_through_network(space: Space) -> bool:
    """Whether a gradient through the network may move any field (see `Observable.moved_by_gradients`)."""
    return isinstance(space, Observable) and (space.moved_by_gradients is None or bool(space.moved_by_gradients))


def aligned(space: Space, noise: State, data: State) -> State:
    """Noise moved by a symmetry of the space towards the data; unchanged without symmetries.

    Args:
        space: of both.
        noise: the point to move.
        data: the point to move it to.
    """
    return space.align(noise, data) if isinstance(space, Alignable) else noise


def auxiliary_losses(
    space: Space, prediction: State, target: State, t: Float[Tensor, " b"]
) -> dict[str, Float[Tensor, " b"]]:
    """Loss terms of the space itself; none by default. Arguments: `AuxiliaryLosses.auxiliary`."""
    return space.auxiliary(prediction, target, t) if isinstance(space, AuxiliaryLosses) else {}


def encoder_view(space: Space, state: State) -> State:
    """A point as an encoder reads it; the point itself by default."""
    return space.view(state) if isinstance(space, EncoderView) else state


def context_before(space: Space, state: State) -> State:
    """What precedes each position; by default the fields shifted by one position, zeros at the first."""
    return space.context(state) if isinstance(space, PositionalContext) else shifted(state)


def shifted(state: State) -> State:
    """Each field moved on by one position, zeros at the first."""
    fields = {name: torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1) for name, x in state.fields.items()}
    return State(fields, state.mask)


def defined_coordinates(space: Space, state: State) -> dict[str, Bool[Tensor, "b l d"]]:
    """Which coordinates of each field exist; by default all where the mask is True."""
    if isinstance(space, PartlyDefined):
        return space.defined(state)
    return {name: state.mask[..., None].expand(*state.mask.shape, m.dim) for name, m in space.manifolds.items()}


def freedoms(space: Space, state: State) -> dict[str, Float[Tensor, " b"]]:
    """Degrees of freedom of each field of these points: the coordinates that exist, after the conventions."""
    if isinstance(space, PartlyDefined):
        return {name: exists.sum((1, 2)).float() for name, exists in space.defined(state).items()}
    return space.field_dof(state.mask)


def num_freedoms(space: Space, state: State) -> Float[Tensor, " b"]:
    """Degrees of freedom of these points, all fields together."""
    return torch.stack(list(freedoms(space, state).values())).sum(0)


def tangent_of_defined(space: Space, tangent: State, at: State) -> State:
    """The part of tangent vectors that keeps the conventions and moves only coordinates that exist.

    Args:
        space: of the point.
        tangent: vectors (b, l, dim) of each field.
        at: the point, which says what exists.
    """
    kept = space.project_tangent(tangent)
    if not isinstance(space, PartlyDefined):
        return kept
    exists = space.defined(at)
    return State({name: torch.where(exists[name], x, torch.zeros_like(x)) for name, x in kept.fields.items()}, at.mask)


def held(space: Space, state: State, data: State) -> State:
    """A point with the coordinates that do not exist in the data at the values that the data have there.

    Args:
        space: of both.
        state: a noisy point, or a prediction.
        data: the data.
    """
    if not isinstance(space, PartlyDefined):
        return state
    exists = space.defined(data)
    return state.with_fields(**{name: torch.where(e, state[name], data[name]) for name, e in exists.items()})


def is_admissible(space: Space, state: State) -> Bool[Tensor, " b"]:
    """Whether the last position is compatible with those before it; by default yes."""
    if isinstance(space, Admissible):
        return space.admissible(state)
    return torch.ones(len(state.mask), dtype=torch.bool, device=state.mask.device)


def support_of(space: Space) -> Support | None:
    """The values that coordinates take; None where they are continuous."""
    return space.support() if isinstance(space, DiscreteValues) else None


def within_cells(space: Space, x: State, rng: Generator, every: bool = False) -> State:
    """Uniform dequantisation (Theis et al. 2016, section 3.1): each discrete value becomes a draw from its cell.

    A density over the coordinates, or a critic of them, needs that: whole values lie in a set without volume.

    Args:
        space: of the point; where its coordinates are continuous the point is returned as it is.
        x: a point with values at the centres of their cells.
        rng: of the draws.
        every: whether values that have probabilities and no cells (binary pixels) are spread as well.
    """
    support = support_of(space)
    if support is None or (support.volume == 1 and not every):
        return x
    fields = {}
    for name in space.manifolds:
        u = torch.rand(x[name].shape, generator=rng).to(x[name]) - 0.5
        fields[name] = x[name] + support.step * u * x.mask[..., None]
    return x.with_fields(**fields)


def within_range(space: Space, x: State) -> State:
    """A prediction with each coordinate moved to the nearest that its values, or their cells, reach.

    Args:
        space: of the point; where its coordinates are continuous the point is returned as it is.
        x: a prediction of data.
    """
    support = support_of(space)
    if support is None:
        return x
    beyond = 0.0 if support.volume == 1 else support.step / 2
    least, most = support.least - beyond, support.least + (support.count - 1) * support.step + beyond
    return x.with_fields(**{name: x[name].clamp(least, most) for name in space.manifolds})


def grid_of(space: Space) -> tuple[int, int] | None:
    """Height and width; None where positions are a chain."""
    return space.grid() if isinstance(space, Grid) else None


def decoder_start(space: Space, mask: Bool[Tensor, "b l"]) -> State:
    """A point from which a decoder starts; by default the centre of the noise distribution."""
    if isinstance(space, DecoderStart):
        return space.blank(mask)
    return space.noise(mask, torch.zeros(*mask.shape, space.normals_per_position, device=mask.device))
