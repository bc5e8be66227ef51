"""Designs from a space of internal coordinates: the same road as from frames, with the same promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protgen.conditions.length import Length
from protgen.errors import ConfigError, UsageError
from protgen.generation.backbones import finished_atoms, require_backbones
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.models.model import Model, build_model
from protgen.spaces.backbone import Backbone
from protgen.spaces.image import Image
from protgen.spaces.torsions import Torsions


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = {
        "space": {"name": "torsions"},
        "encoder": {"name": "egnn", "dim": 16, "blocks": 1, "edge_dim": 8},
        "family": {"name": "autoregressive", "width": 16, "plan_dim": 8, "components": 4},
        "conditions": ["length", "secondary_structure"],
    }
    built = build_model(config)
    built.family.eval()
    return built


def test_designs_are_unbroken_and_do_not_depend_on_their_batch(model):
    seen = []
    settings = SampleSettings(guidance=1.0, relax=False, device="cpu")
    together = {d.index: d for d in generate(model, [Length(8, 14)], 3, 5, settings, on_step=lambda *s: seen.append(s))}
    assert seen[-1][0] == seen[-1][1] == sum(d.protein.length for d in together.values())
    alone = replace(settings, batch_size=1)
    for design in generate(model, [Length(8, 14)], 3, 5, alone):
        atoms = design.protein.backbone
        assert np.abs(atoms - together[design.index].protein.backbone).max() == 0
        joints = np.linalg.norm(atoms[1:, 0] - atoms[:-1, 2], axis=-1)
        assert np.abs(joints - 1.329).max() < 1e-3


def test_clean_up_takes_frames_of_any_backbone(model):
    """The atoms it starts from are those of the space, to the rigid residue that frames assume."""
    space = Torsions()
    torch.manual_seed(0)
    state = space.noise(torch.ones(2, 12, dtype=torch.bool), torch.randn(2, 12, 6))
    state = space.project(state.with_fields(angles=state["angles"] * 0.2))
    final, raw = finished_atoms(space, state, relax=True)
    assert torch.equal(raw, space.observe(state))
    assert (final - raw).abs().max() > 1e-3
    assert finished_atoms(space, state, relax=False)[0] is not final
    # Frames of Backbone go through as they are.
    frames = Backbone()
    same = frames.noise(torch.ones(1, 6, dtype=torch.bool), torch.randn(1, 6, 7))
    assert torch.equal(finished_atoms(frames, same, relax=False)[0], frames.observe(same))


def test_other_spaces_are_refused():
    with pytest.raises(ConfigError, match="Image"):
        require_backbones(Image(2, 2))


def test_wrong_settings_are_still_refused(model):
    with pytest.raises(UsageError):
        generate(model, [Length(9)], 1, 0, SampleSettings(temperature=-1.0))
