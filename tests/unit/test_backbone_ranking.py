"""`protgen sample --best`: the order, the figures it is by, and what is copied."""

import json
import math
from pathlib import Path

import pytest

from protgen.errors import UsageError
from protgen.evaluation.backbone_ranking import BackboneRanking, write_backbone_ranking
from protgen.evaluation.collect import collect_files
from protgen.evaluation.ranking import ordered
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure


def row(design: str, good: bool, value: float) -> dict:
    return {"design": design, "good": good, "rg": 0.0, "packing": value}


def test_good_ones_come_first_then_the_figure_then_the_name():
    rows = [row("a", False, 9.0), row("b", True, 1.0), row("c", True, math.nan), row("e", True, 2.0), row("d", True, 2)]
    assert [r["design"] for r in ordered(rows, "packing", "higher", first="good")] == ["d", "e", "b", "c", "a"]
    assert [r["design"] for r in ordered(rows, "packing", "lower", first="good")] == ["b", "d", "e", "c", "a"]
    assert [r["design"] for r in ordered(rows, "packing", "higher")] == ["a", "d", "e", "b", "c"]
    assert [(r["rank"], r["value"]) for r in ordered(rows[:2], "packing", "lower")] == [(1, 1.0), (2, 9.0)]


def test_figures_that_say_nothing_are_refused():
    with pytest.raises(UsageError, match="--rank-by packng: no such figure; did you mean 'packing'"):
        BackboneRanking("packng")
    with pytest.raises(UsageError, match="--rank-by rg: neither high nor low"):
        BackboneRanking("rg")
    assert BackboneRanking("packing").describe() == "packing (higher is better)"
    assert BackboneRanking().describe() == "hbond_score, bonded N-H and regular structure (higher is better)"


def test_bonds_are_the_default_and_a_missing_designer_is_named(monkeypatch):
    def missing(self):
        raise UsageError("install protgen[design]")

    monkeypatch.setattr("protgen.inverse_folding.proteinmpnn.ProteinMPNN.prepare", missing)
    assert BackboneRanking().by == "hbond_score"
    with pytest.raises(UsageError, match="design"):
        BackboneRanking("score")


def test_all_are_listed_and_the_best_copied(tmp_path):
    """Copies have their place before their name, and are no designs of their own to `evaluate`."""
    lengths = {"design_0000": 12, "design_0001": 30, "design_0002": 20}
    for name, length in lengths.items():
        write_structure(Protein.from_backbone(ideal_helix(length)), tmp_path / f"{name}.pdb")
    rows = [{"design": name, "good": True} for name in lengths]
    ranking = BackboneRanking("bonded").rank(rows, lambda r: tmp_path / f"{r['design']}.pdb")
    assert [r["value"] for r in ranking.rows] == pytest.approx([26 / 30, 16 / 20, 8 / 12])
    best = write_backbone_ranking(ranking, tmp_path, 2, lambda r: [tmp_path / f"{r['design']}.pdb"])
    assert sorted(path.name for path in best.glob("*.pdb")) == ["001_design_0001.pdb", "002_design_0002.pdb"]
    assert (best / "001_design_0001.pdb").read_bytes() == (tmp_path / "design_0001.pdb").read_bytes()
    assert json.loads((best / "best.json").read_text()) == {
        "ranked_by": "bonded", "better": "higher", "n": 3, "kept": 2,
        "files": ["001_design_0001.pdb", "002_design_0002.pdb"],
    }  # fmt: skip
    table = (tmp_path / "ranking.csv").read_text().splitlines()
    assert table[0].startswith("rank,design,verdict,ranked_by,value")
    assert [line.split(",")[1] for line in table[1:]] == ["design_0001", "design_0002", "design_0000"]
    assert len(collect_files([tmp_path])) == 3
    assert len(collect_files([best])) == 2


def test_what_others_put_beside_the_best_stays(tmp_path):
    """Of an earlier ranking the copies go; a folder of that name that is somebody else's is refused and left alone."""
    write_structure(Protein.from_backbone(ideal_helix(12)), tmp_path / "a.pdb")
    write_structure(Protein.from_backbone(ideal_helix(30)), tmp_path / "b.pdb")

    def keep(*names: str) -> Path:
        rows = [{"design": name, "good": True} for name in names]
        ranking = BackboneRanking("bonded").rank(rows, lambda r: tmp_path / f"{r['design']}.pdb")
        return write_backbone_ranking(ranking, tmp_path, 2, lambda r: [tmp_path / f"{r['design']}.pdb"])

    best = keep("a", "b")
    (best / "sequences").mkdir()
    (best / "sequences" / "001_b.fasta").write_text(">x\nA\n")
    (best / "thesis.txt").write_text("precious")
    keep("a")
    left = sorted(path.relative_to(best).as_posix() for path in best.rglob("*") if path.is_file())
    assert left == ["001_a.pdb", "best.json", "sequences/001_b.fasta", "thesis.txt"]
    (best / "best.json").unlink()
    with pytest.raises(UsageError, match=r"best: holds files that are no copies of ours; move them"):
        keep("b")
    assert (best / "thesis.txt").read_text() == "precious"
