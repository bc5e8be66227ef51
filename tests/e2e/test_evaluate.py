"""`evaluate` on folders of good, odd and bad files."""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from protgen.cli.main import run
from protgen.errors import UsageError
from protgen.evaluation.runner import evaluate
from protgen.evaluation.validity import validity
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("PROTGEN_SHARED", Path(__file__).parents[2].parent / "shared"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three structures in three formats, one of them in a subfolder, among files that are none."""
    source = tmp_path / "designs"
    (source / "more").mkdir(parents=True)
    write_structure(Protein.from_backbone(ideal_helix(30)), source / "b_helix.pdb")
    write_structure(Protein.from_backbone(ideal_strand(20)), source / "a_strand.cif")
    write_structure(Protein.from_backbone(ideal_helix(25)), source / "more" / "helix.pdb.gz")
    (source / "run.json").write_text("{}")
    return source


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_table_and_summary(folder, tmp_path):
    """A row a structure in sorted order, documented columns first, a summary that agrees with the table."""
    result = evaluate([folder], tmp_path / "out")
    assert (result.n, result.n_failed, result.exit_code) == (3, 0, 0)
    rows = read_table(tmp_path / "out" / "structures.csv")
    assert list(rows[0])[:4] == ["file", "status", "message", "length"]
    assert [row["file"] for row in rows] == ["a_strand.cif", "b_helix.pdb", "more/helix.pdb.gz"]
    assert [row["length"] for row in rows] == ["20", "30", "25"]
    assert {row["status"] for row in rows} == {"ok"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["n"], summary["n_failed"]) == (3, 0)
    helix = summary["metrics"]["helix"]
    assert set(helix) >= {"mean", "median", "ci_low", "ci_high", "n"}
    assert helix["mean"] == pytest.approx(np.mean([float(row["helix"]) for row in rows]), abs=1e-4)
    assert summary["metrics"]["d_residues"]["mean"] is None
    assert summary["metrics"]["d_residues"]["n"] == 0
    assert set(summary["definitions"]) == set(summary["metrics"])


@dataclass(frozen=True)
class Lethal:
    """A condition whose measurement of 20 residues takes the whole process with it, as a crash in C code would."""

    parent: int
    name: str = "lethal"

    def adherence(self, protein):
        if protein.length == 20:
            assert os.getpid() != self.parent, "only a worker may be killed"
            os._exit(9)
        return SimpleNamespace(asked="to live", got="alive", difference=0.0, satisfied=True)


def test_killed_worker_is_an_error_row(folder, tmp_path):
    """One file of three kills the process that reads it: its row says so, the others are measured, the run ends."""
    result = evaluate([folder], tmp_path / "out", jobs=2, conditions=[Lethal(os.getpid())])
    assert (result.n, result.n_failed, result.exit_code) == (3, 1, 3)
    rows = {row["file"]: row for row in read_table(tmp_path / "out" / "structures.csv")}
    assert rows["a_strand.cif"]["status"] == "error"
    assert "was killed" in rows["a_strand.cif"]["message"]
    assert rows["a_strand.cif"]["length"] == ""
    assert [rows[name]["lethal_got"] for name in ("b_helix.pdb", "more/helix.pdb.gz")] == ["alive"] * 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["n_failed"], summary["metrics"]["length"]["n"]) == (1, 2)


def test_too_many_to_cluster(folder, tmp_path, capfd):
    """Three structures where two are the most: the summary, the console and the page say so, and how to force it."""
    for most, clustered in ((2, False), (3, True)):
        out = tmp_path / str(most)
        assert run(["evaluate", str(folder), "--out", str(out), "--most-compared", str(most)]) == 0
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        said = " ".join(capfd.readouterr().out.split())
        texts = (said, (out / "report.html").read_text(encoding="utf-8"))
        assert ("diversity" in summary["sets"]["designs"]) == clustered
        assert ("not_clustered" in summary) == (not clustered)
        assert all(("--most-compared 3 clusters them" in text) == (not clustered) for text in texts)


def test_bad_files_are_rows(folder, tmp_path):
    """Damaged files are named with a reason, the others are measured, and the exit code says so."""
    (folder / "empty.pdb").write_text("")
    (folder / "page.cif").write_text("<!DOCTYPE html><html>not found</html>")
    (folder / "broken.pdb.gz").write_bytes(b"\x1f\x8b\x08\x00random")
    seen = []
    result = evaluate([folder], tmp_path / "out", progress=lambda done, n: seen.append((done, n)))
    assert (result.n, result.n_failed, result.exit_code) == (6, 3, 3)
    assert seen == [(i, 6) for i in range(1, 7)]
    rows = {row["file"]: row for row in read_table(tmp_path / "out" / "structures.csv")}
    for name in ("empty.pdb", "page.cif", "broken.pdb.gz"):
        assert rows[name]["status"] == "error"
        assert name in rows[name]["message"]
        assert rows[name]["length"] == ""
    assert rows["b_helix.pdb"]["status"] == "ok"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["length"]["n"] == 3


def test_all_bad(tmp_path):
    """When nothing can be read the table still names every file."""
    bad = tmp_path / "bad.pdb"
    bad.write_text("HEADER nothing\n")
    result = evaluate([bad], tmp_path / "out")
    assert result.exit_code == 4
    assert len(read_table(tmp_path / "out" / "structures.csv")) == 1


def test_usage_errors(folder, tmp_path):
    """No such path, a folder without structures, an output that is a file: one line each, nothing written."""
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file").write_text("")
    for paths, out, match in (
        ([tmp_path / "absent"], "out", "no such file"),
        ([tmp_path / "nothing"], "out", "no structure files"),
        ([], "out", "nothing to evaluate"),
        ([folder], "file", "cannot be used"),
    ):
        with pytest.raises(UsageError, match=match):
            evaluate(paths, tmp_path / out)
    assert not (tmp_path / "out").exists()


def test_files_given_twice_and_names_alike(folder, tmp_path):
    """A file comes once; equal names in two folders are distinguished by their paths."""
    result = evaluate([folder, folder / "b_helix.pdb"], tmp_path / "out")
    assert result.n == 3
    result = evaluate([folder / "more", folder / "more" / "..", folder / "b_helix.pdb"], tmp_path / "out")
    assert len({row["file"] for row in result.rows}) == result.n


def test_strict_turns_warnings_into_errors(tmp_path):
    """A chain break earns a warning, and an error under strict."""
    xyz = ideal_helix(20)
    xyz[10:] += 15.0
    write_structure(Protein.from_backbone(xyz), tmp_path / "broken.pdb")
    assert evaluate([tmp_path / "broken.pdb"], tmp_path / "a").rows[0]["status"] == "warning"
    assert evaluate([tmp_path / "broken.pdb"], tmp_path / "b", strict=True).exit_code == 4


def test_validity_has_the_columns_others_rely_on():
    """The table of `protgen sample` reads these keys."""
    row = validity(Protein.from_backbone(ideal_helix(40)))
    assert row["length"] == 40
    assert row["ss"] == "C" + "H" * 38 + "C"
    assert row["chain_breaks"] == row["n_clashes"] == row["left_handed_helices"] == 0
    assert row["rama_favoured"] == row["peptide_valid"] == 1
    for key in ("helix", "strand", "coil", "rg", "rg_ratio"):
        assert np.isfinite(row[key])


@pytest.mark.skipif(not (SHARED / "data" / "chains" / "index.csv").exists(), reason="shared structures not here")
def test_natives_look_native(tmp_path):
    """Forty validation natives through the same code: the control next to every figure we print."""
    chains = SHARED / "data" / "chains"
    with (chains / "index.csv").open(newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if r["split"] == "validation" and r["n_breaks"] == "0"]
    result = evaluate([chains / row["file"] for row in rows[:40]], tmp_path / "out")
    assert result.n_failed == 0
    mean = {name: summary.mean for name, summary in result.summaries.items()}
    assert mean["rama_favoured"] > 0.95
    assert mean["peptide_valid"] > 0.99
    assert mean["left_handed_helices"] == 0
    assert mean["mirror_image"] == 0
    assert 0.95 < mean["rg_ratio"] < 1.25
    assert mean["clash_free"] > 0.9
