"""The store: what goes in comes out, and a damaged one is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from protgen.data.dataset import collate
from protgen.data.fields import Field
from protgen.data.store import Item, Store, write_store
from protgen.errors import DataError
from protgen.integrity import sealed


def make_item(name: str, length: int, split: str = "train") -> Item:
    rng = np.random.default_rng(length)
    return Item(
        name,
        rng.normal(size=(length, 4, 3)).astype(np.float32),
        rng.integers(0, 3, length).astype(np.uint8),
        np.arange(length, dtype=np.int32) + 5,
        split,
        f"cluster-{name}",
        {"length": length, "rg": 10.5},
    )


@pytest.fixture
def items():
    return [make_item("a", 7), make_item("b", 4, "validation"), make_item("c", 9)]


def test_items_come_back_as_they_went_in(items, tmp_path):
    """Coordinates, labels, numbers, names and facts, at every offset."""
    write_store(tmp_path / "store", items, [{"id": "x", "reason": "too odd"}], {"filters": {}})
    store = Store(tmp_path / "store")
    assert len(store) == 3
    assert store.lengths.tolist() == [7, 4, 9]
    for i, item in enumerate(items):
        back = store[i]
        for field in ("atoms", "labels", "numbers"):
            np.testing.assert_array_equal(getattr(back, field), getattr(item, field))
        assert (back.id, back.split, back.cluster, back.facts) == (item.id, item.split, item.cluster, item.facts)
    assert store.indices("train").tolist() == [0, 2]
    assert store.indices("validation").tolist() == [1]
    assert store.manifest["dropped"] == [{"id": "x", "reason": "too odd"}]


def test_reading_maps_and_does_not_copy(items, tmp_path):
    """An item's arrays are views of the file."""
    write_store(tmp_path, items, [], {})
    item = Store(tmp_path)[1]
    assert not item.atoms.flags.owndata
    assert not item.atoms.flags.writeable


def test_declared_fields_come_back_by_item_and_by_batch(items, tmp_path):
    """Vectors of residues and of chains, padded with zeros; the manifest says what they are."""
    rng = np.random.default_rng(0)
    charges = [rng.normal(size=(len(item.atoms), 2)).astype(np.float32) for item in items]
    codes = [np.array(i - 1, dtype=np.int64) for i in range(3)]
    given = [
        replace(item, residue={"charge": charge}, chain={"site": code})
        for item, charge, code in zip(items, charges, codes, strict=True)
    ]
    fields = [
        Field("charge", "residue", "float32", (2,), "e"),
        Field("site", "chain", "int64", values=("in", "out")),
    ]
    write_store(tmp_path, given, [], {}, fields)
    store = Store(tmp_path)
    assert list(store.fields) == ["atoms", "labels", "numbers", "charge", "site"]
    assert store.fields["charge"] == fields[0]
    assert store.fields["site"] == fields[1]
    batch = collate([store[i] for i in range(3)])
    assert batch["site"].tolist() == [-1, 0, 1]
    for i, charge in enumerate(charges):
        np.testing.assert_array_equal(store[i].residue["charge"], charge)
        np.testing.assert_array_equal(batch["charge"][i, : len(charge)].numpy(), charge)
        assert not batch["charge"][i, len(charge) :].any()


def test_an_item_without_a_declared_field_is_refused(items, tmp_path):
    """Missing, or of another shape."""
    with pytest.raises(DataError, match="a: no field site"):
        write_store(tmp_path, items, [], {}, [Field("site", "chain", "int64")])
    given = [replace(item, chain={"site": np.zeros(2)}) for item in items]
    with pytest.raises(DataError, match=r"site has shape \(2,\)"):
        write_store(tmp_path, given, [], {}, [Field("site", "chain", "int64")])


def as_version(folder, version: int, **changed) -> None:
    """The store as an earlier release has written it: arrays beside the manifest, and no checksums."""
    manifest = folder / "manifest.json"
    plain = json.loads(manifest.read_text())
    arrays = folder / plain["arrays"]
    for path in arrays.iterdir():
        path.rename(folder / path.name)
    arrays.rmdir()
    later = ["arrays", "files", "seal", *(["fields"] if version == 1 else [])]
    plain = {key: value for key, value in plain.items() if key not in later}
    manifest.write_text(json.dumps(plain | {"version": version} | changed))


def test_a_store_of_version_1_opens(items, tmp_path):
    """It declares no fields: its own are those of every structure, and its batches carry them."""
    write_store(tmp_path, items, [], {})
    as_version(tmp_path, 1)
    store = Store(tmp_path)
    assert list(store.fields) == ["atoms", "labels", "numbers"]
    np.testing.assert_array_equal(store[1].atoms, items[1].atoms)
    assert set(collate([store[0], store[2]]).arrays) == {"atoms", "labels", "numbers"}


def test_nothing_to_write_is_an_error(tmp_path):
    """An empty store would only fail later."""
    with pytest.raises(DataError, match="no structure passed"):
        write_store(tmp_path / "store", [], [], {})


@pytest.mark.parametrize(
    "damage", ["no manifest", "bad manifest", "no atoms", "short labels", "other version", "bad field", "empty offsets",
               "objects", "NaN", "label 3", "falling offsets", "number for a name"]
)  # fmt: skip
def test_a_damaged_store_of_version_2_is_refused(items, tmp_path, damage):
    """Half-written, cut off or from another time: one DataError that names the folder."""
    write_store(tmp_path, items, [], {})
    fields = (
        [{"name": "../atoms"}]
        if damage == "bad field"
        else json.loads((tmp_path / "manifest.json").read_text())["fields"]
    )
    as_version(tmp_path, 99 if damage == "other version" else 2, fields=fields)
    manifest = tmp_path / "manifest.json"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text(manifest.read_text()[:-20])
    elif damage == "no atoms":
        (tmp_path / "atoms.npy").unlink()
    elif damage == "short labels":
        np.save(tmp_path / "labels.npy", np.zeros(3, dtype=np.uint8))
    elif damage == "empty offsets":
        (tmp_path / "offsets.npy").write_bytes(b"")
    elif damage == "objects":
        np.save(tmp_path / "offsets.npy", np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "NaN":
        change(tmp_path / "atoms.npy", (3, 1, 2), np.nan)
    elif damage == "label 3":
        change(tmp_path / "labels.npy", 19, 3)
    elif damage == "falling offsets":
        change(tmp_path / "offsets.npy", 1, 12)
    elif damage == "number for a name":
        manifest.write_text(manifest.read_text().replace('"id": "a"', '"id": 7'))
    with pytest.raises(DataError, match=str(tmp_path)):
        Store(tmp_path)


def change(path, place, value) -> None:
    """Change one value of an array on disk."""
    array = np.load(path)
    array[place] = value
    np.save(path, array)


def flip(path, at: int = -1) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["atoms", "labels", "numbers", "offsets"])
def test_a_flipped_bit_of_an_array_is_found(items, tmp_path, name):
    """By its checksum; who has no time to read all may leave that out, and then the bit is used."""
    write_store(tmp_path, items, [], {})
    flip(next(tmp_path.glob(f"arrays-*/{name}.npy")), -9)
    with pytest.raises(DataError, match=f"{name}.npy has other bytes than were written"):
        Store(tmp_path)
    if name == "numbers":
        assert any((a.numbers != b.numbers).any() for a, b in zip(Store(tmp_path, verify=False), items, strict=True))


def test_a_changed_or_reordered_manifest_is_found(tmp_path):
    """Two chains of one length in exchanged places, an edited split, and a lost checksum."""
    write_store(tmp_path, [make_item("a", 7), make_item("b", 7, "validation")], [], {})
    manifest = tmp_path / "manifest.json"
    whole = json.loads(manifest.read_text())
    kept = whole["kept"]
    for changed in (
        {"kept": kept[::-1]},
        {"kept": [kept[0], kept[1] | {"split": "train"}]},
        {"seal": None},
        {"files": {name: whole["files"][name] for name in list(whole["files"])[:-1]}},
    ):
        manifest.write_text(json.dumps(whole | changed))
        with pytest.raises(DataError, match="other content than was written"):
            Store(tmp_path)
    manifest.write_text(json.dumps(whole))
    assert Store(tmp_path).indices("validation").tolist() == [1]


@pytest.mark.parametrize("fails", ["write_text", "save", "move_folder"])
def test_a_rebuild_that_fails_leaves_the_store_as_it_was(items, tmp_path, monkeypatch, fails):
    """A full disk at any point; the next rebuild replaces it, and leaves nothing of the others but strange files."""
    write_store(tmp_path, items, [], {})
    (tmp_path / "notes.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"protgen.data.store.{fails}", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_store(tmp_path, items[1:], [], {})
    monkeypatch.undo()
    assert [item.id for item in Store(tmp_path)] == ["a", "b", "c"]
    if fails != "write_text":
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    write_store(tmp_path, items[1:], [], {})
    assert [item.id for item in Store(tmp_path)] == ["b", "c"]
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == [
        "arrays",
        "manifest.json",
        "notes.txt",
    ]


def test_a_large_field_lies_in_several_files_of_whole_items(items, tmp_path):
    """Closed form: 48 bytes a residue, 9 residues a file; items of 7, 4, 5, 12 and 1 residues make four shards.

    The same items and batches come back as from one file, a shard is opened when it is read, and its damage is named.
    """
    given = [make_item(name, n) for name, n in zip("abcde", (7, 4, 5, 12, 1), strict=True)]
    given = [replace(item, chain={"site": np.int64(k)}) for k, item in enumerate(given)]
    fields = [Field("site", "chain", "int64")]
    for name, most in (("one", 48 * 29), ("four", 48 * 9)):
        write_store(tmp_path / name, given, [], {}, fields, most_bytes=most)
    one, four = Store(tmp_path / "one"), Store(tmp_path / "four")
    assert (one.bounds, four.bounds) == ([0, 5], [0, 1, 3, 4, 5])
    assert (one.manifest["version"], four.manifest["version"]) == (3, 5)
    files = {path.name: path for path in (tmp_path / "four").glob("arrays-*/*")}
    sizes = [np.load(files[f"atoms.{k:05d}.npy"]).shape for k in range(4)]
    assert sizes == [(n, 4, 3) for n in (7, 9, 12, 1)]
    assert len(files) == 3 * 4 + 2
    files["labels.00001.npy"].rename(tmp_path / "away")
    late = Store(tmp_path / "four", verify=False)
    np.testing.assert_array_equal(late[3].labels, given[3].labels)
    with pytest.raises(DataError, match=r"labels.00001.npy is missing"):
        late[2]
    with pytest.raises(DataError, match=r"labels.00001.npy is missing"):
        Store(tmp_path / "four")
    (tmp_path / "away").rename(files["labels.00001.npy"])
    for a, b, item in zip(one, four, given, strict=True):
        for name, value in a.per_residue.items():
            assert value.tobytes() == b.per_residue[name].tobytes() == item.per_residue[name].tobytes()
        assert (a.chain, b.id, b.facts) == (b.chain, item.id, item.facts)
    assert not four[3].atoms.flags.owndata
    flip(files["atoms.00002.npy"])
    with pytest.raises(DataError, match=r"atoms.00002.npy has other bytes than were written"):
        Store(tmp_path / "four")


@pytest.mark.parametrize(
    "bounds", [None, [0, 2], [0, 2, 2, 3], [1, 3], [0, True, 3], [0, 4], "0", [0, 1.0, 3], [0, 1, 3]]
)
def test_bounds_of_shards_that_cannot_be_are_refused(items, tmp_path, bounds):
    """Under a checksum made anew; the last ones are those of other files."""
    write_store(tmp_path, items, [], {}, most_bytes=48 * 12)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["shards"] == [0, 2, 3]
    (tmp_path / "manifest.json").write_text(json.dumps(sealed(manifest | {"shards": bounds})))
    with pytest.raises(DataError, match=r"'shards' is damaged|and the manifest disagree"):
        Store(tmp_path)[2]


def test_the_same_items_give_the_same_bytes(items, tmp_path):
    """And a rebuild mends arrays that were damaged."""
    write_store(tmp_path / "one", items, [], {"limit": np.inf})
    write_store(tmp_path / "two", items, [], {"limit": np.inf})
    flip(next((tmp_path / "two").glob("arrays-*/atoms.npy")))
    write_store(tmp_path / "two", items, [], {"limit": np.inf})
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")
    )
    assert one == two
    assert len(one) == 5
    assert Store(tmp_path / "two").manifest["settings"] == {"limit": None}


@pytest.mark.parametrize(
    ("field", "place", "value"), [("atoms", (2, 1, 0), np.nan), ("atoms", (0, 0, 0), 2e5), ("labels", 3, 3)]
)
def test_values_that_no_structure_has_are_not_written(items, tmp_path, field, place, value):
    """Atoms without numbers or out of this world, and labels without a meaning."""
    getattr(items[0], field)[place] = value
    with pytest.raises(DataError, match=f"{field} holds values outside"):
        write_store(tmp_path, items, [], {})


def test_a_store_version_1_is_replaced_whole(items, tmp_path):
    """Its arrays go when the new ones are in place."""
    write_store(tmp_path, items, [], {})
    as_version(tmp_path, 2)
    write_store(tmp_path, items[:2], [], {})
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["arrays", "manifest.json"]
    assert len(Store(tmp_path)) == 2
