"""Sets of labelled images and their batches; `protgen.data.image_files` reads them.

Pixels are bytes 0 to levels - 1, row-major. Everything is a function of files and seeds.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Generator

from protgen.errors import DataError
from protgen.types import Batch

Split = Literal["train", "validation", "test"]
CLASSES = 10  # of each set that is read
MOST_BYTES = 200_000_000  # that a file may unpack to; CIFAR-10, the largest, takes 186 MB


@dataclass(frozen=True)
class Images:
    """A set of labelled images of one size.

    Attributes:
        name: of the data set.
        pixels: (n, h, w, c) uint8 below `levels`.
        labels: (n,) class of each.
        splits: (n,) "train", "validation" or "test".
        levels: number of grey values.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    levels: int = 256

    def of(self, split: Split) -> "Images":
        """The images of one split."""
        rows = self.splits == split
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], splits=self.splits[rows])

    def __len__(self) -> int:
        return len(self.pixels)


def checked_labels(labels: np.ndarray, where: str) -> np.ndarray:
    """Labels as int64.

    Args:
        labels: whole numbers.
        where: what holds them, for the message.

    Raises:
        DataError: if there are none, or one is no class from 0 to 9.
    """
    if not len(labels) or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(f"{where} has labels other than 0 to {CLASSES - 1}, or none; get it again")
    return labels.astype(np.int64)


def require_training(where: str, count: int, held_out: int) -> None:
    """Check that pictures are left to train on beside the validation split.

    Args:
        where: what holds the pictures, for the message.
        count: pictures that are not of the test split.
        held_out: the last of them, for validation.

    Raises:
        DataError: if none is.
    """
    if count <= held_out:
        raise DataError(
            f"{where} holds {count:,} pictures, of which {held_out:,} are held out for validation, and none is left to "
            "train on; get the whole set"
        )


def binarised(images: Images, seed: int = 0) -> Images:
    """Static binarisation: each pixel is 1 with the probability its grey value says, drawn once from the seed.

    After Salakhutdinov and Murray 2008. Their own draw of MNIST is a file of its own; figures of this one are of the
    same distribution, but name it.
    """
    rng = np.random.default_rng(seed)
    # In parts: random numbers of 70,000 images at once take half a gigabyte.
    parts = [
        rng.random(part.shape, dtype=np.float32) * (images.levels - 1) < part
        for part in np.array_split(images.pixels, max(1, len(images) // 1000))
    ]
    return replace(images, name=f"{images.name}-static", pixels=np.concatenate(parts).astype(np.uint8), levels=2)


def to_batch(images: Images, rows: np.ndarray) -> Batch:
    """Rows of a set: `pixels` (b, l, c) uint8, `class_label` (b,), and a mask all True."""
    pixels = torch.from_numpy(images.pixels[rows]).flatten(1, 2)
    mask = torch.ones(pixels.shape[:2], dtype=torch.bool)
    return Batch({"pixels": pixels, "class_label": torch.from_numpy(images.labels[rows])}, mask)


def binarise(batch: Batch, levels: int, rng: Generator) -> Batch:
    """Dynamic binarisation: drawn anew each time a batch is made."""
    pixels = batch["pixels"]
    ones = torch.rand(pixels.shape, generator=rng) * (levels - 1) < pixels
    return Batch({**batch.arrays, "pixels": ones.to(torch.uint8)}, batch.mask)


def dequantise(batch: Batch, rng: Generator) -> Batch:
    """Uniform dequantisation: v + u, u uniform in [0, 1), as floats."""
    pixels = batch["pixels"].float()
    return Batch({**batch.arrays, "pixels": pixels + torch.rand(pixels.shape, generator=rng)}, batch.mask)


class ImageBatches:
    """Endless batches of a set in a new random order each epoch: `batches(i)` is batch i, whatever was asked before.

    Args:
        images: the set.
        size: images of a batch; what does not fill one is left out of an epoch.
        seed: of the order.
        change: what is made of each batch, with a random stream of (seed, i), such as a binarisation.

    Raises:
        DataError: if the set has fewer images than a batch.
    """

    def __init__(
        self, images: Images, size: int, seed: int, change: Callable[[Batch, Generator], Batch] | None = None
    ) -> None:
        self.images, self.size, self.seed, self.change = images, size, seed, change
        self.per_epoch = len(images) // size
        if not self.per_epoch:
            raise DataError(f"{images.name}: {len(images)} images do not fill a batch of {size}; make it smaller")
        self._epoch, self._order = -1, np.zeros(0, dtype=int)

    def __call__(self, step: int) -> Batch:
        """Batch number `step`, from 0."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self._epoch, self._order = epoch, order
        batch = to_batch(self.images, self._order[number * self.size : (number + 1) * self.size])
        if self.change is None:
            return batch
        state = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)[0]
        return self.change(batch, Generator().manual_seed(int(state >> np.uint64(1))))


def image_batches(images: Images, size: int, seed: int, start: int = 0) -> Iterator[Batch]:
    """The batches of `ImageBatches` from a step on.

    Args:
        images, size, seed: as there.
        start: the step.

    Raises:
        DataError: if the set has fewer images than a batch.
    """
    return map(ImageBatches(images, size, seed), itertools.count(start))
