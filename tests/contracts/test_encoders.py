"""What every encoder promises; a new file in protgen/encoders is tested with no edit here."""

import pytest
import torch

from protgen import registry
from protgen.geometry import so3
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State

SMALL = {"dim": 32}
SIZES = (5, 17, 40)


def randomised(name: str, dtype: torch.dtype = torch.float64):
    """A small encoder whose zero-initialised layers are made random, so that every path is active."""
    torch.manual_seed(0)
    encoder = registry.build("encoders", name, residue_dim=3, whole_dim=2, **SMALL)
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return encoder.to(dtype)


def random_input(length: int, batch: int, rng: torch.Generator, dtype: torch.dtype = torch.float64):
    mask = torch.ones(batch, length, dtype=torch.bool)
    space = Backbone()
    state, estimate = (space.noise(mask, torch.randn(batch, length, 7, generator=rng)) for _ in range(2))
    cond = Conditioning(torch.randn(batch, length, 3, generator=rng), torch.randn(batch, 2, generator=rng))
    cond = Conditioning(cond.residue.to(dtype), cond.whole.to(dtype))
    # Rotations rounded to float32 are not orthogonal to 1e-9: make them so in the dtype of the test.
    exact = [
        s.with_fields(trans=s["trans"].to(dtype), rots=so3.project(s["rots"].to(dtype))) for s in (state, estimate)
    ]
    return exact[0], torch.rand(batch, generator=rng), cond, exact[1]


def moved(state: State, rotation: torch.Tensor, shift: torch.Tensor) -> State:
    return state.with_fields(trans=state["trans"] @ rotation.T + shift, rots=rotation @ state["rots"])


@pytest.mark.parametrize("name", registry.names("encoders"))
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_rigid_motions_turn_vectors_and_leave_scalars(name, dtype, limit, rng):
    """20 random motions at each of 3 sizes."""
    encoder = randomised(name, dtype)
    for length in SIZES:
        state, t, cond, estimate = random_input(length, 2, rng, dtype)
        features = encoder(state, t, cond, estimate)
        for _ in range(20):
            rotation = so3.uniform(torch.randn(4, generator=rng, dtype=dtype))
            rotation = so3.project(rotation)
            shift = 10 * torch.randn(3, generator=rng, dtype=dtype)
            turned = encoder(moved(state, rotation, shift), t, cond, moved(estimate, rotation, -shift))
            assert (turned.scalars - features.scalars).abs().max() <= limit
            assert (turned.vectors - features.vectors @ rotation.T).abs().max() <= limit * 10


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_a_mirror_image_changes_the_output(name, rng):
    encoder = randomised(name)
    state, t, cond, _ = random_input(17, 1, rng)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    # The frames of a mirrored backbone: axes reflected, and the third flipped to stay right-handed.
    reflected = state.with_fields(trans=state["trans"] @ mirror, rots=mirror @ state["rots"] @ mirror)
    if encoder.symmetry == "SE3":
        difference = encoder(state, t, cond).scalars - encoder(reflected, t, cond).scalars
        assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_padding_does_not_matter(name, rng):
    encoder = randomised(name)
    state, t, cond, estimate = random_input(17, 1, rng)
    features = encoder(state, t, cond, estimate)

    def padded(x, fill):
        return torch.cat([x, fill.expand(1, 6, *x.shape[2:])], dim=1)

    mask = padded(state.mask, torch.tensor(False))
    wide = [
        State(
            {"trans": padded(s["trans"], torch.zeros(3)), "rots": padded(s["rots"], torch.eye(3).double())},
            mask,
        )
        for s in (state, estimate)
    ]
    wide_cond = Conditioning(padded(cond.residue, torch.zeros(3)), cond.whole)
    result = encoder(wide[0], t, wide_cond, wide[1])
    assert (result.scalars[:, :17] - features.scalars).abs().max() < 1e-9
    assert (result.vectors[:, :17] - features.vectors).abs().max() < 1e-9


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_batch_members_do_not_see_each_other(name, rng):
    encoder = randomised(name)
    state, t, cond, estimate = random_input(12, 3, rng)
    together = encoder(state, t, cond, estimate)
    for i in range(3):
        pick = slice(i, i + 1)
        alone = encoder(
            State({k: v[pick] for k, v in state.fields.items()}, state.mask[pick]),
            t[pick],
            Conditioning(cond.residue[pick], cond.whole[pick]),
            State({k: v[pick] for k, v in estimate.fields.items()}, state.mask[pick]),
        )
        assert (alone.scalars - together.scalars[pick]).abs().max() < 1e-9


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_gradients_reach_every_parameter_and_are_finite(name, rng):
    encoder = randomised(name)
    state, t, cond, estimate = random_input(12, 2, rng)
    features = encoder(state, t, cond, estimate)
    (features.scalars.square().sum() + features.vectors.square().sum()).backward()
    for label, parameter in encoder.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().sum() > 0, label
