"""A job: what it takes, what it leaves to the model, and that conditions from outside take part in all of it."""

import copy
import inspect
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.cli.check import check
from protgen.cli.sample import sample
from protgen.conditions.base import Adherence, Condition, Conditions, EnergyCondition
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.motif import Motif
from protgen.conditions.roles import Anchor, Assembly, BlueprintScore, FixedBlueprint, StartingStructure
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.errors import ConflictError, UsageError
from protgen.generation.design import ResolvedSettings, SampleSettings
from protgen.generation.generate import generate
from protgen.generation.job import prepare
from protgen.generation.plan import plan_design
from protgen.generation.sampling import Run, family_on, finish
from protgen.models.blueprints import fit_blueprints
from protgen.models.model import Model, build_model
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

FAST = SampleSettings(steps=3, guidance=1.0, relax=False, device="cpu", blueprint="free")
DRAWN = replace(FAST, blueprint="auto")
BLUEPRINTS = ["C" + "H" * 12 + "CCC" + "H" * 10 + "CC", "CC" + "E" * 6 + "CC" + "E" * 6 + "C"]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = {
        "space": {"name": "backbone"},
        "encoder": {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 2, "refresh": 1, "heads": 2},
        "family": {"name": "flow_matching"},
        "conditions": ["length", "secondary_structure", "fractions"],
    }
    built = build_model(config)
    return Model(built.family.eval(), built.conditions, config, fit_blueprints(BLUEPRINTS))


def test_a_request_may_be_a_condition_several_or_the_text_of_ss(model):
    wanted = SecondaryStructure.parse("L2H10L2")
    forms = (wanted, [wanted], Conditions.of(wanted), "L2H10L2")
    assert [prepare(model, form, FAST).conditions for form in forms] == [Conditions.of(wanted)] * 4
    assert prepare(model, Length(20) & 2.0 * Fractions(helix=0.5), FAST).conditions.weights == (1.0, 2.0)


def test_a_released_model_is_taken_by_its_name():
    (design,) = generate("flow-small", "L2H10L2", n=1, settings=SampleSettings(steps=2, relax=False))
    assert design.protein.length == 14


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": 3}, r"the model is a int.*'flow-small'"),
        ({"conditions": 80}, r"conditions are a int, 80;.*Length\(80\)"),
        ({"conditions": [Length(20), "H5"]}, r"hold a str, 'H5';.*a list of conditions"),
        ({"conditions": None}, "conditions are a NoneType"),
        ({"settings": {"steps": 3}}, r"settings are a dict.*SampleSettings"),
        ({"n": "4"}, "n is a str"),
        ({"n": True}, "n is a bool"),
    ],
)
def test_other_types_are_named_with_what_is_taken(model, arguments, words):
    given = {"model": model, "conditions": [Length(20)], "n": 1, "settings": FAST} | arguments
    with pytest.raises(UsageError, match=words):
        generate(**given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 10**9}, "steps 1000000000: at most 65,536"),
        ({"candidates": 10**9}, "candidates 1000000000: at most 65,536"),
        ({"particles": 10**9, "sampler": "smc"}, "particles 1000000000: at most 65,536"),
        ({"redraws": 10**9}, "redraws 1000000000: at most 65,536"),
        ({"batch_size": 10**9}, "batch size 1000000000: at most 65,536"),
        ({"energy_steps": 10**9}, "energy steps 1000000000: at most 65,536"),
        ({"energy_scale": 1e30}, r"energy scale 1e\+30: at most 1,000"),
        ({"guidance": 1e30}, r"guidance 1e\+30: at most 100"),
        ({"autoguidance": -1e30}, r"autoguidance -1e\+30: at most 100"),
        ({"temperature": 1e30}, r"temperature 1e\+30: at most 10"),
        ({"temperature": math.nan}, "temperature is 'nan'; give a finite number"),
        ({"steps": 2.5}, "steps is '2.5'; give a whole number"),
        ({"candidates": "2"}, "candidates is '2'; give a whole number"),
    ],
)
def test_no_setting_takes_all_memory_or_gives_no_numbers(model, settings, words):
    """Before anything of that size is made; so does a model whose own config asks for it."""
    with pytest.raises(UsageError, match=words):
        prepare(model, [Length(20)], replace(FAST, **settings))


def test_numbers_and_lengths_of_designs_have_limits(model):
    """Weights too, which multiply guidance."""
    with pytest.raises(UsageError, match="n 1000000000: at most 1,000,000 designs"):
        generate(model, [Length(20)], 10**9)
    for length in (Length(10**8), Length(20, 10**8)):
        with pytest.raises(UsageError, match="length 100000000: at most 65,536 residues"):
            prepare(model, [length], FAST)
    with pytest.raises(UsageError, match=r"length has the weight 1e\+30; give a number from 0 to 100"):
        1e30 * Length(20)
    with pytest.raises(UsageError, match="steps 1000000000: a sampler takes at most 65,536 steps"):
        registry.build("samplers", "heun", steps=10**9)


def test_coordinates_that_are_no_numbers_are_said_to_be(model):
    """And not that the file to be written has no atom."""
    job = prepare(model, [Length(12)], FAST)
    with pytest.raises(UsageError, match="design_0000: the model gave coordinates that are no finite numbers"):
        finish(plan_design(job, 0, 0), np.full((12, 4, 3), np.nan))


def test_settings_that_are_not_given_are_the_models_own(model):
    """One that is given changes no other; the resolved ones are those of the job."""
    own = replace(model, config={**model.config, "sampling": {"temperature": 0.3, "sampler": "heun", "guidance": 1.5}})
    asked = SampleSettings(candidates=2, steps=7)
    expected = ResolvedSettings(candidates=2, steps=7, temperature=0.3, sampler="heun", guidance=1.5)
    assert prepare(own, [Length(20)], asked).settings == expected
    assert prepare(own, [Length(20)], expected).settings == expected
    assert prepare(own, [Length(20)], replace(asked, temperature=1.0)).settings.temperature == 1.0
    assert prepare(model, [Length(20)], SampleSettings(candidates=2)).settings == ResolvedSettings(candidates=2)


@pytest.mark.parametrize(("guidance", "weight", "said"), [(1.0, 2.0, True), (2.0, 2.0, False), (1.0, 1.0, False)])
def test_a_weight_that_does_nothing_is_said(model, guidance, weight, said):
    """Weights multiply the part of guidance above 1."""
    asked = Length(14) & weight * SecondaryStructure.parse("L2H10L2")
    warnings = prepare(model, asked, replace(FAST, guidance=guidance)).warnings
    assert any("its weight 2 acts through guidance, which is 1" in line for line in warnings) == said


@pytest.mark.parametrize(
    ("name", "asked", "given", "said"),
    [
        ("autoregressive-small", Length(30), {"guidance_interval": (0.25, 1.0)}, "guidance interval 0.25-1 does"),
        ("autoregressive-small", Length(30), {"redraws": 3}, "redraws 3 does nothing here"),
        ("autoregressive-small", Length(30), {"steps": 5}, "steps 5 does nothing here: autoregressive-small"),
        ("flow-small", Length(30), {"redraws": 3}, "redraws 3 does nothing here"),
        ("flow-small", Length(30), {"guidance": 1.0, "guidance_interval": (0.25, 1.0)}, "guidance is 1"),
        ("flow-small", Length(30), {"guidance": 2.0, "guidance_interval": (0.25, 1.0), "steps": 5, "redraws": 0}, ""),
        ("flow-small", Length(30) & StrandPairing(((3, 8, 20, 15),)), {"redraws": 3, "candidates": 1}, ""),
        ("flow-pairing", Length(80), {"redraws": 3}, ""),
    ],
)
def test_a_setting_that_does_nothing_is_said(name, asked, given, said):
    """One that acts, or is not given, is not spoken of."""
    idle = [line for line in prepare(name, asked, SampleSettings(**given)).warnings if "does nothing here" in line]
    assert len(idle) == bool(said)
    assert said in "".join(idle)


def test_negative_weights_of_guidance_are_refused(model):
    for weight in ("guidance", "autoguidance"):
        with pytest.raises(UsageError, match=f"^{weight} -1: cannot be negative"):
            prepare(model, Length(20), replace(FAST, **{weight: -1.0}))


def test_a_model_stays_on_its_device(model):
    """What runs elsewhere is a copy; where nothing is to be moved, nothing is copied."""
    family = copy.deepcopy(model.family)
    moved = family_on(family, torch.device("meta"))
    assert {p.device.type for p in moved.parameters()} == {"meta"}
    assert {p.device.type for p in (*family.parameters(), *family.buffers())} == {"cpu"}
    assert moved.training == family.training
    assert family_on(family, torch.device("cpu")) is family
    assert Run.of(prepare(model, [Length(20)], FAST), 0).family is model.family


def test_a_motif_that_acts_by_its_energy_is_placed_first(model, tmp_path):
    """Its gaps are open in the request, and each plan carries the motif in its own place."""
    path = tmp_path / "helix.pdb"
    write_structure(Protein.from_backbone(ideal_helix(20)), path)
    job = prepare(model, [Motif(str(path), "2-9/A3-8/2-9")], replace(FAST, enforce={"motif": "energy"}))
    plans = [plan_design(job, 0, index) for index in range(6)]
    assert len({plan.motif.indices()[0] for plan in plans}) > 1
    for plan in plans:
        ((condition, weight),) = plan.energies
        assert condition is plan.motif
        assert condition.placed
        assert weight == 1.0
    assert not job.assignments[0].condition.placed
    (design,) = generate(model, job.conditions, 1, 0, job.settings)
    assert len(design.motif) == 6


def adherence(name: str, off: float) -> Adherence:
    return Adherence(name, "asked", "got", off, off <= 0.5, 0.5)


@dataclass(frozen=True)
class Centred(EnergyCondition):
    """A stranger's energy, with a length of its own and an enemy."""

    name: ClassVar[str] = "centred"

    def adherence(self, structure: Any) -> Adherence:
        return adherence(self.name, float(np.abs(structure.backbone.mean((0, 1))).max()))

    def energy(self, xyz, mask):
        return xyz[:, :, 1].square().sum((1, 2)) / 1e3

    def lengths(self):
        return 18, 22

    def conflicts_with(self, other):
        return "centred conflicts with fractions; leave one out" if isinstance(other, Fractions) else None

    def describe(self):
        return "in the middle"


@dataclass(frozen=True)
class Begun(Condition, StartingStructure):
    """A stranger's structure to start from, with half the rise of a helix."""

    noise: float = 0.02
    name: ClassVar[str] = "begun"

    def mechanisms(self, model: Capabilities):
        return frozenset({"construction"} if model.starts else ())

    def adherence(self, structure: Any) -> Adherence:
        return adherence(self.name, 0.0)

    def lengths(self):
        return 20, 20

    def backbone(self):
        return ideal_helix(20)[:, :3] + 50.0

    def anchor(self):
        return Anchor(tuple(range(20)), self.backbone())


@dataclass(frozen=True)
class Pair(Condition, Assembly):
    """A stranger's assembly: two chains."""

    name: ClassVar[str] = "pair"
    whole_assembly: ClassVar[bool] = True

    def mechanisms(self, model: Capabilities):
        return frozenset({"construction"})

    def adherence(self, structure: Any) -> Adherence:
        return adherence(self.name, abs(len(structure.chains) - 2))

    def operations(self):
        return np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])


@dataclass(frozen=True)
class Strands(Condition, BlueprintScore):
    """A stranger's wish for a blueprint."""

    name: ClassVar[str] = "strands"

    def adherence(self, structure: Any) -> Adherence:
        return adherence(self.name, 0.0)

    def blueprint_score(self, codes):
        return float("H" not in codes and "E" in codes)


@dataclass(frozen=True)
class Drawing(Condition, FixedBlueprint):
    """A stranger's blueprint."""

    codes: str
    name: ClassVar[str] = "drawing"
    blueprint_label: ClassVar[str] = "drawing"

    def adherence(self, structure: Any) -> Adherence:
        return adherence(self.name, 0.0)

    def lengths(self):
        return len(self.codes), len(self.codes)

    def fixed_codes(self):
        return self.codes


def test_a_strangers_condition_says_its_lengths_conflicts_and_mechanisms(model):
    job = prepare(model, [Length(10, 40), Centred()], FAST)
    assert (job.lengths[0], job.lengths[-1]) == (18, 22)
    assert job.assignments[1].options == ("energy", "rank")
    assert prepare(model, [Centred()], FAST).lengths[0] == 18
    for asked in ([Centred(), Fractions(helix=0.5)], [Fractions(helix=0.5), Centred()]):
        with pytest.raises(ConflictError, match="centred conflicts with fractions"):
            prepare(model, asked, FAST)
    with pytest.raises(ConflictError, match=r"begun asks for at least 20.*length for at most 10"):
        prepare(model, [Begun(), Length(5, 10)], FAST)
    with pytest.raises(ConflictError, match="fold_class beta conflicts with the drawing"):
        prepare(model, [Drawing("H" * 30), FoldClass("beta")], FAST)


def test_a_strangers_condition_is_energy_start_assembly_and_blueprint(model):
    free = next(generate(model, [Length(20)], 1, 0, FAST)).protein.backbone
    (pulled,) = generate(model, Length(20) & 20.0 * Centred(), 1, 0, FAST)
    size = [np.square(xyz[:, 1] - xyz[:, 1].mean(0)).sum() for xyz in (free, pulled.protein.backbone)]
    assert size[1] < 0.5 * size[0]
    (begun,) = generate(model, [Begun()], 1, 0, FAST)
    off = begun.protein.backbone[:, 1] - Begun().backbone()[:, 1]
    assert np.sqrt(np.square(off).sum(-1).mean()) < 1.0  # near it, and in its frame
    (pair,) = generate(model, [Length(16), Pair()], 1, 0, FAST)
    a, b = (pair.protein.backbone[pair.protein.chain_ids == chain] for chain in "AB")
    assert np.allclose(a @ np.diag([-1.0, -1.0, 1.0]), b, atol=1e-3)
    for design in generate(model, [Length(18), Strands()], 3, 0, replace(DRAWN, candidates=1)):
        assert "H" not in design.drawn[0].codes
    (design,) = generate(model, [Drawing("LLHHHHHHHHHHLLXXXX")], 1, 0, DRAWN)
    assert design.drawn == (SecondaryStructure("LLHHHHHHHHHHLLXXXX"),)


def test_check_takes_the_options_of_sample():
    """All but those of the folder and of what is made of its designs."""
    own = {
        "out",
        "file_format",
        "resume",
        "overwrite",
        "trajectory",
        "keep_numbering",
        "no_pictures",
        "best",
        "rank_by",
        "shard",
        "indices",
        "cluster",
    }
    names = [set(inspect.signature(command).parameters) for command in (sample, check)]
    assert names[0] - own == names[1]
    assert {"seed", "temperature", "no_relax", "condition_ss", "condition_keep_out"} <= names[1]
