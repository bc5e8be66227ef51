"""The prior over secondary-structure blueprints: exact lengths, natural elements, its own counts."""

import json

import pytest
import torch

from protgen.conditions.fractions import Fractions
from protgen.errors import CheckpointError
from protgen.models.blueprints import FILE, fit_blueprints, load_blueprints, runs_of

pytestmark = pytest.mark.slow

NATIVES = [
    "CC" + "H" * 14 + "CCC" + "H" * 12 + "CCCC" + "H" * 16 + "C",
    "C" + "E" * 6 + "CCC" + "E" * 6 + "CC" + "E" * 7 + "CCC" + "E" * 5 + "CC",
    "C" + "E" * 6 + "CC" + "H" * 12 + "CCC" + "E" * 5 + "CCC" + "H" * 10 + "CC" + "E" * 5 + "C",
]
PRIOR = fit_blueprints(NATIVES)


@pytest.mark.parametrize("length", [3, 12, 40, 77, 128])
def test_blueprints_have_exactly_the_length(length, rng):
    for _ in range(8):
        codes = PRIOR.draw(length, rng)
        assert len(codes) == length
        assert set(codes) <= set("HEL")


def test_elements_are_as_in_the_natives(rng):
    """No element is shorter than DSSP calls one, loops join them, and a strand is never alone."""
    for _ in range(50):
        codes = PRIOR.draw(60, rng)
        runs = list(runs_of(codes))
        assert all(n >= 4 for kind, n in runs if kind == "H")
        assert all(n >= 2 for kind, n in runs if kind == "E")
        assert all(n >= 1 for kind, n in runs[2:-1] if kind == "L")
        assert sum(kind == "E" for kind, _ in runs) != 1


def test_same_stream_same_blueprint():
    first, second = (PRIOR.draw(60, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first == second


def test_fractions_are_approached(rng):
    codes = PRIOR.draw_near(60, Fractions(helix=0.0, strand=0.6), rng)
    assert codes.count("H") == 0
    assert abs(codes.count("E") / 60 - 0.6) < 0.15


def test_short_runs_count_as_loop():
    assert list(runs_of("HHCEEECH")) == [("L", 3), ("E", 3), ("L", 2)]


def test_damaged_blueprints_are_named(tmp_path):
    assert load_blueprints(tmp_path) is None
    (tmp_path / FILE).write_text('{"kinds": {}}')
    with pytest.raises(CheckpointError, match="elements"):
        load_blueprints(tmp_path)


def changed(**fields) -> str:
    return json.dumps(PRIOR.to_json() | fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(longest=0), "longest is 0"),
        (changed(longest="1"), "longest is 1"),
        (changed(more={}), "'more' is none of its fields"),
        (changed(kinds=[]), "kinds is no object"),
        (changed(kinds={}), "kinds has no beginning"),
        (changed(kinds={"^^": {"H": 0}}), "kinds of '\\^\\^' has 0 times 'H'"),
        (changed(kinds={"^^": {"H": 1.5}}), "has 1.5 times"),
        (changed(kinds={"^^": {"H": True}}), "has True times"),
        (changed(kinds={"^^": {}}), "no object with counts"),
        (changed(kinds={"^^": {"X": 1}}), "none of a chain"),
        (changed(kinds={"^^": {"H": 1}}), "nothing is said of H after"),
        (changed(kinds={"^^": {"$": 1}}, loops={}), "nothing is said of \\$ after"),
        (changed(elements=PRIOR.elements | {"H": {"0": 1}}), "elements of H have a length of 0"),
        (changed(elements=PRIOR.elements | {"H": {"1e9": 1}}), "length of '1e9'"),
        (changed(elements=PRIOR.elements | {"H": {"9" * 9: 1}}), "length of 999999999"),
        (changed(loops=PRIOR.loops | {"HE": {"-1": 1}}), "length of '-1'"),
        (changed(loops=PRIOR.loops | {"HE": {"٣": 1}}), "loops of HE have a length of"),
    ],
)
def test_blueprints_that_no_draw_can_come_from_are_refused(tmp_path, text, said):
    """Every value of which a draw makes something is looked at when the file is read, not when it is drawn from."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=said):
        load_blueprints(tmp_path)


def test_written_blueprints_are_read_as_they_were(tmp_path):
    (tmp_path / FILE).write_text(changed())
    assert load_blueprints(tmp_path) == PRIOR
