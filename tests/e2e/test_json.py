"""`--json`: one JSON object on stdout and nothing else, with the same exit code."""

import csv
import json

import pytest

from protgen.models.model import load_model
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.writer import write_pdb


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write_pdb(Protein.from_backbone(ideal_helix(30)), folder / "helix.pdb")
    write_pdb(Protein.from_backbone(ideal_strand(20)), folder / "strand.pdb")
    (folder / "bad.pdb").write_text("ATOM nothing\n")
    return folder


def test_evaluate(cli, folder, tmp_path):
    """Counts, failed files and the content of summary.json; the bad file is named on stderr, and the code is 3."""
    done = cli("evaluate", folder, "--out", tmp_path / "out", "--tm", "none", "--no-report", "--json")
    assert done.code == 3
    found = json.loads(done.out)
    assert (found["exit_code"], found["n"], found["n_failed"]) == (3, 3, 1)
    assert [entry["file"] for entry in found["failed"]] == ["bad.pdb"]
    assert found["summary"] == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["files"] == {
        "table": str(tmp_path / "out/structures.csv"),
        "summary": str(tmp_path / "out/summary.json"),
    }
    assert "bad.pdb" in done.err


def test_evaluate_where_nothing_can_be_read(cli, tmp_path):
    """Every file failed: still one object, and exit code 4."""
    (tmp_path / "bad.pdb").write_text("ATOM nothing\n")
    done = cli("evaluate", tmp_path / "bad.pdb", "--out", tmp_path / "out", "--json")
    assert done.code == 4
    assert json.loads(done.out)["n_failed"] == 1


def test_models(cli):
    """Every released model with its lengths; the default is one of them."""
    found = json.loads(cli("models", "--json").out)
    names = [model["name"] for model in found["models"]]
    assert found["default"] in names
    assert all(model["bytes"] > 0 and model["lengths"][0] < model["lengths"][1] for model in found["models"])


def test_doctor(cli, monkeypatch):
    """Versions, machine and self-tests; one that fails makes ok false and the exit code 2."""
    monkeypatch.setattr("protgen.cli.doctor.check_sampling", lambda: "sampled")
    done = cli("doctor", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["ok"]
    assert [check["name"] for check in found["checks"]] == ["structures", "metrics", "sampling"]
    assert found["versions"]["numpy"]
    assert found["machine"]["threads"] >= 1

    def broken():
        raise ValueError("out of order")

    monkeypatch.setattr("protgen.cli.doctor.check_sampling", broken)
    done = cli("doctor", "--json")
    found = json.loads(done.out)
    assert done.code == 2
    assert not found["ok"]
    assert found["checks"][2]["message"] == "ValueError: out of order"
    assert "out of order" in done.err


def test_data_and_train(cli, folder, tmp_path):
    """A store's counts and fields, as `data info` has them again, and what a training of one step made."""
    for i in range(3):
        write_pdb(Protein.from_backbone(ideal_helix(24 + i)), folder / f"helix{i}.pdb")
    (folder / "strand.pdb").unlink()
    build = ("data", "build", folder, "--out", tmp_path / "store", "--min-length", 20, "--rg-percentile", 100)
    done = cli(*build, "--validation-fraction", 0, "--json")
    assert done.code == 3  # bad.pdb
    found = json.loads(done.out)
    assert found["splits"]["train"] == {
        "structures": 4, "clusters": 4, "residues": 30 + 24 + 25 + 26, "shortest": 24, "longest": 30,
    }  # fmt: skip
    assert (found["kept"], found["unreadable"]) == (4, 1)
    again = json.loads(cli("data", "info", tmp_path / "store", "--json").out)
    assert again == {key: found[key] for key in again}
    assert again["fields"]["atoms"]["shape"] == [4, 3]
    given = (f"data.store={tmp_path / 'store'}", f"run={tmp_path / 'run'}", "train.steps=1", "validation.samples=0")
    trained = json.loads(cli("train", "experiment=flow_tiny", *given, "--json").out)
    assert (trained["steps"], trained["model"]) == (1, str(tmp_path / "run" / "model"))
    family = load_model(tmp_path / "run" / "model").family
    assert trained["parameters"] == sum(weights.numel() for weights in family.parameters())
    with (tmp_path / "run" / "losses.csv").open() as table:
        row = next(csv.DictReader(table))
    assert trained["loss"] == pytest.approx(float(row["loss"]), rel=1e-5)
