"""`protgen evaluate` with refolds, with tools, and with a likelihood model."""

import csv
import json
import math
import re
import sys

import numpy as np
import pytest

from protgen.conditions.motif import Motif
from protgen.evaluation.designability import designability
from protgen.metrics.self_consistency import MOTIF_QUANTITIES, QUANTITIES
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure
from tests.e2e.test_report import Page

pytestmark = pytest.mark.slow

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def write(path, xyz, plddt=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    b_factors = None if plddt is None else np.full(len(xyz), plddt) + np.linspace(-0.01, 0.01, len(xyz))
    write_structure(Protein.from_backbone(xyz), path, b_factors=b_factors)


def noisy(xyz, size, seed=0):
    return xyz + size * np.random.default_rng(seed).normal(size=xyz.shape)


def read_table(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


@pytest.fixture
def designs(tmp_path):
    """Four designs: one that refolds, one that does not, one without a refold, one with odd refolds only."""
    folder = tmp_path / "designs"
    for k in range(4):
        write(folder / f"design_000{k}.pdb", ideal_hairpin(24 + 2 * k))
    refolds = tmp_path / "refolds"
    write(refolds / "design_0000_1.pdb", noisy(ideal_hairpin(24), 0.3) @ TURN + 5.0, 0.91)
    write(refolds / "design_0000_2.cif", ideal_helix(24), 40.0)
    write(refolds / "design_0001" / "seq_1.pdb", ideal_helix(26), 85.0)
    write(refolds / "design_0003_1.pdb", ideal_hairpin(20), 90.0)
    (refolds / "design_0003_2.pdb").write_text("nothing of use")
    write(refolds / "design_00010.pdb", ideal_helix(24), 90.0)
    return folder, refolds


def test_refolds_from_a_folder(designs, tmp_path, cli):
    """Every count and value where the table, the summary, the screen and the page have it."""
    folder, refolds = designs
    done = cli("evaluate", folder, "--out", tmp_path / "out", "--refolds", refolds)
    assert done.code == 0, done.err
    rows = read_table(tmp_path / "out" / "structures.csv")
    assert len(rows) == 4
    good, bad, none, odd = (rows[f"design_000{k}.pdb"] for k in range(4))
    assert (good["designable"], good["n_refolds"], good["n_refolds_used"]) == ("1", "2", "2")
    assert good["best_refold"] == "design_0000_1.pdb"
    assert 0.2 < float(good["sc_mean_distance"]) < float(good["sc_rmsd"]) < 0.8
    assert float(good["sc_plddt"]) == pytest.approx(91, abs=0.1)
    assert float(good["sc_tm"]) > 0.7
    assert good["designable_confident"] == "1"
    assert good["refold_message"] == ""
    assert (bad["designable"], bad["best_refold"]) == ("0", "design_0001/seq_1.pdb")
    assert float(bad["sc_rmsd"]) > 2
    for row, given in ((none, "0"), (odd, "2")):
        assert (row["n_refolds"], row["n_refolds_used"]) == (given, "0")
        assert row["designable"] == row["sc_rmsd"] == row["sc_plddt"] == row["best_refold"] == ""
    assert none["refold_message"] == "no refold"
    assert "0 of 2 refolds used" in odd["refold_message"]
    assert "20 residues, and the design 30" in odd["refold_message"]

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["designable"]["mean"] == 0.5
    assert (summary["metrics"]["designable"]["n"], summary["metrics"]["designable"]["n_given"]) == (2, 4)
    assert summary["metrics"]["n_refolds"]["mean"] == 5 / 4
    found = summary["sets"]["designs"]["designability"]
    assert (found["n"], found["n_given"], found["designable_fraction"]) == (2, 4, 0.5)
    assert (found["refolds_used"], found["refolds_given"], found["best_of"]) == (3, 5, [1, 2])
    assert found["f1"] is None  # two designs have no verdict
    assert summary["designability"]["unassigned"] == ["design_00010.pdb"]
    assert {q.name for q in QUANTITIES} <= set(summary["definitions"])
    assert not {q.name for q in MOTIF_QUANTITIES} & set(summary["definitions"])

    said = " ".join(done.out.split())
    assert "2 of 4" in said
    assert "3 of 5" in said
    warnings = " ".join(done.err.split())
    assert "1 refolds belong to no design by their names, the first is design_00010.pdb" in warnings
    assert "2 structures lack refolds" in warnings
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="o">(.*?)</section>', page, re.S).group(1)
    assert "<td>50.0<small>n 2 of 4</small></td>" in section
    assert "<td>3 of 5</td>" in section
    assert '"self_consistency"' in page


def test_number_of_jobs_changes_nothing(designs):
    """Refolds are compared in this process or in two; the columns are the same."""
    files = [(path.name, path) for path in sorted(designs[0].iterdir())]
    proteins = [read_structure(path) for _, path in files]
    tables = []
    for jobs in (1, 2):
        rows = [{"set": "designs"} for _ in files]
        designability(rows, proteins, files, designs[1], jobs=jobs)
        tables.append(rows)
    assert tables[0] == tables[1]
    assert sum("sc_rmsd" in row for row in tables[0]) == 2


def test_complete_sets_have_an_f1(tmp_path, cli):
    """Two sets with equal names, refolds in folders of theirs; F1 where every design has a verdict."""
    for name, refold in (("A", ideal_hairpin(24)), ("B", ideal_helix(24))):
        for k in range(2):
            write(tmp_path / name / f"d{k}.pdb", noisy(ideal_hairpin(24), 0.1, k))
            write(tmp_path / "refolds" / name / f"d{k}_1.pdb", refold)
    arguments = ["evaluate", tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out"]
    assert cli(*arguments, "--refolds", tmp_path / "refolds").code == 0
    sets = json.loads((tmp_path / "out" / "summary.json").read_text())["sets"]
    diversity = sets["A"]["diversity"]["clusters_per_sample"]
    assert sets["A"]["designability"]["designable_fraction"] == 1
    assert sets["A"]["designability"]["f1"] == pytest.approx(2 * diversity / (1 + diversity))
    assert sets["B"]["designability"]["f1"] == 0
    refused = cli(*arguments, "--refolds", tmp_path / "refolds" / "A")
    refused.assert_failed(2, "fits the designs A/d0.pdb and B/d0.pdb")


def test_refolds_below_the_designs_are_no_designs(tmp_path, cli):
    """Only what is outside of --refolds is evaluated; the page is whole, and loads nothing from elsewhere."""
    write(tmp_path / "designs" / "d.pdb", ideal_hairpin(24))
    write(tmp_path / "designs" / "folded" / "d" / "1.pdb", ideal_hairpin(24) @ TURN, 90.0)
    arguments = ["evaluate", tmp_path / "designs", "--out", tmp_path / "out"]
    assert cli(*arguments, "--refolds", tmp_path / "designs" / "folded").code == 0
    rows = read_table(tmp_path / "out" / "structures.csv")
    assert list(rows) == ["d.pdb"]
    assert float(rows["d.pdb"]["sc_rmsd"]) < 0.01
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.loads == []
    assert {"self_consistency", "o"} <= page.ids


def test_motif_of_a_record(tmp_path, cli):
    """The record of a design names the motif; a refold is compared with the motif's file, in place."""
    native = ideal_helix(12)
    write_structure(Protein.from_backbone(native, residue_numbers=np.arange(31, 43)), tmp_path / "native.pdb")
    motif = Motif(str(tmp_path / "native.pdb"), "8/A33-40/8")
    design = ideal_helix(24)
    for name in ("kept", "lost"):
        write(tmp_path / "designs" / f"{name}.pdb", design)
        record = {
            "motif": [
                {"design": {"chain": "A", "residue": 9 + k}, "motif": {"chain": "A", "residue": 33 + k}}
                for k in range(8)
            ],
            "requested": [
                {"condition": "motif", "file": motif.file, "contig": motif.contig, "checksum": motif.checksum}
            ],
        }
        (tmp_path / "designs" / f"{name}.json").write_text(json.dumps(record))
    broken = design.copy()
    broken[8:16] = noisy(design, 2.0)[8:16]
    write(tmp_path / "refolds" / "kept.pdb", noisy(design, 0.05))
    write(tmp_path / "refolds" / "lost.pdb", broken)
    arguments = ["evaluate", tmp_path / "designs", "--out", tmp_path / "out", "--refolds", tmp_path / "refolds"]
    assert cli(*arguments).code == 0
    rows = read_table(tmp_path / "out" / "structures.csv")
    assert float(rows["kept.pdb"]["motif_sc_rmsd"]) < 0.3
    assert float(rows["lost.pdb"]["motif_sc_rmsd"]) > 1
    assert (rows["kept.pdb"]["motif_success"], rows["lost.pdb"]["motif_success"]) == ("1", "0")
    write_structure(
        Protein.from_backbone(noisy(native, 0.5), residue_numbers=np.arange(31, 43)), tmp_path / "native.pdb"
    )
    assert cli(*arguments).code == 0
    row = read_table(tmp_path / "out" / "structures.csv")["kept.pdb"]
    assert row["motif_sc_rmsd"] == row["motif_success"] == ""
    assert "has changed" in row["refold_message"]
    assert row["designable"] == "1"


MPNN = """
import sys
pdb, fasta, n = sys.argv[1:]
count = sum(line[12:16] == " CA " for line in open(pdb))
if count == 26:
    sys.exit("no sequence for 26 residues")
with open(fasta, "w") as out:
    for k in range(int(n)):
        print(f">sample={k}\\n" + "AKL"[k] * count, file=out)
"""
FOLD = """
import pathlib, shutil, sys
fasta, pdb, shelf = sys.argv[1:]
with open(pathlib.Path(shelf) / "calls", "a") as calls:
    print("called", file=calls)
sequence = open(fasta).read().splitlines()[1]
if sequence[0] == "K":
    sys.exit("no K today")
shutil.copy(f"{shelf}/{sequence[0]}{len(sequence)}.pdb", pdb)
"""


@pytest.fixture
def tools(tmp_path):
    """Two programs of the shape of the real ones: sequences of one letter, and a shelf of structures to choose from."""
    shelf = tmp_path / "shelf"
    for n in (24, 28):
        write(shelf / f"A{n}.pdb", ideal_helix(n), 50.0)
        write(shelf / f"L{n}.pdb", noisy(ideal_hairpin(n), 0.2), 80.0)
    for name, text in (("mpnn.py", MPNN), ("fold.py", FOLD)):
        (tmp_path / name).write_text(text)
    start = f"command:'{sys.executable}'"
    writer = f"{start} '{tmp_path / 'mpnn.py'}' {{pdb}} {{fasta}} {{n}}"
    return shelf, writer, f"{start} '{tmp_path / 'fold.py'}' {{fasta}} {{pdb}} '{shelf}'"


def test_tools_make_refolds_and_keep_them(tools, tmp_path, cli):
    """Best of the sequences that fold, what failed named; a second run calls nothing, and its cache is no design."""
    shelf, writer, folder = tools
    designs = tmp_path / "designs"
    for n in (24, 26, 28):
        write(designs / f"d{n}.pdb", ideal_hairpin(n))
    arguments = [
        "evaluate",
        designs,
        "--out",
        designs / "out",
        "--inverse-folder",
        writer,
        "--structure-predictor",
        folder,
    ]
    results = []
    for _ in range(2):
        done = cli(*arguments, "--sequences", 3, "--no-report")
        assert done.code == 0, done.err
        rows = read_table(designs / "out" / "structures.csv")
        assert sorted(rows) == ["d24.pdb", "d26.pdb", "d28.pdb"]
        for n in (24, 28):
            row = rows[f"d{n}.pdb"]
            assert (row["designable"], row["n_refolds"], row["n_refolds_used"]) == ("1", "3", "2")
            assert float(row["sc_plddt"]) == pytest.approx(80, abs=0.1)
            assert "2 of 3 refolds used" in row["refold_message"]
            assert "exit status 1: no K today" in row["refold_message"]
        assert rows["d26.pdb"]["designable"] == ""
        assert "no sequence for 26 residues" in rows["d26.pdb"]["refold_message"]
        results.append((designs / "out" / "structures.csv").read_bytes())
        calls = (shelf / "calls").read_text().count("called")
    assert results[0] == results[1]
    assert calls == 6 + 2  # what failed is tried again, what worked is not
    summary = json.loads((designs / "out" / "summary.json").read_text())
    assert summary["designability"]["inverse_folder"]["template"] == writer.removeprefix("command:")
    assert summary["designability"]["sequences"] == 3
    plain = cli("evaluate", designs, "--out", tmp_path / "plain", "--no-report")
    assert len(read_table(tmp_path / "plain" / "structures.csv")) == 3, plain.err


def test_usage_errors(designs, tools, tmp_path, cli):
    """Before anything is computed, in one line."""
    folder, refolds = designs
    _, writer, tool = tools
    out = ["--out", tmp_path / "out"]
    cli("evaluate", folder, *out, "--refolds", refolds, "--structure-predictor", tool).assert_failed(
        2, "--refolds", "--structure-predictor"
    )
    cli("evaluate", folder, *out, "--inverse-folder", writer).assert_failed(2, "add --structure-predictor")
    cli("evaluate", folder, *out, "--structure-predictor", "command:nothing-like-it {fasta} {pdb}").assert_failed(
        2, "on PATH"
    )
    cli("evaluate", folder, *out, "--refolds", tmp_path / "absent").assert_failed(2, "no such folder")
    cli("evaluate", folder, *out, "--refolds", folder).assert_failed(2, "one of the designs")
    cli("evaluate", refolds, *out, "--refolds", tmp_path / "shelf").assert_failed(2, "none of 4 files belongs")
    cli("evaluate", folder, *out, "--likelihood", "flow-smal").assert_failed(2, "flow-small")
    cli("evaluate", folder, *out, "--likelihood", "flow-small", "--device", "abacus").assert_failed(2, "abacus")
    cli("evaluate", folder, *out, "--likelihood-steps", 3).assert_failed(2, "--likelihood")


def test_likelihood(tiny_model, tmp_path, cli):
    """Number, kind and volume wherever it is printed; what the space cannot take is an error of this metric alone."""
    designs = tmp_path / "designs"
    for n in (12, 16):
        write(designs / f"h{n}.pdb", ideal_helix(n))
    write_structure(
        Protein.from_backbone(ideal_hairpin(20), chain_ids=np.repeat(["A", "B"], 10)), designs / "two_chains.pdb"
    )
    trace = np.full((10, 4, 3), np.nan)
    trace[:, 1] = ideal_helix(10)[:, 1]
    write(designs / "trace.pdb", trace)
    arguments = ["evaluate", designs, "--likelihood", tiny_model, "--likelihood-steps", 2]
    done = cli(*arguments, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    rows = read_table(tmp_path / "out" / "structures.csv")
    for name in ("h12.pdb", "h16.pdb"):
        nats, bits = (float(rows[name][f"{unit}_per_residue"]) for unit in ("nats", "bits"))
        assert bits == pytest.approx(nats / math.log(2), rel=1e-4)
        assert rows[name]["likelihood_kind"] == "estimate"
    for name, words in (("two_chains.pdb", "2 chains"), ("trace.pdb", "10 residues lack N, CA or C")):
        assert rows[name]["nats_per_residue"] == rows[name]["bits_per_residue"] == ""
        assert words in rows[name]["likelihood_message"]
        assert rows[name]["status"] != "error"
        assert rows[name]["rg"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    about = summary["likelihood"]
    assert (about["kind"], about["flow_steps"], about["n"], about["n_given"]) == ("estimate", 2, 2, 4)
    assert "Å^(3 (l - 1))" in about["volume"]
    assert "estimate" in summary["definitions"]["nats_per_residue"]["definition"]
    assert about["volume"] in summary["definitions"]["nats_per_residue"]["definition"]
    mean = np.mean([float(rows[name]["nats_per_residue"]) for name in ("h12.pdb", "h16.pdb")])
    assert summary["sets"]["designs"]["likelihood"]["nats_per_residue"] == pytest.approx(mean, rel=1e-4)
    said = " ".join(done.out.split())
    assert re.search(r"designs: -?[\d.]+.* nats, -?[\d.]+ bits per residue \(.*estimate.*; 2 of 4\), density", said)
    assert "2 structures have no likelihood" in done.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="l">(.*?)</section>', page, re.S).group(1)
    assert "estimate log p" in section
    assert "n 2 of 4" in section

    again = cli(*arguments[:1], designs / "h12.pdb", *arguments[2:], "--out", tmp_path / "alone", "--no-report")
    assert again.code == 0, again.err
    alone = read_table(tmp_path / "alone" / "structures.csv")["h12.pdb"]
    assert alone["nats_per_residue"] == rows["h12.pdb"]["nats_per_residue"]


def test_flow_small_tells_a_helix_from_its_ruins(tmp_path, cli):
    """The released model finds an ideal helix likelier than the same with every residue off by 0.5 Å, by far."""
    helix = ideal_helix(40)
    write(tmp_path / "designs" / "helix.pdb", helix)
    write(tmp_path / "designs" / "ruin.pdb", helix + 0.5 * np.random.default_rng(0).normal(size=(40, 1, 3)))
    arguments = ["evaluate", tmp_path / "designs", "--out", tmp_path / "out", "--no-report"]
    done = cli(*arguments, "--likelihood", "flow-small", "--likelihood-steps", 3)
    assert done.code == 0, done.err
    rows = read_table(tmp_path / "out" / "structures.csv")
    helix_nats, ruin_nats = (float(rows[name]["nats_per_residue"]) for name in ("helix.pdb", "ruin.pdb"))
    # The bound begins at time 0.1, with noise of 0.8 Å, in which much of 0.5 Å drowns: 0.7 and 2.2 were seen.
    assert ruin_nats - helix_nats > 0.5
