"""Pairs of residues: neighbours say of a pair what all pairs say of it, and reach as far along the chain as all do."""

from dataclasses import replace

import pytest
import torch

from protgen import registry
from protgen.errors import ConfigError
from protgen.geometry import so3
from protgen.nn.graph import Wiring
from protgen.nn.pairs import NOT_SEEN, AllPairs, neighbours_of
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State

LENGTHS = [30, 21]
MASK = torch.arange(LENGTHS[0])[None] < torch.tensor(LENGTHS)[:, None]
CHAINS = (torch.arange(LENGTHS[0]) >= 12).long().expand(2, -1)  # the first ends after 12 residues


def state(rng: torch.Generator, mask: torch.Tensor = MASK) -> State:
    """Random frames."""
    return Backbone().noise(mask, torch.randn(*mask.shape, 7, generator=rng, dtype=torch.float64))


def conditioning(rng: torch.Generator, mask: torch.Tensor = MASK, share: float = 0.1) -> Conditioning:
    """Numbers at random; a share of the pairs is asked for."""
    b, length = mask.shape
    pair = torch.randn(b, length, length, 2, generator=rng, dtype=torch.float64)
    asked = torch.rand(b, length, length, 1, generator=rng) < share
    residue = torch.randn(b, length, 4, generator=rng, dtype=torch.float64)
    return Conditioning(residue, torch.randn(b, 3, generator=rng, dtype=torch.float64), pair * asked)


def encoder(neighbours: int | None) -> torch.nn.Module:
    """In float64, every weight moved away from where it begins; the same weights whatever the neighbours."""
    torch.manual_seed(0)
    built = registry.build(
        "encoders", "frame_attention", residue_dim=4, global_dim=3, dim=32, blocks=3, refresh=1, asked_dim=2,
        neighbours=neighbours,
    ).double()  # fmt: skip
    with torch.no_grad():
        for weight in built.parameters():
            weight += 0.05 * torch.randn(weight.shape, dtype=torch.float64)
    return built


def turned(one: State, rotation: torch.Tensor) -> State:
    return one.with_fields(rots=rotation @ one["rots"], trans=one["trans"] @ rotation.T)


@pytest.mark.parametrize("chains", [None, CHAINS])
@pytest.mark.parametrize("guessed", [False, True])
def test_neighbours_that_are_all_residues_give_what_all_pairs_give(guessed, chains, rng):
    """Scalars, vectors and the gradient of every weight and of the positions, to 1e-11 of their sizes."""
    x, guess = state(rng), state(rng) if guessed else None
    cond = replace(conditioning(rng), chains=chains)
    results = []
    for built in (encoder(None), encoder(LENGTHS[0])):
        trans = x["trans"].clone().requires_grad_()
        features = built(x.with_fields(trans=trans), torch.tensor([0.3, 0.8]).double(), cond, guess)
        outputs = features.scalars[MASK], features.vectors[MASK]
        total = sum(output.square().mean() for output in outputs)
        weights = [w for name, w in built.named_parameters() if guessed or not is_of_guess(name)]
        results.append([*outputs, *torch.autograd.grad(total, [trans, *weights])])
    for dense, sparse in zip(*results, strict=True):
        assert dense.abs().max() > 0
        assert (dense - sparse).abs().max() <= 1e-11 * max(float(dense.abs().max()), 1.0)


def is_of_guess(name: str) -> bool:
    """Whether a weight reads the estimate alone."""
    return name.startswith(("joints_x_pred", "pair.geometry.1"))


def test_a_few_neighbours_turn_with_the_structure(rng):
    """Invariant scalars and vectors that turn, to 1e-10 of their sizes, where most residues are not seen."""
    x, guess, cond, t = state(rng), state(rng), conditioning(rng), torch.tensor([0.3, 0.8]).double()
    rotation = so3.uniform(torch.randn(4, generator=rng, dtype=torch.float64))
    built = encoder(4)
    before = built(x, t, cond, guess)
    after = built(turned(x, rotation), t, cond, turned(guess, rotation))
    assert (after.scalars - before.scalars)[MASK].abs().max() < 1e-10 * before.scalars.abs().max()
    assert (after.vectors - before.vectors @ rotation.T)[MASK].abs().max() < 1e-10 * before.vectors.abs().max()
    everything = encoder(None)(x, t, cond, guess)
    assert (everything.scalars - before.scalars)[MASK].abs().max() > 1e-3


@pytest.mark.parametrize("chains", [None, CHAINS])
def test_the_relative_frames_and_requests_of_neighbours_are_those_of_all_pairs(chains, rng):
    """Each row picked by its place: distance, direction, rotation, offset, and what is asked."""
    x, asked = state(rng), conditioning(rng).pair
    every = AllPairs(LENGTHS[0], MASK.device, chains)
    few = neighbours_of(MASK, [x["trans"]], Wiring(nearest=3, sequence=1, long_range=2), chains=chains)
    assert few.place.shape == (2, 30, 1 + 3 + 2 * 1 + 2)
    for dense, sparse in zip(
        [*every.relative_frames(x["rots"], x["trans"]), every.asked(asked), every.offsets().expand(2, -1, -1)],
        [*few.relative_frames(x["rots"], x["trans"]), few.asked(asked), few.offsets()],
        strict=True,
    ):
        place = few.place.reshape(*few.place.shape, *[1] * (dense.ndim - 3)).expand(-1, -1, -1, *dense.shape[3:])
        torch.testing.assert_close(sparse, dense.gather(2, place), rtol=0, atol=1e-12)


def test_which_residues_are_neighbours(rng):
    """Itself, the chain within reach, what is asked, and the nearest of the others; nothing of padding."""
    x = state(rng)
    asked = torch.zeros(2, 30, 30, dtype=torch.bool)
    asked[0, 3, 27] = asked[1, 3, 27] = True  # the second chain has 21 residues
    wiring = Wiring(nearest=2, sequence=1, long_range=0)
    few = neighbours_of(MASK, [x["trans"]], wiring, asked)
    seen = [[{p for p, w in zip(*row, strict=True) if w > NOT_SEEN} for row in zip(*one, strict=True)]
            for one in zip(few.place.tolist(), few.weight.tolist(), strict=True)]  # fmt: skip
    for example, length in enumerate(LENGTHS):
        distance = torch.cdist(x["trans"][example], x["trans"][example])
        for i in range(length):
            fixed = {j for j in (i - 1, i + 1) if 0 <= j < length} | ({27} if (example, i) == (0, 3) else set())
            others = [j for j in distance[i].argsort().tolist() if j < length and j != i and j not in fixed]
            assert seen[example][i] == {i} | fixed | set(others[:2])
        assert all(seen[example][i] == {i} for i in range(length, 30))


def test_what_leaves_the_neighbours_has_faded_out_before(rng):
    """As one residue goes away from the rest, the output has no step where another takes its place as a neighbour."""
    mask = torch.ones(1, 24, dtype=torch.bool)
    x, cond, t, built = state(rng, mask), conditioning(rng, mask, 0.0), torch.tensor([0.4]).double(), encoder(3)
    way = torch.zeros(1, 24, 3, dtype=torch.float64)
    way[0, 12] = torch.tensor([0.6, -0.5, 0.62])

    def at(s: float) -> torch.Tensor:
        with torch.no_grad():
            return built(x.with_fields(trans=x["trans"] + s * way), t, cond, None).scalars

    def sets(s: float) -> list[set[int]]:
        few = neighbours_of(mask, [x["trans"] + s * way], built.wiring)
        return [set(row) for row in few.place[0].tolist()]

    low, high = 0.0, 8.0
    assert sets(low) != sets(high)
    for _ in range(40):  # to where the set changes
        middle = (low + high) / 2
        low, high = (middle, high) if sets(middle) == sets(0.0) else (low, middle)
    assert high - low < 1e-10
    assert (at(high) - at(low)).abs().max() < 1e-7 * at(low).abs().max()


def test_no_neighbours_are_refused():
    with pytest.raises(ConfigError, match="neighbours is 0; give 1 or more, or null"):
        encoder(0)


@pytest.mark.parametrize("neighbours", [None, 5])
@pytest.mark.parametrize("chains", [None, CHAINS])
@pytest.mark.parametrize("same", [False, True])
def test_pairs_without_a_gradient_are_those_with_one(neighbours, chains, same, rng):
    """To 1e-11 of their sizes: of two examples, and of one that is asked for in two ways, as by guidance."""
    x, guess, cond = state(rng), state(rng), replace(conditioning(rng), chains=chains)
    if same:
        x, guess = (
            State({k: v[:1].expand_as(v) for k, v in s.fields.items()}, MASK[:1].expand(2, -1)) for s in (x, guess)
        )
    built, t = encoder(neighbours), torch.tensor([0.3, 0.7], dtype=torch.float64)
    kept = built(x, t, cond, guess)
    with torch.no_grad():
        found = built(x, t, cond, guess)
    for one, other in ((found.scalars, kept.scalars), (found.vectors, kept.vectors)):
        assert (one - other).abs().max() < 1e-11 * other.abs().max()
    assert not same or (found.scalars[0] - found.scalars[1]).abs().max() > 1e-3
