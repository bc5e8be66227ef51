"""Which released model a request is made by where none is named."""

import pytest

from protgen.conditions.base import Conditions
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.generation.choice import model_for
from protgen.generation.design import SampleSettings
from protgen.generation.job import prepare

STRING = "L3E6L3E6L10H10L2"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ([Length(60, 100)], "flow-pairing"),
        ([Length(60), Fractions(helix=0.4, strand=0.2)], "flow-small"),
        ([Length(60), FoldClass("beta")], "flow-pairing"),
        ([SecondaryStructure.parse(STRING)], "flow-small-quick"),
        ([SecondaryStructure.parse(STRING), StrandPairing.parse("4-9:18-13")], "flow-pairing"),
        ([Length(60), RadiusOfGyration(11.0)], "flow-small"),
        ([Length(60), StrandPairing.parse("4-9:18-13"), RadiusOfGyration(11.0)], "flow-pairing"),
    ],
)
def test_the_model_that_suits_is_taken(asked, name):
    """Pairs are learned by one model alone; strings and what pulls are met better by the other."""
    assert model_for(Conditions(tuple(asked))) == name


@pytest.mark.parametrize(
    "given",
    [{"steps": 40}, {"guidance": 3.0}, {"temperature": 1.0}, {"autoguidance": 1.5}, {"sampler": "heun"},
     {"guidance_interval": (0.0, 1.0)}, {"enforce": {"secondary_structure": "rank"}}],
)  # fmt: skip
def test_what_a_student_has_not_learned_is_asked_of_its_teacher(given):
    string = Conditions.of(SecondaryStructure.parse(STRING))
    assert model_for(string, SampleSettings(**given)) == "flow-small"


def test_weights_are_asked_of_the_teacher_and_what_changes_nothing_is_not():
    """Weights act through guidance, which a student has none of."""
    string = SecondaryStructure.parse(STRING)
    assert model_for(2.0 * string) == "flow-small"
    assert model_for(Conditions.of(string), SampleSettings(relax=False, device="cpu")) == "flow-small-quick"


def test_a_job_knows_its_model():
    """A model that is named is taken, whatever suits; settings are those of the model."""
    chosen = prepare(None, [Length(60)])
    assert (chosen.name, chosen.settings.steps, chosen.settings.autoguidance) == ("flow-pairing", 20, 2.0)
    string = prepare(None, STRING)
    assert (string.name, string.settings.steps, string.settings.guidance) == ("flow-small-quick", 10, 1.0)
    finer = prepare(None, STRING, SampleSettings(steps=40))
    assert (finer.name, finer.settings.steps, finer.settings.guidance) == ("flow-small", 40, 2.0)
    named = prepare("flow-small", [Length(60)])
    assert (named.name, named.settings.steps, named.settings.autoguidance) == ("flow-small", 20, 1.0)
    shares = prepare("flow-small", [Length(60), Fractions(helix=0.5)]).settings
    assert (shares.steps, shares.guidance) == (80, 2.0)
    pulled = prepare("flow-pairing", [Length(60), RadiusOfGyration(11.0)]).settings
    assert (pulled.steps, pulled.guidance, pulled.autoguidance) == (80, 2.0, 1.0)
    assert prepare(chosen.model, [Length(60)]).name == ""
