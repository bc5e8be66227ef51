"""Pictures from a model of images: each from a random stream of its own, of the class that is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen import registry
from protgen.conditions.class_label import ClassLabel
from protgen.errors import UsageError
from protgen.models.model import Model
from protgen.samplers.base import Guidance, Sampler, SamplingTask
from protgen.spaces.image import Image
from protgen.types import Conditioning

AT_ONCE = 100  # pictures


@dataclass(frozen=True)
class ImageSampling:
    """How pictures are made.

    Attributes:
        sampler: name of it, for families that take one; None for Euler.
        steps: of the sampler; None for its own number.
        guidance: weight of the class (classifier-free guidance); 1 is plain conditioning.
        temperature: factor of all standard deviations.
        spacing: exponent of the sampler's times; above 1 steps are finer near data (Song et al. 2021, DDIM, appendix
            D.2, has 2 for colours). None for its own, 1 in all of ours.
        self_condition: whether each step of the sampler reads the prediction of the step before (Chen et al. 2023,
            Analog Bits). None for its own choice, which is to. A model that has not learned to reads none anyhow.
    """

    sampler: str | None = None
    steps: int | None = None
    guidance: float = 1.0
    temperature: float = 1.0
    spacing: float | None = None
    self_condition: bool | None = None


def image_space(model: Model, wish: str) -> Image:
    """The space of a model of images.

    Args:
        model: the model.
        wish: what it is needed for, for the message.

    Raises:
        UsageError: if the model is of something else.
    """
    space = model.family.space
    if not isinstance(space, Image):
        name = model.config.get("space", {}).get("name", type(space).__name__)
        raise UsageError(f"{wish} needs a model of images, and this one is over {name}; train one with data=digits")
    return space


def sampler_of(model: Model, sampling: ImageSampling) -> Sampler | None:
    """The sampler that a model is sampled with; None for a family that takes none.

    Raises:
        UsageError: if a family without a sampler is given one, or keywords of one.
    """
    keys = ("steps", "spacing", "self_condition")
    given = {key: value for key in keys if (value := getattr(sampling, key)) is not None}
    if model.family.takes_sampler:
        return registry.build("samplers", sampling.sampler or "euler", **given)
    if sampling.sampler is not None or given:
        name = model.config["family"]["name"]
        raise UsageError(
            f"{name} samples directly: it takes no sampler and no steps, spacing or self-conditioning; leave them out"
        )
    return None


def asked_classes(model: Model, labels: Sequence[int], mask: Tensor) -> Conditioning:
    """y of pictures: their classes, and nothing where a label is -1.

    Raises:
        ConfigError: if the model has not learned classes.
        UsageError: for a class that does not exist.
    """
    return model.conditions.from_requests([[ClassLabel(k)] if k >= 0 else [] for k in labels], mask)


def draw_images(
    model: Model, labels: Sequence[int], seed: int = 0, sampling: ImageSampling | None = None
) -> Float[Tensor, "n h w c"]:
    """Pictures with brightness 0 to 1, on the CPU; picture i depends on (seed, i) and its label alone.

    Args:
        model: of images.
        labels: the class of each, -1 for any.
        seed: of the random streams.
        sampling: how.

    Raises:
        UsageError: if the model is of something else, or does not take the sampler.
        ConfigError: if it has not learned classes and one is asked for.
    """
    space, sampling = image_space(model, "drawing pictures"), sampling or ImageSampling()
    sampler = sampler_of(model, sampling)
    device = next((p.device for p in model.family.parameters()), torch.device("cpu"))
    pictures = []
    for rows in torch.arange(len(labels)).split(AT_ONCE if device.type == "cpu" else 10 * AT_ONCE):
        mask = space.full_mask(len(rows)).to(device)
        cond = asked_classes(model, [int(labels[i]) for i in rows.tolist()], mask)
        streams = [Generator().manual_seed(seed * 1_000_003 + i) for i in rows.tolist()]
        guidance = Guidance(model.conditions.unknown(mask), sampling.guidance)
        task = SamplingTask(mask, cond, streams, sampling.temperature, guidance=guidance)
        with torch.no_grad():
            pictures.append(space.observe(model.family.sample(task, sampler)).clamp(0, 1).cpu())
    return torch.cat(pictures) if pictures else torch.zeros(0, space.height, space.width, space.channels)
