"""Networks and keywords of each family on images, as large as the images are.

A preset is a family with what it is best built from for small images on a CPU. A name after a dash is a variant: the
same family by other keywords. `image_config` gives the configuration of a model, which `build_model` takes.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from protgen import registry
from protgen.data.images import Images
from protgen.errors import ConfigError
from protgen.models.model import Model, build_model, family_class, with_whole_roles
from protgen.registry import nearest
from protgen.types import JSON

SMALL = 16  # pixels: below it a side is halved once, and maps over all pixels at once are cheap
# The layers behind it are linear in its numbers of each pixel: more than one would cost a wide layer and say no more.
PERCEPTRON = {"name": "perceptron", "scalar_dim": 1}
UNET = {"name": "unet", "dim": 32}
PIXELCNN = {"name": "pixelcnn", "dim": 32, "blocks": 8, "kernel": 3}
COUPLING = {"name": "perceptron", "dim": 256, "blocks": 2, "scalar_dim": 8}
FLOW = {"name": "normalizing_flow", "conditional_base": True}
VAE = {"name": "vae", "latent_dim": 32, "pool": True}

PRESETS: Mapping[str, JSON] = {
    # Without noise, prior or likelihood: `protgen encode`, `reconstruct` and `interpolate` are what it can.
    "autoencoder": {"encoder": PERCEPTRON, "family": VAE | {"beta": 0.0}},
    "vae": {"encoder": PERCEPTRON, "family": VAE | {"warmup": 200}},
    "vae-hierarchical": {"encoder": PERCEPTRON, "family": VAE | {"levels": 2, "warmup": 200, "settle": 200}},
    "vae-importance": {"encoder": PERCEPTRON, "family": VAE | {"importance": 5, "warmup": 200}},
    "latent": {
        "encoder": PERCEPTRON,
        "prior": {"name": "transformer", "dim": 128, "blocks": 3, "fields": {"latents": 32}},
        "family": {"name": "latent", "latent_dim": 32, "joint": True, "vae": {"pool": True}},
    },
    "gan": {"encoder": UNET, "family": {"name": "gan"}},
    # Self-conditioning makes worse pictures (docs/images.md) and slower steps of training.
    "flow_matching": {
        "encoder": UNET,
        "family": {"name": "flow_matching", "data_bias": 1.0, "self_conditioning": 0.0},
    },
    "diffusion": {"encoder": UNET, "family": {"name": "diffusion", "self_conditioning": 0.0}},
    # On grey values the target v is VDM's own (family.target=v); means of binary pixels are between -1 and 1.
    "diffusion-vdm": {
        "encoder": UNET,
        "family": {
            "name": "diffusion",
            "path": "learned",
            "target": "v",
            "weighting": "bound",
            "self_conditioning": 0.0,
        },
    },
    "autoregressive": {
        "encoder": PIXELCNN,
        "family": {"name": "autoregressive", "width": 64, "plan_dim": 0, "candidates": 1},
    },
    "autoregressive-gpt": {
        "encoder": {"name": "transformer", "dim": 128, "blocks": 4, "heads": 4},
        "family": {"name": "autoregressive", "width": 128, "plan_dim": 0, "candidates": 1},
    },
    # Real NVP. Each step runs the network: a U-Net takes 30 times as long and then hardly learns the class.
    "normalizing_flow": {"encoder": COUPLING, "family": FLOW | {"steps": 8}},
    "normalizing_flow-spline": {"encoder": COUPLING, "family": FLOW | {"steps": 8, "coupling": "spline"}},
    # Glow's mixing and levels with splines, as in Durkan et al. 2019, section 5.2.
    "normalizing_flow-glow": {
        "encoder": COUPLING,
        "family": FLOW | {"steps": 4, "coupling": "spline", "mixing": True, "levels": 2},
    },
    # It has no network; every family is built with one, here the smallest.
    "classical": {
        "encoder": PERCEPTRON | {"dim": 8},
        "family": {"name": "classical", "model": "discriminant", "ridge": 1e-2},
    },
}


def preset_of(name: str) -> JSON:
    """The parts of a preset by their names in a configuration: encoder, family, and further networks.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no family named {name!r} for images: {nearest(name, sorted(PRESETS))}")
    return deepcopy(PRESETS[name])


def image_config(
    images: Images, parts: JSON, *, binary: bool = False, conditions: Sequence[str] = ("class_label",)
) -> JSON:
    """The configuration of a model of a set of images: space and networks as large as they are.

    Args:
        images: the set.
        parts: family and networks, as `preset_of` gives them.
        binary: whether pixels will be binarised.
        conditions: that are learned; none for p(x) alone.

    Raises:
        ConfigError: if a network reads no images.
    """
    height, width, channels = images.pixels.shape[1:]
    size = {"height": height, "width": width, "channels": channels}
    space = {"name": "image", **size, "levels": 2 if binary else images.levels, "binary": binary}
    config = with_whole_roles({"space": space, "conditions": list(conditions)} | deepcopy(dict(parts)))
    for part in ("encoder", *point_roles(config["family"]["name"])):
        if part in config:
            config[part] |= on_grid(part, config[part], size)
    return config


def point_roles(family: str) -> list[str]:
    """The networks of a family, beside its encoder, that read points of the space."""
    return [role for role, what in family_class(family).roles.items() if what.reads == "points"]


def on_grid(part: str, entry: Mapping[str, Any], size: Mapping[str, int]) -> JSON:
    """Keywords that make a network fit images of that size.

    Raises:
        ConfigError: if it reads none.
    """
    found = registry.find("encoders", entry["name"]).on_grid(**size)
    if found is None:
        able = [name for name, cls in registry.classes("encoders").items() if cls.on_grid(8, 8, 1) is not None]
        raise ConfigError(f"the {part} {entry['name']} reads no images; choose from {', '.join(able)}")
    if entry["name"] == "unet" and "multipliers" not in entry and min(size["height"], size["width"]) < SMALL:
        found["multipliers"] = [1, 2]
    return found


def build_image_model(
    images: Images,
    preset: str,
    *,
    binary: bool = False,
    conditions: Sequence[str] = ("class_label",),
    **changes: JSON,
) -> Model:
    """A model of a set of images, its weights fresh.

    Args:
        images: the set.
        preset: a key of `PRESETS`.
        binary: whether pixels will be binarised (`protgen.data.images.binarised`, `binarise`).
        conditions: that are learned; none for p(x) alone.
        changes: keywords of a part, as in `family={"beta": 4.0}, encoder={"dim": 64}`.

    Raises:
        ConfigError: for an unknown family, part or keyword.

    Examples:
        >>> from protgen.data.image_files import load_digits
        >>> build_image_model(load_digits(), "vae", encoder={"dim": 32})
        <Model vae over image with perceptron: 24,644 parameters, conditions: class_label>
    """
    parts = preset_of(preset)
    for part, keywords in changes.items():
        known = ["encoder", "family", *family_class(parts["family"]["name"]).roles]
        if part not in known:
            raise ConfigError(f"no part named {part!r} of {preset}: {nearest(part, known)}")
        if not isinstance(keywords, Mapping):
            raise ConfigError(f"{part} is {keywords!r}; give its keywords, as in {part}={{'dim': 64}}")
        parts[part] = parts.get(part, {}) | dict(keywords)
    about = {"images": images.name.removesuffix("-static"), "n_train": len(images.of("train"))}
    return build_model(image_config(images, parts, binary=binary, conditions=conditions) | {"about": about})
