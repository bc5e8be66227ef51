"""Attention biases from pairs of frames: each invariant against its definition in a loop, the mask, and requests."""

import numpy as np
import pytest
import torch

from protgen.encoders.frame_transformer import FrameTransformerEncoder
from protgen.geometry import so3
from protgen.geometry.frames import local_backbone
from protgen.nn import pair_planes as planes
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning

LENGTH = 6


@pytest.fixture
def frames(rng):
    rots = so3.uniform(torch.randn(2, LENGTH, 4, generator=rng, dtype=torch.float64))
    return rots, 5 * torch.randn(2, LENGTH, 3, generator=rng, dtype=torch.float64)


def test_invariants_are_those_of_the_definition(frames):
    """All planes of every pair, against numpy in a loop, to 1e-9."""
    rots, trans = frames
    found = torch.cat(planes.pair_planes(rots, trans, torch.float64))
    assert found.shape == (planes.PLANES, 2, LENGTH, LENGTH)
    r, x = rots.numpy(), trans.numpy()
    n_local, _, c_local = local_backbone(trans).numpy()

    def steps(distance, reaches):
        return [1 / (1 + (distance / reach) ** 6) for reach in reaches]

    for b in range(2):
        for i in range(LENGTH):
            for j in range(LENGTH):
                away = x[b, j] - x[b, i]
                distance = np.linalg.norm(away)
                c_n = [
                    np.linalg.norm(r[b, p] @ c_local + x[b, p] - r[b, q] @ n_local - x[b, q])
                    for p, q in ((i, j), (j, i))
                ]
                expected = steps(distance, planes.CA_REACHES)
                expected += steps(c_n[0], planes.C_N_REACHES) + steps(c_n[1], planes.C_N_REACHES)
                expected += [np.log1p(np.sqrt(distance**2 + 1e-6)) / 3]
                expected += list(r[b, i].T @ away / np.sqrt(distance**2 + 1e-6))
                expected += list((r[b, i].T @ r[b, j]).ravel())
                assert found[:, b, i, j].numpy() == pytest.approx(expected, abs=1e-9)


def test_offsets_are_those_of_the_definition():
    """Residue 2 seen from residue 9: offset -7, beyond the near ones; 4 from 3: offset 1."""
    found = planes.offset_planes(12, torch.zeros(0, dtype=torch.float64))
    for i, j in ((9, 2), (3, 4), (0, 11)):
        offset = j - i
        near = [float(offset == k) for k in range(-planes.NEAR, planes.NEAR + 1)]
        smooth = [f for s in planes.SCALES for f in (np.tanh(offset / s), np.exp(-abs(offset) / s))]
        assert found[:, i, j].numpy() == pytest.approx(near + smooth, abs=1e-6)


def test_keys_that_are_no_residues_are_hidden_and_requests_arrive_at_their_pair(frames):
    """With weights on the short way alone, a bias moves by gain times weight times request, at that pair only."""
    torch.manual_seed(0)
    network = planes.PairPlanes(global_dim=3, biases=4, asked=2).double()
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[1, 4:] = False
    known = torch.randn(2, 3, dtype=torch.float64)
    asked = torch.zeros(2, LENGTH, LENGTH, 2, dtype=torch.float64)
    asked[0, 1, 4, 1] = 0.5
    before = network(known, [frames], None, mask)
    assert (before[:, 1, :, 4:] < planes.HIDDEN_KEY / 2).all()
    assert before[:, 1, :, :4].abs().max() < 100
    assert before[:, 0].abs().max() < 100
    assert torch.allclose(network(known, [frames], asked, mask), before, atol=1e-12)
    weights = torch.randn(4, 2, dtype=torch.float64)
    with torch.no_grad():
        network.asked[-4:] = weights
    moved = network(known, [frames], asked, mask) - before
    expected = torch.zeros_like(moved)
    expected[:, 0, 1, 4] = planes.ASKED_GAIN * 0.5 * weights[:, 1]
    assert torch.allclose(moved, expected, atol=1e-12)


@pytest.mark.parametrize("of_two_chains", [False, True])
def test_what_is_computed_in_place_without_a_gradient_is_the_same(frames, of_two_chains):
    """Biases of two sets of frames, with requests, a mask and chains, to 1e-12; the frames stay as they are."""
    torch.manual_seed(0)
    network = planes.PairPlanes(global_dim=3, biases=4, sets=2, asked=2).double()
    torch.nn.init.normal_(network.asked)
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[1, 4:] = False
    chains = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2) if of_two_chains else None
    known, asked = torch.randn(2, 3).double(), torch.randn(2, LENGTH, LENGTH, 2).double()
    kept = [x.clone() for x in (*frames, known, asked)]
    leaves = [x.clone().requires_grad_() for x in frames]
    expected = network(known, [tuple(leaves), frames], asked, mask, chains)
    with torch.inference_mode():
        found = network(known, [frames, frames], asked, mask, chains)
    assert torch.allclose(found, expected, atol=1e-12, rtol=0)
    assert all(torch.equal(x, y) for x, y in zip((*frames, known, asked), kept, strict=True))


def test_the_encoder_hears_requests_of_pairs_and_nothing_of_those_unknown(rng):
    torch.manual_seed(0)
    encoder = FrameTransformerEncoder(2, 1, **FrameTransformerEncoder.example(), asked_dim=3)
    mask = torch.ones(1, 9, dtype=torch.bool)
    state = Backbone().noise(mask, torch.randn(1, 9, 7, generator=rng))
    t, known = torch.tensor([0.4]), (torch.randn(1, 9, 2, generator=rng), torch.randn(1, 1, generator=rng))
    asked = torch.zeros(1, 9, 9, 3)
    asked[0, 2, 7] = asked[0, 7, 2] = torch.tensor([0.0, 1.0, 1.0])

    def scalars(pair):
        with torch.no_grad():
            return encoder(state, t, Conditioning(*known, pair)).scalars

    for name, weight in encoder.named_parameters():
        if name.endswith("asked"):
            torch.nn.init.normal_(weight, generator=rng)
    assert torch.allclose(scalars(torch.zeros_like(asked)), scalars(None), atol=1e-5)
    assert (scalars(asked) - scalars(None)).abs().max() > 1e-2
