"""`protgen train` of images: reads the files, makes the model as large as the images, and looks at pictures of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protgen.cli.train_report import cannot_be_built
from protgen.errors import ConfigError

if TYPE_CHECKING:
    from torch import Generator

    from protgen.cli.image_config import ImageData
    from protgen.cli.train_config import TrainConfig
    from protgen.conditions.embedding import Entry
    from protgen.data.images import ImageBatches, Images
    from protgen.models.model import Model
    from protgen.training.validation import Evaluator
    from protgen.types import Batch

CLASSES = 10
FIELDS = ("pixels", "class_label")  # of a batch of images


@dataclass(frozen=True)
class Opened:
    """What the training loop takes of images.

    Attributes:
        model: freshly built, as large as the images.
        batches: of the training split, binarised as asked.
        validation: what happens at a validation.
        count: images of the training split.
        held_out: the validation split.
    """

    model: "Model"
    batches: "ImageBatches"
    validation: "ImageValidation"
    count: int
    held_out: "Images"


def open_images(config: "TrainConfig", data: "ImageData") -> Opened:
    """Read the images of a configuration and build its model.

    Raises:
        DataError: if files are missing or damaged, or are fewer than a batch.
        ConfigError: if a part cannot be built, or the space is given another size than the images have.
    """
    from protgen.data.image_files import load_images
    from protgen.data.images import ImageBatches, binarised

    images = load_images(data.name, data.folder)
    if data.binarise == "static":
        images = binarised(images)
    check_conditions(config.model["conditions"], data.name)
    model = sized_model(config, images, data)
    change = change_of(images, data.binarise)
    seed = config.settings.seed
    batches = ImageBatches(images.of("train"), data.batch, seed, change)
    v = config.validation
    held_out = images.of("validation")
    size = max(1, min(data.batch, len(held_out)))
    fixed = [ImageBatches(held_out, size, 0, change)(i) for i in range(min(v.batches, len(held_out) // size))]
    look = picture_evaluator(v.samples, v.steps) if v.samples else None
    return Opened(model, batches, ImageValidation(fixed, look), len(batches.images), held_out)


def change_of(images: "Images", binarise: str) -> Any:
    """What is made of each batch: binarised anew, or nothing."""
    from protgen.data.images import binarise as binarise_anew

    def change(batch: "Batch", rng: "Generator") -> "Batch":
        return binarise_anew(batch, images.levels, rng)

    return change if binarise == "dynamic" else None


def check_conditions(entries: "Sequence[Entry]", name: str) -> None:
    """Check that conditions can be learned from images, which have a class each.

    Args:
        entries: of the configuration.
        name: of the images.

    Raises:
        ConfigError: naming the first that cannot.
    """
    from protgen import registry
    from protgen.conditions.base import FieldCondition, LearnedCondition
    from protgen.conditions.embedding import plain_entry
    from protgen.data.fields import missing_fields

    for entry in entries:
        asked = plain_entry(entry)["name"]
        cls = registry.find("conditions", asked)
        of_store = issubclass(cls, FieldCondition)
        if of_store or (issubclass(cls, LearnedCondition) and missing_fields(cls.requires, FIELDS)):
            raise ConfigError(
                f"condition {asked} is learned from structures, and {name} has pictures and their classes alone; give "
                "conditions=class_label, or conditions.names=[] for none"
            )


def sized_model(config: "TrainConfig", images: "Images", data: "ImageData") -> "Model":
    """The model of a configuration, its space and networks as large as the images.

    Raises:
        ConfigError: if a part cannot be built, or the space is given another size.
    """
    from protgen.errors import ProtgenError
    from protgen.models.image_presets import image_config
    from protgen.models.model import build_model

    parts, binary = config.model, data.binarise != "none"
    rest = {part: entry for part, entry in parts.items() if part not in ("space", "conditions")}
    try:
        sized = image_config(images, rest, binary=binary, conditions=parts["conditions"])
        for key, value in parts["space"].items():
            if sized["space"].get(key, value) != value:
                raise ConfigError(f"space.{key} is {value}, and {data.name} has {sized['space'][key]}; leave it out")
        about = {"images": data.name, "binarise": data.binarise, "n_train": len(images.of("train"))}
        return build_model(sized | {"about": about})
    except ProtgenError:
        raise
    except Exception as error:  # a keyword of the right name and the wrong value, refused by torch
        raise ConfigError(cannot_be_built(error, config.given)) from error


@dataclass(frozen=True)
class ImageValidation:
    """What the training loop calls at every validation of a model of images: `validation(model, step, run)`.

    Attributes:
        batches: of the validation split, always the same.
        look: a further look at the model, at pictures of it; its figures join the loss.
    """

    batches: "Sequence[Batch]"
    look: "Evaluator | None" = None

    def __call__(self, model: "Model", step: int, run: Path | None) -> dict[str, float]:
        """Figures for the curves."""
        from protgen.training.validation import mean_losses

        found = mean_losses(model, self.batches, 0)
        if self.look is not None:
            found |= self.look(model, step, run)
        return found


def picture_evaluator(samples: int, steps: int) -> "Evaluator":
    """What a validation does with pictures: the same seeds each time, classes in turn, on one grid.

    Args:
        samples: how many pictures.
        steps: of the sampler, for families that take one.

    Returns:
        A function of the model, the step and the run folder, whose `pictures/` the grid goes to.
    """

    def look(model: "Model", step: int, run: Path | None) -> dict[str, float]:
        from protgen.errors import UsageError
        from protgen.evaluation.image_grid import save_grid
        from protgen.models.image_samples import ImageSampling, draw_images

        if run is None:
            return {}
        labels = [i % CLASSES if model.conditions.names else -1 for i in range(samples)]
        sampling = ImageSampling(steps=steps if model.family.takes_sampler else None)
        try:
            pictures = draw_images(model, labels, 0, sampling)
        except UsageError:  # an autoencoder has no samples
            return {}
        (run / "pictures").mkdir(exist_ok=True)
        save_grid(pictures, run / "pictures" / f"step_{step:08d}.png")
        return {}

    return look


def next_lines(config: "TrainConfig", trained: "Model") -> list[str]:
    """What to do with a trained model."""
    from protgen.families.vae import is_autoencoder

    model = config.run / "model"
    where = f" --folder {config.images.folder}" if config.images and config.images.folder else ""
    if is_autoencoder(trained.family):  # it has no samples, and no likelihood to measure
        return [
            f"Next:  protgen reconstruct --model {model} --images 0-9{where} --out {config.run / 'reconstructions'}",
            f"       protgen encode --model {model} --images 0-9{where} --out latents.npz",
        ]
    return [
        f"Next:  protgen sample-images --model {model} --out samples.png",
        f"       protgen evaluate-images --model {model}{where} --out {config.run / 'evaluation'}",
    ]
