"""Images in the configuration of `protgen train`: data=digits and the like choose space, networks and settings.

`image_overrides` turns what the user wrote into choices that Hydra composes, by the preset of the family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from protgen.data.image_files import DIGITS, NAMES
from protgen.errors import ConfigError

BINARISATIONS = ("none", "static", "dynamic")
USUAL = "diffusion"  # the family where none is chosen
KEYS = ("images", "folder", "binarise", "batch")  # of data
WITHOUT_MEANING = {
    "train.max_pairs_per_batch": "data.batch is the number of images of a step",
    "validation.max_pairs_per_batch": "data.batch is the number of images of a batch",
    "validation.length": "all images are of one size",
}


@dataclass(frozen=True)
class ImageData:
    """The `data` section of a configuration with images.

    Attributes:
        name: of the set.
        folder: where its files are; None for digits.
        binarise: none, static or dynamic.
        batch: images of a step.
    """

    name: str
    folder: Path | None
    binarise: Literal["none", "static", "dynamic"]
    batch: int


def image_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides of a configuration with images: those to be read as the user's, and the choices of a preset.

    Overrides of proteins come back as they are, with no choices.

    Args:
        overrides: `key=value` each, as typed.

    Raises:
        ConfigError: if images are combined with what is of proteins, or the other way round.
    """
    typed = dict(text.lstrip("+").split("=", 1) for text in overrides if "=" in text)
    if typed.get("data") not in NAMES:
        if typed.get("space") == "image":
            raise ConfigError(f"space=image needs images: add data={'|'.join(NAMES)}")
        return list(overrides), []
    if typed.get("space", "image") != "image":
        raise ConfigError(f"data={typed['data']} are images; use space=image, or leave space out")
    if "experiment" in typed:
        raise ConfigError(
            f"experiment={typed['experiment']} is of proteins; with data={typed['data']} choose family=NAME"
        )
    for key, reason in WITHOUT_MEANING.items():
        if key in typed:
            raise ConfigError(f"{key} has no meaning for images: {reason}")
    if typed.get("guide", "null") not in ("null", ""):
        raise ConfigError(
            f"guide={typed['guide']}: pictures are drawn without a weaker model to guide them; leave it out"
        )
    chosen = preset_choices(typed.get("family", USUAL), typed)
    kept = [text for text in overrides if text.lstrip("+").partition("=")[0] != "family"]
    return kept, chosen


def preset_choices(family: str, typed: Mapping[str, str]) -> list[str]:
    """Choices that make Hydra compose the preset of a family, but for what the user chose.

    Args:
        family: a key of `PRESETS`.
        typed: overrides by their keys.

    Raises:
        ConfigError: if there is no such preset.
    """
    from hydra.core.config_store import ConfigStore

    from protgen.models.image_presets import preset_of

    parts = preset_of(family)
    store, name = ConfigStore.instance(), "images_" + family.replace("-", "_")
    store.store(group="encoder", name=name, node=parts.pop("encoder"))
    store.store(group="family", name=name, node=parts, package="_global_")
    chosen = [f"family={name}"]
    usual = {"space": "image", "encoder": name, "conditions": "class_label", "train": "images"}
    return chosen + [f"{group}={value}" for group, value in usual.items() if group not in typed]


def read_image_data(section: Mapping[str, Any]) -> ImageData:
    """The `data` section, checked.

    Raises:
        ConfigError: for a value that does not fit.
    """
    name, folder, binarise, batch = (section.get(key) for key in KEYS)
    if name not in NAMES:
        raise ConfigError(f"data.images is {name!r}; give {', '.join(NAMES)}")
    if binarise not in BINARISATIONS:
        raise ConfigError(f"data.binarise is {binarise!r}; give {', '.join(BINARISATIONS)}")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ConfigError(f"data.batch is {batch!r}; give a whole number, at least 1")
    if name == DIGITS and folder is not None:
        raise ConfigError(f"data.folder is {folder}: digits come with scikit-learn, from no folder; leave it out")
    if name != DIGITS and folder is None:
        raise ConfigError(f"{name} is read from files; add data.folder=DIR, the folder that holds them")
    return ImageData(
        str(name), None if folder is None else Path(str(folder)), cast(Literal["none", "static", "dynamic"], binarise),
        batch,
    )  # fmt: skip
