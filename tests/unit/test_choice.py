"""Which released model a request is made by where none is named."""

import pytest

from protgen.conditions.base import Conditions
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.conditions.symmetry import Symmetry
from protgen.generation.choice import model_for
from protgen.generation.design import ResolvedSettings, SampleSettings
from protgen.generation.job import prepare

STRING = "L3E6L3E6L10H10L2"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ([Length(60, 100)], "flow-pairing"),
        ([Length(60), Fractions(helix=0.4, strand=0.2)], "flow-small"),
        ([Length(60), FoldClass("beta")], "flow-pairing"),
        ([SecondaryStructure.parse(STRING)], "flow-pairing"),
        ([Length(39), SecondaryStructure.parse(STRING)], "flow-pairing"),
        ([SecondaryStructure.parse(STRING), RadiusOfGyration(11.0)], "flow-small"),
        ([SecondaryStructure.parse(STRING), StrandPairing.parse("4-9:18-13")], "flow-pairing"),
        ([Length(60), RadiusOfGyration(11.0)], "flow-small"),
        ([Length(60), StrandPairing.parse("4-9:18-13"), RadiusOfGyration(11.0)], "flow-pairing"),
        ([ContactMap.parse(f"{STRING}; 1-2:antiparallel")], "flow-pairing"),
        ([ContactMap.parse(f"{STRING}; 1-2:antiparallel, 2-3:near")], "flow-small"),
        ([Length(100, 128)], "flow-pairing"),
        ([Length(100, 129)], "flow-base"),
        ([Length(200), RadiusOfGyration(17.0)], "flow-base"),
        ([SecondaryStructure.parse("H129")], "flow-base"),
        ([Length(42), Symmetry("C3")], "flow-pairing"),
        ([Length(43), Symmetry("C3")], "flow-base"),
        ([Length(65), Symmetry("D2")], "flow-base"),
        ([SecondaryStructure.parse(STRING), Symmetry("C2")], "flow-pairing"),
        ([Length(60), RadiusOfGyration(11.0), Symmetry("C2")], "flow-small"),
    ],
)
def test_the_model_that_suits_is_taken(asked, name):
    """Pairs are learned by one model; strings and what pulls are met better by the other; long chains have a third.

    Copies are as long as all of them together.
    """
    assert model_for(Conditions(tuple(asked))) == name


@pytest.mark.parametrize(
    "settings",
    [
        SampleSettings(steps=20),
        SampleSettings(temperature=1.0),
        SampleSettings(guidance=3.0),
        SampleSettings(guidance_interval=(0.0, 1.0)),
        SampleSettings(sampler="sde"),
        SampleSettings(enforce={"secondary_structure": "rank"}),
        ResolvedSettings(),
    ],
)
def test_a_string_with_settings_of_ones_own_is_made_by_the_other(settings):
    """With weights of conditions, too, which need classifier-free guidance."""
    asked = Conditions((SecondaryStructure.parse(STRING),))
    assert model_for(asked, settings) == "flow-small"
    assert model_for(asked, SampleSettings(relax=False, candidates=4, device="cpu")) == "flow-pairing"
    assert model_for(2.0 * asked) == "flow-small"
    assert prepare(None, asked, settings).name == "flow-small"
    assert model_for(Conditions((Length(60),)), settings) == "flow-pairing"


def test_a_job_knows_its_model():
    """A model that is named is taken, whatever suits; settings are those of the model."""
    chosen = prepare(None, [Length(60)])
    assert (chosen.name, chosen.settings.steps, chosen.settings.autoguidance) == ("flow-pairing", 20, 1.5)
    named = prepare("flow-small", [Length(60)])
    assert (named.name, named.settings.steps, named.settings.autoguidance) == ("flow-small", 20, 1.0)
    shares = prepare("flow-small", [Length(60), Fractions(helix=0.5)]).settings
    assert (shares.steps, shares.guidance) == (80, 2.0)
    pulled = prepare("flow-pairing", [Length(60), RadiusOfGyration(11.0)]).settings
    assert (pulled.steps, pulled.guidance, pulled.autoguidance) == (80, 2.0, 1.0)
    copies = prepare(None, [Length(42), Symmetry("C3")]).settings
    assert (copies.steps, copies.guidance, copies.autoguidance) == (20, 1.0, 1.5), "copies of a chain are not pulled"
    assert prepare(chosen.model, [Length(60)]).name == ""


def test_a_contact_map_that_is_enforced_is_made_by_the_other():
    asked = Conditions((ContactMap.parse(f"{STRING}; 1-2:antiparallel"),))
    assert model_for(asked, SampleSettings(enforce={"contact_map": "energy"})) == "flow-small"
    assert model_for(asked, SampleSettings(steps=10)) == "flow-pairing"
