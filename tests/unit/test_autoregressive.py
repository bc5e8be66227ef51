"""Autoregressive models: exact likelihoods, known targets, guidance and candidates, and proteins residue by residue."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Generator, nn

from protgen import registry
from protgen.errors import ConfigError, UsageError
from protgen.families.autoregressive import Autoregressive, AutoregressiveSettings
from protgen.samplers.base import Guidance, SamplingTask
from protgen.samplers.euler import Euler
from protgen.spaces.backbone import Backbone
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Admissible, Promising
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.spaces.torsions import Torsions
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.types import Batch, Conditioning, State
from tests.causal_encoder import Past
from tests.toy_families import conditioning, train

pytestmark = pytest.mark.slow


class Ring(Space):
    """An angle and a number at each position, without symmetries."""

    normals_per_position = 2

    def __init__(self):
        super().__init__()
        self.manifolds = {"angle": Torus(1), "x": Euclidean(1)}

    def encode(self, batch):
        return State({"angle": batch["angle"], "x": batch["x"]}, batch.mask)

    def decode(self, state):
        return Batch(state.fields, state.mask)

    def noise(self, mask, normals):
        return State({"angle": normals[..., :1], "x": normals[..., 1:]}, mask)

    def scale(self, mask):
        one = torch.ones(len(mask))
        return {"angle": one, "x": one}

    def project(self, state):
        return state

    def head(self, scalar_dim, vector_dim):
        return nn.Identity()


def examples(count: int, rng: Generator) -> tuple[State, Conditioning]:
    """Two positions: angle_1 ~ vM(y, 4), x_1 ~ N(0, 1); then angle_1 + vM(0, 25), x_1 sin(angle_1) + N(0, 0.3).

    y is known in three of four.
    """
    y = (torch.randint(0, 2, (count, 1), generator=rng).float() * 2 - 1) * 0.8
    known = (torch.rand(count, 1, generator=rng) < 0.75).float()
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (), generator=rng)))
        a1 = y + torch.distributions.VonMises(0.0, 4.0).sample((count, 1)).float()
        a2 = a1 + torch.distributions.VonMises(0.0, 25.0).sample((count, 1)).float()
    x1 = torch.randn(count, 1, generator=rng)
    x2 = x1 * a1.sin() + 0.3 * torch.randn(count, 1, generator=rng)
    angle = (torch.stack([a1, a2], 1) + math.pi).remainder(2 * math.pi) - math.pi
    mask = torch.ones(count, 2, dtype=torch.bool)
    cond = conditioning(y, known)
    return State({"angle": angle, "x": torch.stack([x1, x2], 1)}, mask), replace(cond, residue=torch.zeros(count, 2, 0))


def true_entropy() -> float:
    """Nats of the target given y: two von Mises densities and two normal ones."""
    nats = 0.5 * math.log(2 * math.pi * math.e) * 2 + math.log(0.3)
    for kappa in (4.0, 25.0):
        k = torch.tensor(kappa, dtype=torch.float64)
        log_i0 = torch.special.i0e(k).log() + k
        nats += float(math.log(2 * math.pi) + log_i0 - k * torch.special.i1e(k) / torch.special.i0e(k))
    return nats


def task(count: int, y: float, seed: int = 0, length: int = 2, **keywords) -> SamplingTask:
    mask = torch.ones(count, length, dtype=torch.bool)
    cond = replace(conditioning(torch.full((count, 1), y)), residue=torch.zeros(count, length, 0))
    generators = [Generator().manual_seed(seed * 100_000 + i) for i in range(count)]
    return SamplingTask(mask, cond, generators, **keywords)


@pytest.fixture(scope="module", params=[{"components": 6}, {"bins": 24}], ids=["mixture", "bins"])
def trained(request):
    torch.manual_seed(0)
    settings = AutoregressiveSettings(width=48, window=1, plan_dim=8, candidates=4, **request.param)
    family = Autoregressive(Ring(), Past({"angle": 1, "x": 1}), global_dim=2, settings=settings)
    train(family, examples, steps=500)
    return family.eval()


def test_learns_the_joint_density(trained, rng):
    """KL from the target, by 4,000 fresh examples, below 0.08 nats (0.25 for histograms of 15 degrees: 0.21 found)."""
    x, cond = examples(4_000, rng)
    known = cond.globals[:, 1] > 0
    with torch.no_grad():
        found = trained.log_prob(x, cond, rng)
    assert found.kind == "exact"
    kl = -float(found.nats[known].mean()) - true_entropy()
    assert -0.05 < kl < (0.25 if hasattr(trained.density, "bins") else 0.08)


def test_integrates_to_one_over_positions(trained, rng):
    """Importance sampling over both positions: the mean of p / q is 1 for uniform angles and wide normals."""
    count = 40_000
    angle = (torch.rand(count, 2, 1, generator=rng) * 2 - 1) * math.pi
    x = 2.0 * torch.randn(count, 2, 1, generator=rng)
    q = torch.distributions.Normal(0.0, 2.0).log_prob(x).sum((1, 2)) - 2 * math.log(2 * math.pi)
    given = task(count, 0.8)
    with torch.no_grad():
        p = trained.log_prob(State({"angle": angle, "x": x}, given.mask), given.cond, rng).nats
    ratio = (p - q).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(count)
    assert ratio.std() / math.sqrt(count) < 0.1


def test_samples_follow_the_density(trained, rng):
    """Their mean log-likelihood is the negative entropy, and y and the first position reach the second."""
    drawn = trained.sample(task(1_500, 0.8))
    found = trained.log_prob(drawn, task(1_500, 0.8).cond, rng).nats.detach()
    assert abs(float(found.mean()) + true_entropy()) < 0.25
    angle, x = drawn["angle"][..., 0], drawn["x"][..., 0]
    assert abs(angle[:, 0].mean() - 0.8) < 0.1
    assert ((angle[:, 1] - angle[:, 0]).cos().mean()) > 0.9
    assert torch.corrcoef(torch.stack([x[:, 1], x[:, 0] * angle[:, 0].sin()]))[0, 1] > 0.75


def test_guidance_sharpens_towards_y(trained):
    """Where p(x) overlaps p(x | y), weight 3 moves the angle away from the other y, as p(x | y)^3 / p(x)^2 does."""
    free = Conditioning(torch.zeros(600, 2, 0), torch.zeros(600, 2))
    plain = trained.sample(task(600, 0.8))["angle"][:, 0]
    guided = trained.sample(task(600, 0.8, guidance=Guidance(free, 3.0)))["angle"][:, 0]
    assert guided.mean() > plain.mean() + 0.1


def test_low_temperature_raises_likelihood(trained, rng):
    cold = trained.sample(task(300, 0.8, temperature=0.3))
    warm = trained.sample(task(300, 0.8, temperature=1.0))
    cond = task(300, 0.8).cond
    with torch.no_grad():
        assert trained.log_prob(cold, cond, rng).nats.mean() > trained.log_prob(warm, cond, rng).nats.mean() + 0.5


def test_a_sample_depends_on_its_own_stream_alone(trained):
    many, few = trained.sample(task(7, 0.8, seed=3)), trained.sample(task(3, 0.8, seed=3))
    for name in ("angle", "x"):
        assert torch.allclose(many[name][:3], few[name], atol=1e-6)


def test_what_has_no_density_is_refused():
    with pytest.raises(ConfigError, match="rots"):
        Autoregressive(Backbone(), Past({"trans": 3}))
    with pytest.raises(UsageError, match="sampler"):
        Autoregressive(Ring(), Past({"angle": 1, "x": 1})).sample(task(1, 0.8), Euler(1))


@cache
def ideals() -> State:
    """An ideal helix and an ideal strand of 10 residues."""
    atoms = torch.stack([torch.from_numpy(np.asarray(make(10))).float() for make in (ideal_helix, ideal_strand)])
    return Torsions().encode(Batch({"atoms": atoms}, torch.ones(2, 10, dtype=torch.bool)))


def helix_and_strand(count: int, rng: Generator) -> tuple[State, Conditioning]:
    """Helices and strands of 10 residues with some noise, and a flag for each residue that says which."""
    kinds = torch.randint(0, 2, (count,), generator=rng)
    state = State({name: x[kinds] for name, x in ideals().fields.items()}, ideals().mask[kinds])
    torsions = state["torsions"] + 0.05 * torch.randn(count, 10, 3, generator=rng)
    # Angles that were always the same would be learned to their last digit, and little else.
    angles = state["angles"] + 0.3 * torch.randn(count, 10, 3, generator=rng)
    flags = torch.nn.functional.one_hot(kinds, 2).float()[:, None].expand(-1, 10, -1)
    state = Torsions().project(state.with_fields(torsions=torsions, angles=angles))
    return state, Conditioning(flags, torch.zeros(count, 0))


@pytest.fixture(scope="module")
def protein():
    torch.manual_seed(0)
    encoder = Past({"trans": 3, "rots": 9}, residue_dim=2, global_dim=0)
    settings = AutoregressiveSettings(components=4, width=48, window=2, plan_dim=8, exposure_noise=0.01)
    family = Autoregressive(Torsions(), encoder, residue_dim=2, settings=settings)
    train(family, helix_and_strand, steps=250, batch=32, lr=1e-2)
    return family.eval()


def protein_task(kinds: list[int], lengths: list[int]) -> SamplingTask:
    mask = torch.zeros(len(kinds), max(lengths), dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, :length] = True
    flags = torch.nn.functional.one_hot(torch.tensor(kinds), 2).float()[:, None] * mask[..., None]
    generators = [Generator().manual_seed(i) for i in range(len(kinds))]
    return SamplingTask(mask, Conditioning(flags, torch.zeros(len(kinds), 0)), generators)


def test_labels_of_the_residue_to_be_placed_decide_it(protein):
    """Asked for helix (0) or strand (1), phi and psi come out so, whatever the batch and its padding."""
    kinds, lengths = [0, 1] * 8, [10] * 8 + [7] * 8
    drawn = protein.sample(protein_task(kinds, lengths))
    degrees = drawn["torsions"].rad2deg()
    for row, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        phi, psi = [(-57, -47), (-120, 130)][kind]
        inner = degrees[row, 1 : length - 1]
        assert (inner[:, 0] - phi).abs().median() < 20
        assert (inner[:, 1] - psi).abs().median() < 25
    alone = protein.sample(protein_task(kinds[:3] + kinds[8:9], lengths[:3] + lengths[8:9]))
    assert torch.allclose(alone["torsions"][:3], drawn["torsions"][:3], atol=1e-4)


@pytest.mark.parametrize("name", ["past", "egnn", "gvp", "transformer"])
def test_sampling_reads_what_training_reads(name):
    """The features each position was drawn with are those that its likelihood takes, all positions at once."""
    torch.manual_seed(0)
    if name == "past":
        encoder = Past({"trans": 3, "rots": 9}, residue_dim=2, global_dim=0)
    else:
        encoder = registry.build("encoders", name, residue_dim=2, global_dim=0, dim=32, blocks=2, causal=True)
    family = Autoregressive(Torsions(), encoder, residue_dim=2, settings=AutoregressiveSettings(candidates=2)).eval()
    used, guided = [], family.guided

    def recorded(score, candidates, features, *rest):
        used.append(features[0])
        return guided(score, candidates, features, *rest)

    family.guided = recorded
    asked = protein_task([0, 1, 1], [12, 12, 9])
    drawn = family.sample(asked)
    with torch.no_grad():
        wanted = family.features(drawn, asked.cond, family.plan(asked.cond, asked.mask))
    assert wanted.std(1).max() > 1e-3
    assert torch.allclose(torch.stack(used, 1)[asked.mask], wanted[asked.mask], atol=1e-4)


def test_likelihood_does_not_depend_on_padding_and_knows_breaks(protein, rng):
    state, cond = helix_and_strand(3, rng)
    with torch.no_grad():
        plain = protein.log_prob(state, cond, rng).nats
        pad = {name: torch.cat([x, torch.zeros_like(x[:, :4])], 1) for name, x in state.fields.items()}
        wide = State(pad, torch.cat([state.mask, torch.zeros(3, 4, dtype=torch.bool)], 1))
        wide_cond = Conditioning(torch.cat([cond.residue, torch.zeros(3, 4, 2)], 1), cond.globals)
        assert torch.allclose(protein.log_prob(wide, wide_cond, rng).nats, plain, atol=1e-3)
        known = state["known"].clone()
        known[:, 4, 1] = False
        assert not torch.allclose(protein.log_prob(state.with_fields(known=known), cond, rng).nats, plain, atol=0.1)


def test_sampled_chains_do_not_overlap_where_there_is_a_choice():
    """An untrained model tangles; with 16 candidates a residue at least two thirds of the overlaps are avoided."""
    torch.manual_seed(0)
    overlaps = []
    for candidates in (1, 16):
        torch.manual_seed(0)
        family = Autoregressive(
            Torsions(), Past({"trans": 3}, 2, 0), 2, settings=AutoregressiveSettings(candidates=candidates)
        ).eval()
        drawn = family.sample(protein_task([0] * 4, [40] * 4))
        ca = family.space.decode(drawn)["atoms"][:, :, 1]
        near = torch.cdist(ca, ca) < 3.5
        overlaps.append(int(near.triu(2).sum()))
    assert overlaps[1] <= overlaps[0] / 3


class Walk(Ring, Admissible):
    """A line on which the sum of steps may not leave [-1, 1], so that a chain near an end has few admissible steps."""

    normals_per_position = 1

    def __init__(self):
        super().__init__()
        self.manifolds = {"x": Euclidean(1)}

    def scale(self, mask):
        return {"x": torch.ones(len(mask))}

    def noise(self, mask, normals):
        return State({"x": normals}, mask)

    def admissible(self, state):
        return state["x"].sum((1, 2)).abs() <= 1.0


def test_particles_sample_what_is_admissible_throughout():
    """Steps of two positions given that both sums stay inside: the first step's standard deviation, against rejection.

    Each first step that stays inside is as likely as it is in the end; without particles those near the ends, which
    leave few admissible steps, come out too often.
    """
    torch.manual_seed(0)
    for none in ({"candidates": 0}, {"particles": 0}):
        with pytest.raises(UsageError, match="are at least 1"):
            AutoregressiveSettings(**none)
    settings = AutoregressiveSettings(candidates=4, particles=16, components=1, plan_dim=4)
    family = Autoregressive(Walk(), Past({"x": 1}, 0, 0), settings=settings).eval()
    mask = torch.ones(600, 2, dtype=torch.bool)

    def drawn(particles: int, candidates: int, seed: int) -> torch.Tensor:
        family.particles, family.candidates = particles, candidates
        generators = [Generator().manual_seed(seed + i) for i in range(len(mask))]
        cond = Conditioning(torch.zeros(len(mask), 2, 0), torch.zeros(len(mask), 0))
        return family.sample(SamplingTask(mask, cond, generators))["x"][..., 0]

    free = torch.cat([drawn(1, 1, 1000 * k) for k in range(1, 5)])
    inside = free[(free.cumsum(1).abs() <= 1).all(1)]
    assert len(inside) > 100
    found = drawn(16, 4, 0)
    assert (found.cumsum(1).abs() <= 1).all()
    error = 3 * inside[:, 0].square().std() * (1 / len(inside) + 1 / len(found)) ** 0.5
    assert abs(found[:, 0].square().mean() - inside[:, 0].square().mean()) < error


class Homing(Walk, Promising):
    """A walk that may go anywhere, and is promising where the sum of its steps is near 0."""

    def admissible(self, state):
        return torch.ones(len(state.mask), dtype=torch.bool)

    def promise(self, state, lengths):
        assert (lengths == 2).all()
        return -2 * state["x"].sum((1, 2)).square()


def test_a_twist_samples_the_density_times_the_promise_of_the_whole():
    """Squares of both steps and of their sum, against free walks that are weighted by exp of the promise."""
    torch.manual_seed(0)
    settings = AutoregressiveSettings(candidates=2, particles=32, components=1, plan_dim=4, twist=0.5)
    family = Autoregressive(Homing(), Past({"x": 1}, 0, 0), settings=settings).eval()

    def drawn(particles: int, seed: int) -> torch.Tensor:
        mask = torch.ones(600, 2, dtype=torch.bool)
        family.particles = particles
        generators = [Generator().manual_seed(seed + i) for i in range(len(mask))]
        cond = Conditioning(torch.zeros(len(mask), 2, 0), torch.zeros(len(mask), 0))
        return family.sample(SamplingTask(mask, cond, generators))["x"][..., 0]

    def squares(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x.sum(1, keepdim=True)], 1).square()

    free = squares(torch.cat([drawn(1, 1000 * k) for k in range(1, 8)]))
    weight = (-free[:, 2:]).exp()
    expected = (weight * free).sum(0) / weight.sum()
    found = squares(drawn(32, 0))
    size = float(weight.sum().square() / weight.square().sum())
    error = 3 * found.std(0) * (1 / len(found) + 1 / size) ** 0.5 + 1 / 32
    assert ((found.mean(0) - expected).abs() < error).all()
    assert float(free[:, 2].mean()) > 4 * float(expected[2])


def test_a_twist_needs_particles_and_a_space_that_promises():
    for wrong in ({"twist": -1.0, "particles": 4}, {"twist": 1.0}):
        with pytest.raises(UsageError, match="weighs particles"):
            AutoregressiveSettings(**wrong)
    settings = AutoregressiveSettings(particles=2, twist=1.0)
    with pytest.raises(ConfigError, match="needs a space with promising beginnings"):
        Autoregressive(Walk(), Past({"x": 1}, 0, 0), settings=settings)


def test_particles_get_chains_out_of_dead_ends_and_keep_to_their_own_stream():
    """An untrained model tangles; grown eight at a time, at most a quarter of the overlaps are left."""
    torch.manual_seed(0)
    settings = AutoregressiveSettings(candidates=4)
    family = Autoregressive(Torsions(), Past({"trans": 3}, 2, 0), residue_dim=2, settings=settings).eval()
    overlaps = []
    for particles in (1, 8):
        family.particles = particles
        many = family.sample(protein_task([0] * 4, [40, 40, 40, 25]))
        ca = family.space.decode(many)["atoms"][:, :, 1]
        near = (torch.cdist(ca, ca) < 3.5) & many.mask[:, :, None] & many.mask[:, None]
        overlaps.append(int(near.triu(2).sum()))
    assert overlaps[1] <= overlaps[0] / 4
    few = family.sample(protein_task([0] * 2, [40, 40]))
    assert torch.allclose(few["torsions"], many["torsions"][:2], atol=1e-4)
