"""Likelihoods of structures: against a density in closed form, and what is said of the number."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from protgen.conditions.embedding import ConditionEmbedding
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import UsageError
from protgen.evaluation.likelihood import (
    LIKELIHOODS,
    LikelihoodSettings,
    flow_settings,
    likelihood,
    log_prob,
    open_likelihood,
)
from protgen.families.base import Family, Likelihood, LikelihoodFamily
from protgen.models.model import Model, build_model, save_model
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.types import Batch

STD = 7.0  # Å
BACKBONE = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_attention", "dim": 16, "pair_dim": 4, "blocks": 2, "heads": 2, "refresh": 1},
    "conditions": ["length", "secondary_structure"],
}


class Gaussian(Family, LikelihoodFamily):
    """CA positions are normal about their centre, orientations uniform: a density that anyone can write down."""

    def __init__(self, kind="exact", jitter=0.0):
        super().__init__()
        self.space, self.kind, self.jitter, self.asked = Backbone(), kind, jitter, []

    def loss(self, x_data, cond, rng):
        raise NotImplementedError

    def sample(self, task, sampler=None):
        raise NotImplementedError

    def log_prob(self, x_data, cond, rng):
        self.asked.append(cond)
        n = x_data.mask.sum(-1)
        nats = -x_data["trans"].square().sum((1, 2)) / (2 * STD**2)
        nats = nats - 3 * (n - 1) * math.log(STD * (2 * math.pi) ** 0.5) - n * math.log(8 * math.pi**2)
        return Likelihood(nats + self.jitter * torch.randn((), generator=rng), self.kind)


def settings(family=None, **options):
    model = Model(family or Gaussian(), ConditionEmbedding(["length"]), {"about": {"lengths": [20, 40]}})
    return LikelihoodSettings(model, "gauss", "0" * 64, **options)


def evaluator(proteins, chosen):
    rows = [{} for _ in proteins]
    return rows, likelihood(rows, proteins, chosen)


def test_against_the_density_in_closed_form():
    """-log p / l in numpy from the file's coordinates, wherever the structure lies and however it is turned."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for xyz in (ideal_helix(30), ideal_strand(25) @ turn.T + 100.0):
        (row,), _ = evaluator([Protein.from_backbone(xyz)], settings())
        ca, n = xyz[:, 1] - xyz[:, 1].mean(0), len(xyz)
        nats = (ca**2).sum() / (2 * STD**2) + 1.5 * (n - 1) * math.log(2 * math.pi * STD**2)
        nats = (nats + n * math.log(8 * math.pi**2)) / n
        assert row["nats_per_residue"] == pytest.approx(nats, rel=1e-4)
        assert row["bits_per_residue"] == pytest.approx(nats / math.log(2), rel=1e-4)
        assert row["likelihood_kind"] == "exact"


@pytest.mark.parametrize(
    ("kind", "words"), [("exact", "(exact)"), ("lower_bound", "(upper bound"), ("estimate", "(estimate)")]
)
def test_the_kind_is_in_every_definition(kind, words):
    """A lower bound of log p is an upper bound of what is printed, and is called so."""
    rows, result = evaluator([Protein.from_backbone(ideal_helix(30)), None], settings(Gaussian(kind)))
    assert rows[0]["likelihood_kind"] == result.about["kind"] == kind
    assert rows[1] == {}
    assert (result.about["n"], result.about["n_given"]) == (1, 1)
    assert all(words in quantity.definition for quantity in result.quantities)
    assert "Å^(3 (l - 1))" in result.quantities[0].definition


def test_draws_depend_on_seed_and_structure_alone():
    """Order and company change nothing; another seed, or another structure, draws anew."""
    helix, strand = (Protein.from_backbone(make(30)) for make in (ideal_helix, ideal_strand))
    noisy = settings(Gaussian(jitter=50.0))
    plain = evaluator([helix, strand], settings())[0]
    rows, rotated = evaluator([helix, strand], noisy)[0], evaluator([strand, None, helix], noisy)[0]
    assert rows[0] == rotated[2]
    assert rows[1] == rotated[0]
    drawn = [row["nats_per_residue"] - base["nats_per_residue"] for row, base in zip(rows, plain, strict=True)]
    assert abs(drawn[0] - drawn[1]) > 1e-3
    assert evaluator([helix], replace(noisy, seed=1))[0][0] != rows[0]


def test_an_interrupted_evaluation_keeps_its_likelihoods(tmp_path):
    """Of four structures the last was not reached, and the first has moved an atom since: those two are asked for."""
    helix, strand, short = (
        Protein.from_backbone(make(n)) for make, n in ((ideal_helix, 30), (ideal_strand, 25), (ideal_helix, 2))
    )
    proteins = [helix, None, strand, short, Protein.from_backbone(ideal_helix(33))]
    rows = [{"file": str(k)} for k in range(5)]

    def evaluated(these, chosen, *, resume):
        found = [{"file": row["file"]} for row in rows]
        return found, likelihood(found, these, chosen, folder=tmp_path, resume=resume)

    straight, about = evaluated(proteins, settings(Gaussian(jitter=1.0)), resume=False)
    lines = (tmp_path / LIKELIHOODS).read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 4
    (tmp_path / LIKELIHOODS).write_text("".join(lines[:4]))
    moved = helix.backbone.copy()
    moved[0, 0] += 0.01
    first = Gaussian(jitter=1.0)
    again, same = evaluated([Protein.from_backbone(moved), *proteins[1:]], settings(first), resume=True)
    assert len(first.asked) == 2
    assert again[1:] == straight[1:]
    assert again[0]["nats_per_residue"] != straight[0]["nats_per_residue"]
    assert (same.about, again[3]["likelihood_message"][:10]) == (about.about, "2 residues")
    other = Gaussian(jitter=1.0)
    evaluated(proteins, settings(other, seed=1), resume=True)
    assert len(other.asked) == 3, "another seed has other draws"
    evaluated(proteins, settings(fresh := Gaussian()), resume=False)
    assert len(fresh.asked) == 3, "without --resume all are asked for"


def test_what_the_space_cannot_take_has_a_reason_and_no_number():
    """Two chains, a CA trace, two residues, a length that y forbids; the others are evaluated all the same."""
    trace = np.full((30, 4, 3), np.nan)
    trace[:, 1] = ideal_helix(30)[:, 1]
    holed = ideal_helix(30)
    holed[11, 2] = np.nan
    proteins = [
        Protein.from_backbone(ideal_helix(30), chain_ids=np.repeat(["A", "B"], 15)),
        Protein.from_backbone(trace),
        Protein.from_backbone(holed),
        Protein.from_backbone(ideal_helix(2)),
        Protein.from_backbone(ideal_helix(30)),
        Protein.from_backbone(ideal_helix(50)),
    ]
    rows, result = evaluator(proteins, settings())
    words = ["2 chains", "30 residues lack", "1 residues lack N, CA or C (the first is 12)", "2 residues"]
    for row, text in zip(rows[:4], words, strict=True):
        assert text in row["likelihood_message"]
        assert set(row) == {"likelihood_message"}
    assert rows[4]["likelihood_message"] == ""
    assert rows[5]["likelihood_message"] == "note: 50 residues, and the model has seen 20 to 40"
    assert math.isfinite(rows[5]["nats_per_residue"])
    described = result.describe(rows)
    assert (described["n"], described["n_given"], result.about["n"]) == (2, 6, 2)
    given = evaluator(proteins, settings(given=(Length(50),)))[0]
    assert ["nats_per_residue" in row for row in given] == [False] * 5 + [True]
    infinite = evaluator(proteins[4:5], settings(Gaussian(jitter=math.inf)))[0]
    assert "nats per residue" in infinite[0]["likelihood_message"]
    assert "nats_per_residue" not in infinite[0]


def test_conditions_are_unknown_unless_told(tmp_path):
    """The model sees the null token; given a condition, it sees that condition's features."""
    save_model(build_model(BACKBONE | {"family": {"name": "flow_matching"}}), tmp_path / "flow")
    opened = open_likelihood(str(tmp_path / "flow"))
    family = Gaussian()
    seen = replace(opened, model=replace(opened.model, family=family))
    protein = Protein.from_backbone(ideal_helix(20))
    log_prob(protein, seen)
    log_prob(protein, replace(seen, given=(SecondaryStructure.parse("H20"),)))
    unknown, given = family.asked
    assert unknown.residue.abs().sum() == 0
    assert (given.residue.abs().sum(-1) > 0).all()
    with pytest.raises(UsageError, match="has not learned 'radius_of_gyration'"):
        open_likelihood(str(tmp_path / "flow"), given=[RadiusOfGyration(10.0)])


@pytest.mark.parametrize(
    ("family", "encoder", "space", "kind"),
    [
        ("autoregressive", {"name": "egnn", "dim": 16, "blocks": 1, "neighbours": 4}, "torsions", "exact"),
        ("normalizing_flow", {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2}, "torsions", "exact"),
        ("vae", {"name": "egnn", "dim": 16, "blocks": 1, "neighbours": 4}, "backbone", "lower_bound"),
    ],
)
def test_other_families(tmp_path, family, encoder, space, kind):
    """Whatever family has a likelihood can be asked, and says its kind and the volume of its space."""
    config = {"space": {"name": space}, "encoder": encoder, "family": {"name": family}, "conditions": ["length"]}
    torch.manual_seed(0)
    save_model(build_model(config), tmp_path / "model")
    opened = open_likelihood(str(tmp_path / "model"))
    protein = Protein.from_backbone(ideal_helix(14))
    (row,), result = evaluator([protein], opened)
    assert row["likelihood_message"] == ""
    assert row["likelihood_kind"] == kind
    assert result.about["volume"] == opened.model.family.space.volume
    # The family itself, asked in plain: the number is minus its log-density over the residues.
    state = opened.model.family.space.encode(
        Batch({"atoms": torch.tensor(ideal_helix(14)[None]).float()}, torch.ones(1, 14, dtype=torch.bool))
    )
    cond = opened.model.conditions.unknown(state.mask)
    with torch.no_grad():
        found = [opened.model.family.log_prob(state, cond, torch.Generator().manual_seed(k)) for k in range(8)]
    draws = [-float(one.nats[0]) / 14 for one in found]
    if kind == "exact":
        assert row["nats_per_residue"] == pytest.approx(draws[0], rel=1e-5)
    else:
        assert min(draws) - 2 * np.ptp(draws) <= row["nats_per_residue"] <= max(draws) + 2 * np.ptp(draws)


def test_families_and_their_steps(tmp_path):
    """Flow matching is followed in steps as asked for; a bound has none; a GAN has no likelihood."""
    folders = {}
    for name, family in {
        "flow": {"name": "flow_matching"},
        "bound": {"name": "diffusion"},
        "ode": {"name": "diffusion", "likelihood": "ode", "first": 0.03},
        "gan": {"name": "gan"},
    }.items():
        save_model(build_model(BACKBONE | {"family": family}), tmp_path / name)
        folders[name] = str(tmp_path / name)
    flow = open_likelihood(folders["flow"], steps=2)
    assert flow_settings(flow).steps == 2
    assert flow_settings(open_likelihood(folders["flow"])).steps == 50
    ode = flow_settings(open_likelihood(folders["ode"], steps=3))
    assert (ode.steps, ode.first) == (3, 0.03)
    with pytest.raises(UsageError, match="not found by steps"):
        open_likelihood(folders["bound"], steps=3)
    with pytest.raises(UsageError, match="gan, has no likelihood"):
        open_likelihood(folders["gan"])
    protein = Protein.from_backbone(ideal_helix(12))
    for name, kind in (("bound", "lower_bound"), ("flow", "estimate")):
        opened = open_likelihood(folders[name], steps=2 if name == "flow" else None)
        (row,), result = evaluator([protein], opened)
        assert row["likelihood_kind"] == result.about["kind"] == kind
        assert math.isfinite(row["nats_per_residue"])
