"""What is said of natives and decoys beside refolds is what the published result has."""

import json
from pathlib import Path

import pytest

from protgen.evaluation import laptop_refold as said
from protgen.folding.trrosetta import TrRosetta

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "refold.json"


@pytest.mark.skipif(not RESULT.exists(), reason="an installed package has no benchmarks")
def test_natives_and_decoys_are_those_of_the_published_result():
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    for name, tm, near in (
        ("natives", said.NATIVES, said.NATIVES_NEAR),
        ("loops drawn anew", said.DECOYS, said.DECOYS_NEAR),
    ):
        own = rows[name]
        assert len(own) == 100
        assert tm == pytest.approx(sum(row["refold_tm"] for row in own) / 100, abs=0.0051)
        assert near == pytest.approx(sum(row["refold_rmsd"] < said.NEAR for row in own) / 100, abs=0.0051)


@pytest.mark.skipif(not RESULT.exists(), reason="an installed package has no benchmarks")
def test_one_sequence_alone_has_figures_of_its_own():
    rows = json.loads(RESULT.with_name("refold_single.json").read_text(encoding="utf-8"))["rows"]
    tm, near, decoys = said.SINGLE
    natives = rows["natives"]
    assert tm == pytest.approx(sum(row["single_tm"] for row in natives) / len(natives), abs=0.0051)
    assert near == pytest.approx(sum(row["single_rmsd"] < said.NEAR for row in natives) / len(natives), abs=0.0051)
    loops = rows["loops drawn anew"]
    assert decoys == pytest.approx(sum(row["single_tm"] for row in loops) / len(loops), abs=0.0051)
    assert said.measured_by(TrRosetta(mode="profile")) == said.MEASURED
    assert "by one sequence" in said.measured_by(TrRosetta(mode="single"))
