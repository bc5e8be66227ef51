"""Per-residue tables: a bad residue is found at its place, and nowhere else."""

import csv

import numpy as np

from protgen.cli.main import run
from protgen.evaluation.per_residue import COLUMNS, residue_rows
from protgen.metrics.reference_data import ramachandran_reference
from protgen.structure.ideal import build_from_torsions, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure


def test_a_bad_angle_a_break_and_a_gap_are_at_their_places():
    """One residue where natives never are is the outlier; a moved half is a break; a jump of the numbering is none."""
    torsions = np.deg2rad(np.tile([[-63.0, -43.0]], (24, 1)))
    density = ramachandran_reference().log_density[0]
    rare = np.array(np.unravel_index(density.argmin(), density.shape)) * 360.0 / len(density) - 180.0
    torsions[12] = np.deg2rad(rare)
    rows = residue_rows(Protein.from_backbone(build_from_torsions(torsions[:, 0], torsions[:, 1])), "x")
    assert [row["number"] for row in rows if row["rama"] == "outlier"] == [13]
    assert abs(float(rows[12]["phi"]) - rare[0]) < 1
    assert not any(row["break_after"] for row in rows)
    xyz = ideal_helix(20)
    xyz[10:] += 9.0
    assert [
        k for k, row in enumerate(residue_rows(Protein.from_backbone(xyz), "x")) if row["break_after"] == "break"
    ] == [9]
    whole = Protein.from_backbone(xyz)
    numbers = np.arange(1, 21) + 6 * (np.arange(20) >= 10)
    gapped = Protein(
        whole.atoms, whole.mask, whole.residue_names, whole.chain_ids, numbers, whole.insertion_codes
    )  # fmt: skip
    assert residue_rows(gapped, "x")[9]["break_after"] == "missing residues"


def test_flag_writes_a_row_a_residue(tmp_path):
    """`--per-residue` leaves residues.csv with the columns in their order and as many rows as there are residues."""
    (tmp_path / "set").mkdir()
    for n in (12, 15):
        write_structure(Protein.from_backbone(ideal_helix(n)), tmp_path / "set" / f"{n}.pdb")
    arguments = [
        "evaluate",
        tmp_path / "set",
        "--out",
        tmp_path / "out",
        "--per-residue",
        "--no-report",
        "--tm",
        "none",
    ]
    assert run([str(argument) for argument in arguments]) == 0
    with (tmp_path / "out" / "residues.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows] == ["12.pdb"] * 12 + ["15.pdb"] * 15
    assert {row["ss"] for row in rows} <= {"H", "-"} | {"C", "L"}
