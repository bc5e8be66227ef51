"""Splits by cluster, topology and date; what is found across them; and natives as the measure of extended chains."""

import csv
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from protgen.cli.main import run
from protgen.data.build import BuildOptions, build
from protgen.data.clusters import Clustering
from protgen.data.domains import read_topologies, topologies_of
from protgen.data.gathering import Gathered, Row
from protgen.data.leakage import LeakageOptions, in_words, leakage, warning_of
from protgen.data.mmseqs import find_mmseqs
from protgen.data.relatives import Chain
from protgen.data.splits import SplitRule, by_cluster, by_date, by_topology, drawn, topologies_in
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import DataError, ProtgenError, UsageError
from protgen.metrics.tm import tm_score
from protgen.structure.ideal import build_from_torsions, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=90, max_coil=1.0, rg_percentile=100, validation_fraction=0.5)


def test_a_cluster_has_the_split_that_the_index_names_for_one_of_it():
    facts = [{"split": "test"}, {}, {}, {"split": "train"}]
    names = [name for name in map(str, range(100)) if drawn(name, 0.3) == "validation"]
    assert 20 <= len(names) <= 40
    assert by_cluster(["a", "a", names[0], "a"], facts, 0.3) == ["test", "test", "validation", "train"]


def test_a_topology_is_on_one_side_with_the_clusters_that_it_touches():
    """Six chains: two topologies that share a chain, a cluster that reaches into them, and two that stand alone."""
    clusters = ["a", "b", "c", "b", "d", "e"]
    topologies = [("1.10.8",), ("1.10.8", "3.40.50"), ("3.40.50",), (), ("2.60.40",), ()]
    for fraction in np.linspace(0, 1, 41):
        found = by_topology(clusters, topologies, float(fraction))
        assert found[:4] == [drawn("1.10.8", float(fraction))] * 4
        assert found[4:] == [drawn("2.60.40", float(fraction)), drawn("e", float(fraction))]
    with pytest.raises(DataError, match="no chain has a topology"):
        by_topology(["a"], [()], 0.5)
    assert topologies_in("1.10.8.10; 3.40.50", "x") == ("1.10.8", "3.40.50")
    with pytest.raises(DataError, match="x: 'globin' is no CATH code"):
        topologies_in("1.10.8.10 globin", "x")


def test_cath_lists_give_the_topologies_of_chains_and_domains(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# CLF\n1oaiA00 1 10 8 10 1 1 1 1 1 59 1.0\n1cukA01 2 40 50 140 1 1 1 1 1 66 1.9\n"
                    "1cukA03 1 10 8 10 3 1 1 1 1 48 1.9\n1pky001 3 20 20 60 1 1 1 1 1 48 2.5\n")  # fmt: skip
    listed = read_topologies(path)
    assert topologies_of("x", "1cuk", "A", listed) == ("1.10.8", "2.40.50")
    assert topologies_of("1cukA03", "1cuk", "A", listed) == ("1.10.8",)
    assert topologies_of("x", "1cuk", "B", listed) == ()
    assert topologies_of("x", "1pky", "C", listed) == ("3.20.20",)
    path.write_text("1oaiA00 1 10\n")
    with pytest.raises(DataError, match="line 1: no domain with C, A, T and H"):
        read_topologies(path)


def test_dates_from_the_cutoff_on_are_held_out():
    facts = [{"date": "2019-12-31"}, {"date": "2020-01-01"}, {"date": ""}, {"date": "2021-05-06T00:00:00Z"}]
    assert by_date(facts, "2020-01-01") == ["train", "validation", "", "validation"]
    with pytest.raises(DataError, match="'1 May 2020' of a is no date"):
        by_date([{"date": "1 May 2020", "file": "a"}], "2020-01-01")
    for none in ("2001-02-30", "2020-13-45", "0000-01-01", "2020-01-01x"):
        with pytest.raises(DataError, match=f"'{none}' of a is no date"):
            by_date([{"date": none, "file": "a"}], "2020-01-01")
        with pytest.raises(UsageError, match="--date-cutoff"):
            SplitRule("date", none)
    with pytest.raises(UsageError, match="--date-cutoff"):
        SplitRule("date")
    with pytest.raises(UsageError, match="--date-cutoff"):
        SplitRule("cluster", "2020-01-01")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "split of the index;"),
        (("--split-by", "date", "--date-cutoff", "2013-01-01"), "split that the date makes;"),
    ],
)
def test_what_made_the_splits_of_a_cluster_is_said(options, words, tmp_path, capsys):
    """Two chains of one cluster in two splits."""
    for k in range(2):
        write_structure(Protein.from_backbone(ideal_helix(25 + k)), tmp_path / f"f{k}.pdb")
    rows = "f0.pdb,c,train,2010-01-01\nf1.pdb,c,validation,2020-01-01\n"
    (tmp_path / "index.csv").write_text(f"file,cluster40,split,date\n{rows}")
    asked = ("--min-length", "20", "--max-coil", "1", "--rg-percentile", "100", *options)
    assert run(["data", "build", str(tmp_path), "--out", str(tmp_path / "store"), *asked]) == 0
    assert f"1 clusters have chains in more than one {words}" in capsys.readouterr().err


def fold(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return build_from_torsions(rng.uniform(-2.5, -0.8, length), rng.uniform(-1, 2.5, length))


def sequence(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(STANDARD, length)


def put(folder: Path, name: str, backbone: np.ndarray, names: np.ndarray) -> None:
    write_structure(Protein.from_backbone(backbone, residue_names=names), folder / name)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Five families of three: one sequence each but for a quarter of it, in three folds."""
    folder = tmp_path_factory.mktemp("in")
    rng = np.random.default_rng(0)
    for family, k in itertools.product(range(5), range(3)):
        names = sequence(50, family)
        where = rng.permutation(50)[: 12 * (k > 0)]
        names[where] = rng.choice(STANDARD, len(where))
        put(folder, f"f{family}_{k}.pdb", fold(50, 10 * family + k), names)
    return folder


def kept_of(store: Path) -> dict[str, dict]:
    return {entry["id"]: entry for entry in Store(store).manifest["kept"]}


def indexed(source: Path, folder: Path, **columns) -> Path:
    """The same files with an index of these columns, as functions of family and number."""
    folder.mkdir()
    names = sorted(path.name for path in source.iterdir())
    with (folder / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *columns])
        for name in names:
            (folder / name).write_bytes((source / name).read_bytes())
            table.writerow([name, *(value(int(name[1]), int(name[3])) for value in columns.values())])
    return folder


def test_relatives_by_sequence_are_one_cluster_on_one_side(source, tmp_path):
    """Without an index: families are clusters, whatever their folds; nothing alike is on both sides."""
    counts = build(source, tmp_path / "store", LOOSE, BuildOptions(clustering=Clustering(program="builtin")))
    kept = kept_of(tmp_path / "store")
    assert {name: entry["cluster"] for name, entry in kept.items()} == {name: f"{name[:2]}_0" for name in kept}
    assert {entry["split"] for entry in kept.values()} == {"train", "validation"}
    assert counts["clusters_on_both_sides"] == 0
    manifest = Store(tmp_path / "store").manifest
    assert manifest["leakage"]["sequence"]["held_out"]
    assert "closest" not in manifest["leakage"]["sequence"]
    assert manifest["settings"]["clusters"] == {"program": "builtin", "identity": 0.4, "coverage": 0.8}
    assert not warning_of(manifest["leakage"])


def test_a_split_that_leaks_is_not_called_held_out(source, tmp_path):
    """The index splits families; the closest pair, its identity and the number above are those of the sequences."""
    folder = indexed(
        source, tmp_path / "in", split=lambda f, k: "validation" if (f, k) in ((1, 1), (2, 2)) else "train"
    )
    build(folder, tmp_path / "store", LOOSE, BuildOptions(clustering=Clustering(program="builtin")))
    store = Store(tmp_path / "store")
    found = store.manifest["leakage"]["sequence"]
    types = {item.id: item.residue["aatype"] for item in store}
    relatives = [(a, b) for a in ("f1_1", "f2_2") for b in types if b[:2] == a[:2] and b != a]
    same = {(a, b): float((types[a] == types[b]).mean()) for a, b in relatives}
    assert found["items_over"] == 2
    assert not found["held_out"]
    pair = (found["closest"]["item"], found["closest"]["training_item"])
    assert same[pair] == max(same.values())
    # Ends that differ are not aligned, and of what is aligned there are no gaps.
    assert found["closest"]["identity"] * found["closest"]["covered"] == pytest.approx(same[pair], abs=1e-4)
    assert "NOT held out by sequence" in in_words(store.manifest["leakage"])[0]
    assert "2 held-out items" in warning_of(store.manifest["leakage"])


@pytest.mark.skipif(find_mmseqs() is None, reason="MMseqs2 is not installed")
def test_mmseqs_finds_what_is_on_both_sides_where_pairs_are_many_and_it_makes_the_clusters(
    source, tmp_path, monkeypatch
):
    """The same closest pair as the built-in search, with the name of the program; `builtin` stays itself."""
    folder = indexed(
        source, tmp_path / "in", split=lambda f, k: "validation" if (f, k) in ((1, 1), (2, 2)) else "train"
    )
    found = {}
    for name, program, most in (("few", "mmseqs", 10**6), ("many", "mmseqs", 10), ("own", "builtin", 10)):
        monkeypatch.setattr("protgen.data.leakage.MOST_PAIRS", most)
        build(folder, tmp_path / name, LOOSE, BuildOptions(clustering=Clustering(program=program)))
        found[name] = Store(tmp_path / name).manifest["leakage"]
    assert found["few"] == found["own"]
    assert found["many"]["sequence"] == found["few"]["sequence"] | {"program": "mmseqs"}
    assert "(identity below 0.4; searched by MMseqs2)" in in_words(found["many"])[0]
    assert "MMseqs2" not in in_words(found["few"])[0]


def test_a_chain_without_a_cluster_joins_its_relatives_of_the_index(source, tmp_path):
    """Two of three have the index's cluster and split, the third takes both; the index's own clusters stay."""
    folder = indexed(
        source,
        tmp_path / "in",
        cluster40=lambda f, k: "" if k == 1 else f"mine{f}{k if f == 3 else ''}",
        split=lambda f, k: "" if k == 1 else "test" if f == 2 else "train",
    )
    build(folder, tmp_path / "store", LOOSE, BuildOptions(clustering=Clustering(program="builtin")))
    kept = kept_of(tmp_path / "store")
    assert {name: entry["cluster"] for name, entry in kept.items()} == {
        name: f"mine{name[1]}" + ({"1": "0"}.get(name[3], name[3]) if name[1] == "3" else "") for name in kept
    }
    assert {name for name, entry in kept.items() if entry["split"] == "test"} == {"f2_0", "f2_1", "f2_2"}


def test_the_command_splits_by_date_and_topology(source, tmp_path):
    folder = indexed(
        source,
        tmp_path / "in",
        date=lambda f, k: f"20{10 + f}-01-01" if k else "",
        cath=lambda f, k: f"1.10.{f // 2}.7",
    )
    options = BuildOptions(clustering=Clustering(program="builtin"), split=SplitRule("date", "2013-01-01"))
    build(folder, tmp_path / "date", LOOSE, options)
    kept = kept_of(tmp_path / "date")
    assert {name: entry["split"] for name, entry in kept.items()} == {
        f"f{f}_{k}": "train" if f < 3 else "validation" for f in range(5) for k in (1, 2)
    }
    dropped = Store(tmp_path / "date").manifest["dropped"]
    assert {entry["id"] for entry in dropped if entry["reason"].startswith("no date")} == {f"f{f}_0" for f in range(5)}
    build(folder, tmp_path / "cath", LOOSE, BuildOptions(split=SplitRule("topology")))
    kept = kept_of(tmp_path / "cath")
    assert {name: entry["split"] for name, entry in kept.items()} == {
        name: drawn(f"1.10.{int(name[1]) // 2}", 0.5) for name in kept
    }


@pytest.mark.parametrize(
    ("columns", "options", "what"),
    [
        ({"date": "soon"}, BuildOptions(split=SplitRule("date", "2013-01-01")), "'soon' of f0_0.pdb is no date"),
        ({"cath": "alpha"}, BuildOptions(split=SplitRule("topology")), "cath of f0_0: 'alpha' is no CATH code"),
        ({}, BuildOptions(clustering=Clustering(program="mmseqs")), "no program mmseqs"),
    ],
)
def test_what_cannot_be_used_is_known_before_reading(columns, options, what, source, tmp_path, monkeypatch):
    monkeypatch.setattr("protgen.data.clusters.find_mmseqs", lambda: None)
    folder = indexed(source, tmp_path / "in", **{name: lambda f, k, text=text: text for name, text in columns.items()})
    seen = []
    with pytest.raises(ProtgenError, match=what):
        build(folder, tmp_path / "store", LOOSE, options, progress=lambda *done: seen.append(done))
    assert not seen
    assert not (tmp_path / "store").exists()


def test_the_nearest_fold_is_that_of_all_pairs():
    """Each held-out item against each training item by the full search; the largest TM by the held-out length."""
    from protgen.metrics.novelty import novelty

    folds = [fold(40 + 3 * k, k)[:, 1].astype(np.float32) for k in range(8)]
    folds[7] = np.concatenate([folds[2][3:] + 5.0, folds[6][:4]])
    chains = [Chain(f"c{k}", ca, b"") for k, ca in enumerate(folds)]
    splits = ["train", "train", "validation", "train", "test", "train", "train", "train"]
    rows = [Row(k, k, 0, 0, 0, len(folds[k]), f"c{k}", {}, "", splits[k]) for k in range(8)]
    gathered = Gathered(rows=rows, chains=chains)
    exact = {(a, b): tm_score(folds[a], folds[b])[0] for a in (2, 4) for b in range(8) if splits[b] == "train"}
    best = max(exact, key=exact.__getitem__)
    found = leakage(gathered, LeakageOptions(0.4, 0.8, folds=novelty))["fold"]
    assert best == (2, 7)
    assert found["closest"] == {"item": "c2", "training_item": "c7", "tm": round(exact[best], 4)}
    assert found["items_over"] == 1 == sum(max(exact[a, b] for b in (0, 1, 3, 5, 6, 7)) >= 0.5 for a in (2, 4))
    assert (found["items_searched"], found["held_out"]) == (2, False)
    far = SimpleNamespace(max_tm=np.array([0.3]), nearest=np.array([0]))
    report = leakage(gathered, LeakageOptions(0.4, 0.8, folds=lambda a, b: far, searched=1))
    one = report["fold"]
    assert (one["items_searched"], one["items_over"], one["held_out"]) == (1, 0, False)
    assert "1 of 2 held-out items searched" in in_words(report)[1]
