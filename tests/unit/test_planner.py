"""From requests to designs: how conditions act, conflicts by name, and what holds by construction."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from protgen.conditions.clashes import Clashes
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.contacts import Contacts
from protgen.conditions.custom import Custom
from protgen.conditions.cyclic import Cyclic
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.keep_out import KeepOut
from protgen.conditions.length import Length
from protgen.conditions.measure import evaluators
from protgen.conditions.motif import Motif
from protgen.conditions.partial import Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.shape import Shape
from protgen.conditions.symmetry import Symmetry
from protgen.conditions.termini_distance import TerminiDistance
from protgen.errors import ConflictError, UsageError
from protgen.generation.assembly import LEAST_ATOM, assemble, closest
from protgen.generation.conflicts import check_conditions, feasible_lengths
from protgen.generation.design import SampleSettings
from protgen.generation.drawing import overlay
from protgen.generation.energies import BatchEnergy
from protgen.generation.generate import generate, generate_each
from protgen.generation.job import prepare
from protgen.generation.plan import plan_design
from protgen.generation.planner import Assignment, GuidancePart, assign, candidates_of, guidance_weights
from protgen.generation.sampling import Run, make_batch, sample_batch
from protgen.generation.together import with_docking
from protgen.models.blueprints import fit_blueprints
from protgen.models.model import Model, build_model
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

pytestmark = pytest.mark.slow

FAST = SampleSettings(steps=4, guidance=1.0, relax=False)
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


@pytest.fixture
def helix(tmp_path) -> str:
    path = tmp_path / "helix.pdb"
    names = np.array(["ALA", "SER"] * 10)
    backbone = Protein.from_backbone(ideal_helix(20), residue_numbers=np.arange(101, 121), residue_names=names)
    write_structure(backbone, path)
    return str(path)


def test_each_condition_acts_in_the_best_way_there_is(model, helix):
    asked = [
        Length(20, 60),
        Fractions(helix=0.5),
        RadiusOfGyration(8.0),
        Contacts(((1, 9),)),
        Motif(helix, "1-40/A101-105/1-40"),
        FoldClass("alpha"),
        Symmetry("C2"),
    ]
    mechanisms = {entry.condition.name: entry.mechanism for entry in assign(asked, model)}
    assert mechanisms == {
        "length": "construction",
        "fractions": "learned",
        "radius_of_gyration": "energy",
        "contacts": "energy",
        "motif": "projection",
        "fold_class": "blueprint",
        "symmetry": "assembly",
    }
    fixed = assign([SecondaryStructure("H" * 30), FoldClass("alpha")], model)
    assert [entry.mechanism for entry in fixed] == ["learned", "rank"]  # no blueprint is drawn where one is given
    other = assign(asked, model, {"contacts": "rank"})
    assert {entry.condition.name: entry.mechanism for entry in other}["contacts"] == "rank"
    for wrong, word in (({"contacts": "learned"}, "energy, rank"), ({"contact": "rank"}, "did you mean 'contacts'")):
        with pytest.raises(UsageError, match=word):
            assign(asked, model, wrong)


def test_the_weight_of_what_is_learned_is_that_of_guidance(model):
    """1 + w (guidance - 1): of y as a whole where weights are alike, of each group of conditions where they are not."""
    asked = Length(16) & 0.5 * SecondaryStructure("H" * 16)
    assert guidance_weights(assign(asked, model), 3.0) == (GuidancePart(None, 2.0),)
    assert guidance_weights(assign([Length(16)], model), 3.0) == (GuidancePart(None, 3.0),)
    both = asked & Fractions(helix=1.0)
    assert guidance_weights(assign(both, model), 3.0) == (
        GuidancePart(("secondary_structure",), 2.0),
        GuidancePart(("fractions",), 3.0),
    )
    assert guidance_weights(assign(both, model), 1.0) == ()
    none = Length(16) & 0.0 * SecondaryStructure("H" * 16) & Fractions(helix=1.0)
    assert guidance_weights(assign(none, model), 1.0) == ()
    assert guidance_weights(assign(both, model, {"fractions": "rank"}), 3.0) == (GuidancePart(None, 2.0),)


def test_each_learned_condition_can_have_its_own_weight(model):
    """Another weight of one of two conditions changes the design."""
    stirred = Model(copy.deepcopy(model.family), model.conditions, model.config, model.blueprints)
    with torch.no_grad():  # as initialised, the network's last layers are zero, whatever y is
        for weights in stirred.family.parameters():
            weights += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(0))

    def made(asked):
        return next(iter(generate(stirred, asked, 1, 0, replace(FAST, guidance=2.0)))).raw.backbone

    string, fraction = SecondaryStructure("H" * 16), Fractions(helix=1.0)
    alike, other = made(Length(16) & string & fraction), made(Length(16) & string & 3.0 * fraction)
    assert np.isfinite(other).all()
    assert not np.allclose(alike, other, atol=1e-3)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([Length(30), RadiusOfGyration(50.0)], ("radius_of_gyration", "length")),
        ([Length(30), Contacts(((1, 31),))], ("contacts", "length")),
        ([Length(5), TerminiDistance(30.0)], ("termini_distance", "length")),
        ([SecondaryStructure("H" * 30), FoldClass("beta")], ("fold_class", "secondary structure")),
        ([Length(30), FoldClass("beta"), Fractions(helix=0.8)], ("fold_class", "fractions")),
        ([ContactMap("L2E6L3E6", ((1, 2, "near"),)), FoldClass("alpha")], ("contact_map", "fold_class")),
        ([ContactMap("L2E6L3E6", ((1, 2, "near"),)), SecondaryStructure("H" * 17)], ("contact_map", "secondary")),
        ([ContactMap("L2E6L3E6", ((1, 2, "near"),)), Length(40)], ("contact_map", "length")),
        ([Length(60), RadiusOfGyration(12.0), Shape(ellipsoid=(30, 30, 30))], ("radius_of_gyration", "shape")),
        ([Length(30), Cyclic(), TerminiDistance(20.0)], ("cyclic", "termini_distance")),
        ([Length(30), KeepOut(((0, 0, 0, 3),)), Symmetry("C2")], ("keep_out", "symmetry")),
        ([Length(4), Cyclic()], ("cyclic", "length")),
    ],
)
def test_conflicts_name_both_sides(asked, words):
    with pytest.raises(ConflictError) as caught:
        check_conditions(asked)
    for word in words:
        assert word in str(caught.value)


def test_conflicts_with_a_motif(helix):
    motif = Motif(helix, "2-5/A101-112/2-5")
    for other, words in (
        (Length(40), ("motif", "length")),
        (Length(5, 12), ("motif", "length")),
        (SecondaryStructure("E" * 20), ("motif", "secondary structure")),
        (Partial(helix), ("motif", "partial")),
    ):
        with pytest.raises(ConflictError) as caught:
            check_conditions([motif if other.name != "partial" else Motif(helix, "30/A101-112"), other])
        assert all(word in str(caught.value) for word in words)
    check_conditions([motif, SecondaryStructure("X" * 20)])
    with pytest.raises(
        UsageError, match=r"has a chain break \(/0 \): designs of several chains, .* are not offered; write a linker"
    ):
        check_conditions([Motif(helix, "5/A101-112/0 5/A113-114")])


def test_lengths_are_those_all_conditions_allow(helix):
    assert list(feasible_lengths([Length(10, 30), Motif(helix, "2-5/A101-112/2-5")])) == list(range(16, 23))
    allowed = feasible_lengths([Length(20, 200), RadiusOfGyration(10.0)])
    assert allowed[0] == 20
    assert allowed[-1] < 90
    assert len(feasible_lengths([Length(10, 65_536)])) == 65_527
    with pytest.raises(UsageError, match="at most 65,536 residues are possible"):
        feasible_lengths([Length(10, 10**8)])


def test_two_of_a_kind_are_refused_but_for_volumes():
    with pytest.raises(UsageError, match="twice"):
        check_conditions([Length(30), FoldClass("alpha"), FoldClass("beta")])
    check_conditions([Length(30), KeepOut(((0, 0, 0, 3),)), KeepOut(((9, 0, 0, 3),))])


def test_a_motif_is_in_its_place_by_construction(model, helix):
    """Even an untrained network's designs hold it, in the frame of its file, its numbers on record."""
    asked = [Motif(helix, "3-9/A103-108/2/A112-115/3-9")]
    for design in generate(model, asked, 3, 0, FAST):
        (placed,) = design.asked
        assert isinstance(placed, Motif)
        met = placed.adherence(design.protein)
        assert met.satisfied
        assert met.difference < 0.1
        assert [m.number for m in design.motif] == [*range(103, 109), *range(112, 116)]
        assert {m.chain for m in design.motif} == {"A"}
        indices = [m.index for m in design.motif]
        assert indices == placed.indices()
        own = ideal_helix(20)[[*range(2, 8), *range(11, 15)]]
        assert np.abs(design.protein.backbone[indices][:, 1] - own[:, 1]).max() < 0.1
        assert design.protein.residue_names[indices].tolist() == (["ALA", "SER"] * 3 + ["SER", "ALA"] * 2)
        assert set(np.delete(design.protein.residue_names, indices)) == {"GLY"}


def test_energies_are_obeyed_by_designs(model):
    """The last step ends on a prediction after gradient descent on the energy."""
    target = 9.0
    asked = [Length(30), RadiusOfGyration(target)]
    free = next(generate(model, [Length(30)], 1, 0, FAST))
    held = next(generate(model, asked, 1, 0, FAST))
    ranked = next(generate(model, asked, 1, 0, replace(FAST, enforce={"radius_of_gyration": "rank"}, candidates=1)))
    off = [RadiusOfGyration(target).adherence(d.protein).difference for d in (free, held, ranked)]
    assert off[1] < 0.02 < off[0]
    assert off[2] == pytest.approx(off[0])
    none = next(generate(model, asked, 1, 0, replace(FAST, energy_scale=0.0)))
    assert np.allclose(none.protein.backbone, free.protein.backbone)
    weak = next(generate(model, Length(30) & 0.0 * RadiusOfGyration(target), 1, 0, FAST))
    assert np.allclose(weak.protein.backbone, free.protein.backbone, atol=1e-3)


def test_rows_of_a_batch_have_their_own_conditions(model, helix):
    """Batches of different requests give what each gives alone."""
    requests = [
        [Length(24), RadiusOfGyration(7.0)],
        [Length(30)],
        [Length(26), Contacts(((2, 20),))],
        [Motif(helix, "9/A103-108/9")],
    ]
    together = {d.index: d for d in generate_each(model, requests, 0, FAST)}
    for index in range(4):
        (alone,) = generate_each(model, requests, 0, FAST, indices=[index])
        assert np.abs(alone.protein.backbone - together[index].protein.backbone).max() < 2e-3


def test_rows_are_guided_by_themselves_within_one_batch(model, helix):
    """Energies local, of the whole and both, a motif, nothing, a motif with contacts: together and each alone."""
    length = Length(24)
    requests = [
        [length, RadiusOfGyration(7.0)],
        [length, Contacts(((2, 20, 0.0, 8.0),))],
        [length, Contacts(((3, 19, 0.0, 8.0),)), RadiusOfGyration(8.0)],
        [Motif(helix, "9/A103-108/9")],
        [length],
        [Motif(helix, "9/A103-108/9"), Contacts(((2, 20, 0.0, 8.0),))],
    ]
    jobs = [prepare(model, asked, replace(FAST, blueprint="free")) for asked in requests]
    run = Run.of(jobs[0], 0)

    def frames(rows):
        return sample_batch(run, [plan_design(jobs[i], 0, i) for i in rows], lambda *progress: None)["trans"]

    together = frames(range(6))
    for i in range(6):
        assert (together[i] - frames([i])[0]).abs().max() < 2e-3, requests[i]


def test_strings_with_contacts_are_made_twice(model):
    """And the better one kept: which of the two gives way is chance."""
    both = [Length(24), SecondaryStructure("C" + "H" * 22 + "C"), Contacts(((2, 20, 0.0, 8.0),))]
    assert candidates_of(assign(both, model), None) == 2
    assert candidates_of(assign(both, model), 1) == 1
    assert candidates_of(assign([both[0], both[2]], model), None) == 1
    assert candidates_of(assign([*both[:2], RadiusOfGyration(9.0)], model), None) == 1


def test_of_several_candidates_the_best_is_kept(model):
    asked = [Length(24), RadiusOfGyration(9.0)]
    ranked = replace(FAST, enforce={"radius_of_gyration": "rank"})
    one = next(generate(model, asked, 1, 0, replace(ranked, candidates=1)))
    best = next(generate(model, asked, 1, 0, replace(ranked, candidates=6)))
    off = [asked[1].adherence(d.protein).difference for d in (one, best)]
    assert off[1] <= off[0]
    assert one.candidate == 0
    again = next(generate(model, asked, 1, 0, replace(ranked, candidates=6, batch_size=1)))
    assert again.candidate == best.candidate


@pytest.mark.parametrize("group", ["C3", "D2"])
def test_symmetric_assemblies_are_perfect(model, group):
    asked = [Length(16), Symmetry(group)]
    (design,) = generate(model, asked, 1, 0, FAST)
    assert design.protein.length == 16 * Symmetry(group).copies
    met = {evaluator.name: evaluator.adherence(design.protein) for evaluator in evaluators(design.asked)}
    assert met["symmetry"].difference < 1e-3
    assert met["length"].satisfied  # of the protomer


def test_copies_are_docked_where_they_cannot_be_made_together(model, helix):
    """The request says why, in a line; `--enforce symmetry=assembly` makes it an error."""
    told = replace(model, config=model.config | {"about": {"lengths": [10, 60]}})
    job = prepare(told, [Length(20), Symmetry("C3")], FAST)
    assert [entry.mechanism for entry in job.assignments] == ["construction", "assembly"]
    assert job.warnings == ()
    for asked, words in (
        ([Length(15, 21), Symmetry("C3")], "3 chains of 21 residues are more than the 60 .* up to 20 a chain"),
        ([Length(20), RadiusOfGyration(8.0), Symmetry("C2")], "radius_of_gyration acts on a single chain"),
        ([Partial(helix), Symmetry("C2")], "partial acts on a single chain"),
    ):
        job = prepare(told, asked, FAST)
        assert job.assignments[-1].mechanism == "construction"
        (line,) = job.warnings
        assert re.search(f"symmetry C[23]: {words}.*: one chain is made, and its copies are docked", line)
        with pytest.raises(UsageError, match=f"enforce symmetry=assembly: {words}"):
            prepare(told, asked, replace(FAST, enforce={"symmetry": "assembly"}))
    docked = Assignment(Symmetry("C2"), 1.0, "construction", ("construction",))
    assert with_docking([docked], [20], None, enforced=False) == (
        (docked,),
        ("symmetry C2: with this model: one chain is made, and its copies are docked",),
    )
    assert with_docking([replace(docked, options=("assembly", "construction"))], [20], None, enforced=False)[1] == ()
    plan = plan_design(prepare(told, [Length(10), Symmetry("D2")], FAST), 0, 0)
    assert (plan.length, plan.positions, len(plan.operations)) == (10, 4 * 10 + 3 * 3, 4)
    docked = prepare(told, [Length(10), Symmetry("D2")], replace(FAST, enforce={"symmetry": "construction"}))
    assert plan_design(docked, 0, 0).positions == 10


def test_chains_made_together_are_not_those_of_one_chain_docked(model):
    """Each is an assembly of the group; the network saw other chains; alone and in a batch it is the same design."""
    asked = [Length(12), Symmetry("C2")]
    (together,) = generate(model, asked, 1, 0, replace(FAST, relax=True))
    (docked,) = generate(model, asked, 1, 0, replace(FAST, enforce={"symmetry": "construction"}))
    assert together.protein.chains == docked.protein.chains == ["A", "B"]
    for frame in (together.protein, together.raw):
        assert Symmetry("C2").adherence(frame).difference < 1e-3
    requests = [[Length(9)], asked]
    plans = [plan_design(prepare(model, request, FAST), 0, i) for i, request in enumerate(requests)]
    run = Run.of(plans[0].job, 0)
    both = [design.raw.backbone for _, design in make_batch(run, plans, lambda *_: None)]
    again = [plan_design(prepare(model, request, FAST), 0, i) for i, request in enumerate(requests)]
    for plan, found in zip(again, both, strict=True):
        ((_, alone),) = make_batch(run, [plan], lambda *_: None)
        assert np.abs(alone.raw.backbone - found).max() < 2e-3


@pytest.mark.parametrize("group", ["C2", "C4", "D2", "D3"])
def test_copies_touch_and_do_not_clash(group, rng):
    wanted = Symmetry(group)
    copies = assemble(ideal_helix(20), wanted, rng)
    assert Symmetry(group).adherence(
        Protein.from_backbone(copies.reshape(-1, 4, 3), chain_ids=np.repeat(list("ABCDEF")[: len(copies)], 20))
    ).difference < 1e-6  # fmt: skip
    assert LEAST_ATOM <= closest(copies[0], wanted.operations()) < 8.0


def test_a_given_structure_is_varied_by_its_noise(model, tmp_path):
    """Little noise stays near it even with an untrained network, which moves what it sees by little; in its frame."""
    path = tmp_path / "hairpin.pdb"
    write_structure(Protein.from_backbone(ideal_hairpin(24) + 30.0), path)
    near, far = (
        next(generate(model, [Partial(str(path), noise)], 1, 0, replace(FAST, blueprint="free")))
        for noise in (0.02, 1.0)
    )
    rmsd = [
        np.sqrt(np.square(d.protein.backbone[:, 1] - ideal_hairpin(24)[:, 1] - 30).sum(-1).mean()) for d in (near, far)
    ]
    assert rmsd[0] < 1.0 < rmsd[1]


def test_blueprints_follow_class_contacts_and_motif(model, helix):
    for wanted, length in (("alpha", 28), ("beta", 18)):  # the lengths of the two blueprints the prior was fitted to
        for design in generate(model, [Length(length), FoldClass(wanted)], 3, 0, FAST):
            assert FoldClass(wanted).holds(design.drawn[0].codes.replace("L", "C"))
    assert overlay("LLEEEEEELL", "CHHHHC", range(2, 8)) == "LLXHHHHXLL"
    assert Contacts(((1, 10), (1, 20))).blueprint_score("H" * 12 + "L" * 8) == 0.5
    drawn = next(generate(model, [ContactMap("L2E6L3E6", ((1, 2, "near"),))], 1, 0, FAST)).drawn
    assert drawn[0].codes == "LLEEEEEELLLEEEEEE"


def test_sequential_monte_carlo_by_name(model):
    asked = [Length(20), Custom(lambda xyz, mask: xyz[:, :, 1].square().sum((1, 2)) / 1e3, "small", 1.0)]
    smc = replace(FAST, sampler="smc", particles=3, enforce={"custom": "energy"})
    first, again = (next(generate(model, asked, 2, 0, smc)) for _ in range(2))
    assert np.array_equal(first.protein.backbone, again.protein.backbone)
    (alone,) = generate(model, asked, 2, 0, replace(smc, batch_size=1), indices=[first.index])
    assert np.abs(alone.protein.backbone - first.protein.backbone).max() < 2e-3
    with pytest.raises(UsageError, match="particles"):
        generate(model, asked, 1, 0, replace(FAST, particles=3))


def test_batch_energies_weigh_each_row_alone(rng):
    xyz = torch.randn(3, 12, 4, 3, generator=rng) * 5
    mask = torch.ones(3, 12, dtype=torch.bool)
    mask[1, 10:] = False
    shared = RadiusOfGyration(5.0)
    energy = BatchEnergy([[(shared, 1.0), (Clashes(), 2.0)], [(shared, 1.0)], []])
    values = energy(xyz, mask)
    assert values[2] == 0
    assert values[1] == pytest.approx(float(shared.energy(xyz[1:2, :10], mask[1:2, :10])), rel=1e-5)
    expected = shared.energy(xyz[:1], mask[:1]) + 2 * Clashes().energy(xyz[:1], mask[:1])
    assert values[0] == pytest.approx(float(expected), rel=1e-5)
    assert BatchEnergy([[], []]).empty
    rows = [[(shared, 1.0), (Contacts(((2, 9),)), 2.0)], [(Contacts(((2, 9),)), 1.0)], []]
    whole, local = (BatchEnergy.of_kind(rows, None, kind)(xyz, mask) for kind in (False, True))
    assert torch.allclose(whole + local, BatchEnergy(rows)(xyz, mask))
    assert [float(x) == 0 for x in whole] == [False, True, True]
