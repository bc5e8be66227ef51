"""Strand pairing: read, refused, measured, learned, drawn with its secondary structure, and reached by a network."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from protgen.cli.train import begin_from
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.language import from_document
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing, ladders_of
from protgen.data.store import Item, Store, write_store
from protgen.errors import CheckpointError, ConfigError, ConflictError, UsageError
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.generation.job import prepare
from protgen.models.blueprints import fit_blueprints
from protgen.models.model import Model, build_model, load_model, save_model
from protgen.models.pairing import draw_pairing, drawn_out, scores_of
from protgen.models.topologies import Topology, TopologyPrior, fit_topologies, fitted
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.types import Batch

pytestmark = pytest.mark.slow

FAST = SampleSettings(steps=3, guidance=1.5, device="cpu")
HAIRPIN = Topology("LLEEEEEELLLEEEEEELL", ((3, 8, 17, 12),))
SHEET = Topology("LEEEELLHHHHHHLLEEEELLEEEEL", ((2, 5, 16, 19), (16, 19, 25, 22)))


def test_text_and_fields_are_one():
    asked = StrandPairing.parse("3-8:20-15, 22-27:40-45")
    assert asked == StrandPairing(((3, 8, 20, 15), (22, 27, 40, 45)))
    assert asked == from_document({"strand_pairing": {"ladders": [[8, 3, 15, 20], [40, 45, 22, 27]]}})[0]
    assert StrandPairing.parse("only 3-8:20-15").complete
    assert not asked.complete
    assert StrandPairing(((10, 12, 3, 1),)).ladders == ((1, 3, 12, 10),)
    assert asked.pairs()[0] == (3, 20, -1)
    assert asked.pairs()[-1] == (27, 45, 1)


@pytest.mark.parametrize(
    ("ladders", "words"),
    [
        (((3, 8, 20, 16),), "one length"),
        (((3, 3, 20, 20),), "2 residues or more"),
        (((3, 8, 13, 8),), "overlap"),
        (((0, 5, 20, 15),), "count from 1"),
        (((3, 8, 20),), "no ladder"),
        (((3.0, 8, 20, 15),), "no residue number"),
        ("3-8:20-15", "no list"),
        ((), "no ladder"),
    ],
)
def test_what_is_no_pairing_is_refused(ladders, words):
    with pytest.raises(UsageError, match=words):
        StrandPairing(ladders)


def test_text_that_cannot_be_read_and_lengths_that_are_too_short_are_refused():
    with pytest.raises(UsageError, match="cannot read '3-8'"):
        StrandPairing.parse("3-8")
    with pytest.raises(ConflictError, match="residue 20"):
        StrandPairing.parse("3-8:20-15").check_length(19)


def test_a_hairpin_meets_its_own_ladder_and_no_other():
    protein = Protein.from_backbone(ideal_hairpin(24))
    (ladder,) = ladders_of(protein.backbone)
    own = StrandPairing((ladder,))
    assert own.adherence(protein).difference == 0
    first, last, partner, end = ladder
    shifted = StrandPairing(((first, last - 1, partner - 1, end),))  # one residue off in register
    assert shifted.adherence(protein).difference == 1
    longer = StrandPairing((ladder, (first, first + 1, last + 5, last + 6)))
    count = last - first + 1
    assert longer.adherence(protein).difference == pytest.approx(2 / (count + 2))
    assert own.adherence(Protein.from_backbone(ideal_helix(24))).difference == 1


def batch_of_a_hairpin(rows: int) -> Batch:
    atoms = torch.from_numpy(ideal_hairpin(24)).float().expand(rows, -1, -1, -1)
    (a, b, c, d), labels = ladders_of(ideal_hairpin(24))[0], torch.zeros(rows, 24, dtype=torch.long)
    labels[:, a - 1 : b] = labels[:, d - 1 : c] = 2
    return Batch({"atoms": atoms, "labels": labels}, torch.ones(rows, 24, dtype=torch.bool))


def test_features_of_data_are_those_of_the_request(rng):
    """Nothing, all, or the ladder as it is asked for among others; in the shares that are stated."""
    batch = batch_of_a_hairpin(2000)
    seen = StrandPairing.from_data(batch, rng)
    ladder = ladders_of(ideal_hairpin(24))
    mask = batch.mask[0]
    kinds = {
        "none": StrandPairing.unknown(batch.mask[:1])[0],
        "all": StrandPairing(ladder, complete=True).features(mask),
        "ladder": StrandPairing(ladder).features(mask),
    }
    share = {name: float((seen == one).all((1, 2, 3)).float().mean()) for name, one in kinds.items()}
    # 20 % know each of the two strands with a chance of a half: the ladder in 5 %, nothing in a further 5 %.
    assert share["all"] == pytest.approx(0.40, abs=0.04)
    assert share["none"] == pytest.approx(0.45, abs=0.04)
    assert share["ladder"] == pytest.approx(0.05, abs=0.02)
    assert torch.equal(seen, seen.transpose(1, 2))


CONFIG = {
    "space": {"name": "backbone", "hydrogen_bond_weight": 1.0},
    "encoder": {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 2, "refresh": 1, "heads": 2},
    "family": {"name": "flow_matching"},
    "conditions": ["length", "secondary_structure", "fractions", "strand_pairing"],
}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    built = build_model(CONFIG)
    built.family.eval()
    return replace(built, topologies=TopologyPrior((HAIRPIN, SHEET)))


def features_of(model: Model, batch: Batch, pair: torch.Tensor | None) -> torch.Tensor:
    cond = replace(model.conditions.unknown(batch.mask), pair=pair)
    state = model.family.space.encode(batch)
    with torch.no_grad():
        return model.family.encoder(state, torch.full((len(batch.mask),), 0.3), cond).scalars


def test_a_fresh_network_ignores_pairs_and_a_trained_one_hears_them(model, rng):
    """So training can begin from a model that never saw pairs, and unknown pairs change nothing ever after."""
    batch = batch_of_a_hairpin(2)
    asked = StrandPairing(ladders_of(ideal_hairpin(24)), complete=True).features(batch.mask[0]).expand(2, -1, -1, -1)
    unknown = StrandPairing.unknown(batch.mask)
    before = features_of(model, batch, None)
    assert torch.equal(features_of(model, batch, asked), before)
    for name, weight in model.family.named_parameters():
        if name.endswith("asked.weight"):
            torch.nn.init.normal_(weight, generator=rng)
    assert torch.equal(features_of(model, batch, unknown), before)
    assert not torch.allclose(features_of(model, batch, asked), before, atol=1e-3)


def test_the_loss_reaches_the_weights_of_pairs(model, rng):
    batch = batch_of_a_hairpin(8)
    cond = model.conditions.from_data(batch, rng)
    for block in model.family.encoder.blocks:  # which begin as no move, through which no gradient comes
        torch.nn.init.normal_(block.update.read.weight, std=0.1, generator=rng)
    losses = model.family.loss(model.family.space.encode(batch), cond, rng)
    assert float(losses.terms["hydrogen_bonds"]) > 0
    losses.total.backward()
    found = [p.grad for name, p in model.family.named_parameters() if name.endswith("asked.weight")]
    assert len(found) == 2
    assert all(g is not None and g.abs().max() > 0 for g in found)


def test_training_begins_from_a_model_without_pairs(model, tmp_path):
    torch.manual_seed(1)
    old = build_model(CONFIG | {"conditions": CONFIG["conditions"][:3]})
    save_model(old, tmp_path / "old", dtype=torch.float32)
    begin_from(str(tmp_path / "old"), model)
    own, given = model.family.state_dict(), old.family.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in given)
    assert set(own) - set(given) == {"encoder.pair.asked.weight", "encoder.pair_refreshed.asked.weight"}


def test_an_encoder_that_reads_no_pairs_is_refused():
    with pytest.raises(ConfigError, match=r"strand_pairing.*frame_attention"):
        build_model(CONFIG | {"encoder": {"name": "egnn", "dim": 16}})


def test_topologies_are_drawn_with_their_pairing(model):
    design = next(generate(model, [Length(24)], 1, 0, FAST))
    structure, pairing = design.drawn
    assert isinstance(structure, SecondaryStructure)
    assert isinstance(pairing, StrandPairing)
    assert structure.length == 24
    assert pairing.complete
    strands = {n for i, j, _ in pairing.pairs() for n in (i, j)}
    assert strands
    assert all(structure.codes[n - 1] == "E" for n in strands)
    assert next(generate(model, [Length(24)], 1, 0, replace(FAST, blueprint="free"))).drawn == ()


def test_secondary_structure_is_drawn_around_an_asked_pairing(model):
    asked = StrandPairing.parse("3-8:17-12")
    laid = replace(model, blueprints=fit_blueprints(["C" + "H" * 12 + "CCC", "CC" + "E" * 6 + "CC" + "E" * 6 + "C"]))
    for design in generate(laid, [asked, Length(20, 24)], 4, 0, FAST):
        (drawn,) = design.drawn
        assert all(drawn.codes[n - 1] == "E" for n in asked.residues())
    with pytest.raises(ConflictError, match="pairs residue 3, where secondary structure has a helix"):
        next(generate(model, [asked, SecondaryStructure("H" * 20)], 1, 0, FAST))
    with pytest.raises(ConflictError, match="names residue 13, but secondary structure has 12"):
        next(generate(model, [asked, SecondaryStructure("L" * 12)], 1, 0, FAST))


def test_pairs_of_a_contact_map_are_told_to_the_network(model):
    """Middle against middle, as ladders, where they are of strands alone; else, or where it is enforced, by energy."""
    asked = ContactMap.parse("L2E6L3E5L4H6L2E5L2; 1-2:antiparallel, 1-4:parallel")
    assert asked.ladders() == ((3, 7, 16, 12), (3, 7, 29, 33))
    model = replace(model, blueprints=fit_blueprints(["C" + "H" * 12 + "CCC"]))
    (design,) = generate(model, [asked], 1, 0, SampleSettings(steps=2))
    structure, pairing = design.drawn
    assert structure == SecondaryStructure(asked.blueprint)
    assert pairing == StrandPairing(asked.ladders())
    assert [entry.mechanism for entry in prepare(model, [asked]).assignments] == ["blueprint"]
    by_energy = SampleSettings(steps=2, enforce={"contact_map": "energy"})
    assert prepare(model, [asked], by_energy).assignments[0].options == ("blueprint", "energy", "rank")
    near = ContactMap.parse("L2E6L3E5L4H6L2E5L2; 1-2:antiparallel, 2-3:near")
    assert near.ladders() == ()
    assert prepare(model, [near]).assignments[0].mechanism == "energy"
    (design,) = generate(model, [near], 1, 0, SampleSettings(steps=2))
    assert design.drawn == (SecondaryStructure(near.blueprint),)


def test_pairing_of_an_asked_string_is_that_of_the_likest_native(model, rng):
    """Hairpins keep their register at the turn, other ladders that of the middles of their strands."""
    prior = TopologyPrior((HAIRPIN, SHEET))
    own = draw_pairing(prior, SHEET.codes, rng)
    assert own is not None
    assert own.ladders == SHEET.ladders
    longer = draw_pairing(prior, "LLLEEEEELLLLEEEELL", rng)  # strands at 4-8 and 13-16, in the native at 3-8 and 12-17
    assert longer is not None
    assert longer.ladders == ((5, 8, 16, 13),)
    moved = draw_pairing(prior, "LLEEEEEELLHHHHHHLLLEEEELLEEEEL", rng)  # the first strand is two residues longer
    assert moved is not None
    assert moved.ladders == ((4, 7, 20, 23), (20, 23, 29, 26))
    assert draw_pairing(prior, "LLHHHHHHLL", rng) is None
    assert draw_pairing(prior, "LEEEELLLHHHHHHLL", rng) is None
    design = next(generate(model, [SecondaryStructure(HAIRPIN.codes)], 1, 0, FAST))
    assert [c.ladders for c in design.drawn if isinstance(c, StrandPairing)] == [HAIRPIN.ladders]


@pytest.mark.parametrize(
    ("ladders", "drawn"),
    [
        ([(4, 5, 13, 12)], ((2, 6, 15, 11),)),  # residue 7 would pair with 10, which is no strand
        ([(4, 5, 13, 14)], ((2, 7, 11, 16),)),
        ([(2, 3, 16, 15), (5, 6, 12, 11)], ((2, 4, 16, 14), (5, 6, 12, 11))),  # 4 and 13 have a partner by then
        ([(3, 5, 15, 13), (11, 12, 21, 22)], ((2, 7, 16, 11), (11, 14, 21, 24))),  # both sides of the second strand
        (
            [(2, 6, 15, 11), (11, 14, 21, 24), (14, 15, 31, 30)],
            ((2, 6, 15, 11), (11, 14, 21, 24), (14, 16, 31, 29)),  # 13 has two partners; a ladder that is given stays
        ),
    ],
)
def test_ladders_go_on_to_the_ends_of_strands(ladders, drawn):
    """Strands at 2-7, 11-16, 21-24 and 28-33; no residue gains a second partner in a strand, or a third of all."""
    assert drawn_out(ladders, [(1, 7), (10, 16), (20, 24), (27, 33)]) == drawn


def test_pairings_that_leave_few_residues_alone_are_drawn(rng):
    """Of ten strand residues six, eight or none have a partner; a vote for a pair of strands counts for each strand."""
    strands = [(1, 6), (9, 14)]
    laid = [((2, 4, 14, 12),), ((2, 5, 14, 11),), (), ((2, 5, 10, 13),)]
    found = scores_of(laid, np.array([1.0, 0.5, 0.25, 0.25]), strands)
    antiparallel, parallel = 1.5 / 2, 0.25 / 2  # shares of the votes
    vote = [0.3 * (2 * share - 1) / 2 for share in (antiparallel, antiparallel, parallel)]
    np.testing.assert_allclose(found, [0.6 + vote[0], 0.8 + vote[1], 0.0, 0.8 + vote[2]], atol=1e-12)
    codes = "LEEEEELLLEEEEEL"
    prior = TopologyPrior(tuple(Topology(codes, ladders) for ladders in [*laid[:2], *laid[1:2] * 2, laid[3]]))
    assert {draw_pairing(prior, codes, rng).ladders for _ in range(20)} == {((2, 6, 14, 10),)}


def test_topologies_follow_fractions_and_class(model):
    quick = replace(FAST, steps=1, relax=False, candidates=1)  # what is drawn is to be right, not the best of many
    for asked, wanted in (
        (Fractions(helix=0.0), HAIRPIN),
        (Fractions(helix=0.25), SHEET),
        (FoldClass("beta"), HAIRPIN),
    ):
        for design in generate(model, [Length(22), asked], 3, 0, quick):
            assert ("H" in design.drawn[0].codes) == ("H" in wanted.codes)


@pytest.mark.parametrize("length", [14, 20, 26, 33, 60])
@pytest.mark.parametrize("topology", [HAIRPIN, SHEET])
def test_fitting_keeps_elements_and_register(topology, length, rng):
    for _ in range(20):
        found = fitted(topology, length, rng)
        assert len(found.codes) == length
        if length <= 20:
            continue  # too short for all of it: ends go
        runs = [code for code, _ in itertools.groupby(found.codes) if code != "L"]
        assert runs == [code for code, _ in itertools.groupby(topology.codes) if code != "L"]
        assert len(found.ladders) == len(topology.ladders)
        for ladder, before in zip(found.ladders, topology.ladders, strict=True):
            assert ladder[1] - ladder[0] == before[1] - before[0]
            assert (ladder[3] > ladder[2]) == (before[3] > before[2])
        StrandPairing(found.ladders, complete=True).check_length(length)


def test_topologies_survive_the_disk_and_damage_is_told(model, tmp_path):
    save_model(model, tmp_path)
    assert load_model(tmp_path).topologies == model.topologies
    (tmp_path / "checksums.json").unlink()
    (tmp_path / "topologies.json").write_text(json.dumps({"items": ["L2E6L3E6 3-8:17"]}))
    with pytest.raises(CheckpointError, match=r"topologies\.json"):
        load_model(tmp_path)


def test_topologies_of_a_store_are_compact_paired_and_one_a_cluster(tmp_path):
    """A hairpin of 16 residues is as compact as natives; one of 24, and a helix of as many, are not."""

    def item(name: str, atoms: np.ndarray, codes: str, cluster: str) -> Item:
        labels = np.array(["CHE".index(code) for code in codes], dtype=np.uint8)
        return Item(name, atoms.astype(np.float32), labels, np.arange(len(atoms)), "train", cluster)

    (a, b, c, d) = ladders_of(ideal_hairpin(16))[0]
    codes = "".join("E" if a <= n <= b or d <= n <= c else "C" for n in range(1, 17))
    items = [item(name, ideal_hairpin(16), codes, "1") for name in "xy"]
    items += [item("long", ideal_hairpin(24), "C" * 24, "2"), item("helix", ideal_helix(24), "H" * 24, "3")]
    write_store(tmp_path, items, [], {})
    found = fit_topologies(Store(tmp_path)).items
    assert found == (Topology(codes.replace("C", "L"), ((a, b, c, d),)),)
