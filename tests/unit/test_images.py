"""Images: files to batches to points of the space and back, with every damage reported."""

import gzip
import io
import math
import tarfile

import numpy as np
import pytest
import torch

from protgen.conditions.class_label import ClassLabel, Labelled
from protgen.conditions.embedding import ConditionEmbedding
from protgen.data import cifar10, image_files, images
from protgen.errors import DataError, UsageError
from protgen.spaces.image import Image
from protgen.types import Batch


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 5)):
        pixels = rng.integers(0, 256, (count, 6, 4))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(rng.integers(0, 10, count)))
    return tmp_path


def test_digits_have_three_splits_and_all_classes():
    digits = image_files.load_images("digits")
    assert [len(digits.of(split)) for split in ("train", "validation", "test")] == [1297, 200, 300]
    assert digits.pixels.max() == 16 == digits.levels - 1
    assert set(digits.of("test").labels) == set(range(10))


def test_idx_files_are_read_whole(idx_folder):
    loaded = image_files.load_idx(idx_folder, held_out=4)
    assert loaded.pixels.shape == (17, 6, 4, 1)
    assert [len(loaded.of(split)) for split in ("train", "validation", "test")] == [8, 4, 5]
    expected = np.random.default_rng(0).integers(0, 256, (12, 6, 4))
    assert (loaded.pixels[:12, ..., 0] == expected).all()


@pytest.mark.parametrize("damage", ["missing", "short", "header", "gzip"])
def test_damaged_idx_files_are_told_in_one_line(idx_folder, damage):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    raw = gzip.decompress(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "gzip":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_bytes(gzip.compress(raw[:-3] if damage == "short" else b"\0\0\x0d" + raw[3:]))
    with pytest.raises(DataError, match="train-images-idx3-ubyte") as error:
        image_files.load_idx(idx_folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        # 2^31 x 2^31 x 4 is 2^64, which is 0 in NumPy's numbers of 64 bits, as many as there are values.
        (
            "train-images-idx3-ubyte",
            bytes([0, 0, 8, 3]) + b"\x80\0\0\0" * 2 + b"\0\0\0\x04",
            "holds 0 values, not 18,446,744,073,709,551,616",
        ),
        ("train-labels-idx1-ubyte", idx(np.arange(12)), "labels other than 0 to 9"),
        ("t10k-labels-idx1-ubyte", idx(np.full(5, 200)), "labels other than 0 to 9"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(0)), "5 images but 0 labels|0 to 9, or none"),
        ("train-images-idx3-ubyte", idx(np.zeros((12, 0, 4))), "differ in size|0 x 4"),
    ],
)
def test_strange_idx_files_are_told_in_one_line(idx_folder, name, content, words):
    for path in idx_folder.glob(f"{name}*"):
        path.unlink()
    (idx_folder / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        image_files.load_idx(idx_folder, held_out=4)
    assert "\n" not in str(error.value)


def test_an_empty_test_split_is_refused(idx_folder):
    (idx_folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((0, 6, 4)))))
    (idx_folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(0)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: has labels other than 0 to 9, or none"):
        image_files.load_idx(idx_folder, held_out=4)


def test_a_set_that_is_all_held_out_says_so(idx_folder):
    """By name as well, where the folder is a text."""
    with pytest.raises(DataError, match="holds 12 pictures, of which 10,000 are held out for validation"):
        image_files.load_images("mnist", str(idx_folder))
    with pytest.raises(DataError, match="no such file or folder"):
        image_files.load_images("mnist", str(idx_folder / "none"))
    assert len(image_files.load_idx(idx_folder, held_out=11).of("train")) == 1


def test_cifar_binary_archive(tmp_path):
    """A record is a label and three planes; the file of tests is the test split."""
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (6, 4, 3073)).astype(np.uint8)
    records[..., 0] %= 10
    path = tmp_path / cifar10.BINARY
    with tarfile.open(path, "w:gz") as archive:
        for i, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = records[i].size
            archive.addfile(info, io.BytesIO(records[i].tobytes()))
    loaded = cifar10.load_cifar10(tmp_path, held_out=5)
    assert [len(loaded.of(split)) for split in ("train", "validation", "test")] == [15, 5, 4]
    assert (loaded.labels == records[..., 0].ravel()).all()
    assert loaded.pixels[7, 3, 9, 2] == records[1, 3, 1 + 2 * 1024 + 3 * 32 + 9]


def test_jpeg_pictures(tmp_path):
    from PIL import Image as Picture

    blobs = []
    for shade in (0, 100, 200):
        buffer = io.BytesIO()
        Picture.new("RGB", (32, 32), (shade, shade, shade)).save(buffer, "JPEG")
        blobs.append(buffer.getvalue())
    offset = np.cumsum([0, *(len(blob) for blob in blobs)])
    data = np.frombuffer(b"".join(blobs), np.uint8)
    path = tmp_path / "cifar10.npz"
    np.savez(path, jpeg=data, offset=offset, label=np.arange(3), is_test=np.array([0, 0, 1]))
    loaded = cifar10.load_cifar10(tmp_path, held_out=1)
    assert loaded.name == "cifar10-jpeg"
    assert list(loaded.splits) == ["train", "validation", "test"]
    assert loaded.pixels[:, 5, 5, 0].tolist() == pytest.approx([0, 100, 200], abs=2)
    # 500 for validation, not the 5,000 of an archive, which nearly all pictures of such a set would be
    many = np.arange(504) * len(blobs[0])
    test = np.arange(503) == 502
    np.savez(path, jpeg=np.tile(data[: offset[1]], 503), offset=many, label=np.zeros(503, int), is_test=test)
    loaded = cifar10.load_cifar10(tmp_path)
    assert [len(loaded.of(split)) for split in ("train", "validation", "test")] == [2, 500, 1]
    np.savez(path, jpeg=data[:-40], offset=offset - 7, label=np.arange(3), is_test=np.zeros(3))
    with pytest.raises(DataError, match="JPEG"):
        cifar10.load_cifar10(path)


def jpeg(width: int = 32, height: int = 32) -> bytes:
    """A grey JPEG picture."""
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.new("RGB", (width, height), (90, 90, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": np.arange(2)}, "offset does not have 3 entries"),
        ({"label": np.array(["cat", "dog", "cat"])}, "label is no list of whole numbers"),
        ({"label": np.array([0.0, np.nan, 1.0])}, "label is no list of whole numbers"),
        ({"label": np.array([0, 200, 1])}, "labels other than 0 to 9"),
        ({"label": np.array(3)}, "label is no list"),
        ({"is_test": np.array([0, 1])}, "is_test does not have 3 entries"),
        ({"is_test": np.array(["no", "no", "yes"])}, "is_test is no list of 0 and 1"),
        ({"is_test": np.array([0.0, np.nan, 1.0])}, "is_test is no list of 0 and 1"),
        ({"is_test": np.zeros(3)}, "no test images"),
        ({"offset": np.array([0, 5, 3, 9])}, "offset is no list of ascending places"),
        ({"offset": np.array([0.0, 1.0, 2.0, 3.0])}, "offset is no list"),
        ({"jpeg": np.zeros(4000)}, "jpeg is no list of bytes"),
        ({"size": (33, 32)}, "picture 1 has 33 x 32 pixels"),
        ({"size": (20_000, 20_000)}, "picture 1 (is no JPEG|has 20000 x 20000)"),
        ({"blob": b"GIF89a no JPEG"}, "picture 1 is no JPEG"),
    ],
)  # fmt: skip
def test_strange_jpeg_archives_are_told_in_one_line(tmp_path, change, words):
    blob = change.get("blob", stretched(*change.get("size", (32, 32))))
    blobs = [jpeg(), blob, jpeg()]
    arrays = {
        "jpeg": np.frombuffer(b"".join(blobs), np.uint8),
        "offset": np.cumsum([0, *map(len, blobs)]),
        "label": np.arange(3),
        "is_test": np.array([0, 0, 1]),
    }
    np.savez(tmp_path / "cifar10.npz", **arrays | {key: value for key, value in change.items() if key in arrays})
    with pytest.raises(DataError, match=words) as error:
        cifar10.load_cifar10(tmp_path, held_out=1)
    assert "\n" not in str(error.value)


def stretched(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    blob = bytearray(jpeg())
    place = blob.index(b"\xff\xc0") + 5  # the header of the frame: height and width after its length and precision
    blob[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(blob)


def test_binarisation_has_the_probability_of_the_grey_value(rng):
    """Static once and for all, dynamic anew each time."""
    grey = images.Images("grey", np.full((400, 8, 8, 1), 64, np.uint8), np.zeros(400), np.full(400, "train"))
    static = images.binarised(grey, 3)
    assert static.levels == 2
    assert (static.pixels == images.binarised(grey, 3).pixels).all()
    batch = images.to_batch(grey, np.arange(400))
    first, second = (images.binarise(batch, 256, rng)["pixels"] for _ in range(2))
    assert not torch.equal(first, second)
    for ones in (static.pixels, first.numpy()):
        assert set(np.unique(ones)) == {0, 1}
        assert ones.mean() == pytest.approx(64 / 255, abs=0.01)


def test_batches_go_on_where_they_stopped():
    digits = image_files.load_digits().of("train")
    unbroken = images.image_batches(digits, 400, seed=1)
    seen = [next(unbroken)["pixels"] for _ in range(7)]
    resumed = images.image_batches(digits, 400, seed=1, start=5)
    assert torch.equal(next(resumed)["pixels"], seen[5])
    assert torch.equal(next(resumed)["pixels"], seen[6])
    with pytest.raises(DataError, match="batch of 9999"):
        next(images.image_batches(digits, 9999, seed=1))


@pytest.mark.parametrize(("levels", "binary"), [(256, False), (17, False), (2, True)])
def test_space_round_trip(levels, binary, rng):
    space = Image(3, 5, 2, levels=levels, binary=binary)
    pixels = torch.randint(0, levels, (4, 15, 2), generator=rng).to(torch.uint8)
    state = space.encode(Batch({"pixels": pixels}, space.full_mask(4)))
    assert state["pixels"].abs().max() <= 1
    assert torch.equal(space.decode(state)["pixels"], pixels)
    brightness = pixels.float() / (levels - 1)
    assert torch.allclose(space.observe(state), brightness.reshape(4, 3, 5, 2), atol=1e-5)


def test_bits_of_a_uniform_image_are_those_of_its_levels(rng):
    """Dequantised pixels of a uniform distribution have density 1/2 on [-1, 1]: 8 bits for 256 levels."""
    space = Image(4, 4)
    pixels = torch.randint(0, 256, (3, 16, 1), generator=rng)
    batch = images.dequantise(Batch({"pixels": pixels}, space.full_mask(3)), rng)
    x = space.encode(batch)
    assert torch.equal(space.decode(x)["pixels"].long(), pixels)
    nats = torch.full((3,), 16 * math.log(0.5))
    assert torch.allclose(space.bits_per_dim(nats), torch.tensor(8.0))


@pytest.mark.parametrize("sizes", [(0, 4, 1), (4, 0, 1), (4, 4, 0), (4, 4, 1, 1)])
def test_images_of_no_size_are_refused(sizes):
    """A height, width or number of channels below 1, fewer grey values than 2; those at the limit are taken."""
    with pytest.raises(UsageError, match="sizes are at least 1, levels at least 2"):
        Image(*sizes)
    assert Image(1, 1, 1, 2).full_mask(3).shape == (3, 1)


def test_images_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"4 x 4 x 1; give \(b, 16, 1\)"):
        Image(4, 4).encode(Batch({"pixels": torch.zeros(2, 15, 1)}, torch.ones(2, 15, dtype=torch.bool)))


def test_class_label_learns_is_dropped_and_is_measured(rng):
    embedding = ConditionEmbedding(["class_label"])
    mask = torch.ones(4000, 1, dtype=torch.bool)
    labels = torch.randint(-1, 10, (4000,), generator=rng)
    whole = embedding.from_data(Batch({"class_label": labels}, mask), rng).globals
    given = whole[:, -1] == 1
    assert not given[labels == -1].any()
    assert given[labels >= 0].float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (whole[given, :-1].argmax(-1) == labels[given]).all()
    assert not whole[~given].any()
    asked = embedding.from_requests([[ClassLabel(7)], []], mask[:2]).globals
    assert asked[0, 7] == asked[0, -1] == 1
    assert not asked[1].any()
    assert ClassLabel(7).adherence(Labelled(7)).satisfied
    assert not ClassLabel(7).adherence(Labelled(1)).satisfied
    with pytest.raises(UsageError, match="classify"):
        ClassLabel(7).adherence(object())
    with pytest.raises(UsageError, match="0 to 9"):
        ClassLabel(10)


def test_images_are_unpacked_to_the_limit_alone(tmp_path, monkeypatch):
    """A gzipped file of exactly the limit is read, one byte more is not; 200 MB by default."""
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + (92).to_bytes(4, "big") + bytes(92)))
    assert images.MOST_BYTES == 200_000_000
    monkeypatch.setattr("protgen.data.image_files.MOST_BYTES", 100)
    assert image_files.read_idx(path, 1).shape == (92,)
    monkeypatch.setattr("protgen.data.image_files.MOST_BYTES", 99)
    with pytest.raises(DataError, match="holds more than 99 bytes"):
        image_files.read_idx(path, 1)
