"""CIFAR-10 (Krizhevsky 2009) from either archive of its author, binary or python, or from JPEG pictures.

An archive is read as a stream, up to a limit. The pickles of the python version are read by `plain_pickle`, which calls
nothing that they name.
"""

import gzip
import io
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from protgen.data.images import MOST_BYTES, Images, checked_labels, require_training
from protgen.data.plain_pickle import array_of, read_plain
from protgen.errors import DataError

BINARY = "cifar-10-binary.tar.gz"
PYTHON = "cifar-10-python.tar.gz"
VALUES = 3 * 32 * 32  # bytes of a picture: 3 planes of 32 x 32
RECORD = 1 + VALUES  # bytes of the binary version: a label and a picture
UNREADABLE = (  # what is raised for an archive of arrays that is damaged, or that says it holds more than there is
    OSError, KeyError, ValueError, EOFError, MemoryError, NotImplementedError, RuntimeError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def load_cifar10(path: Path, held_out: int | None = None) -> Images:
    """CIFAR-10 from `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz`, or an `.npz` of JPEG pictures.

    Args:
        path: the file, or the folder that holds it.
        held_out: how many images at the end of the training set are the validation split; None for 5,000 of an archive
            and 500 of JPEG pictures, of which there are fewer.

    Raises:
        DataError: if the file is missing or damaged, or a pickle in it holds more than plain values.
    """
    if path.is_dir():
        found = [p for p in [path / BINARY, path / PYTHON, *sorted(path.glob("*cifar10*.npz"))] if p.is_file()]
        if not found:
            raise DataError(f"{path}: no {BINARY} or {PYTHON}; get one from the data set's own site")
        path = found[0]
    if path.suffix == ".npz":
        return load_jpeg_npz(path, 500 if held_out is None else held_out)
    parts = pickled_parts(path) if "python" in path.name else binary_parts(path)
    planes = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([classes for _, classes in parts])
    test = np.arange(len(labels)) >= len(labels) - len(parts[-1][1])
    pixels = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return cifar_set("cifar10", pixels, labels, test, 5_000 if held_out is None else held_out)


def binary_parts(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Planes (n, 3072) and labels (n,) of each file of the binary version, the test split last.

    Raises:
        DataError: if one is missing or cut short, or a label is above 9.
    """
    found = []
    for name, raw in read_members(path, [f"{name}.bin" for name in BATCHES]).items():
        if not raw or len(raw) % RECORD:
            raise DataError(f"{path}: {name} is cut short; get {BINARY} again")
        rows = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
        found.append((rows[:, 1:], checked_labels(rows[:, 0], f"{path}: {name}")))
    return found


def pickled_parts(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Planes (n, 3072) and labels (n,) of each file of the python version, the test split last.

    Raises:
        DataError: if one is missing, or is no pickle of plain values with `data` and `labels`.
    """
    found = []
    for name, raw in read_members(path, BATCHES).items():
        try:
            content = read_plain(raw)
            if not isinstance(content, dict) or not {"data", "labels"} <= content.keys():
                raise DataError("has no data and labels")
            planes, labels = array_of(content["data"]), content["labels"]
        except DataError as error:
            raise DataError(f"{path}: {name} {error}; get {PYTHON} again") from error
        whole = isinstance(labels, list) and all(type(label) is int for label in labels)
        if not whole or planes.shape != (len(labels), VALUES):
            raise DataError(f"{path}: {name} has no picture of 32 x 32 for each label; get {PYTHON} again")
        found.append((planes, checked_labels(np.array(labels), f"{path}: {name}")))
    return found


class Limited(io.RawIOBase):
    """A file that gives no more bytes than a limit.

    Args:
        file: the file.
        most: the limit.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        super().__init__()
        self.file, self.left = file, most

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end.

        Raises:
            DataError: beyond the limit.
        """
        part = self.file.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(part)
        if self.left < 0:
            raise DataError("unpacks to more bytes than any set of images that is read here")
        return part


def read_members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Files of an archive by their names without folders, in the order of `names`.

    Raises:
        DataError: if one is missing, the archive cannot be read, or it unpacks to more than `MOST_BYTES`.
    """
    found: dict[str, bytes] = {}
    try:
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            limited = cast(BinaryIO, Limited(cast(BinaryIO, file), MOST_BYTES))
            with tarfile.open(fileobj=limited, mode="r|") as archive:
                for member in archive:
                    name = Path(member.name).name
                    # A sparse file may say that it is larger than what is stored of it.
                    if name in names and member.isreg() and not member.issparse() and member.size <= MOST_BYTES:
                        found[name] = archive.extractfile(member).read()  # pyright: ignore - is a file
    except DataError as error:
        raise DataError(f"{path}: {error}; get it again") from error
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it again") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path}: has no {missing[0]}; get it again")
    return {name: found[name] for name in names}


def load_jpeg_npz(path: Path, held_out: int) -> Images:
    """CIFAR-10 pictures as JPEG bytes one after the other: `jpeg`, `offset` (n + 1), `label`, `is_test`.

    JPEG is lossy: no bits per dimension of these compare with those of the original.

    Raises:
        DataError: if something is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise DataError(f"{path}: unpacks to {size:,} bytes, more than {MOST_BYTES:,}; get it again")
        with np.load(path, allow_pickle=False) as file:
            data, offset, label, test = (file[name] for name in ("jpeg", "offset", "label", "is_test"))
    except UNREADABLE as error:
        raise DataError(f"{path}: is no set of JPEG pictures ({error}); get it again") from error
    check_jpeg_arrays(path, data, offset, label, test)
    labels = checked_labels(label, f"{path}: label")
    pixels = np.stack([decoded(data[offset[i] : offset[i + 1]].tobytes(), path, i) for i in range(len(labels))])
    return cifar_set("cifar10-jpeg", pixels, labels, test.astype(bool), held_out)


def check_jpeg_arrays(path: Path, data: np.ndarray, offset: np.ndarray, label: np.ndarray, test: np.ndarray) -> None:
    """Check that the arrays of an archive of JPEG pictures are of their kinds, and as long as there are pictures.

    Raises:
        DataError: naming the first that is not.
    """
    count = len(label) if label.ndim else 0
    marks = test.ndim == 1 and test.dtype.kind in "biuf" and np.isin(test, (0, 1)).all()
    places = offset.ndim == 1 and offset.dtype.kind in "iu" and len(offset) > 0
    if places:
        ends = [int(offset[0]), int(offset[-1])]
        places = ends[0] >= 0 and ends[1] <= data.size and bool((offset[:-1] <= offset[1:]).all())
    wrong = {
        "label is no list of whole numbers": label.ndim != 1 or label.dtype.kind not in "iu",
        f"label has {count:,} entries, more than any set that is read here": count > MOST_BYTES // VALUES,
        "jpeg is no list of bytes": data.ndim != 1 or data.dtype != np.uint8,
        "offset is no list of ascending places of JPEG pictures": not places,
        f"offset does not have {count + 1:,} entries, one more than label": len(offset) != count + 1 if places else 0,
        "is_test is no list of 0 and 1": not marks,
        f"is_test does not have {count:,} entries, as label has": len(test) != count if marks else False,
    }
    for words, is_so in wrong.items():
        if is_so:
            raise DataError(f"{path}: {words}; get it again")


def decoded(blob: bytes, path: Path, number: int) -> np.ndarray:
    """The bytes (32, 32, 3) of a JPEG picture.

    Raises:
        DataError: naming its number if it is none, or of another size.
    """
    from PIL import Image as Picture

    try:
        with warnings.catch_warnings():  # of a large one, which is refused for its size
            warnings.simplefilter("ignore", Picture.DecompressionBombWarning)
            picture = Picture.open(io.BytesIO(blob), formats=["JPEG"])
        if picture.size != (32, 32):  # before it is unpacked, which may take any memory
            raise DataError(f"{path}: picture {number} has {picture.size[0]} x {picture.size[1]} pixels, not 32 x 32")
        return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise DataError(f"{path}: picture {number} is no JPEG of 32 x 32 pixels ({error}); get it again") from error


def cifar_set(name: str, pixels: np.ndarray, labels: np.ndarray, test: np.ndarray, held_out: int) -> Images:
    """A set whose last training images are the validation split.

    Args:
        name: of the set.
        pixels: (n, 32, 32, 3) bytes.
        labels: (n,) class of each.
        test: (n,) True for the images of the test split.
        held_out: number of images of the validation split.

    Raises:
        DataError: if there are no test images, or no image is left to train on.
    """
    if not test.any():
        raise DataError(f"{name} has no test images; get the whole set")
    require_training(name, int((~test).sum()), held_out)
    splits = np.where(test, "test", "train").astype("<U10")
    train = np.flatnonzero(~test)
    splits[train[max(0, len(train) - held_out) :]] = "validation"
    return Images(name, np.ascontiguousarray(pixels), labels.astype(np.int64), splits)
