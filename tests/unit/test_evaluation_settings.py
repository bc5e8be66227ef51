"""`evaluate`: what is given by an argument replaces what the settings say."""

import pytest

from protgen.conditions.length import Length
from protgen.conditions.measure import evaluators
from protgen.evaluation import runner
from protgen.evaluation.runner import EvaluationSettings, Settings, evaluate
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure


@pytest.fixture
def helix(tmp_path):
    """A file of 12 residues."""
    write_structure(Protein.from_backbone(ideal_helix(12)), tmp_path / "helix.pdb")
    return tmp_path / "helix.pdb"


@pytest.mark.parametrize(("jobs", "expected"), [(None, 3), (2, 2)])
def test_jobs_given_explicitly_win(helix, tmp_path, monkeypatch, jobs, expected):
    """Settings ask for 3 processes; an argument asks for 2."""
    seen = []
    run = runner.run
    monkeypatch.setattr(runner, "run", lambda work, items, *, jobs: seen.append(jobs) or run(work, items, jobs=1))
    evaluate([helix], tmp_path / "out", jobs=jobs, settings=EvaluationSettings(jobs=3))
    assert seen == [expected]


def test_conditions_and_strictness_given_explicitly_win(helix, tmp_path):
    """The other two arguments, each against settings that say otherwise; what is not given stays."""
    ten, twelve = (tuple(evaluators([Length(n)])) for n in (10, 12))
    settings = EvaluationSettings(conditions=ten, residues=True)
    kept = evaluate([helix], tmp_path / "kept", settings=settings)
    assert kept.rows[0]["length_difference"] == 2.0
    won = evaluate([helix], tmp_path / "won", settings=settings, conditions=twelve)
    assert won.rows[0]["length_difference"] == 0.0
    assert (tmp_path / "won" / "residues.csv").is_file()
    none = evaluate([helix], tmp_path / "none", settings=settings, conditions=())
    assert "length_difference" not in none.rows[0]
    text = helix.read_text().replace("END", "")
    helix.write_text(text)
    strict = EvaluationSettings(strict=True)
    assert evaluate([helix], tmp_path / "strict", settings=strict).n_failed == 1
    assert evaluate([helix], tmp_path / "lenient", settings=strict, strict=False).n_failed == 0


def test_one_path_is_enough(helix, tmp_path):
    """A path alone is not taken for a sequence of letters."""
    assert evaluate(str(helix), tmp_path / "out").n == 1
    assert evaluate(helix.parent, tmp_path / "out").n == 1


def test_the_old_name_of_the_settings_stays():
    assert Settings is EvaluationSettings
