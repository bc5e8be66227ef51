"""The store: what goes in comes out, and a damaged one is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from protgen.data.dataset import collate
from protgen.data.fields import Field
from protgen.data.store import Item, Store, write_store
from protgen.errors import DataError


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


def test_a_store_of_version_1_opens(items, tmp_path):
    """It declares no fields: its own are those of every structure, and its batches carry them."""
    write_store(tmp_path, items, [], {})
    manifest = tmp_path / "manifest.json"
    plain = json.loads(manifest.read_text())
    del plain["fields"]
    manifest.write_text(json.dumps(plain | {"version": 1}))
    store = Store(tmp_path)
    assert list(store.fields) == ["atoms", "labels", "numbers"]
    np.testing.assert_array_equal(store[1].atoms, items[1].atoms)
    assert set(collate([store[0], store[2]]).arrays) == {"atoms", "labels", "numbers"}


def test_nothing_to_write_is_an_error(tmp_path):
    """An empty store would only fail later."""
    with pytest.raises(DataError, match="no structure passed"):
        write_store(tmp_path / "store", [], [], {})


@pytest.mark.parametrize(
    "damage", ["no manifest", "bad manifest", "no atoms", "short labels", "other version", "bad field"]
)
def test_a_damaged_store_is_refused(items, tmp_path, damage):
    """Half-written, cut off or from another time: one DataError that names the folder."""
    write_store(tmp_path, items, [], {})
    manifest = tmp_path / "manifest.json"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text(manifest.read_text()[:-20])
    elif damage == "no atoms":
        (tmp_path / "atoms.npy").unlink()
    elif damage == "short labels":
        np.save(tmp_path / "labels.npy", np.zeros(3, dtype=np.uint8))
    elif damage == "bad field":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fields": [{"name": "../atoms"}]}))
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    with pytest.raises(DataError, match=str(tmp_path)):
        Store(tmp_path)
