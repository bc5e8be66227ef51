"""The language of conditions: Python, YAML and plain values say the same, and what cannot be meant is one error."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protgen import registry
from protgen.conditions.base import Conditions
from protgen.conditions.contacts import Contacts
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.keep_out import KeepOut
from protgen.conditions.language import from_document, read_conditions, to_document
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import ProtgenError, UsageError


def complaint(read) -> str:
    """The message of our own error, empty if there is none; any other error fails the test."""
    try:
        read()
    except ProtgenError as error:
        return str(error)
    return ""


def test_composition_keeps_order_and_multiplies_weights():
    asked = Length(100) & 0.5 * (SecondaryStructure("H" * 100) & 2.0 * RadiusOfGyration(12.5) * 3)
    assert [c.name for c in asked] == ["length", "secondary_structure", "radius_of_gyration"]
    assert asked.weights == (1.0, 0.5, 3.0)
    assert asked.weight(asked[2]) == 3.0
    assert (Length(5) & Length(6))[0] == Length(5)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="weight"):
            _ = wrong * Length(5)
    with pytest.raises(TypeError, match="unsupported"):
        _ = Length(5) & "length"
    with pytest.raises(TypeError, match="multiply"):
        _ = Length(5) * "2"


YAML = """
length: 60-100
fold_class: alpha
radius_of_gyration: {radius: 12.5, weight: 2.0}
contacts:
  pairs: [[5, 40], [12, 50, 10.0]]
"""
SAME = Length(60, 100) & FoldClass("alpha") & 2.0 * RadiusOfGyration(12.5) & Contacts(((5, 40), (12, 50, 10.0)))


def test_yaml_says_the_same_as_python(tmp_path):
    path = tmp_path / "asked.yaml"
    path.write_text(YAML)
    assert read_conditions(path) == SAME
    path.write_text("- length: 60-100\n- {condition: keep_out, spheres: [[0, 0, 0, 5]]}\n- keep_out: 9,9,9,2\n")
    assert read_conditions(path) == Length(60, 100) & KeepOut(((0, 0, 0, 5),)) & KeepOut(((9, 9, 9, 2),))


def test_files_beside_the_yaml_are_found(tmp_path):
    (tmp_path / "pairs.csv").write_text("i,j\n5,40\n")
    path = tmp_path / "asked.yaml"
    path.write_text("contacts: pairs.csv\n")
    assert read_conditions(path)[0] == Contacts(((5, 40),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lenght: 80", ("lenght", "did you mean 'length'")),
        ("length: 80\nlength: 90", ("twice", "line 2")),
        ("length: eighty", ("eighty",)),
        ("length: {low: eighty}", ("low", "whole number")),
        ("length: {hight: 80}", ("hight", "low")),
        ("fractions: {helix: [1]}", ("helix", "number")),
        ("radius_of_gyration: {tolerance: 0.1}", ("needs", "radius")),
        ("radius_of_gyration: {radius: 12, weight: heavy}", ("weight",)),
        ("radius_of_gyration: .nan", ("nan",)),
        ("contacts: {pairs: [[1]]}", ("pair",)),
        ("contacts: {pairs: [[a, b]]}", ("contacts",)),
        ("contact_map: {blueprint: L2E4L2E4, pairs: [[1, 9, near]]}", ("1-9",)),
        ("keep_out: {spheres: [[1, 2]]}", ("sphere",)),
        ("keep_out: {spheres: [[x, 2, 3, 4]]}", ("keep_out",)),
        ("shape: {ellipsoid: [1, 2]}", ("ellipsoid",)),
        ("custom: {function: os.system}", ("function",)),
        ("custom: os.system", ("Python",)),
        ("motif: {file: nowhere.pdb, contig: A1-5}", ("nowhere.pdb",)),
        ("- 5", ("entry",)),
        ("just text", ("mapping",)),
        ("", ("no conditions",)),
        ("a: [", ("line",)),
        ("5: 6", ("name",)),
        ("!!python/object/apply:os.system ['true']", ("YAML", "line")),
    ],
)
def test_what_cannot_be_meant_is_one_line_that_names_the_file(tmp_path, text, words):
    path = tmp_path / "asked.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_conditions(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert any(word in str(caught.value) for word in words), caught.value


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_conditions(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.yaml"):
        read_conditions(tmp_path / "binary.yaml")


numbers = st.floats(3.0, 40.0).map(lambda x: round(x, 3))
some = st.one_of(
    st.integers(1, 200).map(Length),
    st.tuples(st.integers(1, 100), st.integers(100, 200)).map(lambda ab: Length(*ab)),
    st.text("HELCX", min_size=1, max_size=30).map(SecondaryStructure),
    st.floats(0, 0.5).map(lambda x: Fractions(helix=x)),
    numbers.map(RadiusOfGyration),
    st.sets(st.tuples(st.integers(1, 20), st.integers(21, 40)), min_size=1, max_size=5).map(
        lambda pairs: Contacts(tuple(sorted(pairs)))
    ),
    st.tuples(numbers, numbers, numbers, numbers).map(lambda s: KeepOut((s,))),
)


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(some, st.floats(0, 10)), max_size=5))
def test_conditions_round_trip_through_plain_values(entries):
    asked = Conditions(tuple(c for c, _ in entries), tuple(w for _, w in entries))
    assert from_document(to_document(asked)) == asked


@pytest.mark.parametrize("name", registry.names("conditions"))
def test_a_thousand_random_strings_parse_or_give_one_clear_error(name):
    """For each of the conditions; with those of contigs and blueprints that makes more than ten thousand."""
    rng, cls = random.Random(name), registry.find("conditions", name)
    letters = "0123456789-.:,;xACDHELX /eanytr\t٣é"
    for _ in range(1000):
        text = "".join(rng.choice(letters) for _ in range(rng.randrange(12)))
        assert "\n" not in complaint(lambda text=text: cls.parse(text))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(st.sampled_from(registry.names("conditions")), plain)
def test_any_plain_value_is_read_or_refused(name, value):
    assert "\n" not in complaint(lambda: from_document({name: value}))


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(st.sampled_from(registry.names("conditions")), st.data())
def test_any_value_of_a_known_field_is_read_or_refused(name, data):
    import dataclasses

    keys = [field.name for field in dataclasses.fields(registry.find("conditions", name))]
    given_fields = {key: data.draw(plain) for key in keys}
    assert "\n" not in complaint(lambda: from_document({name: given_fields}))
