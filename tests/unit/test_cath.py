"""CATH codes: read, kept in a store, learned level by level, guided at each, drawn from members, and measured."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.conditions import cath
from protgen.conditions.base import Conditions
from protgen.conditions.cath import Cath, Folds
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.language import from_document
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.data.build import BuildOptions, build
from protgen.data.fields import Field
from protgen.data.folds import encode_folds, name_folds
from protgen.data.gathering import Gathered, Row
from protgen.data.labels import LabelColumn
from protgen.data.relatives import Chain
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import CheckpointError, ConfigError, ConflictError, DataError, UsageError
from protgen.generation.design import SampleSettings
from protgen.generation.drawing import draw_topology
from protgen.generation.job import prepare
from protgen.generation.plan import plan_design
from protgen.generation.planner import GuidancePart, assign, guidance_weights, idle_weights
from protgen.generation.sampling import conditioning_of
from protgen.metrics.fold import class_names
from protgen.models.blueprints import fit_blueprints
from protgen.models.model import Model, build_model, guide_of, load_model, save_model, with_guide
from protgen.models.topologies import Topology, TopologyPrior
from protgen.models.widening import widened, with_conditions
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import Batch, Conditioning

VALUES = ("1", "3", "3.30", "3.40", "3.30.70", "3.40.50")
CODED = {"name": "cath", "field": "cath", "values": list(VALUES)}
CONFIG = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_attention", "dim": 16, "pair_dim": 4, "blocks": 1, "refresh": 1, "heads": 2},
    "family": {"name": "flow_matching"},
    "conditions": ["length", "secondary_structure", "fractions", "strand_pairing", CODED],
}
HAIRPIN = "L2E6L3E6L2 3-8:17-12"
MEMBERS = [("2.60.40", HAIRPIN), ("3.40.50", "L2E4L2H8L2E4L3"), ("3.40.970", "L2E4L2H9L2E4L3")]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("9.1", "class \\(1 to 4\\)"),
        ("3.4", "write 3.40 \\(in YAML with quotes"),
        ("3.40.50.720", "its topology, 3.40.50"),
        ("3.40.", "as in 3, 3.40 or 3.40.50"),
        ("", "class"),
    ],
)
def test_what_is_no_code_is_refused_with_what_to_write(code, words):
    with pytest.raises(UsageError, match=words):
        Cath.parse(code)


def test_a_code_that_yaml_reads_as_a_number_is_told():
    """3.40 without quotes is 3.4 in YAML."""
    with pytest.raises(UsageError, match=r"'3\.40'"):
        from_document({"cath": 3.4})
    asked = from_document({"cath": {"code": "3.40", "level_weights": [1, 2.5], "weight": 2}})
    assert asked == Conditions((Cath("3.40", (1, 2.5)),), (2.0,))
    with pytest.raises(UsageError, match="1 level weights; give 2"):
        Cath("3.40", (1.0,))
    with pytest.raises(UsageError, match="-1"):
        Cath("3", (-1.0,))


def test_a_fold_class_of_other_secondary_structure_conflicts():
    with pytest.raises(ConflictError, match=r"cath 2\.60 conflicts with fold_class alpha"):
        prepare(build_model(CONFIG), [Cath("2.60"), FoldClass("alpha"), Length(60)])
    assert Cath("2.60").conflicts_with(FoldClass("beta")) is None
    assert Cath("3").conflicts_with(FoldClass("alpha")) is None


def test_codes_of_eight_training_items_are_categories_and_rarer_ones_fall_to_the_level_above():
    codes = ["3.40.50"] * 7 + ["3.40.970"] + ["1.10.8"] * 8 + ["3.30.70"] * 9 + [""]
    splits = ["train"] * 16 + ["train"] * 7 + ["validation"] * 2 + ["train"]
    field, values = encode_folds(codes, splits)
    assert field.values == ("1", "3", "1.10", "3.40", "1.10.8")  # 3.30 has seven of the training split
    assert (field.name, field.shape) == ("cath", (3,))
    assert values[0].tolist() == [1, 3, -1] == values[7].tolist()
    assert values[8].tolist() == [0, 2, 4]
    assert values[16].tolist() == [1, -1, -1]
    assert values[25].tolist() == [-1, -1, -1]
    with pytest.raises(DataError, match=r"7 training items .* 8 are needed"):
        encode_folds(["3.40.50"] * 7, ["train"] * 7)


def test_crops_and_chains_of_several_folds_have_no_code():
    """Of one chain the crop, and the whole chain of another; a third has two topologies."""
    rows = [Row(0, 0, 0, 0, 0, 40, "a:1-40", {}), Row(1, 1, 0, 0, 0, 40, "b", {}), Row(2, 2, 0, 0, 0, 40, "c", {})]
    chains = [Chain(name, np.zeros((40, 3), np.float32), b"") for name in "abc"]
    known = [("3.40.50",), (), ()]
    gathered = Gathered(rows=rows, chains=chains, sources=[0, 1, 2], names=["A"] * 3, topologies=known)
    facts = [{}, {"cath": "3.30.70.10"}, {"cath": "1.10.8.10 3.40.50.20"}]
    sources = [SimpleNamespace(facts=own, id=name) for own, name in zip(facts, "abc", strict=True)]
    assert name_folds(gathered, sources, None) == ["", "3.30.70", ""]  # type: ignore[arg-type]
    assert [row.facts for row in rows] == [{}, {"cath": "3.30.70"}, {}]


def test_a_store_keeps_topologies_of_the_index(tmp_path):
    """Eight helices with a code and one without, from the column to the batch and the entries of the manifest."""
    lines = ["file,cath"]
    for n in range(30, 39):
        write_structure(Protein.from_backbone(ideal_helix(n)), tmp_path / f"h{n}.pdb")
        lines.append(f"h{n}.pdb,{'' if n == 30 else '1.20.5.170'}")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    loose = Filters(min_length=20, max_coil=1.0, rg_percentile=100, validation_fraction=0.0)
    build(tmp_path, tmp_path / "store", loose, BuildOptions(keep_topologies=True))
    store = Store(tmp_path / "store")
    assert store.fields["cath"].values == ("1", "1.20", "1.20.5")
    found = {
        item.id: (item.chain["cath"].tolist(), item.facts.get("cath")) for item in map(store.__getitem__, range(9))
    }
    assert found == {f"h{n}": ([0, 1, 2], "1.20.5") if n > 30 else ([-1, -1, -1], None) for n in range(30, 39)}
    with pytest.raises(UsageError, match="two labels are named cath"):
        build(
            tmp_path, tmp_path / "store", loose, BuildOptions(keep_topologies=True), columns=[LabelColumn.parse("cath")]
        )


def test_settings_of_a_model_are_the_categories_of_the_store():
    field = Field("cath", "chain", "int64", (3,), values=VALUES)
    assert Cath.settings_of(field) == CODED
    with pytest.raises(ConfigError, match="--topologies"):
        Cath.settings_of(Field("cath", "chain", "int64", values=VALUES))
    with pytest.raises(ConfigError, match="no codes"):
        build_model(CONFIG | {"conditions": ["length", "cath"]})


def test_levels_are_learned_as_they_are_asked_for_and_left_out_one_after_another(rng):
    """Without dropout an example has the features of its code; each level is left out in a quarter of what is left."""
    folds = Folds("cath", VALUES)
    codes = torch.tensor([[1, 3, 5], [1, 2, -1], [0, -1, -1], [-1, -1, -1]])
    mask = torch.ones(4, 9, dtype=torch.bool)
    seen = folds.from_data(Batch({"cath": codes}, mask), rng, 0.0)
    asked = [folds.of(Cath(code), mask[0]) for code in ("3.40.50", "3.30.90", "1")]
    assert torch.equal(seen, torch.stack([*asked, torch.zeros(6)]))
    assert seen[0].tolist() == [0, 1, 0, 1, 0, 1]
    n = 4000
    drawn = folds.from_data(Batch({"cath": codes[:1].expand(n, -1)}, torch.ones(n, 9, dtype=torch.bool)), rng)
    shares = drawn.mean(0)
    for column, kept in ((1, 0.75), (3, 0.75**2), (5, 0.75**3)):
        assert float(shares[column]) == pytest.approx(kept, abs=4 * (kept * (1 - kept) / n) ** 0.5)
    assert bool((drawn[:, 5] <= drawn[:, 3]).all() and (drawn[:, 3] <= drawn[:, 1]).all())
    with pytest.raises(ConfigError, match="code 6 of 6"):
        folds.from_data(Batch({"cath": codes + 1}, mask), rng)
    with pytest.raises(UsageError, match="it has 1, 3"):
        folds.of(Cath("2.60"), mask[0])


def test_guidance_has_a_weight_at_each_level():
    """Predictions 0, 1, 3, 7 with nothing, class, architecture and topology known, w = 3, weights 0.5, 2 and 1:
    7 + 0.5 * 2 * 1 + 2 * 2 * 2 + 1 * 2 * 4 = 24.
    """
    model = build_model(CONFIG)
    asked = Conditions((Cath("3.40.50", (0.5, 2.0, 1.0)), Length(40)))
    parts = guidance_weights(assign(asked, model), 3.0)
    assert set(parts) == {
        GuidancePart(None, 2.0),
        GuidancePart(("cath",), 4.0, (Cath("3"),)),
        GuidancePart(("cath",), -1.0, (Cath("3.40"),)),
    }
    predicted = {"3": 1.0, "3.40": 3.0}
    free = [(part.weight, predicted[part.instead[0].code] if part.instead else 0.0) for part in parts]  # type: ignore
    assert 7.0 + sum((w - 1) * (7.0 - x) for w, x in free) == 24.0
    even = guidance_weights(assign(Conditions((Cath("3.40.50", (2.0, 2.0, 2.0)),)), model), 3.0)
    assert even == (GuidancePart(None, 5.0),)
    assert idle_weights(assign(asked, model), 1.0) == (
        "cath: its level weights act through guidance, which is 1; add --guidance 2",
    )
    ranked = assign(asked, model, {"cath": "rank"})
    assert idle_weights(ranked, 3.0) == ("cath: its level weights act on what is learned; here it is met by rank",)


def test_the_network_is_guided_away_from_less_of_the_code(model):
    """Of two parts one leaves out all that is known and the other the architecture and topology alone."""
    job = prepare(model, [Cath("3.40.50", (1.0, 2.0, 2.0)), Length(25)], SampleSettings(device="cpu", guidance=3.0))
    plan, mask = plan_design(job, 0, 0), torch.ones(1, 25, dtype=torch.bool)
    cond, guidance = conditioning_of(SimpleNamespace(conditions=model.conditions, settings=job.settings), [plan], mask)  # type: ignore[arg-type]
    assert guidance is not None
    of_fold = slice(cond.globals.shape[1] - len(VALUES), None)
    assert cond.globals[0, of_fold].tolist() == [0, 1, 0, 1, 0, 1]
    found = [(w, free.globals[0, of_fold].tolist(), bool(free.residue.any())) for free, w in guidance.parts]
    assert found == [(3.0, [0] * 6, False), (3.0, [0, 1, 0, 0, 0, 0], True)]


@pytest.fixture
def model() -> Model:
    """A model with three natives whose fold is known, one of which is no item of its own."""
    torch.manual_seed(0)
    built = build_model(CONFIG)
    built.family.eval()
    members = tuple(Topology.from_text(text, fold) for fold, text in MEMBERS)
    prior = TopologyPrior((Topology.from_text(HAIRPIN),), members)
    return replace(built, topologies=prior, blueprints=fit_blueprints(["LLEEEEEELLLEEEEEELL"]))


def codes_for(asked, prior: TopologyPrior, length: int, rng: torch.Generator) -> str:
    structure, *_ = draw_topology(asked, prior, length, rng)
    assert isinstance(structure, SecondaryStructure)
    return structure.codes


def test_topologies_of_a_fold_are_its_members(model, rng):
    """Each member comes as often; nobody else does; without a fold they are never drawn."""
    prior = model.topologies
    assert prior.folds == {"2", "2.60", "2.60.40", "3", "3.40", "3.40.50", "3.40.970"}
    drawn = [codes_for([Cath("3.40")], prior, 26, rng).count("H") for _ in range(60)]
    assert set(drawn) == {8, 9}
    assert drawn.count(8) == pytest.approx(30, abs=16)
    assert codes_for([Cath("3.40.50")], prior, 25, rng) == "LLEEEELLHHHHHHHHLLEEEELLL"
    assert {codes_for([], prior, 19, rng) for _ in range(20)} == {"LLEEEEEELLLEEEEEELL"}
    assert prior.of_fold("3.40").reach(25) == 6
    assert prior.of_fold("3.40").reach(60) == 35


def test_members_survive_the_disk_and_damage_is_told(model, tmp_path):
    save_model(model, tmp_path)
    assert load_model(tmp_path).topologies == model.topologies
    (tmp_path / "checksums.json").unlink()
    path = tmp_path / "topologies.json"
    plain = json.loads(path.read_text())
    assert plain == {"items": [HAIRPIN], "members": {fold: [text] for fold, text in MEMBERS}}
    for damage in ({"3.4": [HAIRPIN]}, {"3": [HAIRPIN, 7]}, {"3": 7}, 7):
        path.write_text(json.dumps(plain | {"members": damage}))
        with pytest.raises(CheckpointError, match=r"topologies\.json"):
            load_model(tmp_path)


def test_a_request_without_a_length_has_that_of_the_members(model):
    """The tenth to ninetieth percentile of 25 and 26 residues; few natives of another length are told."""
    job = prepare(model, Cath("3.40"), SampleSettings(device="cpu"))
    assert (job.lengths, job.conditions[-1]) == ([25, 26], Length(25, 26))
    assert job.assignments[0].options == ("learned", "blueprint", "rank")
    longer = prepare(model, [Cath("3.40"), Length(60)], SampleSettings(device="cpu"))
    assert "few of its 2 natives have about 60 residues; those up to 35 residues longer" in longer.warnings[-1]
    rare = prepare(model, Cath("3.40.970"), SampleSettings(device="cpu"))
    assert "3.40.970: too rare to be learned; the network is told 3.40" in rare.warnings[-1]
    free = prepare(model, [Cath("3.40"), Length(25)], SampleSettings(device="cpu", blueprint="free"))
    assert free.assignments[0].options == ("learned", "rank")


@pytest.mark.parametrize(
    ("code", "words"), [("3.10.20", "the nearest that it has is 3"), ("4.10", "it has 1, 2, 3"), ("3.30.71", "is 3.30")]
)
def test_a_fold_without_natives_is_refused_with_the_nearest(model, code, words):
    with pytest.raises(UsageError, match=f"cath {code}: the model has no natives of it; .*{words}$"):
        prepare(model, [Cath(code), Length(40)])
    with pytest.raises(UsageError, match=f"cath {code}: the model has no natives of it"):
        prepare(model, Cath(code))


def test_the_released_model_draws_members_of_a_fold():
    """Ten natives of 3.40.50 come with it; its network is not told the code."""
    job = prepare(None, Cath("3.40.50"), SampleSettings(device="cpu"))
    assert (job.name, job.assignments[0].options) == ("flow-pairing", ("blueprint", "rank"))
    assert job.topologies is not None
    sizes = [len(member.codes) for member in job.topologies.of_fold("3.40.50").items]
    assert len(sizes) == 10
    assert (job.lengths[0], job.lengths[-1]) == (89, 122)
    plan = plan_design(job, 0, 0)
    assert [type(condition) for condition in plan.drawn] == [SecondaryStructure, StrandPairing]
    with pytest.raises(UsageError, match=r"cath 3\.40\.970: .* nearest that it has is 3\.40$"):
        prepare(None, [Cath("3.40.970"), Length(80)], SampleSettings(device="cpu"))


def test_long_chains_of_a_fold_are_drawn_of_members_too():
    """Of 3.40.50, 51 of the natives that the model of long chains was trained on."""
    job = prepare(None, [Cath("3.40.50"), Length(200)], SampleSettings(device="cpu"))
    assert (job.name, job.assignments[0].options) == ("flow-base", ("blueprint", "rank"))
    assert job.topologies is not None
    assert len(job.topologies.of_fold("3.40.50").items) == 51
    assert sum(condition.name == "strand_pairing" for condition in plan_design(job, 0, 0).drawn) == 1


def test_adherence_is_the_most_probable_class_of_the_level(monkeypatch):
    """0.3 for 3.40.50, 0.25 for the rest of 3.40, 0.35 for 3.30.70 and 0.1 for 1.10.10."""
    names = class_names("t")
    row = np.zeros(len(names))
    for name, p in (("3.40.50", 0.3), ("3.40.*", 0.25), ("3.30.70", 0.35), ("1.10.10", 0.1)):
        row[names.index(name)] = p
    monkeypatch.setattr(cath, "read_folds", lambda _: SimpleNamespace(probabilities=row[None]))
    expected = {"3.40.50": 0.05, "3.40.970": 0.1, "3.40": 0.0, "3.30": 0.2, "3": 0.0, "1": 0.8, "3.30.70": 0.0}
    for code, off in expected.items():
        met = Cath(code).adherence(None)
        assert met.difference == pytest.approx(off, abs=1e-9)
        assert met.satisfied == (off == 0)
    assert Cath("3.40.50").adherence(None).got == "3.30.70 (0.35), 3.40.50 (0.30)"
    assert Cath("3.40").adherence(None).got == "3.40 (0.55)"
    assert Cath("3.40.970").cautions([]) == [
        "cath 3.40.970: the fold network knows it as 3.40.*, with other rare ones; adherence is to these"
    ]
    assert Cath("3.40.50").cautions([]) == []


def test_the_network_reads_a_structure():
    """A single helix is of class 1; seven residues have no fold."""
    met = Cath("1").adherence(Protein.from_backbone(ideal_helix(40)))
    assert met.satisfied
    assert Cath("2").adherence(Protein.from_backbone(ideal_helix(40))).difference > 0.5
    with pytest.raises(UsageError, match="fewer than 8 residues"):
        Cath("1").adherence(Protein.from_backbone(ideal_hairpin(8)[:7]))


@pytest.mark.parametrize("name", ["egnn", "frame_attention", "frame_transformer", "transformer"])
def test_an_encoder_does_what_it_did_before_a_condition_is_added(name, rng):
    """Between two others, so that columns move: the same features for any value of the new one, until it is trained."""
    keywords = registry.find("encoders", name).example()
    config = CONFIG | {"encoder": {"name": name} | keywords}
    torch.manual_seed(0)
    old = build_model(config | {"conditions": ["length", "secondary_structure", "fractions"]})
    for parameter in old.family.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1, generator=rng)
    new = with_conditions(old, ["length", CODED, "secondary_structure", "fold_class", "fractions"])
    mask = torch.ones(2, 12, dtype=torch.bool)
    state, t = Backbone().noise(mask, torch.randn(2, 12, 7, generator=rng)), torch.tensor([0.3, 0.7])
    width = new.conditions.global_dim
    whole, residue = torch.randn(2, width, generator=rng), torch.randn(2, 12, new.conditions.residue_dim, generator=rng)
    kept = [0, *range(width - (old.conditions.global_dim - 1), width)]
    old.family.eval()
    with torch.no_grad():
        before = old.family.encoder(state, t, Conditioning(residue, whole[:, kept])).scalars
        after = new.family.encoder(state, t, Conditioning(residue, whole)).scalars
    assert float((before - after).abs().max()) < 1e-4 * float(before.abs().max())


def test_a_family_that_reads_both_kinds_side_by_side_keeps_them_apart():
    """`plan.read` of an autoregressive family: residues, then the whole, then places."""
    config = {"space": {"name": "torsions"}, "encoder": {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2},
              "family": {"name": "autoregressive", "components": 2, "width": 8, "plan_dim": 4}}  # fmt: skip
    old = build_model(config | {"conditions": ["length", "secondary_structure"]})
    new = build_model(config | {"conditions": [CODED, "length", "secondary_structure"]})
    own = old.family.state_dict()["plan.read.weight"]
    found = widened(old.family.state_dict(), old.conditions, new)["plan.read.weight"]
    residue = old.conditions.residue_dim
    assert torch.equal(found[:, :residue], own[:, :residue])
    assert not found[:, residue : residue + len(VALUES)].any()
    assert torch.equal(found[:, residue + len(VALUES) :], own[:, residue:])


def test_a_guide_that_has_not_learned_the_fold_goes_with_a_model_that_has(model):
    old = ["length", "secondary_structure", "fractions", "strand_pairing"]
    first = build_model(CONFIG | {"conditions": old})
    guided = with_guide(first, build_model(CONFIG | {"conditions": old}))
    weak = with_conditions(guide_of(guided), CONFIG["conditions"])
    assert with_guide(model, weak).guide is weak.family
    with pytest.raises(CheckpointError, match="no guide"):
        guide_of(model)
    with pytest.raises(CheckpointError, match="shape"):
        with_conditions(model, old)
