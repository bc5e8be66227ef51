"""CIFAR-10 from both archives of its author: the pickles are read without being run, and no more than a limit."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest

from protgen.data import cifar10
from protgen.data.plain_pickle import array_of, read_plain
from protgen.errors import DataError

ARRAY = b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
BYTES = b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def pickled(pixels: np.ndarray, labels: list[int], shape: tuple[int, int] | None = None) -> bytes:
    """A batch as Python 2 and NumPy wrote it: protocol 2, byte strings, an array by `_reconstruct` and `BUILD`."""
    rows, columns = shape or pixels.shape
    size = b"(K\x01" + b"M" + rows.to_bytes(2, "little") + b"M" + columns.to_bytes(2, "little") + b"\x86"
    content = b"T" + pixels.size.to_bytes(4, "little") + pixels.tobytes()
    data = ARRAY + size + BYTES + b"\x89" + content + b"tb"
    listed = b"]q\x06(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}q\x00(U\x0bbatch_labelU\x01xU\x06labels" + listed + b"U\x04data" + data + b"u."


def archive(path, contents: dict[str, bytes]) -> None:
    """A gzipped archive of files in a folder."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def batches(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, bytes]]:
    """Six batches of three pictures: planes (18, 3072), labels, and the files."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 256, (18, 3072)).astype(np.uint8)
    labels = rng.integers(0, 10, 18)
    parts = {
        name: pickled(planes[3 * i : 3 * i + 3], labels[3 * i : 3 * i + 3].tolist())
        for i, name in enumerate(cifar10.BATCHES)
    }
    return planes, labels, parts


def test_the_python_version_gives_every_byte(tmp_path):
    """The hand-written batch is a real pickle: Python's own reader, which runs it, gives the same array."""
    planes, labels, parts = batches()
    assert (pickle.loads(parts["data_batch_2"], encoding="latin1")["data"] == planes[3:6]).all()
    archive(tmp_path / cifar10.PYTHON, parts)
    loaded = cifar10.load_cifar10(tmp_path, held_out=5)
    assert [len(loaded.of(split)) for split in ("train", "validation", "test")] == [10, 5, 3]
    assert (loaded.labels == labels).all()
    assert (loaded.pixels == planes.reshape(18, 3, 32, 32).transpose(0, 2, 3, 1)).all()


def test_both_versions_give_the_same_images(tmp_path):
    planes, labels, parts = batches(1)
    archive(tmp_path / cifar10.PYTHON, parts)
    records = np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1)
    binary = {f"{name}.bin": records[3 * i : 3 * i + 3].tobytes() for i, name in enumerate(cifar10.BATCHES)}
    archive(tmp_path / cifar10.BINARY, binary)
    one, two = (cifar10.load_cifar10(tmp_path / name, held_out=2) for name in (cifar10.PYTHON, cifar10.BINARY))
    assert (one.pixels == two.pixels).all()
    assert (one.labels == two.labels).all()
    assert (one.splits == two.splits).all()


class Code:
    """A pickle of this makes a file when it is read."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_code_in_a_pickle_is_not_run(tmp_path, protocol):
    """In every protocol the file that its code would make is not made; the archive is refused in one line."""
    _, _, parts = batches()
    parts["data_batch_3"] = pickle.dumps({"data": Code(tmp_path / "made"), "labels": [1]}, protocol)
    archive(tmp_path / cifar10.PYTHON, parts)
    with pytest.raises(DataError, match="data_batch_3") as error:
        cifar10.load_cifar10(tmp_path)
    assert not (tmp_path / "made").exists()
    assert "\n" not in str(error.value)
    pickle.loads(parts["data_batch_3"])["data"].close()  # it does run where a pickle is trusted
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x80\x02cos\nsystem\nU\x04trueq\x00\x85R.", "names 'os.system'"),
        (b"\x80\x02cnumpy\nload\n.", "names 'numpy.load'"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN\x85R", "no whole pickle"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (b"\x80\x02(cnumpy\ndtype\nU\x01xo.", "OBJ"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
        (b"\x80\x02U\x01aQ.", "BINPERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "SHORT_BINUNICODE"),
        (b"\x80\x02K\x01K\x02R.", "calls what is no function"),
        (b"\x80\x02}K\x01K\x02s.", "keys that are no text"),
        (b"\x80\x02K\x01K\x02a.", "adds to what is no list"),
        (b"\x80\x02h\x07.", "did not keep"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02(K\x01\x86.", "not there"),
        (b"\x80\x02.", "no single value"),
        (b"\x80\x02K\x01K\x02.", "no single value"),
        (b"", "no whole pickle"),
        (b"\xff\xfe", "no whole pickle"),
        (b"\x80\x02T\xff\xff\xff\x7fshort.", "no whole pickle"),
    ],
)
def test_hostile_and_broken_pickles_are_refused(raw, words):
    with pytest.raises(DataError, match=words):
        read_plain(raw)


def test_a_pickle_of_endless_steps_ends(monkeypatch):
    monkeypatch.setattr("protgen.data.plain_pickle.MOST_STEPS", 10)
    assert read_plain(b"\x80\x02](" + 4 * b"K\x01" + b"e.") == [1, 1, 1, 1]
    with pytest.raises(DataError, match="more than 10 steps"):
        read_plain(b"\x80\x02](" + 9 * b"K\x01" + b"e.")


def test_arrays_are_what_they_say():
    """Shape, order and kind of values; a shape that does not fit the content is refused."""
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (array_of(read_plain(pickled(pixels, []))["data"]) == pixels).all()
    by_columns = pickled(pixels, []).replace(b"tb\x89T", b"tb\x88T")
    assert (array_of(read_plain(by_columns)["data"]) == pixels.reshape(-1).reshape(3, 4, order="F")).all()
    for wrong in (pickled(pixels, [], (3, 5)), pickled(pixels, []).replace(b"U\x02u1", b"U\x02f4")):
        with pytest.raises(DataError, match="has an array"):
            array_of(read_plain(wrong)["data"])
    with pytest.raises(DataError, match="no array"):
        array_of([1, 2])


@pytest.mark.parametrize("wrong", ["missing", "label", "shape", "cut"])
def test_a_damaged_archive_is_told_in_one_line(tmp_path, wrong):
    planes, _, parts = batches()
    if wrong == "missing":
        del parts["test_batch"]
    elif wrong == "label":
        parts["data_batch_1"] = pickled(planes[:3], [1, 2, 10])
    elif wrong == "shape":
        parts["data_batch_1"] = pickled(planes[:3], [1, 2])
    path = tmp_path / cifar10.PYTHON
    archive(path, parts)
    if wrong == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    word = {"missing": "test_batch", "label": "0 to 9", "shape": "32 x 32", "cut": "get it again"}[wrong]
    with pytest.raises(DataError, match=word) as error:
        cifar10.load_cifar10(path)
    assert "\n" not in str(error.value)


def test_a_folder_without_an_archive_says_which_are_read(tmp_path):
    with pytest.raises(DataError, match=f"{cifar10.BINARY} or {cifar10.PYTHON}"):
        cifar10.load_cifar10(tmp_path)


def test_an_archive_is_unpacked_to_the_limit_alone(tmp_path, monkeypatch):
    """A file of zeros beside the batches, far larger unpacked than packed, is not read to its end."""
    _, _, parts = batches()
    path = tmp_path / cifar10.PYTHON
    archive(path, {"zeros": bytes(3_000_000)} | parts)
    assert path.stat().st_size < 100_000
    assert len(cifar10.load_cifar10(path, 1)) == 18
    monkeypatch.setattr("protgen.data.cifar10.MOST_BYTES", 1_000_000)
    read = []
    monkeypatch.setattr(gzip.GzipFile, "read", counted(gzip.GzipFile.read, read))
    with pytest.raises(DataError, match="unpacks to more bytes"):
        cifar10.load_cifar10(path)
    assert sum(read) <= 1_000_001


def counted(function, read: list[int]):
    """A reading function that notes how many bytes it gave."""

    def call(*arguments):
        part = function(*arguments)
        read.append(len(part))
        return part

    return call
