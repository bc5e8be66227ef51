"""What a model of images is worth: test likelihood, distances of its samples from real images, the class that it obeys.

Likelihoods are of test images with their classes unknown, or summed out. Families with a density of the continuum get
grey values dequantised, which gives a bound on the probability of the values; the likelihoods of the others are those
of whole grey values already. Binary pixels have probabilities.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.data.images import Images, binarise, dequantise, to_batch
from protgen.evaluation.first_times import best_first
from protgen.evaluation.image_features import CLASSES, Evaluator, brightness, distances, train_classifier
from protgen.families.base import Family, LatentFamily, LikelihoodFamily, reconstruct
from protgen.families.vae import VAE, is_autoencoder
from protgen.models.image_samples import ImageSampling, asked_classes, draw_images, image_space, sampler_of
from protgen.models.model import Model
from protgen.types import Batch, Conditioning, State

MANY = 1000  # importance samples; from there on on FEW images
FEW = 2000
CHUNK = 100  # images at a time
ROUND = 5  # digits of distances


@dataclass(frozen=True)
class ImageEvaluation:
    """What is measured, and how.

    Attributes:
        samples: pictures drawn without a class, for the distances.
        asked: pictures drawn of a class each, for obedience.
        test: test images whose likelihood is found, the first ones.
        importance: importance samples of VAEs, each with its bound.
        sum_classes: whether p(x) = sum_y p(x | y) / 10 is found in place of p(x | y unknown).
        steps: numbers of steps of the sampler, each with its distances; empty for its own number.
        sampling: sampler, and guidance of the classes that are asked for.
        seed: of samples.
    """

    samples: int = 1000
    asked: int = 1000
    test: int = 10_000
    importance: tuple[int, ...] = (1, 50)
    sum_classes: bool = False
    steps: tuple[int, ...] = ()
    sampling: ImageSampling = field(default_factory=ImageSampling)
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """What an evaluation found.

    Attributes:
        report: likelihood and samples, as `report.json` has them.
        pictures: the first hundred, of a class each where the model knows classes; None for a model without samples.
        reconstructions: test images above what is left of them; None for a family without latents.
    """

    report: dict[str, Any]
    pictures: Tensor | None
    reconstructions: Tensor | None


def evaluate_model(
    model: Model, images: Images, settings: ImageEvaluation, classifier_steps: int, evaluator: Evaluator | None = None
) -> Measured:
    """All that is measured of a model of images.

    Args:
        model: in evaluation mode.
        images: its data, with a test split; binarised where it is binary.
        settings: what is measured.
        classifier_steps: of the feature net.
        evaluator: a feature net that is trained already, in place of a new one.

    Raises:
        UsageError: if a setting does not fit the model or the data.
        ConfigError: if classes are to be summed over, and the model has not learned them.
    """
    check_evaluation(model, settings)
    likelihood = likelihood_of_test(model, images, settings)
    again = reconstructions(model, images)
    report: dict[str, Any] = {"data": images.name, "likelihood": likelihood}
    if is_autoencoder(model.family):
        none = {"samples": "none: an autoencoder has no prior to draw from"}
        return Measured(report | {"samples": none}, None, again)
    evaluator = evaluator or train_classifier(images, classifier_steps)
    found, pictures = sample_distances(model, evaluator, images, settings)
    return Measured(report | {"samples": found}, pictures, again)


def check_evaluation(model: Model, settings: ImageEvaluation) -> None:
    """Check that a model takes the settings, before anything is measured.

    Raises:
        UsageError: if it is of something else, or takes no sampler and one is named, or steps.
        ConfigError: if classes are to be summed over, and it has not learned them.
    """
    mask = image_space(model, "a measure of images").full_mask(1)
    for steps in settings.steps or (None,):
        sampler_of(model, replace(settings.sampling, steps=steps))
    if settings.sum_classes:
        asked_classes(model, [0], mask)


def prepared(batch: Batch, images: Images, family: Family, binary: bool, rng: Generator) -> Batch:
    """Test images as a model's likelihood takes them: binarised where it is binary, dequantised where it needs it.

    Args:
        batch: of the set.
        images: the set; pixels of two levels are binary already.
        family: of the model.
        binary: whether the model's pixels are binary.
        rng: of the draw.
    """
    if binary:
        return batch if images.levels == 2 else binarise(batch, images.levels, rng)
    return dequantise(batch, rng) if family.dequantised else batch


def device_of(model: Model) -> torch.device:
    """Where the family's numbers are."""
    return next((p.device for p in model.family.parameters()), torch.device("cpu"))


def points_of_test(model: Model, images: Images, count: int) -> Iterator[tuple[State, Batch]]:
    """The first test images as points of the space, with noise from seed 0."""
    space, test = image_space(model, "a likelihood of images"), images.of("test")
    rng, device = Generator().manual_seed(0), device_of(model)
    count = min(count, len(test))
    for rows in np.array_split(np.arange(count), max(1, count // CHUNK)):
        batch = prepared(to_batch(test, rows), images, model.family, space.binary, rng).to(device)
        yield space.encode(batch), batch


def classes_asked(model: Model, mask: Tensor, summed: bool) -> list[Conditioning]:
    """What y may be: unknown, or each of the ten classes."""
    if not summed:
        return [model.conditions.unknown(mask)]
    return [asked_classes(model, [k] * len(mask), mask) for k in range(CLASSES)]


def likelihood_of_test(model: Model, images: Images, settings: ImageEvaluation) -> dict[str, Any]:
    """Mean test nats, standard error, bits/dim and kind; for VAEs at each number of importance samples.

    With `sum_classes`, a bound on each p(x | y) gives a bound on their sum.
    """
    family = model.family
    image_space(model, "a likelihood of images")
    if not isinstance(family, LikelihoodFamily):
        return {"likelihood": "none: this family has no density"}
    if is_autoencoder(family):
        return {"likelihood": "none: an autoencoder has no density"}
    if isinstance(family, VAE):
        return {f"k = {k}": mean_likelihood(model, images, settings, k) for k in settings.importance}
    with best_first(model, images) as begins:
        found = mean_likelihood(model, images, settings)
    return {"log_prob": found | ({"begins": begins} if begins else {})}


def mean_likelihood(model: Model, images: Images, settings: ImageEvaluation, k: int = 0) -> dict[str, Any]:
    """What is known of the likelihood of test images.

    Args:
        model: of a family with a likelihood.
        images: the set.
        settings: how many images, and whether classes are summed over.
        k: importance samples of a VAE.
    """
    family, space = model.family, image_space(model, "a likelihood of images")
    nats, kind = [], "lower_bound"
    rng = Generator().manual_seed(1)
    for x, batch in points_of_test(model, images, settings.test if k < MANY else min(settings.test, FEW)):
        each = []
        for cond in classes_asked(model, batch.mask, settings.sum_classes):
            if isinstance(family, VAE):
                each.append(family.bound(x, cond, rng, k, chunk=2000))
            else:
                assert isinstance(family, LikelihoodFamily)
                with torch.no_grad():
                    given = family.log_prob(x, cond, rng)
                kind = given.kind
                each.append(given.nats)
        nats.append((torch.stack(each).logsumexp(0) - math.log(len(each))).cpu())
    values = torch.cat(nats).double()
    return {
        "kind": kind,
        "y": "summed over ten classes" if settings.sum_classes else "unknown",
        "nats": round(float(-values.mean()), 3),
        "standard_error": round(float(values.std() / len(values) ** 0.5), 3),
        "bits_per_dim": round(float(space.bits_per_dim(values).mean()), 4),
        "test_images": len(values),
    }


def sample_distances(
    model: Model, evaluator: Evaluator, images: Images, settings: ImageEvaluation
) -> tuple[dict[str, Any], Float[Tensor, "n h w c"]]:
    """Distances of samples without a class from the test split, for each number of steps, and obedience to classes.

    Beside them is the floor: as many training images in place of samples, what a perfect model of the data gets.

    Args:
        model: of images.
        evaluator: the feature net.
        images: the set, binarised where the model is binary.
        settings: what is measured.

    Returns:
        The figures, and the first hundred pictures with a class asked (or without, if the model knows none).
    """
    test, train = images.of("test"), images.of("train")
    reference = evaluator.features(brightness(test, np.arange(len(test))))
    chosen = np.random.default_rng(0).permutation(len(train))[: settings.samples]
    found: dict[str, Any] = {"feature_net": evaluator.name, "accuracy": evaluator.accuracy, "samples": settings.samples}
    found["reference"] = f"all {len(test)} test images"
    found["training images against the reference"] = shown(evaluator, brightness(train, chosen), reference)
    several: Sequence[int | None] = settings.steps if model.family.takes_sampler and settings.steps else (None,)
    made = torch.zeros(0)
    for steps in several:
        start = time.process_time()
        made = draw_images(model, [-1] * settings.samples, settings.seed, replace(settings.sampling, steps=steps))
        seconds = (time.process_time() - start) / len(made)
        name = settings.sampling.sampler or "euler"
        key = "one go" if not model.family.takes_sampler else f"{name}, {steps} steps" if steps else name
        key += "" if settings.sampling.spacing is None else f", spacing {settings.sampling.spacing:g}"
        key += ", no self-conditioning" if settings.sampling.self_condition is False else ""
        found[key] = shown(evaluator, made, reference) | {"cpu_seconds_per_sample": round(seconds, 4)}
    if model.conditions.names:
        asked = [i % CLASSES for i in range(settings.asked)]
        how = replace(settings.sampling, steps=max((s for s in several if s), default=None))
        made = draw_images(model, asked, settings.seed + 1, how)
        obeyed = (evaluator.classes(made) == torch.tensor(asked)).float()
        found["class asked is class seen"] = round(float(obeyed.mean()), 4)
        found["classes asked"] = {"n": len(asked), "guidance": settings.sampling.guidance} | by_class(obeyed)
    return found, made[:100]


def by_class(obeyed: Float[Tensor, " n"]) -> dict[str, Any]:
    """Standard error of the mean, and the mean of each class, of labels that run through the classes in turn."""
    mean = float(obeyed.mean())
    each = [round(float(obeyed[k::CLASSES].mean()), 3) for k in range(min(CLASSES, len(obeyed)))]
    return {"standard_error": round((mean * (1 - mean) / len(obeyed)) ** 0.5, 4), "each": each}


def shown(evaluator: Evaluator, pictures: Float[Tensor, "n h w c"], reference: np.ndarray) -> dict[str, Any]:
    """Distances as a report has them."""
    return {
        name: round(value, ROUND) if isinstance(value, float) else value
        for name, value in asdict(distances(evaluator.features(pictures), reference)).items()
    }


def reconstructions(model: Model, images: Images, count: int = 40) -> Float[Tensor, "n h w c"] | None:
    """Test images in rows of ten, each row above what is left of it; None for a family without latents."""
    family, space = model.family, image_space(model, "reconstructions")
    if not isinstance(family, LatentFamily):
        return None
    x, batch = next(points_of_test(model, images, count))
    with torch.no_grad():
        again = reconstruct(family, x, model.conditions.unknown(batch.mask))
    kept = min(count, len(batch.mask)) // 10 * 10
    pairs = [space.observe(s)[:kept].unflatten(0, (-1, 10)) for s in (x, again)]
    return torch.stack(pairs, 1).flatten(0, 2).cpu()
