"""Conditions: parsing, measuring on structures with known answers, and the features a network sees."""

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protgen.conditions.embedding import ConditionEmbedding
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import ConfigError, ConflictError, UsageError
from protgen.generation.conflicts import check_conditions, length_warnings
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.types import Batch

HELIX = Protein.from_backbone(ideal_helix(30))


@pytest.mark.parametrize(
    ("text", "codes"),
    [("H3L2E2", "HHHLLEE"), ("HHHLLEE", "HHHLLEE"), ("h3 l2, e2", "HHHLLEE"), ("X4H", "XXXXH"), ("C2", "CC")],
)
def test_structure_strings_parse(text, codes):
    assert SecondaryStructure.parse(text).codes == codes


@pytest.mark.parametrize("text", ["", "H3Q2", "3H", "H-3.5", "H9999999", "Ä"])
def test_bad_structure_strings_get_one_line(text):
    with pytest.raises(UsageError) as caught:
        SecondaryStructure.parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_parses_or_gives_our_error(text):
    for parse in (SecondaryStructure.parse, Length.parse):
        with contextlib.suppress(UsageError):  # any other exception fails the test
            parse(text)


@given(st.lists(st.tuples(st.sampled_from("HELCX"), st.integers(1, 30)), min_size=1, max_size=8))
def test_runs_round_trip(runs):
    text = "".join(f"{kind}{n}" for kind, n in runs)
    assert SecondaryStructure.parse(text).codes == "".join(kind * n for kind, n in runs)


@pytest.mark.parametrize("text", ["-5", "0", "80-60", "a", "8 0", "1e2", "60-", "٨"])
def test_bad_lengths_are_refused(text):
    with pytest.raises(UsageError):
        Length.parse(text)


def test_length_is_drawn_from_its_range(rng):
    drawn = {Length(5, 8).draw(rng) for _ in range(200)}
    assert drawn == {5, 6, 7, 8}


def test_adherence_on_an_ideal_helix():
    """DSSP leaves the ends of a helix out; everything between is H."""
    asked = SecondaryStructure("LL" + "H" * 26 + "LL")
    result = asked.adherence(HELIX)
    assert result.satisfied
    assert result.difference < 0.1
    opposite = SecondaryStructure("E" * 30).adherence(HELIX)
    assert not opposite.satisfied
    assert opposite.difference == 1.0
    assert SecondaryStructure("X" * 30).adherence(HELIX).difference == 0.0
    assert Length(30).adherence(HELIX).satisfied
    assert not Length(31, 40).adherence(HELIX).satisfied
    assert Fractions(helix=0.9).adherence(HELIX).satisfied
    assert not Fractions(strand=0.5).adherence(HELIX).satisfied


def test_conflicts_are_named_before_computing():
    with pytest.raises(ConflictError, match=r"30.*31|31.*30"):
        check_conditions([Length(31), SecondaryStructure("H" * 30)])
    with pytest.raises(ConflictError, match="strand"):
        check_conditions([SecondaryStructure("H" * 30), Fractions(strand=0.5)])
    with pytest.raises(UsageError, match="length"):
        check_conditions([Fractions(helix=0.5)])
    with pytest.raises(UsageError, match="twice"):
        check_conditions([Length(30), Length(40)])
    assert length_warnings(check_conditions([Length(30)]), (40, 128))
    assert not length_warnings(check_conditions([Length(60)]), (40, 128))


@pytest.mark.parametrize("bad", [{"helix": 1.2}, {"strand": -0.1}, {"helix": 0.7, "strand": 0.6}])
def test_impossible_fractions_are_refused(bad):
    with pytest.raises(UsageError):
        Fractions(**bad)


def test_features_of_requests_equal_features_of_data(rng):
    """What training shows for a known label is what sampling shows for the same request."""
    embedding = ConditionEmbedding(["length", "secondary_structure", "fractions"])
    labels = torch.tensor([[1] * 8 + [0] * 4 + [2] * 8])
    batch = Batch({"labels": labels}, torch.ones(1, 20, dtype=torch.bool))
    requests = [[SecondaryStructure("H" * 8 + "L" * 4 + "E" * 8), Fractions(0.4, 0.4)]]
    asked = embedding.from_requests(requests, batch.mask)
    seen = [embedding.from_data(batch, rng) for _ in range(60)]
    assert any(
        torch.allclose(one.residue, asked.residue) and torch.allclose(one.globals, asked.globals) for one in seen
    )
    unknown = embedding.unknown(batch.mask)
    assert any(torch.equal(one.residue, unknown.residue) for one in seen)
    partly = [one.residue[0, :, 3].sum().item() for one in seen]
    assert {8.0, 12.0, 16.0} & set(partly)  # whole segments are dropped
    for one in seen:
        assert torch.equal(one.residue[..., :3].sum(-1), one.residue[..., 3])


def test_padding_carries_no_structure(rng):
    batch = Batch({"labels": torch.ones(1, 6, dtype=torch.uint8)}, torch.tensor([[True] * 4 + [False] * 2]))
    for _ in range(20):
        assert not SecondaryStructure.from_data(batch, rng)[0, 4:].any()


def test_a_condition_the_model_has_not_learned_is_refused():
    embedding = ConditionEmbedding(["length"])
    with pytest.raises(ConfigError, match="fractions"):
        embedding.from_requests([[Fractions(helix=0.5)]], torch.ones(1, 10, dtype=torch.bool))
    with pytest.raises(ConfigError, match="length"):
        ConditionEmbedding(["lenght"])
