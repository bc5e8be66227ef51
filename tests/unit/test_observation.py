"""p(x_data | prediction): densities that integrate to one, with closed forms and quadrature as witnesses."""

import math
from itertools import pairwise

import pytest
import torch

from protgen.errors import UsageError
from protgen.geometry import so3
from protgen.samplers.guidance import extrapolated
from protgen.spaces.backbone import Backbone, FrameHead, Rotations, rotated
from protgen.spaces.image import Image
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.spaces.observation import (
    DiscretisedLogistic,
    RiemannianNormal,
    ScaledBernoulli,
    check_spread,
    log_logistic_interval,
    observation_of,
    with_spread,
)
from protgen.spaces.torsions import Torsions
from protgen.types import Features, State
from tests.toy_space import Line


def chain(length: int, rng: torch.Generator, batch: int = 1) -> State:
    """A blank chain with its frames turned a little, so that nothing is special about it."""
    space = Backbone()
    blank = space.blank(torch.ones(batch, length, dtype=torch.bool))
    turned = so3.move(blank["rots"], 0.2 * torch.randn(batch, length, 3, generator=rng))
    moved = blank["trans"] + torch.randn(batch, length, 3, generator=rng)
    return space.project(blank.with_fields(trans=moved, rots=turned))


def test_flat_normal_is_the_normal_density(rng):
    space = Line()
    x, m = torch.randn(5, 1, 2, generator=rng), torch.randn(5, 1, 2, generator=rng)
    mask = torch.ones(5, 1, dtype=torch.bool)
    got = RiemannianNormal(space, std=0.3).log_prob(State({"x": m}, mask), State({"x": x}, mask))
    expected = torch.distributions.Normal(m, 0.3).log_prob(x).sum((1, 2))
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_spread_gives_each_coordinate_its_own_standard_deviation(rng):
    """On lines against the normal density; draws have these standard deviations, and guidance keeps them."""
    space, mask = Line(), torch.ones(5, 1, dtype=torch.bool)
    x, m = torch.randn(5, 1, 2, generator=rng), torch.randn(5, 1, 2, generator=rng)
    values = torch.randn(5, 1, 2, generator=rng)
    prediction = with_spread(State({"x": m}, mask), values)
    stds = 0.3 * (3 * (values / 3).tanh()).exp()
    observation = RiemannianNormal(space, std=0.3)
    expected = torch.distributions.Normal(m, stds).log_prob(x).sum((1, 2))
    assert torch.allclose(observation.log_prob(prediction, State({"x": x}, mask)), expected, atol=1e-5)
    normals = torch.randn(5, 1, 2, generator=rng)
    for guided in (prediction, extrapolated(space, prediction, [prediction], [2.0])):
        drawn = observation.draw(guided, normals, 0.5)["x"]
        assert torch.allclose(drawn, m + 0.5 * stds * normals, atol=1e-5)


def test_a_spread_of_torsions_is_a_density(rng):
    """A narrow and a wide torsion: the integral over both circles is 1."""
    space = Torsions()
    mask = torch.ones(1, 3, dtype=torch.bool)
    x = space.noise(mask, torch.randn(1, 3, 6, generator=rng))
    values = torch.zeros(1, 3, 6)
    values[0, 1, :2] = torch.tensor([-1.0, 1.5])
    prediction = with_spread(x, values)
    observation = RiemannianNormal(space, std=0.2)
    grid = torch.linspace(-math.pi, math.pi, 401)[:-1]
    phi, psi = torch.meshgrid(grid, grid, indexing="ij")
    points = State({k: v.expand(phi.numel(), *v.shape[1:]) for k, v in x.fields.items()}, mask.expand(phi.numel(), -1))
    torsions = points["torsions"].clone()
    torsions[:, 1, 0], torsions[:, 1, 1] = phi.flatten(), psi.flatten()
    wide = State({k: v.expand(phi.numel(), *v.shape[1:]) for k, v in prediction.fields.items()}, points.mask)
    found = observation.log_prob(wide, points.with_fields(torsions=torsions)).double()
    others = observation.log_prob(prediction, x).double()  # where both torsions are at their centres
    widths = 0.2 * math.pi / math.sqrt(3) * torch.tensor([-1.0, 1.5]).double().div(3).tanh().mul(3).exp()
    centres = sum(-float(Torus(1).log_normaliser(width)) for width in widths)
    step = 2 * math.pi / 400
    assert float((found - (others - centres)).exp().sum()) * step**2 == pytest.approx(1, abs=1e-3)


def test_a_spread_needs_lines_and_circles():
    for space in (Backbone(), Image(2, 2, 1)):
        with pytest.raises(UsageError, match="local_std"):
            check_spread(space)
    check_spread(Torsions())


def test_normaliser_of_rotations():
    """Narrow: that of flat space. Wide: the volume 8 pi^2. Between: the mean over uniform rotations."""
    manifold = Rotations()
    narrow, wide = torch.tensor([0.01]), torch.tensor([1e4])
    assert torch.allclose(manifold.log_normaliser(narrow), Euclidean(3).log_normaliser(narrow), atol=1e-3)
    assert manifold.log_normaliser(wide).item() == pytest.approx(math.log(8 * math.pi**2), abs=1e-5)
    rotations = so3.uniform(torch.randn(200_000, 4, generator=torch.Generator().manual_seed(0)))
    for std in (0.4, 1.0, 2.0):
        mean = torch.exp(-so3.log(rotations).square().sum(-1) / (2 * std**2)).double().mean()
        expected = math.log(8 * math.pi**2 * float(mean))
        assert manifold.log_normaliser(torch.tensor([std])).item() == pytest.approx(expected, abs=0.02)


def test_normaliser_of_angles():
    """exp(-d^2 / 2 s^2) over the circle, by quadrature, for two angles."""
    angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    for std in (0.1, 1.0, 5.0):
        integral = torch.trapezoid(torch.exp(-angle.square() / (2 * std**2)), angle)
        got = Torus(2).log_normaliser(torch.tensor(std, dtype=torch.float64))
        assert got.item() == pytest.approx(2 * math.log(integral.item()), abs=1e-6)


def test_discretised_logistic_sums_to_one_and_stays_finite_far_out():
    levels = 17
    observation = DiscretisedLogistic(levels, std=0.07)
    values = (torch.arange(levels) + 0.5) * 2 / levels - 1
    mask = torch.ones(levels, 1, dtype=torch.bool)
    for centre in (-1.3, 0.1, 0.96):
        prediction = State({"pixels": torch.full((levels, 1, 1), centre)}, mask)
        density = observation.log_prob(prediction, State({"pixels": values[:, None, None]}, mask)).exp()
        assert density.sum().item() * 2 / levels == pytest.approx(1.0, abs=1e-5)
    far = log_logistic_interval(torch.tensor([200.0, -300.0]), torch.tensor([200.1, -299.9]))
    assert torch.isfinite(far).all()


def test_discretised_logistic_has_the_mass_of_its_cells_and_draws_their_middles():
    """Five cells of 0.4: differences of the logistic function about 0.1, the ends open, over the width of a cell."""
    observation = DiscretisedLogistic(5, std=0.3)
    values = torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8])
    prediction = State({"pixels": torch.full((5, 1, 1), 0.1)}, torch.ones(5, 1, dtype=torch.bool))
    below = [0.0, *(1 / (1 + math.exp(-(edge - 0.1) / 0.3)) for edge in (-0.6, -0.2, 0.2, 0.6)), 1.0]
    expected = [math.log((high - low) / 0.4) for low, high in pairwise(below)]
    got = observation.log_prob(prediction, prediction.with_fields(pixels=values[:, None, None]))
    assert got.tolist() == pytest.approx(expected, abs=1e-5)
    # Normals whose quantile lies in the middle of the mass of each cell.
    middles = torch.tensor([(low + high) / 2 for low, high in pairwise(below)], dtype=torch.float64)
    normals = torch.special.ndtri(middles).float()[:, None, None]
    drawn = observation.draw(prediction, normals, 1.0)["pixels"].flatten()
    assert drawn.tolist() == pytest.approx(values.tolist(), abs=1e-6)
    cold = observation.draw(prediction, normals, 1e-3)["pixels"].flatten()  # all in the cell of 0.1
    assert cold.tolist() == pytest.approx([0.0] * 5, abs=1e-6)


def test_bernoulli_of_binary_images(rng):
    space = Image(4, 4, binary=True)
    mean = torch.rand(3, 16, 1, generator=rng) * 2 - 1
    x = (torch.rand(3, 16, 1, generator=rng) < 0.5).float() * 2 - 1
    got = observation_of(space).log_prob(
        State({"pixels": mean}, space.full_mask(3)), State({"pixels": x}, space.full_mask(3))
    )
    expected = torch.distributions.Bernoulli(probs=(1 + mean) / 2).log_prob((x + 1) / 2).sum((1, 2))
    assert torch.allclose(got, expected, atol=1e-4)


def test_likelihood_of_frames_ignores_rigid_motion(rng):
    """The best pose is found: the density is the same for any orientation of the prediction."""
    space = Backbone()
    prediction, x = chain(30, rng), chain(30, rng)
    observation = RiemannianNormal(space, 0.2)
    plain = observation.log_prob(prediction, x)
    for _ in range(5):
        turn = so3.uniform(torch.randn(1, 4, generator=rng))
        assert torch.allclose(observation.log_prob(rotated(prediction, turn), x), plain, rtol=1e-5, atol=1e-2)


def test_pose_is_integrated_without_bias(rng):
    """Mean over drawn poses of p(x | turned prediction) p / q against brute force over 40,000 uniform rotations.

    The latter has a standard error of 0.025; log(9 / 8), which a wrong volume of rotations would add, is 0.118.
    """
    space = Backbone()
    mask = torch.ones(1, 3, dtype=torch.bool)
    prediction, x = chain(3, rng), chain(3, rng)
    observation = RiemannianNormal(space, 1.0)  # broad, so that uniform rotations hit it
    with torch.no_grad():
        count = 4000
        many = [
            State({k: v.expand(count, *v.shape[1:]) for k, v in s.fields.items()}, mask.expand(count, 3))
            for s in (prediction, x)
        ]
        weights = observation.log_prob(many[0], many[1], rng)
        x_pred = weights.logsumexp(0) - math.log(count)
        flat = RiemannianNormal(space, 1.0)
        flat.space = Unposed()
        parts = []
        for _ in range(10):
            count = 4_000
            turn = so3.uniform(torch.randn(count, 4, generator=rng))
            many = [
                State({k: v.expand(count, *v.shape[1:]) for k, v in s.fields.items()}, mask.expand(count, 3))
                for s in (prediction, x)
            ]
            parts.append(flat.log_prob(rotated(many[0], turn), many[1]))
        brute = torch.cat(parts).logsumexp(0) - math.log(10 * count)
        laplace = observation.log_prob(prediction, x)
    assert x_pred.item() == pytest.approx(brute.item(), abs=0.07)
    assert laplace.item() == pytest.approx(brute.item(), abs=1.0)


def test_narrow_poses_are_drawn_from_the_posterior(rng):
    """Where the width tends to 0 Laplace is exact: every drawn pose has the weight of the most probable one.

    A chain of 30 residues is longer than wide, so that its precision differs by axis and has terms off the diagonal.
    """
    observation, x = RiemannianNormal(Backbone(), 0.002), chain(30, rng)
    count = 200
    x = State({k: v.double() for k, v in x.fields.items()}, x.mask)
    prediction = rotated(x, so3.uniform(torch.randn(1, 4, generator=rng).double()))
    many = [
        State({k: v.expand(count, *v.shape[1:]) for k, v in s.fields.items()}, s.mask.expand(count, 30))
        for s in (prediction, x)
    ]
    with torch.no_grad():
        drawn = observation.log_prob(many[0], many[1], rng)
        laplace = observation.log_prob(prediction, x)
    assert (drawn - laplace).abs().max() < 0.05


def test_a_head_of_frames_moves_positions_and_axes_by_its_vectors():
    """The first vector moves CA; the next two are added to the x and y axes, then made orthogonal by Gram-Schmidt."""
    state = State(
        {"trans": torch.tensor([[[1.0, 2, 3]]]), "rots": torch.eye(3)[None, None]}, torch.ones(1, 1, dtype=torch.bool)
    )
    vectors = torch.tensor([[[[0.5, 0, 0], [0, 1.0, 0], [0, 0, 2.0]]]])
    found = FrameHead(3)(Features(torch.zeros(1, 1, 4), vectors), state)
    x = torch.tensor([1.0, 1, 0]) / math.sqrt(2)
    y = torch.tensor([-0.5, 0.5, 2.0]) / math.sqrt(4.5)
    assert found["trans"].tolist() == [[[1.5, 2, 3]]]
    assert torch.allclose(found["rots"][0, 0].T, torch.stack([x, y, torch.linalg.cross(x, y)]), atol=1e-6)
    still = FrameHead(3)(Features(torch.zeros(1, 1, 4), torch.zeros(1, 1, 3, 3)), state)
    assert torch.equal(still["rots"], state["rots"])


class Unposed(Backbone):
    """Frames without a symmetry: the pose of the prediction is as given."""

    def pose(self, prediction, target, stds, rng):
        return prediction, torch.zeros(len(target.mask))


def test_blank_chain_is_a_chain():
    """CAs 3.80 Å apart, as compact as natives, no two residues in one place, and padding changes nothing."""
    space = Backbone()
    for length in (20, 80, 200):
        blank = space.blank(torch.ones(1, length, dtype=torch.bool))
        steps = (blank["trans"][:, 1:] - blank["trans"][:, :-1]).norm(dim=-1)
        assert torch.allclose(steps, torch.tensor(3.8), atol=0.1)
        radius = blank["trans"].square().sum(-1).mean().sqrt()
        assert radius.item() == pytest.approx(2.2 * length**0.38, rel=0.1)
        distances = torch.cdist(blank["trans"], blank["trans"]) + 10 * torch.eye(length)
        assert distances.min() > 3.0
        padded = torch.zeros(1, length + 7, dtype=torch.bool)
        padded[:, :length] = True
        assert torch.allclose(space.blank(padded)["trans"][:, :length], blank["trans"], atol=1e-4)


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(UsageError, match="std"):
        RiemannianNormal(Line(), 0.0)


def test_a_mean_beyond_the_last_value_is_that_value():
    """Rounding carries a mean of pixels past 1: all draws are 1, and -1 on the other side."""
    observation = ScaledBernoulli("pixels")
    mask = torch.ones(1, 4, dtype=torch.bool)
    normals = torch.tensor([[[-3.0], [-0.1], [0.1], [3.0]]])
    for side in (1.0, -1.0):
        mean = State({"pixels": torch.full((1, 4, 1), side * 1.001)}, mask)
        assert observation.draw(mean, normals, 1.0)["pixels"].flatten().tolist() == [side] * 4


def test_circles_that_exist_are_summed_position_by_position(rng):
    """The log ratio of a torus to uniform, of two positions with two circles each, one of which does not exist."""
    torus, x = Torus(2), torch.tensor([[[0.1, 0.2], [0.3, -0.4]]])
    std = torch.full((1, 1, 1), 0.3)
    exists = torch.tensor([[[True, True], [False, True]]])
    found = torus.log_ratio(x, torch.zeros_like(x), std, exists)
    one = -0.5 * (x / 0.3).square() - math.log(0.3) - 0.5 * math.log(2 * math.pi) + math.log(2 * math.pi)
    assert torch.allclose(found, (one * exists).sum(-1), atol=1e-4)
