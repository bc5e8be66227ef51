"""Trajectories on the command line: `sample --trajectory` writes what `evaluate --top` reads."""

import csv
import json

from protgen.structure.reader import read_structure


def test_sample_writes_what_evaluate_reads(cli, tiny_model, tmp_path):
    """A frame a step, and the last frame of a run without relaxation is the design, with its radius of gyration."""
    out = tmp_path / "designs"
    options = (
        "--model",
        tiny_model,
        "--length",
        30,
        "-n",
        2,
        "--steps",
        4,
        "--blueprint",
        "free",
        "--no-relax",
        "--trajectory",
    )
    done = cli("sample", "--out", out, *options)
    assert done.code == 0, done.err
    record = json.loads((out / "design_0001.json").read_text())
    assert record["trajectory"] == "design_0001.xtc"
    result = cli("evaluate", out / "design_0001.xtc", "--top", out / "design_0001.pdb", "--out", tmp_path / "e",
                     "--no-report")  # fmt: skip
    assert "4 of 4 structures used" in result.out
    with (tmp_path / "e" / "structures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"design_0001_{k:06d}.cif" for k in range(4)]
    assert {row["set"] for row in rows} == {"design_0001"}
    ca = read_structure(out / "design_0001.pdb").backbone[:, 1]
    assert abs(float(rows[-1]["rg"]) - ((ca - ca.mean(0)) ** 2).sum(-1).mean() ** 0.5) < 0.01
    again = cli("evaluate", out, "--out", tmp_path / "f", "--no-report")
    assert "2 of 2 structures used" in again.out  # the trajectories beside the designs are no structures
    cli("sample", "--out", out, "--model", tiny_model, "--length", 30, "-n", 1, "--steps", 2, "--overwrite")
    assert not list(out.glob("*.xtc"))


def test_a_trajectory_needs_its_topology(cli, tmp_path):
    """One line, and nothing is made."""
    (tmp_path / "md.xtc").write_bytes(b"x")
    result = cli("evaluate", tmp_path / "md.xtc", "--out", tmp_path / "e")
    assert result.code == 2
    assert "needs a topology, a structure file with the same atoms; add --top FILE" in " ".join(result.err.split())
    assert not (tmp_path / "e").exists()
