"""Images by name from files: digits that come with scikit-learn, MNIST and its like.

Nothing is downloaded. What is packed is unpacked to a limit.
"""

import gzip
import math
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from protgen.data.cifar10 import load_cifar10
from protgen.data.images import MOST_BYTES, Images, checked_labels, require_training
from protgen.errors import DataError
from protgen.registry import nearest

DIGITS = "digits"  # the set that needs no files
NAMES = (DIGITS, "mnist", "fashion", "cifar10")


def load_images(name: str, folder: str | PathLike[str] | None = None) -> Images:
    """A data set by name.

    Args:
        name: digits, mnist, fashion or cifar10.
        folder: where its files are (a file for CIFAR-10); digits need none.

    Raises:
        DataError: if the name is unknown or files are missing or damaged.
    """
    if name == DIGITS:
        return load_digits()
    if name not in NAMES:
        raise DataError(f"no images named {name!r}: {nearest(str(name), list(NAMES))}")
    if folder is None:
        raise DataError(f"{name} is read from files; give the folder they are in")
    where = Path(folder)
    if not where.exists():
        raise DataError(f"{where}: no such file or folder; give the one that holds {name}")
    return load_cifar10(where) if name == "cifar10" else load_idx(where, name)


def load_digits() -> Images:
    """The 1,797 digits of 8 x 8 pixels and 17 grey values within scikit-learn (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits as load

    bunch: Any = load()  # a tuple in its other form, which type checkers take it for
    count = len(bunch.target)
    # Writers follow each other in the file: a random split, always the same.
    order = np.random.default_rng(0).permutation(count)
    splits = np.full(count, "train", dtype="<U10")
    splits[order[:300]] = "test"
    splits[order[300:500]] = "validation"
    return Images("digits", bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64), splits, 17)


def load_idx(folder: Path, name: str = "mnist", held_out: int = 10_000) -> Images:
    """MNIST or Fashion-MNIST from the four IDX files of their authors, gzipped or not.

    Args:
        folder: where they are.
        name: what to call the set.
        held_out: how many images at the end of the training file are the validation split.

    Raises:
        DataError: if a file is missing or damaged, or no image is left to train on.
    """
    parts = []
    for part in ("train", "t10k"):
        images, labels = (find_idx(folder, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        pixels, classes = read_idx(images, 3), checked_labels(read_idx(labels, 1), f"{labels}:")
        if len(pixels) != len(classes):
            raise DataError(f"{images}: {len(pixels)} images but {len(classes)} labels; get both files again")
        parts.append((pixels, classes))
    (train, train_labels), (test, test_labels) = parts
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size; they are of two data sets")
    if not train[0].size:
        raise DataError(f"{folder}: images of {train.shape[1]} x {train.shape[2]} pixels; get all files again")
    require_training(f"{folder}: the training file of {name}", len(train), held_out)
    splits = np.full(len(train) + len(test), "train", dtype="<U10")
    splits[max(0, len(train) - held_out) : len(train)] = "validation"
    splits[len(train) :] = "test"
    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    return Images(name, np.concatenate([train, test])[..., None], labels, splits)


def find_idx(folder: Path, stem: str) -> Path:
    """The file of that name, with or without .gz, and with the dot some copies have for a dash."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    raise DataError(f"{folder / stem}: no such file, gzipped or not; get it from the data set's own site")


def read_idx(path: Path, axes: int) -> np.ndarray:
    """An IDX file of unsigned bytes: two zeros, type 8, the number of axes, sizes big-endian, values.

    Raises:
        DataError: if it is anything else.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it again") from error
    if len(raw) > MOST_BYTES:
        raise DataError(f"{path}: holds more than {MOST_BYTES:,} bytes; no set of images that is read here does")
    if raw[:4] != bytes([0, 0, 8, axes]) or len(raw) < 4 + 4 * axes:
        raise DataError(f"{path}: is no IDX file of bytes with {axes} axes; get it again")
    shape = [int.from_bytes(raw[start : start + 4], "big") for start in range(4, 4 + 4 * axes, 4)]
    # As Python's numbers, which have no end: the product of three sizes would wrap to 0 in those of NumPy.
    values, stated = len(raw) - 4 - 4 * axes, math.prod(shape)
    if values != stated:
        raise DataError(f"{path}: holds {values:,} values, not {stated:,}; get it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
