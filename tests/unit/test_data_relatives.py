"""Copies and conformers of chains: which is which by RMSD and sequence, and that a store names them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from protgen.cli.data import conformers_in_words, describe_store
from protgen.cli.main import app
from protgen.data.build import BuildOptions, build
from protgen.data.clusters import Clustering
from protgen.data.relatives import Chain, relatives_of
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=60, max_coil=1.0, rg_percentile=100, validation_fraction=0.0)
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def bent(size: float) -> np.ndarray:
    """(40, 4, 3) Å: a helix whose axis is a parabola; its ends are off by so many Å."""
    xyz = ideal_helix(40)
    place = np.linspace(-1, 1, 40)[:, None]
    return xyz + size * np.square(place)[..., None] * np.array([1.0, 0, 0])


def rmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Of points (l, 3), superposed by another program."""
    _, off = Rotation.align_vectors(a - a.mean(0), b - b.mean(0))
    return float(off) / len(a) ** 0.5


def test_a_turned_copy_a_conformer_and_one_of_another_sequence():
    """In one cluster: within 0.01 Å a copy, within 1 Å and of one sequence a conformer; farther off neither."""
    rng = np.random.default_rng(0)
    own, other = (rng.integers(0, 20, 40, np.uint8).tobytes() for _ in range(2))
    ca = [bent(size)[:, 1] for size in (0.0, 0.0, 1.5, 1.3, 6.0, 1.6)]
    ca[1] = ca[1] @ TURN.T + 7.0
    ca[5] = ca[5] @ TURN.T
    sequences = [own, own, own, other, own, own]
    found = relatives_of(
        [Chain(f"c{k}", x.astype(np.float32), s) for k, (x, s) in enumerate(zip(ca, sequences, strict=True))]
    )
    assert found.copy_of == {"c1": "c0"}
    assert list(found.conformer_of) == ["c2", "c5"]
    for name, k in (("c2", 2), ("c5", 5)):
        first, off = found.conformer_of[name]
        assert first == "c0"
        assert off == pytest.approx(rmsd(ca[0], ca[k]), abs=1e-3)
        assert 0.3 < off < 1.0
    assert found.groups.labels().tolist() == [0] * 6


def test_a_store_names_its_conformers_and_says_so(tmp_path):
    """Four conformers of one chain, two of them turned, and a copy that is moved: manifest, `data info`, `--json`."""
    (tmp_path / "in").mkdir()
    names = np.random.default_rng(1).choice(STANDARD, 40)
    for k, size in enumerate((0.0, 0.8, 1.2, 1.6, 2.0)):
        moved = bent(size) @ TURN.T if k % 2 else bent(size)
        write_structure(Protein.from_backbone(moved, residue_names=names), tmp_path / "in" / f"c{k}.pdb")
    write_structure(Protein.from_backbone(bent(0.0) + 5.0, residue_names=names), tmp_path / "in" / "z.pdb")
    build(tmp_path / "in", tmp_path / "store", LOOSE, BuildOptions(clustering=Clustering(program="builtin")))
    store = Store(tmp_path / "store")
    named = store.manifest["conformers"]
    assert [(own["id"], own["of"]) for own in named] == [(f"c{k}", "c0") for k in (1, 2, 3, 4)]
    for own in named:
        size = (0.0, 0.8, 1.2, 1.6, 2.0)[int(own["id"][1])]
        assert own["rmsd"] == pytest.approx(rmsd(bent(0.0)[:, 1], bent(size)[:, 1]), abs=0.002)
    assert {e["id"]: e["reason"] for e in store.manifest["dropped"]} == {"z": "same backbone as c0, moved"}
    assert len(store) == 5
    assert describe_store(tmp_path / "store")["conformers"] == {"count": 4, "first": named[:3]}
    line = conformers_in_words(named)[0]
    assert line == (
        "Conformers of others, one sequence and CA within 1 Å: 4; "
        + ", ".join(f"{own['id']} of c0 ({own['rmsd']:.2f} Å)" for own in named[:3])
        + "; 1 more in manifest.json."
    )
    shown = CliRunner().invoke(app, ["data", "info", str(tmp_path / "store")]).output
    assert line in " ".join(shown.split())
    assert conformers_in_words([]) == []


def test_a_store_without_conformers_has_no_list_of_them(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(2):
        names = np.random.default_rng(k).choice(STANDARD, 30 + k)
        write_structure(Protein.from_backbone(ideal_helix(30 + k), residue_names=names), tmp_path / "in" / f"c{k}.pdb")
    build(tmp_path / "in", tmp_path / "store", LOOSE, BuildOptions(clustering=Clustering(program="builtin")))
    assert "conformers" not in Store(tmp_path / "store").manifest
    assert describe_store(tmp_path / "store")["conformers"] == {"count": 0, "first": []}
