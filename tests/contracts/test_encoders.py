"""What every encoder promises; a new file in protgen/encoders is tested with no edit here."""

import copy

import pytest
import torch

from protgen import registry
from protgen.encoders.base import Incremental
from protgen.errors import UsageError
from protgen.geometry import so3
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State

pytestmark = pytest.mark.slow

SIZES = (5, 17, 40)
PIXELS = 28 * 28  # of the images that encoders of images read by default
MOTIONS = 20

CLASSES = registry.classes("encoders")
NAMES = list(CLASSES)
ON_IMAGES = [name for name in NAMES if CLASSES[name].reads == ("pixels",)]
ON_BACKBONES = [name for name in NAMES if set(CLASSES[name].reads) <= {"trans", "rots"}]
READABLE = [*ON_BACKBONES, *ON_IMAGES]  # of other fields no state is made here
SE3 = [name for name in NAMES if CLASSES[name].symmetry == "SE3"]
CAUSAL = [name for name in ON_BACKBONES if CLASSES[name].causality != "never"]
CAUSAL_ON_GRIDS = [n for n in NAMES if CLASSES[n].causality != "never" and CLASSES[n].on_grid(5, 7, 1) is not None]


def causal_keywords(name: str, causal: bool = True) -> dict:
    """What makes an encoder causal; it may always be."""
    return {"causal": causal} if CLASSES[name].causality == "optional" else {}


def randomised(name: str, dtype: torch.dtype = torch.float64, **keywords):
    """A small encoder whose zero-initialised layers are made random, so that every path is active."""
    torch.manual_seed(0)
    encoder = registry.build("encoders", name, residue_dim=3, global_dim=2, **(CLASSES[name].example() | keywords))
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return encoder.to(dtype)


def random_input(length: int, batch: int, rng: torch.Generator, dtype: torch.dtype = torch.float64):
    mask = torch.ones(batch, length, dtype=torch.bool)
    space = Backbone()
    state, x_pred = (space.noise(mask, torch.randn(batch, length, 7, generator=rng)) for _ in range(2))
    cond = Conditioning(torch.randn(batch, length, 3, generator=rng), torch.randn(batch, 2, generator=rng))
    cond = Conditioning(cond.residue.to(dtype), cond.globals.to(dtype))
    # Rotations rounded to float32 are not orthogonal to 1e-9: make them so in the dtype of the test.
    exact = [s.with_fields(trans=s["trans"].to(dtype), rots=so3.project(s["rots"].to(dtype))) for s in (state, x_pred)]
    return exact[0], torch.rand(batch, generator=rng), cond, exact[1]


def readable_input(name: str, batch: int, rng: torch.Generator, length: int = 12):
    """A state that the encoder reads: a backbone, or an image."""
    if name in ON_BACKBONES:
        return random_input(length, batch, rng)
    mask = torch.ones(batch, PIXELS, dtype=torch.bool)
    state, x_pred = (
        State({"pixels": torch.randn(batch, PIXELS, 1, generator=rng, dtype=torch.float64)}, mask) for _ in range(2)
    )
    cond = Conditioning(torch.randn(batch, PIXELS, 3, generator=rng), torch.randn(batch, 2, generator=rng))
    return state, torch.rand(batch, generator=rng), Conditioning(cond.residue.double(), cond.globals.double()), x_pred


def rows(state: State, pick) -> State:
    return State({k: v[pick] for k, v in state.fields.items()}, state.mask[pick])


def moved(state: State, rotation: torch.Tensor, shift: torch.Tensor) -> State:
    """A state of batch 1 under several motions: one example each."""
    trans = state["trans"] @ rotation.transpose(-1, -2) + shift[:, None]
    mask = state.mask.expand(len(rotation), -1)
    return State({"trans": trans, "rots": rotation[:, None] @ state["rots"]}, mask)


@pytest.mark.parametrize("name", READABLE)
def test_features_in_bfloat16_are_the_same_with_and_without_a_gradient(name, rng):
    """Training and its validations see one network, to the bit, within what bfloat16 resolves of that in float32."""
    encoder = randomised(name, torch.float32)
    state, t, cond, x_pred = readable_input(name, 2, rng)
    x, guess = (s.map(torch.Tensor.float) for s in (state, x_pred))
    y = Conditioning(cond.residue.float(), cond.globals.float())
    exact = encoder(x, t, y, guess).scalars
    with torch.autocast("cpu", torch.bfloat16):
        kept = encoder(x, t, y, guess)
        with torch.no_grad():
            found = encoder(x, t, y, guess)
    assert torch.equal(found.scalars, kept.scalars)
    assert torch.equal(found.vectors, kept.vectors)
    assert (kept.scalars - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", SE3)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_rigid_motions_turn_vectors_and_leave_scalars(name, dtype, limit, rng):
    """20 random motions at each of 3 sizes, with and without x_pred, which moves by a shift of its own."""
    encoder = randomised(name, dtype)
    for length in SIZES:
        state, t, cond, x_pred = random_input(length, 1, rng, dtype)
        rotation = so3.project(so3.uniform(torch.randn(MOTIONS, 4, generator=rng, dtype=dtype)))
        shift = 10 * torch.randn(MOTIONS, 3, generator=rng, dtype=dtype)
        times = t.expand(MOTIONS)
        conds = Conditioning(cond.residue.expand(MOTIONS, -1, -1), cond.globals.expand(MOTIONS, -1))
        for guess in (x_pred, None) if length == 17 else (x_pred,):
            with torch.no_grad():
                features = encoder(state, t, cond, guess)
                rotated_guess = None if guess is None else moved(guess, rotation, -shift)
                rotated = encoder(moved(state, rotation, shift), times, conds, rotated_guess)
            assert (rotated.scalars - features.scalars).abs().max() <= limit
            expected = features.vectors @ rotation[:, None].transpose(-1, -2)
            assert (rotated.vectors - expected).abs().max() <= limit * max(1.0, float(features.vectors.abs().max()))
            assert features.vectors.abs().max() > 0.01


@pytest.mark.parametrize("name", SE3)
def test_a_mirror_image_changes_the_output(name, rng):
    encoder = randomised(name)
    state, t, cond, _ = random_input(17, 1, rng)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    # The frames of a mirrored backbone: axes reflected, and the third flipped to stay right-handed.
    reflected = state.with_fields(trans=state["trans"] @ mirror, rots=mirror @ state["rots"] @ mirror)
    difference = encoder(state, t, cond).scalars - encoder(reflected, t, cond).scalars
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("name", [name for name in ON_BACKBONES if CLASSES[name].symmetry == "none"])
def test_an_encoder_without_symmetry_sees_the_direction_a_structure_points_in(name, rng):
    """The control is one: a turn of the structure changes its scalars."""
    encoder = randomised(name)
    state, t, cond, _ = random_input(17, 1, rng)
    rotation = so3.uniform(torch.randn(1, 4, generator=rng, dtype=torch.float64))
    rotated = encoder(moved(state, rotation, torch.zeros(1, 3).double()), t, cond)
    assert (rotated.scalars - encoder(state, t, cond).scalars).abs().max() > 1e-3


@pytest.mark.parametrize("name", ON_BACKBONES)
def test_padding_does_not_matter(name, rng):
    encoder = randomised(name)
    for length in (17, 30):
        state, t, cond, x_pred = random_input(length, 1, rng)
        features = encoder(state, t, cond, x_pred)

        def padded(x, fill):
            return torch.cat([x, fill.expand(1, 6, *x.shape[2:])], dim=1)

        mask = padded(state.mask, torch.tensor(False))
        wide = [
            State(
                {"trans": padded(s["trans"], torch.zeros(3)), "rots": padded(s["rots"], torch.eye(3).double())},
                mask,
            )
            for s in (state, x_pred)
        ]
        wide_cond = Conditioning(padded(cond.residue, torch.zeros(3)), cond.globals)
        result = encoder(wide[0], t, wide_cond, wide[1])
        assert (result.scalars[:, :length] - features.scalars).abs().max() < 1e-9
        assert (result.vectors[:, :length] - features.vectors).abs().max() < 1e-9


@pytest.mark.parametrize("name", READABLE)
def test_batch_members_do_not_see_each_other(name, rng):
    encoder = randomised(name)
    state, t, cond, x_pred = readable_input(name, 3, rng, length=34)
    together = encoder(state, t, cond, x_pred)
    for i in range(3):
        pick = slice(i, i + 1)
        alone = encoder(
            rows(state, pick), t[pick], Conditioning(cond.residue[pick], cond.globals[pick]), rows(x_pred, pick)
        )
        assert (alone.scalars - together.scalars[pick]).abs().max() < 1e-9
        assert (alone.vectors - together.vectors[pick]).abs().sum() < 1e-9


@pytest.mark.parametrize("name", READABLE)
def test_everything_given_reaches_the_output(name, rng):
    """State, time, both kinds of y and x_pred each change the scalars."""
    encoder = randomised(name)
    state, t, cond, x_pred = readable_input(name, 1, rng)
    base = encoder(state, t, cond, x_pred).scalars
    other = state.map(lambda x: x.roll(1, dims=1))
    given = [
        (other, t, cond, x_pred),
        (state, t, Conditioning(cond.residue + 1, cond.globals), x_pred),
        (state, t, Conditioning(cond.residue, cond.globals + 1), x_pred),
    ]
    if CLASSES[name].causality != "always":  # those that go from position to position know no noise, and no x_pred
        given += [(state, t / 2, cond, x_pred), (state, t, cond, other), (state, t, cond, None)]
    for changed in (encoder(*each) for each in given):
        assert (changed.scalars - base).abs().max() > 1e-3


@pytest.mark.parametrize("name", READABLE)
def test_gradients_reach_every_parameter_and_are_finite(name, rng):
    encoder = randomised(name)
    state, t, cond, x_pred = readable_input(name, 2, rng)
    features = encoder(state, t, cond, x_pred)
    assert features.scalars.shape == (*state.mask.shape, encoder.scalar_dim)
    assert features.vectors.shape == (*state.mask.shape, encoder.vector_dim, 3)
    (features.scalars.square().sum() + features.vectors.square().sum()).backward()
    for label, parameter in encoder.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", [n for n in ON_BACKBONES if CLASSES[n].exact_gradients])
def test_gradients_by_coordinates_are_those_of_the_output(name, rng):
    """Guidance and critics need them: the derivative along a random direction agrees with a finite difference."""
    encoder = randomised(name)
    state, t, cond, x_pred = random_input(30, 1, rng)
    weights = torch.randn(30, encoder.scalar_dim, generator=rng, dtype=torch.float64)
    direction = torch.randn(1, 30, 3, generator=rng, dtype=torch.float64)

    def value(step):
        shifted = state.with_fields(trans=state["trans"] + step * direction)
        return (encoder(shifted, t, cond, x_pred).scalars * weights).sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(step), step)
    with torch.no_grad():
        numeric = (value(1e-6) - value(-1e-6)) / 2e-6
    assert (slope - numeric).abs() < 1e-5 * (1 + numeric.abs())


@pytest.mark.parametrize("name", ON_BACKBONES)
def test_one_residue_and_coincident_residues_are_no_trouble(name, rng):
    """A chain of one, and all residues in one place (where a decoder starts): finite, with finite gradients."""
    encoder = randomised(name)
    for length in (1, 24):
        state, t, cond, _ = random_input(length, 1, rng)
        trans = torch.zeros_like(state["trans"]).requires_grad_()
        features = encoder(state.with_fields(trans=trans, rots=so3.identity_like(state["rots"])), t, cond)
        (gradient,) = torch.autograd.grad(features.scalars.sum() + features.vectors.square().sum(), trans)
        for x in (features.scalars, features.vectors, gradient):
            assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_encoder_never_sees_what_follows(name, rng):
    """Other residues, y and x_pred after position i: not a bit of its output changes; those after it do change."""
    encoder = randomised(name, torch.float32, **causal_keywords(name))
    length, cut = 40, 29
    state, t, cond, x_pred = random_input(length, 1, rng, torch.float32)
    other, _, other_cond, other_x_pred = random_input(length, 1, rng, torch.float32)

    def spliced(one, two):
        return torch.cat([one[:, :cut], two[:, cut:]], dim=1)

    def joined(one, two):
        return State({k: spliced(one[k], two[k]) for k in one.fields}, one.mask)

    changed_cond = Conditioning(spliced(cond.residue, other_cond.residue), cond.globals)
    for guess, other_guess in ((None, None), (x_pred, other_x_pred)):
        features = encoder(state, t, cond, guess)
        changed = encoder(joined(state, other), t, changed_cond, joined(guess, other_guess) if guess else None)
        assert torch.equal(changed.scalars[:, :cut], features.scalars[:, :cut])
        assert torch.equal(changed.vectors[:, :cut], features.vectors[:, :cut])
        assert (changed.scalars[:, cut:] - features.scalars[:, cut:]).abs().amax((0, 2)).min() > 1e-3
        # Nor does the length of the chain: a prefix by itself gives the same, up to the order of sums.
        prefix = Conditioning(cond.residue[:, :cut], cond.globals)
        alone = encoder(
            State({k: v[:, :cut] for k, v in state.fields.items()}, state.mask[:, :cut]),
            t,
            prefix,
            State({k: v[:, :cut] for k, v in guess.fields.items()}, guess.mask[:, :cut]) if guess else None,
        )
        assert (alone.scalars - features.scalars[:, :cut]).abs().max() < 1e-4


@pytest.mark.parametrize("name", [name for name in CAUSAL if CLASSES[name].causality == "optional"])
def test_a_causal_encoder_sees_what_comes_before(name, rng):
    """The first residue reaches the last, and without `causal` the last reaches the first."""
    state, t, cond, _ = random_input(12, 1, rng)
    for causal, changed, watched in ((True, 0, -1), (False, -1, 0)):
        encoder = randomised(name, causal=causal)
        trans = state["trans"].clone()
        trans[:, changed] += 3.0
        difference = encoder(state.with_fields(trans=trans), t, cond).scalars - encoder(state, t, cond).scalars
        assert difference[:, watched].abs().max() > 1e-6


@pytest.mark.parametrize("name", [name for name in CAUSAL if issubclass(CLASSES[name], Incremental)])
def test_one_position_after_another_equals_the_whole(name, rng):
    """Chains of 40, 23 and 1 residues read residue by residue, their rows in another order half-way (float64)."""
    encoder = randomised(name, **causal_keywords(name))
    state, t, cond, _ = random_input(40, 3, rng)
    state = State(state.fields, torch.arange(40) < torch.tensor([40, 23, 1])[:, None])
    whole, memory, order = encoder(state, t, cond).scalars, None, torch.arange(3)
    for i in range(40):
        if i == 20:
            order = torch.tensor([2, 0, 0])
            memory = memory.chosen(order)
        part = State({k: v[order, : i + 1] for k, v in state.fields.items()}, state.mask[order, : i + 1])
        y = Conditioning(cond.residue[order, : i + 1], cond.globals[order])
        last, memory = encoder.extend(part, t[order], y, memory)
        real = part.mask[:, -1]
        assert (last - whole[order, i])[real].abs().max() < 1e-9
    assert all(kept.shape[:2] == (3, 40) for block in memory.blocks for kept in block)


@pytest.mark.parametrize("name", [n for n in CAUSAL_ON_GRIDS if issubclass(CLASSES[n], Incremental)])
def test_one_pixel_after_another_equals_the_whole(name, rng):
    """Images of 5 x 7 pixels read pixel by pixel, their rows of the batch in another order half-way (float64)."""
    encoder = randomised(name, **CLASSES[name].on_grid(5, 7, 1), **causal_keywords(name))
    mask, t, memory, order = torch.ones(3, 35, dtype=torch.bool), torch.rand(3, generator=rng).double(), None, [0, 1, 2]
    residue = torch.randn(3, 35, 3, generator=rng, dtype=torch.float64)
    cond = Conditioning(residue, torch.randn(3, 2, generator=rng, dtype=torch.float64))
    pixels = torch.randn(3, 35, 1, generator=rng, dtype=torch.float64)
    whole = encoder(State({"pixels": pixels}, mask), t, cond).scalars
    for i in range(35):
        if i == 17:
            order = [2, 0, 0]
            memory = memory.chosen(torch.tensor(order))
        part = State({"pixels": pixels[order, : i + 1]}, mask[order, : i + 1])
        y = Conditioning(cond.residue[order, : i + 1], cond.globals[order])
        last, memory = encoder.extend(part, t[order], y, memory)
        assert (last - whole[order, i]).abs().max() < 1e-9


@pytest.mark.parametrize("name", CAUSAL_ON_GRIDS)
def test_a_causal_encoder_of_images_sees_no_later_pixel(name, rng):
    """Pixels from one in the middle of a row on are others: not a bit changes before it, and the last pixel sees it."""
    height, width, cut = 5, 7, 2 * 7 + 3
    keywords = CLASSES[name].on_grid(height, width, 1) | causal_keywords(name)
    encoder = randomised(name, torch.float32, **keywords)
    mask = torch.ones(2, height * width, dtype=torch.bool)
    cond = Conditioning(torch.randn(2, height * width, 3, generator=rng), torch.randn(2, 2, generator=rng))
    pixels = torch.randn(2, height * width, 1, generator=rng)
    other, one_more = pixels.clone(), pixels.clone()
    other[:, cut:] = torch.randn(2, height * width - cut, 1, generator=rng)
    one_more[:, cut] += 1.0
    t = torch.zeros(2)
    with torch.no_grad():
        plain, changed, near = (encoder(State({"pixels": x}, mask), t, cond).scalars for x in (pixels, other, one_more))
        part = State({"pixels": pixels[:, :cut]}, mask[:, :cut])
        prefix = encoder(part, t, Conditioning(cond.residue[:, :cut], cond.globals)).scalars
    assert torch.equal(changed[:, :cut], plain[:, :cut])
    assert (prefix - plain[:, :cut]).abs().max() < 1e-4
    for place in (cut, cut + 1, cut + width):
        assert (near[:, place] - plain[:, place]).abs().max() > 1e-6


@pytest.mark.parametrize("name", READABLE)
def test_low_precision_is_near(name, rng):
    """Under autocast to bfloat16 the vectors, which move atoms, differ by a few percent of their size."""
    encoder = randomised(name, torch.float32)
    state, t, cond, x_pred = readable_input(name, 2, rng)
    given = [s.map(torch.Tensor.float) for s in (state, x_pred)]
    cond = Conditioning(cond.residue.float(), cond.globals.float())
    exact = encoder(given[0], t, cond, given[1])
    with torch.autocast("cpu", torch.bfloat16):
        low = encoder(given[0], t, cond, given[1])
    for one, two in ((exact.scalars, low.scalars.float()), (exact.vectors, low.vectors.float())):
        assert (one - two).norm() <= 0.05 * one.norm()


@pytest.mark.parametrize("name", READABLE)
def test_weights_are_all_there_is_to_save(name, rng):
    """Another instance with the same weights, and a copy, give the same to the bit."""
    encoder = randomised(name)
    assert set(encoder.state_dict()) == {label for label, _ in encoder.named_parameters()}
    torch.manual_seed(1)
    twin = registry.build("encoders", name, residue_dim=3, global_dim=2, **CLASSES[name].example()).to(torch.float64)
    twin.load_state_dict(encoder.state_dict())
    state, t, cond, x_pred = readable_input(name, 1, rng)
    features = encoder(state, t, cond, x_pred)
    for other in (twin, copy.deepcopy(encoder)):
        assert torch.equal(other(state, t, cond, x_pred).scalars, features.scalars)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 14, 2)])
@pytest.mark.parametrize("name", [name for name in ON_IMAGES if CLASSES[name].local])
def test_an_encoder_of_images_keeps_pixels_in_their_place(name, height, width, channels, rng):
    """Any size: a change of one pixel is felt most near it, in both directions of the image."""
    encoder = randomised(name, **CLASSES[name].on_grid(height, width, channels))
    mask = torch.ones(1, height * width, dtype=torch.bool)
    pixels = torch.randn(1, height * width, channels, generator=rng, dtype=torch.float64)
    cond = Conditioning(torch.zeros(1, height * width, 3).double(), torch.zeros(1, 2).double())
    t = torch.full((1,), 0.5)
    row, column = height // 2, width // 3
    other = pixels.clone()
    other[:, row * width + column] += 1.0
    with torch.no_grad():
        one, two = (encoder(State({"pixels": x}, mask), t, cond).scalars for x in (pixels, other))
    change = (one - two)[0].norm(dim=-1)
    assert one.shape == (1, height * width, encoder.scalar_dim)
    place = int(change.argmax())
    assert abs(place // width - row) <= 2
    assert abs(place % width - column) <= 2
    with pytest.raises(UsageError, match="pixels"):
        encoder(State({"pixels": pixels[:, 1:]}, mask[:, 1:]), t, cond)


def test_the_transformer_reads_any_state(rng):
    """An image and a toy state by the names and widths of their fields; a state that lacks one is refused."""
    mask = torch.ones(2, 16, dtype=torch.bool)
    cond = Conditioning(torch.zeros(2, 16, 0), torch.zeros(2, 1))
    state = State(
        {"x": torch.randn(2, 16, 2, generator=rng), "angles": torch.randn(2, 16, 3, generator=rng)},
        mask,
    )
    for keywords in ({}, {"row": 4}, {"causal": True}):
        encoder = registry.build(
            "encoders", "transformer", residue_dim=0, global_dim=1, fields={"x": 2, "angles": 3}, dim=32, **keywords
        )
        features = encoder(state, torch.rand(2, generator=rng), cond, state)
        assert features.scalars.shape == (2, 16, 32)
        assert features.vectors.shape == (2, 16, 0, 3)
        assert encoder.vector_dim == 0
        with pytest.raises(UsageError, match="angles"):
            encoder(State({"x": state["x"]}, mask), torch.zeros(2), cond)
