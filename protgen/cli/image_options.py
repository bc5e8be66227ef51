"""The options that commands about images share, and what they make."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.data.images import Images
    from protgen.models.image_samples import ImageSampling
    from protgen.models.model import Model

ImageModelOption = Annotated[
    str, typer.Option("--model", help="Folder of a model of images, or of its run.", metavar="DIR")
]


@dataclass(frozen=True)
class ImageSource:
    """Which images: the set that a model was trained on unless another is named, and where its files are."""

    data: Annotated[
        str | None,
        typer.Option("--data", help="digits, mnist, fashion, cifar10; the model's own where left out.", metavar="NAME"),
    ] = None
    folder: Annotated[
        Path | None, typer.Option("--folder", help="With the files of the set; digits need none.", metavar="DIR")
    ] = None

    def images(self, model: "Model") -> "Images":
        """The set; binarised once where the model's pixels are binary.

        Raises:
            UsageError: if neither the options nor the model name a set, its images have another size, it needs a folder
                and none is given, or the other way round.
            DataError: if files are missing or damaged.
        """
        from protgen.data.image_files import DIGITS, NAMES, load_images
        from protgen.data.images import binarised
        from protgen.models.image_samples import image_space

        space = image_space(model, "a command about images")
        name = self.data or model.config.get("about", {}).get("images")
        if not isinstance(name, str):
            raise UsageError("this model does not say what it was trained on; give --data NAME")
        if self.folder is None and name in NAMES and name != DIGITS:
            raise UsageError(f"{name} is read from files; give --folder DIR, the folder that holds them")
        if self.folder is not None and name == DIGITS:
            raise UsageError(f"--folder {self.folder}: digits come with scikit-learn, from no folder; leave it out")
        images = load_images(name, self.folder)
        if images.pixels.shape[1:] != (space.height, space.width, space.channels):
            raise UsageError(
                f"{name} has images of {' x '.join(map(str, images.pixels.shape[1:]))}, and this model of "
                f"{space.height} x {space.width} x {space.channels}; give the --data that it was trained on"
            )
        return binarised(images) if space.binary else images


@dataclass(frozen=True)
class PictureSettings:
    """How pictures are drawn."""

    sampler: Annotated[
        str | None, typer.Option("--sampler", help="For families that take one: ddim, ddpm, euler, heun, ...")
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of the sampler.")] = None
    spacing: Annotated[
        float | None, typer.Option("--spacing", min=0.1, max=10, help="Above 1, steps are finer near data.")
    ] = None
    guidance: Annotated[
        float, typer.Option("--guidance", min=0, help="Weight of the class; 1 is plain conditioning.")
    ] = 1.0
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Factor of all standard deviations.")] = 1.0
    self_condition: Annotated[
        bool | None,
        typer.Option("--self-conditioning/--no-self-conditioning", help="Whether steps read the prediction before."),
    ] = None

    def sampling(self) -> "ImageSampling":
        """As `draw_images` takes them."""
        from protgen.models.image_samples import ImageSampling

        return ImageSampling(
            self.sampler, self.steps, self.guidance, self.temperature, self.spacing, self.self_condition
        )


def load_image_model(name: str, wish: str) -> "Model":
    """A model of images by name, from its folder or from that of its run.

    Args:
        name: as typed.
        wish: what it is needed for, for the message.

    Raises:
        CheckpointError: if there is none.
        UsageError: if it is of something else.
    """
    from protgen.models.image_samples import image_space
    from protgen.models.released import load

    model = load(name)
    image_space(model, wish)
    return model
