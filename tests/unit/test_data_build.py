"""Building a store: what is kept, what is dropped, and the reason that is given."""

import csv
import os

import numpy as np
import pytest

from protgen.data.build import build
from protgen.data.sources import find_sources
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import DataError
from protgen.geometry.native_size import LENGTHS, RATIOS, native_radius
from protgen.structure.ideal import ideal_hairpin, ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.trace import radius_of_gyration
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=60, rg_percentile=100, validation_fraction=0.0)


def put(folder, name, backbone, **keywords):
    write_structure(Protein.from_backbone(backbone, **keywords), folder / name)


def reasons(store):
    return {entry["id"]: entry["reason"] for entry in store.manifest["dropped"]}


def test_each_drop_has_its_reason(tmp_path):
    """One defect a file: each is dropped for it, and the sound ones are kept."""
    source = tmp_path / "in"
    source.mkdir()
    put(source, "helix.pdb", ideal_helix(40))
    put(source, "hairpin.cif", ideal_hairpin(24))
    put(source, "copy.pdb", ideal_helix(40))
    put(source, "short.pdb", ideal_helix(12))
    put(source, "loopy.pdb", ideal_strand(40))
    broken = ideal_helix(40)
    broken[20:] += 15.0
    put(source, "broken.pdb", broken)
    two = np.concatenate([ideal_helix(25), ideal_helix(25) + 30.0])
    put(source, "two.pdb", two, chain_ids=np.repeat(["A", "B"], 25))
    (source / "junk.pdb").write_text("junk")
    counts = build(source, tmp_path / "store", LOOSE)
    store = Store(tmp_path / "store")
    found = reasons(store)
    assert {store[i].id for i in range(len(store))} == {"hairpin", "copy", "two_A"}  # sorted by name: copy comes first
    assert found["helix"] == "same coordinates as copy"
    assert found["short"].startswith("peptide, length 12 < 20")
    assert found["loopy"].startswith("coil")
    assert "chain break" in found["broken"]
    assert found["two_B"] == "same backbone as two_A, moved"
    assert found["junk"].startswith("unreadable")
    assert {key: counts[key] for key in ("read", "kept", "dropped", "unreadable")} == {
        "read": 8,
        "kept": 3,
        "dropped": 6,
        "unreadable": 1,
    }
    assert counts["warnings"] == {"chain_break": 1}


def test_labels_and_facts_are_those_of_the_structure(tmp_path):
    """A helix is labelled helix; length, Rg and fractions are in the manifest."""
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", "helix.pdb", ideal_helix(30))
    build(tmp_path / "in", tmp_path / "store", LOOSE)
    item = Store(tmp_path / "store")[0]
    assert (item.labels[2:-2] == 1).all()
    assert item.facts["length"] == 30
    assert item.facts["rg"] == pytest.approx(radius_of_gyration(ideal_helix(30)[:, 1]), abs=0.01)
    assert item.numbers.tolist() == list(range(1, 31))
    assert np.abs(item.atoms - ideal_helix(30)).max() < 0.001


def test_an_index_names_files_splits_clusters_and_resolution(tmp_path):
    """Only what it lists is read; its split is kept; a resolution above the limit drops a chain."""
    source = tmp_path / "in"
    source.mkdir()
    for n in (30, 31, 32, 33):
        put(source, f"h{n}.pdb", ideal_helix(n))
    with (source / "index.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, ["file", "split", "cluster40", "resolution"])
        table.writeheader()
        table.writerow({"file": "h30.pdb", "split": "validation", "cluster40": "k", "resolution": ""})
        table.writerow({"file": "h31.pdb", "split": "train", "cluster40": "m", "resolution": "2.0"})
        table.writerow({"file": "h32.pdb", "split": "train", "cluster40": "m", "resolution": "9.0"})
    build(source, tmp_path / "store", LOOSE)
    store = Store(tmp_path / "store")
    assert [(store[i].id, store[i].split, store[i].cluster) for i in range(len(store))] == [
        ("h30", "validation", "k"),
        ("h31", "train", "m"),
    ]
    assert reasons(store)["h32"].startswith("resolution 9.0")


def test_extended_chains_are_those_larger_than_natives_of_their_length(tmp_path):
    """Single helices: those of up to 40 residues are within 96 % of natives, longer ones are not, in any company."""
    (tmp_path / "in").mkdir()
    sizes = {n: radius_of_gyration(ideal_helix(n)[:, 1]) for n in range(34, 56, 3)}
    for n in sizes:
        put(tmp_path / "in", f"h{n}.pdb", ideal_helix(n))
    build(tmp_path / "in", tmp_path / "store", Filters(min_length=20, validation_fraction=0.0))
    dropped = reasons(Store(tmp_path / "store"))
    assert set(dropped) == {f"h{n}" for n in sizes if sizes[n] > native_radius(n, 96)}
    assert len(dropped) == len(sizes) - 3
    assert dropped["h55"] == "extended: Rg 24.7 Å; 96 % of natives of 55 residues have at most 18.2 Å"
    with pytest.raises(DataError, match="all are extended"):
        build(tmp_path / "in", tmp_path / "store", Filters(min_length=20, rg_percentile=75, validation_fraction=0.0))


def test_native_sizes_are_interpolated():
    """At the table's places its values; between them the mean in log L and in the percentile; 100 is no limit."""
    unit = 2.2 * 80**0.38
    assert native_radius(80, 96) == pytest.approx(1.548 * unit)
    assert native_radius(80, 75) == pytest.approx(1.204 * unit)
    assert native_radius(80, 97.5) == pytest.approx((1.594 + 1.657) / 2 * unit)
    between = (40 * 50) ** 0.5
    assert native_radius(between, 90) == pytest.approx((1.812 + 1.634) / 2 * 2.2 * between**0.38)
    assert native_radius(20, 50) == pytest.approx(1.174 * 2.2 * 20**0.38)
    assert native_radius(1000, 99) == pytest.approx(1.712 * 2.2 * 1000**0.38)
    assert native_radius(80, 100) == np.inf


def test_native_sizes_follow_parabolas():
    """Each percentile is the exponential of a parabola in log L with three digits, or a lower one's where that is more.

    At 40 residues the parabolas of 98 and 99 % lie below that of 97 %.
    """
    place, table = np.log(LENGTHS), np.array(RATIOS)
    fits = [np.polynomial.Polynomial.fit(place[1:], np.log(row[1:]), 2) for row in table]
    curves = np.maximum.accumulate([np.exp(fit(place)) for fit in fits], axis=0)
    assert np.abs(curves - table).max() < 1.2e-3
    assert table[0].min() == 1.007  # globular chains are of the size 2.2 L^0.38
    assert table[-1].min() == 1.614


def test_split_by_cluster_is_drawn_by_name(tmp_path):
    """With no index a fraction is held out, the same ones each time."""
    (tmp_path / "in").mkdir()
    for n in range(20, 60):
        put(tmp_path / "in", f"h{n}.pdb", ideal_helix(n))
    filters = Filters(min_length=20, rg_percentile=100, validation_fraction=0.3)
    held_out = []
    for name in ("one", "two"):
        build(tmp_path / "in", tmp_path / name, filters)
        held_out.append(Store(tmp_path / name).indices("validation").tolist())
    assert held_out[0] == held_out[1]
    assert 4 <= len(held_out[0]) <= 20


def test_nothing_found_and_nothing_kept_are_errors(tmp_path):
    """A missing folder, an empty one, an index without a file column, filters nothing passes."""
    with pytest.raises(DataError, match="no such folder"):
        find_sources(tmp_path / "nowhere")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no structure files"):
        find_sources(tmp_path / "in")
    put(tmp_path / "in", "h.pdb", ideal_helix(25))
    with pytest.raises(DataError, match="no structure passed"):
        build(tmp_path / "in", tmp_path / "store", Filters(min_length=30))
    (tmp_path / "in" / "index.csv").write_text("name\nh.pdb\n")
    with pytest.raises(DataError, match="column `file`"):
        find_sources(tmp_path / "in")


@pytest.mark.parametrize("content", ["", "file,split\n", "file\n\n"])
def test_an_index_that_lists_nothing_says_so(content, tmp_path):
    """And not that the folder, which has a structure, has none."""
    put(tmp_path, "h.pdb", ideal_helix(25))
    (tmp_path / "index.csv").write_text(content)
    with pytest.raises(DataError, match=r"index\.csv: lists no files"):
        find_sources(tmp_path)


@pytest.mark.parametrize("make", ["link", "pipe", "folder"])
def test_an_index_that_cannot_be_read_is_not_left_out(make, tmp_path):
    """Without it all files would be taken, with splits that nobody asked for."""
    put(tmp_path, "h.pdb", ideal_helix(25))
    index = tmp_path / "index.csv"
    if make == "link":
        index.symlink_to(tmp_path / "nothing.csv")
    elif make == "pipe":
        os.mkfifo(index)
    else:
        index.mkdir()
    with pytest.raises(DataError, match=r"index\.csv: is no file that can be read"):
        find_sources(tmp_path)


def test_a_file_has_one_split(tmp_path):
    """Two rows that say otherwise are both named; the same one twice is taken."""
    put(tmp_path, "1eco.pdb", ideal_helix(25))
    index = tmp_path / "index.csv"
    index.write_text("file,split\n1eco.pdb,train\nx.pdb,test\n./1eco.pdb,validation\n")
    with pytest.raises(DataError, match=r"rows 1 and 3 list \./1eco\.pdb for train and for validation; leave one out"):
        find_sources(tmp_path)
    index.write_text("file,split\n1eco.pdb,train\n1eco.pdb,\n1eco.pdb,train\n")
    assert [source.id for source in find_sources(tmp_path)] == ["1eco", "1eco~2", "1eco~3"]


@pytest.mark.parametrize("split", ["valid", "Train", "training", "train,test", "0"])
def test_a_split_that_is_none_of_ours_is_refused_by_row(split, tmp_path):
    """It would be a split of its own that nothing trains on; names of ours, and none, are taken."""
    for k in range(4):
        put(tmp_path, f"h{k}.pdb", ideal_helix(30 + k))
    rows = [("h0.pdb", "train"), ("h1.pdb", ""), ("h2.pdb", "test"), ("h3.pdb", "validation")]

    def write(last: str) -> None:
        with (tmp_path / "index.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("file", "split"), *rows[:3], ("h3.pdb", last)])

    write("validation")
    assert [(s.path.name, s.facts["split"]) for s in find_sources(tmp_path)] == rows
    write(split)
    with pytest.raises(DataError) as caught:
        build(tmp_path, tmp_path / "store", LOOSE)
    reason = f"row 4: split {split!r}; give train, validation, test, or nothing"
    assert str(caught.value) == f"{tmp_path / 'index.csv'}: {reason}"
    assert not (tmp_path / "store").exists()
