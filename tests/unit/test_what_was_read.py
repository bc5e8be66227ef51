"""What of files is read, and what a user hears of it: names, models, chains, gaps, resolutions, copies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protgen.conditions.motif import Motif
from protgen.conditions.partial import Partial
from protgen.data.build import build
from protgen.data.relatives import COPY, NEAR, Chain, relatives_of, rmsds
from protgen.data.sources import find_sources, resolution_of
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import DataError, UsageError
from protgen.evaluation.collect import collect_files, skipped_files
from protgen.evaluation.reference import load_reference
from protgen.evaluation.runner import Settings, evaluate
from protgen.structure.file_names import is_structure_name, stem
from protgen.structure.gaps import arc
from protgen.structure.ideal import build_from_torsions, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import count_models, read_structure
from protgen.structure.writer import write_structure

CASES = Path(__file__).parent / "cases"
LOOSE = Filters(min_length=10, max_length=200, max_coil=1.0, rg_percentile=100.0, validation_fraction=0.2)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("1abc.pdb", "1abc"), ("1abc.PDB.gz", "1abc"), ("1abc.pdb1", "1abc_assembly1"), ("a.pdb12.gz", "a_assembly12"),
        ("pdb1abc.ent", "pdb1abc"), ("x.y.cif", "x.y"), ("old.brk", "old"), ("x.bcif.gz", "x"),
        ("a.txt", None), (".hidden.pdb", None), ("pdb", None), ("a.pdb1234", None), ("a.pdb.bak", None), ("a.gz", None),
    ],
)  # fmt: skip
def test_names_of_structures(name, wanted):
    assert is_structure_name(name) == (wanted is not None)
    if wanted is not None:
        assert stem(f"folder/{name}") == wanted


def test_assemblies_are_read_and_other_files_counted(tmp_path):
    assert [label for label, _ in collect_files([CASES / "assembly"])] == ["copy.pdb1", "other.pdb"]
    for name in ("a.json", "b.json", "notes", ".hidden"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"3 files were skipped by their names: 2 \.json, 1 no suffix"):
        collect_files([tmp_path])
    assert skipped_files([tmp_path]) == {".json": 2, "no suffix": 1}


def test_every_model_is_a_row_of_its_own(tmp_path):
    """The case holds two models: the first alone with a warning, or both without."""
    assert count_models(CASES / "assembly" / "copy.pdb1") == 2
    first = evaluate([CASES / "assembly"], tmp_path / "first")
    assert [row["file"] for row in first.rows] == ["copy.pdb1", "other.pdb"]
    assert first.content["reader_warnings"] == {"multi_model": 1}
    every = evaluate([CASES / "assembly"], tmp_path / "all", settings=Settings(models="all"))
    assert [row["file"] for row in every.rows] == ["copy_model1.pdb1", "copy_model2.pdb1", "other.pdb"]
    assert every.content["reader_warnings"] == {}


def test_a_chain_can_be_picked(tmp_path):
    whole = evaluate([CASES / "two_letter_chain.cif"], tmp_path / "whole")
    assert (whole.content["chains_judged"], whole.content["several_chains"]) == (2, 1)
    assert whole.rows[0]["length"] == 24
    one = evaluate([CASES / "two_letter_chain.cif"], tmp_path / "one", settings=Settings(chain="A1"))
    assert (one.rows[0]["length"], one.rows[0]["chains"], one.content["chains_judged"]) == (12, 1, 1)
    none = evaluate([CASES / "two_letter_chain.cif"], tmp_path / "none", settings=Settings(chain="B"))
    assert none.n_failed == 1
    assert "has no chain B; it has A1, H" in none.rows[0]["message"]


def test_scores_behind_the_atoms_are_no_atoms():
    assert read_structure(CASES / "rosetta_scores.pdb").length == 12


def test_a_gap_is_refused_or_filled_and_never_closed():
    with pytest.raises(UsageError, match=r"12 residues are missing after A20; add --gaps fill"):
        Partial(str(CASES / "gap.pdb"))
    filled = Partial(str(CASES / "gap.pdb"), gaps="fill")
    assert filled.length == 52
    assert filled.codes() == "L" + "H" * 18 + "L" + "X" * 12 + "L" + "H" * 18 + "L"
    ca = filled.backbone()[:, 1]
    assert np.abs(np.linalg.norm(np.diff(ca, axis=0), axis=-1) - 3.8).max() < 0.03
    file = read_structure(CASES / "gap.pdb")
    known = list(filled.anchor().indices)
    assert known == [*range(20), *range(32, 52)]
    assert np.abs(filled.backbone()[known] - file.backbone[:, :3]).max() == 0
    assert "12 residues are missing after A20; they are built anew" in filled.cautions([52])[-1]
    assert (
        filled.adherence(Protein.from_backbone(np.pad(filled.backbone(), ((0, 0), (0, 1), (0, 0))))).difference < 1e-6
    )


def test_missing_residues_lie_on_an_arc():
    """Its bonds are those of residues: CA-CA 3.8 Å along, N-CA and CA-C 1.44 Å."""
    ends = ideal_helix(2)[:, :3]
    far = ends[1] + [18.0, 0, 0]
    built = arc(ends[0], far, 9, np.array([0.0, 1.0, 0.0]))
    ca = np.concatenate([ends[:1, 1], built[:, 1], far[None, 1]])
    assert np.abs(np.linalg.norm(np.diff(ca, axis=0), axis=-1) - 3.8).max() < 1e-6
    assert np.abs(np.linalg.norm(built[:, [0, 2]] - built[:, 1:2], axis=-1) - np.hypot(1.2, 0.8)).max() < 1e-9
    # The middle lies above that of the chord, where the arc was to bulge to, and N comes before C.
    chord = (far[1] - ends[0, 1]) / np.linalg.norm(far[1] - ends[0, 1])
    up = np.array([0.0, 1.0, 0.0]) - chord[1] * chord
    bulge = built[4, 1] - (far[1] + ends[0, 1]) / 2
    assert bulge / np.linalg.norm(bulge) == pytest.approx(up / np.linalg.norm(up), abs=1e-6)
    assert (built[4, 2] - built[4, 0]) @ chord == pytest.approx(2.4, abs=1e-6)


def test_what_the_reader_noticed_in_a_file_of_a_condition_is_said(tmp_path):
    lines = Motif(str(CASES / "sparse.pdb"), "5/A139-140/5").cautions([12])
    assert len(lines) == 1
    assert "chain_break (2" in lines[0]
    assert Motif(str(CASES / "ins_kabat.pdb"), "5/A50-54/5").cautions([16]) == []
    path = tmp_path / "chain_break.pdb"
    path.write_bytes((CASES / "assembly" / "copy.pdb1").read_bytes())
    (line,) = Partial(str(path)).cautions([24])
    assert "multi_model (2" in line


def test_notes_of_a_reference_name_what_was_left_out():
    notes = load_reference(CASES / "assembly").notes
    assert any("multi_model in 1 file (" in note for note in notes)
    assert not load_reference(CASES / "assembly").training


@pytest.mark.parametrize("text", ["", " ", ".", "?", "NA", "n/a", "NMR", "SOLUTION NMR", "none", None])
def test_unknown_resolutions(text):
    assert resolution_of(text, "x") is None


def test_a_resolution_that_is_neither_is_named_with_row_and_column(tmp_path):
    assert resolution_of("2.1", "x") == 2.1
    assert [source.id for source in find_sources(CASES / "index_nmr")] == ["a"]
    for bad in ("two", "-1", "inf", "2,1"):
        (tmp_path / "index.csv").write_text(f'file,split,resolution\na.pdb,train,1.5\nb.pdb,train,"{bad}"\n')
        with pytest.raises(DataError, match=f"row 2, column resolution: '{bad}'"):
            find_sources(tmp_path)


def wild(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return build_from_torsions(rng.uniform(-2.5, -0.8, length), rng.uniform(-1, 2.5, length))


def moved(xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return xyz @ (turn * np.sign(np.linalg.det(turn))).T + 20 * rng.standard_normal(3)


def test_moved_copies_are_one_chain(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(20):
        write_structure(Protein.from_backbone(moved(wild(40, 1), rng)), tmp_path / "in" / f"c{k:02d}.pdb")
    counts = build(tmp_path / "in", tmp_path / "store", LOOSE)
    store = Store(tmp_path / "store")
    assert counts["kept"] == 1
    reasons = {entry["id"]: entry["reason"] for entry in store.manifest["dropped"]}
    assert reasons == {f"c{k:02d}": "same backbone as c00, moved" for k in range(1, 20)}


def test_near_copies_are_on_one_side_of_the_split(tmp_path):
    """60 copies of 6 chains with 0.02 Å of noise: six clusters, and no cluster on both sides, whatever the share."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for chain in range(6):
        for k in range(10):
            xyz = wild(40 + 2 * (chain // 2), chain)
            noisy = moved(xyz + 0.02 * rng.standard_normal(xyz.shape), rng)
            write_structure(Protein.from_backbone(noisy), tmp_path / "in" / f"n{chain}_{k}.pdb")
    for share in (0.2, 0.5):
        counts = build(tmp_path / "in", tmp_path / f"store{share}", replace(LOOSE, validation_fraction=share))
        kept = Store(tmp_path / f"store{share}").manifest["kept"]
        clusters = {entry["id"]: entry["cluster"] for entry in kept}
        assert counts["kept"] == 60
        assert counts["clusters_on_both_sides"] == 0
        assert {own: cluster.split("_")[0] for own, cluster in clusters.items()} == {own: own[:2] for own in clusters}
        assert len(set(clusters.values())) == 6
        splits = {entry["cluster"]: entry["split"] for entry in kept}
        assert all(splits[entry["cluster"]] == entry["split"] for entry in kept)


def test_no_near_pair_is_missed():
    """Pairs on both sides of the limits, against the RMSD of all pairs by numpy's own superposition."""
    rng = np.random.default_rng(3)
    base = [wild(30, seed)[:, 1] for seed in range(4)]
    chains = []
    for k in range(40):
        noise = rng.choice([0.001, 0.1, 0.5, 0.9])
        chains.append(moved(base[k % 4] + noise * rng.standard_normal(base[0].shape), rng))
    chains = np.array(chains)

    def rmsd(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(0), b - b.mean(0)
        u, s, v = np.linalg.svd(a.T @ b)
        s[-1] *= np.sign(np.linalg.det(u) * np.linalg.det(v))
        return float(np.sqrt(max(0.0, (np.square(a).sum() + np.square(b).sum() - 2 * s.sum()) / len(a))))

    exact = np.array([[rmsd(a, b) for b in chains] for a in chains])
    assert np.abs(rmsds(chains[0], chains) - exact[0]).max() < 1e-6
    copies = {k for k in range(40) if any(exact[k, j] <= COPY for j in range(k))}
    labels = list(range(40))
    originals = [k for k in range(40) if k not in copies]
    for i in range(40):
        for j in originals:
            if j < i and exact[i, j] <= NEAR:
                old, new = max(labels[i], labels[j]), min(labels[i], labels[j])
                labels = [new if label == old else label for label in labels]
    found = relatives_of([Chain(str(k), xyz.astype(np.float32), b"") for k, xyz in enumerate(chains)])
    assert {int(k) for k in found.copy_of} == copies
    assert found.groups.labels().tolist() == labels
    same = bytes(range(12)) * 3
    pair = [Chain("a", base[0], same), Chain("b", base[1][:20], same)]
    assert relatives_of(pair).groups.labels().tolist() == [0, 0]
