"""Images from files to batches: digits that come with scikit-learn, MNIST and its like, CIFAR-10.

Pixels are bytes 0 to levels - 1, row-major. Everything is a function of files and seeds; nothing is downloaded and
nothing is unpickled.
"""

import gzip
import io
import itertools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator

from protgen.errors import DataError
from protgen.registry import nearest
from protgen.types import Batch

Split = Literal["train", "validation", "test"]
CIFAR_BINARY = "cifar-10-binary.tar.gz"
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: a label, and 3 planes of 32 x 32
MOST_BYTES = 200_000_000  # that a file may unpack to; the images of MNIST, the largest, take 47 MB


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


def load_images(name: str, folder: Path | None = None) -> Images:
    """A data set by name.

    Args:
        name: digits, mnist, fashion or cifar10.
        folder: where its files are (a file for CIFAR-10); digits need none.

    Raises:
        DataError: if the name is unknown or files are missing or damaged.
    """
    if name == "digits":
        return load_digits()
    if name not in ("mnist", "fashion", "cifar10"):
        raise DataError(f"no images named {name!r}: {nearest(name, ['digits', 'mnist', 'fashion', 'cifar10'])}")
    if folder is None:
        raise DataError(f"{name} is read from files; give the folder they are in")
    return load_cifar10(folder) if name == "cifar10" else load_idx(folder, name)


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
        DataError: if a file is missing or damaged.
    """
    parts = []
    for part in ("train", "t10k"):
        images, labels = (find_idx(folder, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        pixels, classes = read_idx(images, 3), read_idx(labels, 1)
        if len(pixels) != len(classes):
            raise DataError(f"{images}: {len(pixels)} images but {len(classes)} labels; get both files again")
        parts.append((pixels, classes))
    (train, train_labels), (test, test_labels) = parts
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size; they are of two data sets")
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
    shape = np.frombuffer(raw, ">u4", axes, 4).astype(np.int64)
    if len(raw) - 4 - 4 * axes != int(shape.prod()):
        raise DataError(f"{path}: holds {len(raw) - 4 - 4 * axes} values, not {int(shape.prod())}; get it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(tuple(int(n) for n in shape))


def load_cifar10(path: Path, held_out: int = 5_000) -> Images:
    """CIFAR-10 from `cifar-10-binary.tar.gz` (Krizhevsky 2009), or from an `.npz` of JPEG pictures.

    The python version of the archive is a pickle, which runs whatever its maker wrote; it is not opened.

    Args:
        path: the file, or the folder that holds it.
        held_out: how many images at the end of the training set are the validation split.

    Raises:
        DataError: if the file is missing, damaged, or the python version.
    """
    if path.is_dir():
        found = [p for p in [path / CIFAR_BINARY, *sorted(path.glob("*cifar10*.npz"))] if p.is_file()]
        if not found:
            other = " (the python version is a pickle, which is not opened)" if list(path.glob("*python*")) else ""
            raise DataError(f"{path}: no {CIFAR_BINARY}{other}; get the binary version from the data set's own site")
        path = found[0]
    if path.suffix == ".npz":
        return load_jpeg_npz(path, held_out)
    if "python" in path.name:
        raise DataError(f"{path}: is the python version, a pickle, which is not opened; get {CIFAR_BINARY}")
    raw = read_cifar_files(path, [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"])
    rows = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, CIFAR_RECORD)
    test = np.arange(len(rows)) >= len(rows) - len(raw[-1]) // CIFAR_RECORD
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return cifar_set("cifar10", pixels, rows[:, 0], test, held_out)


def read_cifar_files(path: Path, names: Sequence[str]) -> list[bytes]:
    """The files of an archive of CIFAR-10, each of whole records.

    Raises:
        DataError: if one is missing or cut short, or the archive cannot be read.
    """
    try:
        with tarfile.open(path) as archive:
            members = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}
            missing = [name for name in names if name not in members]
            if missing:
                raise DataError(f"{path}: has no {missing[0]}; get {CIFAR_BINARY} again")
            large = [name for name in names if members[name].size > MOST_BYTES]
            if large:
                raise DataError(f"{path}: {large[0]} holds more than {MOST_BYTES:,} bytes; get {CIFAR_BINARY} again")
            raw = [archive.extractfile(members[name]).read() for name in names]  # pyright: ignore - is a file
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get {CIFAR_BINARY} again") from error
    for name, part in zip(names, raw, strict=True):
        if not part or len(part) % CIFAR_RECORD:
            raise DataError(f"{path}: {name} is cut short; get {CIFAR_BINARY} again")
    return raw


def load_jpeg_npz(path: Path, held_out: int = 500) -> Images:
    """CIFAR-10 pictures as JPEG bytes one after the other: `jpeg`, `offset` (n + 1), `label`, `is_test`.

    JPEG is lossy: no bits per dimension of these compare with those of the original.

    Raises:
        DataError: if something is missing or damaged.
    """
    from PIL import Image as Picture

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise DataError(f"{path}: unpacks to {size:,} bytes, more than {MOST_BYTES:,}; get it again")
        with np.load(path, allow_pickle=False) as file:
            data, offset, label, test = (file[name] for name in ("jpeg", "offset", "label", "is_test"))
        blobs = [data[a:b].tobytes() for a, b in itertools.pairwise(offset)]
        pixels = np.stack([np.asarray(Picture.open(io.BytesIO(blob)).convert("RGB")) for blob in blobs])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no set of JPEG pictures ({error}); get it again") from error
    return cifar_set("cifar10-jpeg", pixels, label, test.astype(bool), held_out)


def cifar_set(name: str, pixels: np.ndarray, labels: np.ndarray, test: np.ndarray, held_out: int) -> Images:
    """A set whose last training images are the validation split.

    Args:
        name: of the set.
        pixels: (n, 32, 32, 3) bytes.
        labels: (n,) class of each.
        test: (n,) True for the images of the test split.
        held_out: number of images of the validation split.
    """
    splits = np.where(test, "test", "train").astype("<U10")
    train = np.flatnonzero(~test)
    splits[train[max(0, len(train) - held_out) :]] = "validation"
    return Images(name, np.ascontiguousarray(pixels), labels.astype(np.int64), splits)


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
