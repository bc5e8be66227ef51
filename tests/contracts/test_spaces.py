"""What every space promises, and each of its capabilities; a new file in protgen/spaces joins by its name."""

import inspect
import math

import pytest
import torch

from protgen import registry
from protgen.spaces.base import Space
from protgen.spaces.capabilities import (
    Admissible,
    Alignable,
    DecoderStart,
    DiscreteValues,
    EncoderView,
    Grid,
    Observable,
    PartlyDefined,
    Positional,
    PositionalContext,
    VectorPoints,
)
from protgen.spaces.manifolds import HeatKernel
from protgen.types import Batch, Features, State

NAMES = registry.names("spaces")
CLASSES = registry.classes("spaces")
PADDED = 3


def having(capability: type) -> list[str]:
    return [name for name in NAMES if issubclass(CLASSES[name], capability)]


def length_of(space: Space) -> int:
    """Positions of a point: those of the grid, or one where positions mean nothing, or a dozen."""
    if isinstance(space, Grid):
        return math.prod(space.grid())
    return 12 if isinstance(space, Positional) else 1


def padded_mask(space: Space, count: int) -> torch.Tensor:
    """Half of the examples shorter by three positions, where there can be shorter ones."""
    mask = torch.ones(count, length_of(space), dtype=torch.bool)
    if isinstance(space, Positional) and not isinstance(space, Grid):
        mask[count // 2 :, -PADDED:] = False
    return mask


def points(space: Space, count: int, rng: torch.Generator, mask: torch.Tensor | None = None) -> State:
    """Noise: points of the space."""
    mask = padded_mask(space, count) if mask is None else mask
    return space.noise(mask, torch.randn(*mask.shape, space.normals_per_position, generator=rng))


def distance(space: Space, one: State, two: State) -> float:
    """Largest length of a tangent vector between two points, over their real positions."""
    found = [0.0]
    for name, manifold in space.manifolds.items():
        way = manifold.logmap(one[name], two[name])[one.mask]
        found.append(float(way.abs().max()))
    return max(found)


@pytest.fixture(params=NAMES)
def space(request) -> Space:
    return CLASSES[request.param].example()


def test_fields_and_measure_are_stated(space, rng):
    """Each field of a point has a manifold; the measure of densities has words."""
    point = points(space, 2, rng)
    assert set(space.manifolds) <= set(point.fields)
    assert space.displaced <= set(space.manifolds)
    assert space.early <= set(space.manifolds)
    assert space.volume.strip()
    for name, manifold in space.manifolds.items():
        away = manifold.logmap(point[name], point[name])
        assert away.shape == (*point.mask.shape, manifold.dim)
        assert away[point.mask].abs().max() < 1e-3  # of rotations in float32
        assert manifold.squared_error(point[name], point[name]).shape == point.mask.shape


def test_projection_is_idempotent_and_noise_is_projected(space, rng):
    """Points of noise keep the conventions already; padding is the same whatever stood there."""
    point = points(space, 4, rng)
    once = space.project(point)
    assert distance(space, point, once) < 1e-4
    assert distance(space, once, space.project(once)) < 1e-4
    real = {k: point.mask.reshape(*point.mask.shape, *[1] * (x.ndim - 2)) for k, x in once.fields.items()}
    spoiled = State({k: torch.where(real[k], x, 5.0) for k, x in once.fields.items()}, point.mask)
    for name in space.manifolds:
        assert torch.allclose(space.project(spoiled)[name], once[name], atol=1e-5), name


def test_decoding_and_encoding_give_data_back(space, rng):
    """Data of decoded noise, through the space and back: the same to 1e-3 (Å, or standard units)."""
    if not isinstance(space, Positional):
        pytest.skip("points are summaries of data, which they do not give back")
    data = space.decode(points(space, 4, rng))
    again = space.decode(space.encode(Batch(data.arrays, data.mask)))
    for key, values in data.arrays.items():
        real = data.mask.reshape(*data.mask.shape, *[1] * (values.ndim - 2))
        assert torch.allclose(
            torch.where(real, again[key], 0).double(), torch.where(real, values, 0).double(), atol=2e-3
        ), key


def test_encoding_does_not_read_padding(space, rng):
    if not isinstance(space, Positional):
        pytest.skip("points are summaries of data")
    data = space.decode(points(space, 4, rng))
    real = {k: data.mask.reshape(*data.mask.shape, *[1] * (x.ndim - 2)) for k, x in data.arrays.items()}
    spoiled = {k: torch.where(real[k], x, torch.ones_like(x)) for k, x in data.arrays.items()}
    one, two = space.encode(data), space.encode(Batch(spoiled, data.mask))
    assert distance(space, one, two) < 1e-4


def test_exponential_and_logarithm_are_inverse(space, rng):
    """log_x(exp_x(v)) = v for tangent vectors shorter than 1, and geodesics end where they should."""
    point = points(space, 4, rng).map(torch.Tensor.double)
    for name, manifold in space.manifolds.items():
        x = point[name]
        v = torch.randn(*point.mask.shape, manifold.dim, generator=rng, dtype=torch.float64)
        v = v / v.norm(dim=-1, keepdim=True)
        y = manifold.expmap(x, v)
        real = point.mask
        assert (manifold.logmap(x, y) - v)[real].abs().max() < 1e-5, name
        assert (manifold.logmap(y, x) + manifold.logmap(x, y))[real].norm(dim=-1).max() < 1e-5 or manifold.curved
        for fraction, end in ((0.0, x), (1.0, y)):
            reached = manifold.geodesic(x, y, torch.tensor(fraction, dtype=torch.float64))
            assert manifold.logmap(end, reached)[real].abs().max() < 1e-5, name
        middle = manifold.geodesic(x, y, torch.tensor(0.3, dtype=torch.float64))
        assert torch.allclose(manifold.logmap(x, middle)[real].norm(dim=-1), torch.tensor(0.3).double(), atol=1e-5)


def test_squared_error_is_a_squared_distance_near_nought(space, rng):
    """One factor of |v|^2 for all points and directions, within 1 % for |v| = 0.01."""
    point = points(space, 4, rng).map(torch.Tensor.double)
    for name, manifold in space.manifolds.items():
        v = torch.randn(*point.mask.shape, manifold.dim, generator=rng, dtype=torch.float64)
        v = 0.01 * v / v.norm(dim=-1, keepdim=True)
        ratio = (manifold.squared_error(manifold.expmap(point[name], v), point[name]) / 1e-4)[point.mask]
        assert ratio.min() > 0
        assert ratio.max() / ratio.min() < 1.01, name


COUNT = 4000


def test_noise_has_the_stated_standard_deviation(space, rng):
    """Flat fields: mean of |x|^2 / noise_std^2 is the degrees of freedom, within 5 standard errors; the mean is 0.

    Where some coordinates do not exist, they are those that do.
    """
    point = points(space, COUNT, rng)
    std, dof = space.noise_std(point.mask), space.field_dof(point.mask)
    if isinstance(space, PartlyDefined):
        dof = {key: exists.sum((1, 2)).float() for key, exists in space.defined(point).items()}
    for name, manifold in space.manifolds.items():
        if manifold.curved:
            continue
        x = torch.where(point.mask[..., None], point[name], 0) / std[name][:, None, None]
        squares, expected = x.square().sum((1, 2)), dof[name]
        error = (2 * expected).sum().sqrt() / COUNT
        assert abs((squares - expected).mean()) < 5 * error, name
        assert x.mean(0).abs().max() < 6 / COUNT**0.5


def test_curved_noise_is_uniform(space, rng):
    """The mean of a heat kernel's density over noise is 1 / volume, within 5 standard errors, at several places."""
    point = points(space, COUNT, rng).map(torch.Tensor.double)
    for name, manifold in space.manifolds.items():
        if not manifold.curved or not isinstance(manifold, HeatKernel):
            continue
        assert math.isfinite(manifold.log_volume)
        x = point[name][:, 4:5]  # all of whose coordinates exist
        for k in range(3):
            centre = x[k : k + 1].expand_as(x)
            std = torch.full((COUNT, 1, 1), 0.8, dtype=torch.float64)
            ratio = (manifold.log_kernel(x, centre, std) + manifold.log_volume).exp()[k + 1 :]
            assert abs(ratio.mean() - 1) < 5 * ratio.std() / COUNT**0.5, (name, k)


def test_the_score_of_a_heat_kernel_is_its_gradient(space, rng):
    """Against a finite difference along the tangent space."""
    point = points(space, 6, rng).map(torch.Tensor.double)
    for name, manifold in space.manifolds.items():
        if not isinstance(manifold, HeatKernel):
            continue
        x = point[name][:3, 4:6]
        std = torch.full((3, 1, 1), 0.7, dtype=torch.float64)
        near = manifold.diffuse(x, std, torch.randn(3, 2, manifold.dim, generator=rng, dtype=torch.float64))
        v = torch.randn(3, 2, manifold.dim, generator=rng, dtype=torch.float64)
        step = 1e-4
        up, down = (manifold.log_kernel(manifold.expmap(near, s * v), x, std) for s in (step, -step))
        slope = (manifold.score(near, x, std) * v).sum(-1)
        assert torch.allclose(slope, (up - down) / (2 * step), rtol=2e-3, atol=2e-3), name


def test_temperature_scales_flat_noise_alone(space, rng):
    point = points(space, 2, rng)
    cold = space.temper(point, 0.5)
    for name, manifold in space.manifolds.items():
        assert torch.allclose(cold[name], point[name] * (1.0 if manifold.curved else 0.5))


def test_scales_and_freedoms_are_positive_and_grow(space):
    mask = padded_mask(space, 4)
    for name in space.manifolds:
        assert (space.scale(mask)[name] > 0).all()
        assert space.scale(mask)[name].shape == (4,)
    freedom = space.num_dof(mask)
    assert torch.allclose(freedom, sum(space.field_dof(mask).values()))
    if not bool(mask.all()):
        assert freedom[0] > freedom[-1] > 0


def test_a_head_predicts_points_and_learns(space, rng):
    """Fields of the shape of the point, finite, with gradients to every parameter of the head."""
    point = points(space, 4, rng)
    head = space.head(8, 3)
    shape = point.mask.shape
    features = Features(torch.randn(*shape, 8, generator=rng), torch.randn(*shape, 3, 3, generator=rng))
    predicted = head(features, point)
    total = torch.zeros(())
    for name, manifold in space.manifolds.items():
        assert predicted[name].shape == point[name].shape
        total = total + manifold.squared_error(predicted[name], torch.roll(point[name], 1, 0))[point.mask].sum()
    assert torch.isfinite(total)
    total.backward()
    for label, parameter in head.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label


def test_reduce_is_the_mean_over_real_positions(space):
    mask = padded_mask(space, 4)
    error = torch.where(mask, 2.0, 100.0)
    assert torch.allclose(space.reduce(error, mask), torch.full((4,), 2.0))


def example(name: str) -> Space:
    return CLASSES[name].example()


@pytest.mark.parametrize("name", having(Observable))
def test_what_is_observed_has_finite_gradients_of_its_own_row(name, rng):
    """The first example alone moves what is seen of the first."""
    space = example(name)
    point = points(space, 3, rng)
    fields = {key: x.clone().requires_grad_(x.is_floating_point()) for key, x in point.fields.items()}
    seen = space.observe(State(fields, point.mask))
    assert len(seen) == 3
    used = list(space.manifolds)
    gradients = torch.autograd.grad(seen[0].square().sum(), [fields[key] for key in used], allow_unused=True)
    found = [g for g in gradients if g is not None]
    assert found
    assert all(torch.isfinite(g).all() for g in found)
    assert all(bool((g[1:] == 0).all()) for g in found)
    assert any(bool((g[0] != 0).any()) for g in found)


@pytest.mark.parametrize("name", having(Alignable))
def test_alignment_is_a_symmetry_that_brings_noise_nearer(name, rng):
    """Squared distance from the data is not larger after it, and a second alignment changes nothing."""
    space = example(name)
    noise, data = points(space, 5, rng), points(space, 5, rng)
    moved = space.align(noise, data)
    flat = [key for key, manifold in space.manifolds.items() if not manifold.curved]

    def squares(one):
        return sum((one[key] - data[key]).square().sum((1, 2)) for key in flat[:1])

    assert (squares(moved) <= squares(noise) + 1e-3).all()
    assert distance(space, moved, space.align(moved, data)) < 1e-2
    for key in flat:
        assert torch.allclose(moved[key].square().sum((1, 2)), noise[key].square().sum((1, 2)), rtol=1e-3)


@pytest.mark.parametrize("name", having(PositionalContext))
def test_context_depends_on_earlier_positions_alone(name, rng):
    space = example(name)
    mask = torch.ones(1, length_of(space), dtype=torch.bool)
    one, two = points(space, 1, rng, mask), points(space, 1, rng, mask)
    cut = 6
    mixed = State({k: torch.cat([one[k][:, :cut], two[k][:, cut:]], 1) for k in space.manifolds}, mask)
    before, after = space.context(one), space.context(mixed)
    assert set(space.manifolds) <= set(before.fields)
    for key in before.fields:
        same = before[key][:, : cut + 1] - after[key][:, : cut + 1]
        assert same.abs().max() < 1e-4, key
    assert any((before[key] != after[key]).any() for key in before.fields)


@pytest.mark.parametrize("name", having(PartlyDefined))
def test_defined_coordinates_are_those_that_count(name, rng):
    """A mask of each field, within the real positions; what does not exist stays as the conventions have it."""
    space = example(name)
    one, two = points(space, 4, rng), points(space, 4, rng)
    for key, exists in space.defined(one).items():
        assert exists.shape == (*one.mask.shape, space.manifolds[key].dim)
        assert not exists[~one.mask].any()
        assert torch.allclose(one[key][~exists], two[key][~exists])
        assert not torch.allclose(one[key][exists], two[key][exists])
    freedom = sum(exists.sum((1, 2)) for exists in space.defined(one).values())
    assert freedom.shape == (4,)


@pytest.mark.parametrize("name", having(Admissible))
def test_admissible_says_yes_or_no_for_each_example(name, rng):
    space = example(name)
    found = space.admissible(points(space, 64, rng, torch.ones(64, length_of(space), dtype=torch.bool)))
    assert found.dtype == torch.bool
    assert found.shape == (64,)
    assert found.any() or not found.all()


@pytest.mark.parametrize("name", having(DiscreteValues))
def test_encoded_data_take_the_values_of_the_support(name, rng):
    space = example(name)
    values = space.encode(space.decode(points(space, 3, rng)))
    support = space.support()
    cells = (torch.cat([values[key] for key in space.manifolds], -1) - support.least) / support.step
    assert torch.allclose(cells, cells.round(), atol=1e-4)
    assert cells.round().min() >= 0
    assert cells.round().max() <= support.count - 1


@pytest.mark.parametrize("name", having(DecoderStart))
def test_the_start_of_a_decoder_is_a_point_that_depends_on_the_mask_alone(name):
    space = example(name)
    mask = padded_mask(space, 4)
    one, two = space.blank(mask), space.blank(mask)
    for key in space.manifolds:
        assert torch.equal(one[key], two[key])
        assert torch.isfinite(one[key]).all()
    assert distance(space, one, space.project(one)) < 1e-4


@pytest.mark.parametrize("name", having(EncoderView))
def test_the_view_of_an_encoder_keeps_the_mask(name, rng):
    space = example(name)
    point = points(space, 3, rng)
    seen = space.view(point)
    assert torch.equal(seen.mask, point.mask)
    assert all(torch.isfinite(x).all() for x in seen.fields.values())


@pytest.mark.parametrize("name", having(VectorPoints))
def test_vectors_give_the_point_back_and_turn_with_it(name, rng):
    space = example(name)
    point = points(space, 3, rng)
    vectors = space.to_vectors(point)
    assert vectors.shape == (*point.mask.shape, space.vectors, 3)
    assert distance(space, point, space.from_vectors(vectors, point.mask)) < 1e-3


def test_a_space_is_built_without_arguments_or_says_how(space):
    """`example` is what contracts rest on: an instance of the class itself."""
    assert isinstance(space, Space)
    assert not inspect.isabstract(type(space))
