"""What is said of natives and decoys beside refolds is what the published result has."""

import json
from pathlib import Path

import pytest

from protgen.evaluation import laptop_refold as said

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
