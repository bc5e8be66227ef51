"""Distances between sets of images, on features of a small classifier that is trained here.

The numbers depend on the feature net: they compare models within one table, and never with published FIDs, which use
Inception features. The net is named `cnn64-<data set>-seed<s>-steps<n>`, with its test accuracy next to every number.

References:
    Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, eq. 6 (FID).
    Chong and Forsyth 2020, Effectively Unbiased FID and Inception Score and where to find them, section 4.
    Bińkowski et al. 2018, Demystifying MMD GANs, section 4 (KID: cubic polynomial kernel, unbiased).
    Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative Models, section 2.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.data.images import Images, image_batches, to_batch
from protgen.errors import UsageError
from protgen.metrics.distribution import frechet_distance, neighbourhood

WIDTH = 64  # features of an image
CLASSES = 10
FEWEST = WIDTH + 2  # images of a set: fewer have no covariance of full rank
NEIGHBOURS = 3  # of the balls of precision and recall, as Kynkäänniemi et al. choose


class FeatureNet(nn.Module):
    """Three convolutions, features averaged over the image, and a linear classifier on them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(64, WIDTH, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.classify = nn.Linear(WIDTH, CLASSES)

    def features(self, pictures: Float[Tensor, "b h w c"]) -> Float[Tensor, "b d"]:
        """(b, h, w, c) brightness 0 to 1 -> (b, WIDTH)."""
        return self.body(2 * pictures.permute(0, 3, 1, 2) - 1).mean((2, 3))

    def forward(self, pictures: Float[Tensor, "b h w c"]) -> Float[Tensor, "b k"]:
        """Logits of ten classes."""
        return self.classify(self.features(pictures))


@dataclass(frozen=True)
class Evaluator:
    """A trained feature net, its name and test accuracy, and mean and std of its features on training images."""

    net: FeatureNet
    name: str
    accuracy: float
    centre: Tensor
    std: Tensor

    @torch.no_grad()
    def features(self, pictures: Float[Tensor, "n h w c"]) -> np.ndarray:
        """(n, h, w, c) -> (n, WIDTH), in parts; each feature of mean 0 and standard deviation 1 on training images."""
        raw = torch.cat([self.net.features(part) for part in pictures.split(500)])
        return ((raw - self.centre) / self.std).double().numpy()

    @torch.no_grad()
    def classes(self, pictures: Float[Tensor, "n h w c"]) -> Int[Tensor, " n"]:
        """The class of each picture."""
        return torch.cat([self.net(part).argmax(-1) for part in pictures.split(500)])


def brightness(images: Images, rows: np.ndarray) -> Float[Tensor, "n h w c"]:
    """Pictures of a set as floats from 0 to 1."""
    return torch.from_numpy(images.pixels[rows]).float() / (images.levels - 1)


def train_classifier(images: Images, steps: int = 1500, size: int = 128, seed: int = 0) -> Evaluator:
    """A feature net trained to classify the training split.

    Args:
        images: a set with a training and a test split.
        steps: of AdamW, its rate falling linearly from 2e-3.
        size: of a batch.
        seed: of weights and batches; the global random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureNet(images.pixels.shape[-1])
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    batches = image_batches(images.of("train"), size, seed)
    height, width = images.pixels.shape[1:3]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        batch = next(batches)
        pictures = batch["pixels"].float().unflatten(1, (height, width)) / (images.levels - 1)
        loss = nn.functional.cross_entropy(net(pictures), batch["class_label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    train, test = images.of("train"), images.of("test")
    with torch.no_grad():
        seen = net.eval().features(brightness(train, np.arange(min(len(train), 2000))))
    name = f"cnn{WIDTH}-{images.name}-seed{seed}-steps{steps}"
    evaluator = Evaluator(net, name, 0.0, seen.mean(0), seen.std(0).clamp(min=1e-3))
    found = evaluator.classes(brightness(test, np.arange(len(test))))
    accuracy = float((found == to_batch(test, np.arange(len(test)))["class_label"]).float().mean())
    return replace(evaluator, accuracy=accuracy)


@dataclass(frozen=True)
class Distances:
    """Distances of n features from a reference, with what is due to n removed or named.

    Attributes:
        fid: Fréchet distance at n; rises as n falls, by about a constant over n.
        fid_infinity: intercept of a line through it in 1 / n, at five sizes from n / 4 to n (Chong and Forsyth 2020).
        kid: unbiased kernel distance, for any n.
        precision: fraction of the set inside a ball of the reference: how many look real.
        recall: fraction of the reference inside a ball of the set: how much of the real is there.
        n: features.
    """

    fid: float
    fid_infinity: float
    kid: float
    precision: float
    recall: float
    n: int


def distances(features: np.ndarray, reference: np.ndarray, seed: int = 0, repeats: int = 4) -> Distances:
    """All distances of a set from a reference.

    Args:
        features: (n, d).
        reference: (m, d), all of it in every distance.
        seed: of the subsets.
        repeats: subsets of each size; their mean is fitted.

    Raises:
        UsageError: if either set is too small for a covariance.
    """
    rng, n = np.random.default_rng(seed), len(features)
    if min(n, len(reference)) < FEWEST:
        raise UsageError(f"{n} pictures and {len(reference)} real ones: distances need at least {FEWEST} of each")
    sizes = np.unique(np.linspace(max(features.shape[1] + 2, n // 4), n, 5).astype(int))
    means = [
        np.mean(
            [
                frechet_distance(features[rng.permutation(n)[:size]], reference)
                for _ in range(repeats if size < n else 1)
            ]
        )
        for size in sizes
    ]
    intercept = np.polyfit(1 / sizes, means, 1)[1] if len(sizes) > 1 else np.nan
    balls = neighbourhood(reference, features, NEIGHBOURS)
    return Distances(
        fid=float(means[-1]),
        fid_infinity=float(intercept),
        kid=kernel_distance(features, reference),
        precision=balls.precision,
        recall=balls.recall,
        n=n,
    )


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)^3."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = []
    for x in (a, b):
        k, n = kernel(x, x), len(x)
        within.append((k.sum() - np.trace(k)) / (n * (n - 1)))
    return float(within[0] + within[1] - 2 * kernel(a, b).mean())
