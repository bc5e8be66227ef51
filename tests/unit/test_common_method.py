"""Secondary structure is read by one method for all that is compared, and its name is said."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from protgen.evaluation.common_method import common_method
from protgen.evaluation.features import Features
from protgen.evaluation.native_control import native_control
from protgen.evaluation.reference import Reference
from protgen.evaluation.runner import evaluate
from protgen.evaluation.settings import EvaluationSettings
from protgen.metrics.descriptors import NAMES
from protgen.metrics.secondary_structure import SecondaryStructure, secondary_structure
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure


def full_ones() -> list[Protein]:
    """Helices and hairpins, whose strands P-SEA and DSSP count differently."""
    backbones = [ideal_helix(24), ideal_helix(30), ideal_hairpin(22), ideal_hairpin(30), ideal_hairpin(36)]
    return [Protein.from_backbone(backbone, name=f"s{k}") for k, backbone in enumerate(backbones)]


def trace_of(protein: Protein) -> Protein:
    """Its CA atoms alone."""
    mask = np.zeros_like(protein.mask)
    mask[:, 1] = True
    return replace(protein, atoms=np.where(mask[..., None], protein.atoms, np.nan), mask=mask)


@pytest.fixture
def folders(tmp_path):
    """The same structures whole and as CA traces."""
    for name, change in (("whole", lambda protein: protein), ("traces", trace_of)):
        (tmp_path / name).mkdir()
        for protein in full_ones():
            write_structure(change(protein), tmp_path / name / f"{protein.name}.pdb")
    return tmp_path / "whole", tmp_path / "traces"


def test_a_set_does_not_differ_from_its_own_traces(folders, tmp_path):
    """By two methods they differed with p = 0.0006: now by nothing, and P-SEA is named wherever the number is."""
    assert SecondaryStructure().measure(full_ones()[4])["strand"] != pytest.approx(
        SecondaryStructure().measure(trace_of(full_ones()[4]))["strand"]
    )
    result = evaluate(folders, tmp_path / "out", settings=EvaluationSettings(tm="none", folds=False, residues=True))
    compared = {row["metric"]: row for row in result.differences}
    for name in ("helix", "strand", "coil", "longest_helix", "n_strands"):
        assert compared[name]["difference"] == 0
        assert compared[name]["p_value"] == 1
    assert {row["ss_method"] for row in result.rows} == {"p-sea"}
    assert result.content["ss_method_reason"] == "5 of 10 structures have CA atoms alone, so all are read by P-SEA"
    assert result.content["definitions"]["strand"]["definition"] == "residues in E or B by P-SEA"
    codes = "".join(secondary_structure(protein, "p-sea") for protein in full_ones())
    with (tmp_path / "out" / "residues.csv").open(newline="") as handle:
        assert "".join(row["ss"] for row in csv.DictReader(handle)) == codes * 2


def test_whole_structures_are_read_by_dssp(folders, tmp_path):
    """Nothing changes where every file has its backbone."""
    result = evaluate(folders[0], tmp_path / "out", settings=EvaluationSettings(tm="none", folds=False))
    assert {row["ss_method"] for row in result.rows} == {"dssp"}
    assert "ss_method_reason" not in result.content
    assert result.content["definitions"]["strand"]["definition"] == "residues in E or B by DSSP"


def test_natives_are_read_as_the_structures_are(folders, tmp_path):
    """The native control of traces comes from P-SEA; of whole ones from DSSP, CA-only natives left out."""
    whole, traces = full_ones(), [trace_of(protein) for protein in full_ones()]
    natives = Reference("natives", [p.name for p in whole], ["train"] * 5, [*whole[:4], traces[4]], 5)
    settings = EvaluationSettings(tm="none", folds=False)
    for folder, expected, n in ((folders[0], "dssp", 4), (folders[1], "p-sea", 5)):
        control = native_control(evaluate(folder, tmp_path / expected, settings=settings), natives)
        assert control is not None
        rows = [SecondaryStructure().measure_by(protein, expected) for protein in natives.proteins]
        known = [float(row["strand"]) for row in rows if np.isfinite(float(row["strand"]))]
        assert control.metrics["strand"]["n"] == len(known) == n
        assert control.metrics["strand"]["mean"] == pytest.approx(np.mean(known))
    assert common_method(whole, natives) == "dssp"
    assert common_method(whole, replace(natives, proteins=traces)) == "p-sea"


def test_descriptors_are_those_of_the_method():
    """Whole structures and their traces have the same descriptors by P-SEA; by DSSP traces have none."""
    whole, traces = full_ones(), [trace_of(protein) for protein in full_ones()]
    rows = np.arange(5)
    ours, theirs = (Features(proteins, "p-sea").descriptors(rows) for proteins in (whole, traces))
    assert np.abs(ours - theirs).max() < 1e-12
    by_dssp = Features(traces, "dssp").descriptors(rows)
    assert np.isnan(by_dssp[:, NAMES.index("helix")]).all()
