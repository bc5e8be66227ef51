"""Scores of a second designer: by value, for the letters that were designed, and how far two designers agree."""

import numpy as np
import pytest

from protgen.cli.sequence_options import SequenceOptions
from protgen.errors import ToolError, UsageError
from protgen.evaluation.ranking import rank
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.second_opinion import add_scores, agreement, in_words
from protgen.evaluation.sequence_design import AGREEMENT, SequenceSettings, design_folder
from protgen.inverse_folding.base import DesignedSequence
from protgen.inverse_folding.graph_mpnn import GraphMPNN
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from tests.unit.test_sequence_design import Plain, Writer


class Scorer(Writer):
    """Log-probability -k for residue k, whatever its letter, and as much less as a sequence has K."""

    name = "scorer"

    def score(self, protein, sequences, seed):
        places = -np.arange(protein.length, dtype=float)
        return [DesignedSequence(s, places - s.count("K"), np.ones(protein.length, dtype=bool)) for s in sequences]


class Refuser(Writer):
    """Refuses one sequence or all."""

    def __init__(self, error=ToolError):
        self.error = error

    def score(self, protein, sequences, seed):
        raise self.error("scorer:\n  reads one chain")


PROTEIN = Protein.from_backbone(ideal_helix(4))


def test_given_letters_do_not_count_as_in_the_first_score():
    """Of residues 0 to 3 the last two were designed: (2 + 3) / 2, and one more for a K."""
    rows = [{"sequence": "AAAA"}, {"sequence": "AAAK"}]
    add_scores(rows, PROTEIN, np.array([False, False, True, True]), Scorer(), 0)
    assert [row["second_score"] for row in rows] == [2.5, 3.5]
    add_scores(rows, PROTEIN, np.zeros(4, dtype=bool), Scorer(), 0)
    assert [row["second_score"] for row in rows] == [1.5, 2.5]
    add_scores([], PROTEIN, np.ones(4, dtype=bool), Refuser(), 0)


def test_what_cannot_be_scored_says_why_and_keeps_its_row():
    rows = [{"sequence": "AAAA"}]
    add_scores(rows, PROTEIN, np.ones(4, dtype=bool), Refuser(), 0)
    assert rows == [{"sequence": "AAAA", "second_message": "scorer: reads one chain"}]
    with pytest.raises(UsageError):
        add_scores(rows, PROTEIN, np.ones(4, dtype=bool), Refuser(UsageError), 0)


def test_agreement_by_value():
    """Within each of three backbones both scores fall and rise against each other; their means go together."""
    values = {"a": [(0, 1), (1, 0)], "b": [(4, 6), (6, 4)], "c": [(10, 9), (9, 10)]}
    rows = [{"design": name, "score": x, "second_score": y} for name, pairs in values.items() for x, y in pairs]
    found = agreement([*rows, {"design": "d"}, {"design": "a", "score": 3}], {"name": "one"}, {"name": "two"})
    assert found["sequences"] == {"r": pytest.approx(78 / 84), "n": 6}
    assert found["backbones"] == {"r": pytest.approx(1.0), "n": 3}
    assert in_words(found) == "Scores of one and two: over 6 sequences r = 0.93, over 3 backbones r = 1.00."
    few = agreement(rows[:2], {"name": "one"}, {"name": "two"})
    assert (few["sequences"], few["backbones"]) == ({"r": None, "n": 2}, {"r": None, "n": 1})
    alike = agreement([{**row, "score": 1.0} for row in rows], {"name": "one"}, {"name": "two"})
    assert alike["sequences"]["r"] is None
    assert "over 6 sequences r = -" in in_words(alike)


@pytest.mark.parametrize(
    ("named", "words"), [("tests.unit.test_sequence_design:Plain", "gives no scores"), ("graph_mpnn", "name another")]
)
def test_who_cannot_be_the_second(named, words):
    with pytest.raises(UsageError, match=words):
        SequenceOptions(also_score=named).second(GraphMPNN())
    assert SequenceOptions().second(Plain()) is None


@pytest.fixture
def evaluated(tmp_path) -> tuple[EvaluationResult, list[dict]]:
    """Two backbones, their sequences with the scores of our network, and their evaluation."""
    folder = tmp_path / "designs"
    folder.mkdir()
    for name, backbone in (("design_0000", ideal_hairpin(20)), ("design_0001", ideal_helix(20))):
        write_structure(Protein.from_backbone(backbone), folder / f"{name}.pdb")
    files = sorted(folder.glob("*.pdb"))
    rows = design_folder(files, tmp_path / "out", Writer(), SequenceSettings(n=2), second=GraphMPNN())
    return evaluate(files, tmp_path / "figures", settings=Settings(tm="none", folds=False)), rows


def test_a_folder_has_the_scores_of_both(evaluated, tmp_path):
    _, rows = evaluated
    protein = Protein.from_backbone(ideal_helix(20))
    own = [row for row in rows if row["design"] == "design_0001"]
    wanted = [each.score for each in GraphMPNN().score(protein, [row["sequence"] for row in own], 0)]
    assert [row["second_score"] for row in own] == pytest.approx(wanted, abs=0.02)  # files have three decimals
    head, first = (tmp_path / "out" / "sequences.csv").read_text().splitlines()[:2]
    place = head.split(",").index("second_score")
    assert float(first.split(",")[place]) == rows[0]["second_score"]
    assert (tmp_path / "out" / AGREEMENT).is_file()
    files = sorted((tmp_path / "designs").glob("*.pdb"))
    again = design_folder(files, tmp_path / "out", Writer(), SequenceSettings(n=2))
    assert "second_score" not in again[0]
    assert not (tmp_path / "out" / AGREEMENT).exists()


def test_designs_are_ranked_by_the_second_score_where_there_is_one(evaluated):
    result, rows = evaluated
    ranking = rank(result, rows, "second_score")
    values = [row["value"] for row in ranking.rows]
    assert len(values) == 2
    assert values == sorted(values)
    without = [{key: value for key, value in row.items() if key != "second_score"} for row in rows]
    with pytest.raises(UsageError, match="no such figure"):
        rank(result, without, "second_score")
