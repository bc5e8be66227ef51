"""What the commands of latents and classes work on: structure files, or test images of a set by their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from protgen.cli.console import say_error
from protgen.errors import AllFailedError, ProtgenError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from protgen.families.base import LatentFamily
    from protgen.models.model import Model
    from protgen.structure.protein import Protein
    from protgen.types import Conditioning, State

MOST = 10_000  # images

PathsArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Structure files, or folders of them.", metavar="PATH...", show_default=False),
]
ItemModelOption = Annotated[
    str, typer.Option("--model", help="Name (see `protgen models`), folder, or run.", metavar="NAME|DIR")
]


@dataclass(frozen=True)
class ImageNumbers:
    """Which images of the test split, for a model of images."""

    images: Annotated[
        str | None, typer.Option("--images", help="Numbers in the test split: 0-9,17.", metavar="NUMBERS")
    ] = None
    data: Annotated[
        str | None, typer.Option("--data", help="The set; the model's own where left out.", metavar="NAME")
    ] = None
    folder: Annotated[Path | None, typer.Option("--folder", help="With the files of the set.", metavar="DIR")] = None


@dataclass(frozen=True)
class Item:
    """A point of a model's space.

    Attributes:
        name: of the file, or the number of the image.
        state: the point, with batch size 1.
        protein: what the file holds; None for an image.
        label: class of the image; None for a structure.
    """

    name: str
    state: "State"
    protein: "Protein | None" = None
    label: int | None = None


@dataclass(frozen=True)
class Items:
    """The items of a command, and how many files could not be taken; each of these has been named."""

    every: list[Item]
    failed: int = 0


def load_any(name: str) -> "Model":
    """A model by name, from its folder or from that of its run."""
    from protgen.models.released import load

    return load(name)


def latent_family(model: "Model", wish: str) -> "LatentFamily":
    """The family of a model, which has latents.

    Args:
        model: the model.
        wish: the command, for the message.

    Raises:
        UsageError: if it has none.
    """
    from protgen.families.base import LatentFamily

    if not isinstance(model.family, LatentFamily):
        kind = model.config["family"]["name"]
        raise UsageError(f"{wish}: the family of this model, {kind}, has no latents; name one of vae or latent")
    return model.family


def nothing_asked(model: "Model", state: "State") -> "Conditioning":
    """y unknown."""
    return model.conditions.unknown(state.mask)


def open_items(paths: Sequence[Path] | None, numbers: ImageNumbers, model: "Model") -> Items:
    """Points of the files, or of the images.

    A file that cannot be taken is named in one line, and the others go on.

    Raises:
        UsageError: if the model is of images and files are given, or the other way round, or nothing is.
        AllFailedError: if no file can be taken.
    """
    from protgen.spaces.image import Image

    if isinstance(model.family.space, Image):
        if paths:
            raise UsageError(f"{paths[0]}: this model is of images; give --images 0-9, numbers in the test split")
        return Items(image_items(numbers, model))
    if numbers.images is not None:
        raise UsageError("--images is for models of images, and this one is of structures; give files")
    if not paths:
        raise UsageError("give structure files, or folders of them")
    return structure_items(paths, model)


def image_items(numbers: ImageNumbers, model: "Model") -> list[Item]:
    """Test images as points."""
    import numpy as np
    from torch import Generator

    from protgen.cli.image_options import ImageSource
    from protgen.data.images import to_batch
    from protgen.evaluation.images import prepared
    from protgen.models.image_samples import image_space

    if numbers.images is None:
        raise UsageError("this model is of images; give --images 0-9, numbers in the test split")
    space = image_space(model, "--images")
    images = ImageSource(numbers.data, numbers.folder).images(model)
    test = images.of("test")
    found = []
    for number in numbers_of(numbers.images):
        if number >= len(test):
            raise UsageError(f"--images {number}: {images.name} has {len(test):,} test images, numbered from 0")
        batch = to_batch(test, np.array([number]))
        rng = Generator().manual_seed(number)
        state = space.encode(prepared(batch, images, model.family, space.binary, rng))
        found.append(Item(str(number), state, label=int(test.labels[number])))
    return found


def numbers_of(text: str) -> list[int]:
    """Whole numbers of a text like 0-9,17, each once, in its order.

    Raises:
        UsageError: if it cannot be read, or they are too many.
    """
    found: dict[int, None] = {}
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            start, end = int(first), int(last if dash else first)
            if start < 0 or end < start:
                raise ValueError
            if end - start >= MOST or len(found) > MOST:
                raise UsageError(f"--images {text!r}: at most {MOST:,}")
            found |= dict.fromkeys(range(start, end + 1))
    except ValueError:
        raise UsageError(f"--images {text!r}: give numbers and ranges, as in 0-9,17") from None
    return list(found)


def structure_items(paths: Sequence[Path], model: "Model") -> Items:
    """Structures as points."""
    from protgen.evaluation.collect import collect_files
    from protgen.evaluation.likelihood import state_of
    from protgen.structure.reader import read_structure

    found, failed = [], 0
    files = collect_files(paths)
    for label, path in files:
        try:
            protein = read_structure(path)
            found.append(Item(label, state_of(protein, model), protein))
        except ProtgenError as error:
            failed += 1
            say_error(str(error) if str(path) in str(error) else f"{path}: {error}")
    if not found:
        raise AllFailedError(f"none of {len(files)} files can be taken")
    return Items(found, failed)


class BackboneOf(Protocol):
    """Makes a protein of a point."""

    def __call__(self, state: "State", name: str) -> "Protein":
        """The protein of a point with batch size 1."""
        ...


def backbone_of(model: "Model", wish: str) -> BackboneOf:
    """What makes proteins of points of a model's space, as they are: no relaxation.

    Raises:
        UsageError: if its points are no backbones.
    """
    from protgen.generation.backbones import finished_atoms
    from protgen.spaces.atoms import BackboneAtoms
    from protgen.structure.protein import Protein

    space = model.family.space
    if not isinstance(space, BackboneAtoms):
        raise UsageError(f"{wish}: points of {type(space).__name__} are no backbones; name a model of backbones")

    def make(state: "State", name: str) -> Protein:
        atoms, _ = finished_atoms(space, state, relax=False)
        values: np.ndarray = atoms[0][state.mask[0]].detach().cpu().double().numpy()
        return Protein.from_backbone(values, name=name)

    return make


def columns_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of all columns of a table, in the order in which they appear."""
    return list(dict.fromkeys(key for row in rows for key in row))
