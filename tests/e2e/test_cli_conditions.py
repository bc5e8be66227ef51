"""Conditions on the command line: flags and files say the same, and every design reports how well it obeyed."""

import csv
import json

import numpy as np
import pytest

from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure

FAST = ("--steps", 2, "--no-relax", "--blueprint", "free")


@pytest.fixture
def motif(tmp_path):
    path = tmp_path / "motif.pdb"
    write_structure(Protein.from_backbone(ideal_helix(20), residue_numbers=np.arange(51, 71)), path)
    return path


def test_a_motif_with_other_conditions(cli, tiny_model, motif, tmp_path):
    """Asked, got, difference and verdict of each in JSON and table, the mapping of the motif, how each acted."""
    out = tmp_path / "designs"
    flags = ("--motif", motif, "--contig", "3-8/A55-62/3-8", "--rg", "7.5", "--length", "16-20")
    done = cli("sample", "--model", tiny_model, *flags, "-n", 2, "--out", out, *FAST)
    assert done.code == 0, done.err
    assert "Residues of the motif keep their names, and their letters in sequences;" in done.out
    assert "every residue is a placeholder" not in done.out
    for index in range(2):
        record = json.loads((out / f"design_{index:04d}.json").read_text())
        met = {entry["condition"]: entry for entry in record["measured"]}
        assert set(met) == {"motif", "radius_of_gyration", "length"}
        assert met["motif"]["satisfied"]
        assert met["motif"]["difference"] < 0.1
        assert met["length"]["difference"] == 0
        protein = read_structure(out / f"design_{index:04d}.pdb")
        assert 16 <= protein.length <= 20
        assert [entry["motif"] for entry in record["motif"]] == [
            {"chain": "A", "residue": n, "insertion": ""} for n in range(55, 63)
        ]
        first = record["motif"][0]["design"]
        place = int(np.flatnonzero(protein.residue_numbers == first["residue"])[0])
        own = ideal_helix(20)[4:12, 1]
        assert np.abs(protein.atoms[place : place + 8, 1] - own).max() < 0.1
        assert first["chain"] == protein.chain_ids[place]
    mechanisms = {
        entry["condition"]: entry["mechanism"]
        for entry in json.loads((out / "run.json").read_text())["request"]["assignments"]
    }
    assert mechanisms == {"length": "construction", "radius_of_gyration": "energy", "motif": "projection"}
    assert "radius_of_gyration" in done.out
    assert max(map(len, done.out.split("Files:")[0].splitlines())) <= 80


def test_a_file_of_conditions_says_what_flags_say(cli, tiny_model, tmp_path):
    asked = tmp_path / "asked.yaml"
    asked.write_text("length: 18\nradius_of_gyration: 7.5\ncontacts: {pairs: [[2, 15]]}\n")
    flags = ("--length", 18, "--rg", 7.5, "--contacts", "2-15")
    for name, arguments in (("file", ("--conditions", asked)), ("flags", flags)):
        done = cli("sample", "--model", tiny_model, *arguments, "-n", 1, "--out", tmp_path / name, *FAST)
        assert done.code == 0, done.err
    assert (tmp_path / "file" / "design_0000.pdb").read_bytes() == (tmp_path / "flags" / "design_0000.pdb").read_bytes()


def test_symmetry_and_partial_start(cli, tiny_model, motif, tmp_path):
    flags = ("--partial", motif, "--noise", "0.1", "--symmetry", "C2")
    done = cli("sample", "--model", tiny_model, *flags, "-n", 1, "--out", tmp_path / "out", *FAST)
    assert done.code == 0, done.err
    protein = read_structure(tmp_path / "out" / "design_0000.pdb")
    assert protein.length == 40
    assert protein.chains == ["A", "B"]
    record = json.loads((tmp_path / "out" / "design_0000.json").read_text())
    met = {entry["condition"]: entry for entry in record["measured"]}
    assert met["symmetry"]["satisfied"]
    assert 0 <= met["partial"]["difference"] <= 1


def test_check_explains_what_was_understood(cli, tiny_model, motif):
    flags = ("--motif", motif, "--contig", "3-8/A55-62/3-8:16-20", "--fold-class", "alpha")
    done = cli("check", "--model", tiny_model, *flags, "--steps", 2, "-n", 1)
    assert done.code == 0, done.err
    assert "N--(3-8)--[A55-62: 8]--(3-8)--C   16 to 20 residues, 8 of motif" in done.out
    assert "HHHHHH" in done.out
    assert "projection" in done.out
    assert "16 to 20 residues can meet" in done.out
    assert "MB" in done.out


def test_check_shows_pairs_as_they_are_typed(cli, tiny_model):
    asked = ("--strand-pairing", "3-6:20-17, 22-25:40-43 only", "--contacts", "5-40, 12-30:4:10")
    done = cli("check", "--model", tiny_model, "--length", 45, "-n", 1, *asked, "--candidates", 1, "--json")
    assert done.code == 0, done.err
    words = {entry["condition"]: entry["asked"] for entry in json.loads(done.out)["conditions"]}
    assert words["strand_pairing"] == "3-6:20-17, 22-25:40-43, only"
    assert words["contacts"] == "5-40:8, 12-30:4:10"
    mapped = cli("check", "--model", tiny_model, "-n", 1, "--contact-map", "L2E6L3E6L2; 1-2:antiparallel", "--json")
    assert json.loads(mapped.out)["conditions"][0]["asked"] == "L2E6L3E6L2; 1-2:antiparallel"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--length", 20, "--rg", "wide"), ("radius of gyration", "wide")),
        (("--length", 20, "--rg", 90), ("radius_of_gyration", "20")),
        (("--length", 20, "--contacts", "3-25"), ("contacts", "25", "20")),
        (("--length", 20, "--symmetry", "Q7"), ("Q7",)),
        (("--length", 20, "--fold-class", "gamma"), ("gamma", "alpha")),
        (("--length", 20, "--contig", "A1-5"), ("--contig", "--motif")),
        (("--length", 20, "--noise", "0.5"), ("--noise", "--partial")),
        (("--length", 20, "--motif", "nowhere.pdb", "--contig", "A1-5"), ("nowhere.pdb",)),
        (("--length", 20, "--motif", "{motif}", "--contig", "A55-A62/("), ("'('",)),
        (("--length", 9, "--motif", "{motif}", "--contig", "3-8/A55-62/3-8"), ("motif", "length")),
        (("--ss", "E16", "--motif", "{motif}", "--contig", "3-8/A55-62/3-8"), ("secondary structure", "motif")),
        (("--partial", "{motif}", "--length", 30), ("partial", "30")),
        (("--length", 20, "--enforce", "length=rank"), ("length=rank", "construction")),
        (("--length", 20, "--enforce", "length"), ("NAME=MECHANISM",)),
        (("--conditions", "nowhere.yaml"), ("nowhere.yaml",)),
        (("--length", 20, "--rg", 7, "--candidates", 0), ("--candidates",)),
        (("--length", 20, "--guidance", -1), ("guidance -1: cannot be negative",)),
        (("--length", 20, "--autoguidance", -1), ("autoguidance -1: cannot be negative",)),
        (("--contact-map", "nosuch.csv"), ("nosuch.csv", "has no pairs")),
    ],
)
def test_what_cannot_be_is_one_line(cli, tiny_model, motif, tmp_path, arguments, words):
    arguments = [str(argument).replace("{motif}", str(motif)) for argument in arguments]
    for command in (("sample", "--out", tmp_path / "out"), ("check",)):
        cli(*command, "--model", tiny_model, *arguments).assert_failed(2, *words)


def test_files_of_any_generator_are_held_against_conditions(cli, tmp_path):
    """Columns asked, got, difference, satisfied; what cannot be measured says why and is not met."""
    folder = tmp_path / "designs"
    folder.mkdir()
    write_structure(Protein.from_backbone(ideal_helix(30)), folder / "helix.pdb")
    write_structure(Protein.from_backbone(ideal_strand(30)), folder / "strand.pdb")
    write_structure(Protein.from_backbone(ideal_helix(20)), folder / "short.pdb")
    asked = tmp_path / "asked.yaml"
    asked.write_text("length: 30\nfold_class: alpha\ncontacts: 5-9:8, 20-25:10\n")
    done = cli("evaluate", folder, "--out", tmp_path / "out", "--conditions", asked)
    assert done.code == 0, done.err
    assert "fold_class" in done.out
    with (tmp_path / "out" / "structures.csv").open(newline="") as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    assert rows["helix.pdb"]["fold_class_satisfied"] == rows["helix.pdb"]["contacts_satisfied"] == "1"
    assert rows["strand.pdb"]["fold_class_satisfied"] == "0"
    assert float(rows["strand.pdb"]["contacts_difference"]) > 3
    assert rows["short.pdb"]["length_satisfied"] == rows["short.pdb"]["contacts_satisfied"] == "0"
    assert "25" in rows["short.pdb"]["contacts_got"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["fold_class_satisfied"]["mean"] == pytest.approx(2 / 3)
    asked.write_text("length: [1")
    cli("evaluate", folder, "--out", tmp_path / "out", "--conditions", asked).assert_failed(2, "asked.yaml")


def test_json_is_one_object_on_stdout_and_nothing_else(cli, tiny_model, tmp_path):
    """Of `check` what was understood, of `sample` the records with their paths; warnings stay on stderr."""
    asked = (
        "--model",
        tiny_model,
        "--length",
        70,
        "--rg",
        12,
        "--enforce",
        "radius_of_gyration=rank",
        "--candidates",
        1,
    )
    done = cli("check", *asked, "-n", 1, "--steps", 2, "--seed", 3, "--temperature", 0.5, "--no-relax", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [(entry["condition"], entry["mechanism"]) for entry in found["conditions"]] == [
        ("length", "construction"),
        ("radius_of_gyration", "rank"),
    ]
    assert found["conditions"][1]["options"] == ["energy", "rank"]
    assert found["lengths"] == [70, 70]
    assert (found["seed"], found["settings"]["temperature"], found["settings"]["relax"]) == (3, 0.5, False)
    assert "10-60" in found["warnings"][0]
    assert found["seconds"] > 0
    out = tmp_path / "out"
    done = cli("sample", *asked, "-n", 2, "--out", out, *FAST, "--json")
    assert done.code == 0, done.err
    assert "warning" in done.err
    found = json.loads(done.out)
    assert (found["n"], found["n_done"]) == (2, 2)
    assert [entry["path"] for entry in found["designs"]] == [str(out / f"design_000{i}.pdb") for i in range(2)]
    record = json.loads((out / "design_0001.json").read_text())
    assert found["designs"][1]["measured"] == record["measured"]
    assert found["request"] == json.loads((out / "run.json").read_text())["request"]
    assert found["n_good"] == sum(not entry["problems"] for entry in found["designs"])
    done = cli("sample", *asked, "-n", 2, "--out", out, *FAST, "--json")
    done.assert_failed(2, "--resume")
    assert done.out == ""


def test_every_condition_has_a_flag(cli, tiny_model, tmp_path):
    flags = ("--length", 24, "--shape", 0.2, "--contact-order", 0.3, "--clashes", 0, "--termini-distance", 12)
    out = tmp_path / "out"
    done = cli("sample", "--model", tiny_model, *flags, "--keep-out", "40,0,0,5", "-n", 1, "--out", out, *FAST)
    assert done.code == 0, done.err
    record = json.loads((out / "design_0000.json").read_text())
    names = ["length", "clashes", "contact_order", "keep_out", "shape", "termini_distance"]
    assert [entry["condition"] for entry in record["requested"]] == names
    cli("check", "--model", tiny_model, "--length", 24, "--cyclic", "--termini-distance", 20).assert_failed(2, "cyclic")


def test_evaluate_takes_the_flags_of_conditions(cli, tmp_path):
    """And says the same by them as by a file."""
    folder = tmp_path / "designs"
    folder.mkdir()
    write_structure(Protein.from_backbone(ideal_helix(30)), folder / "helix.pdb")
    flags = ("--length", 30, "--fold-class", "alpha", "--rg", 20)
    done = cli("evaluate", folder, "--out", tmp_path / "out", *flags, "--no-report")
    assert done.code == 0, done.err
    with (tmp_path / "out" / "structures.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    met = [row[f"{name}_satisfied"] for name in ("length", "fold_class", "radius_of_gyration")]
    assert met == ["1", "1", "0"]
