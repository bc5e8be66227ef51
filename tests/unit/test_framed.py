"""Networks of frames over torsions, which read the torsions as well where they are told to."""

import math

import pytest
import torch

from protgen.errors import ConfigError
from protgen.models.framed import FramedEncoder, coordinate_width, coordinates_of
from protgen.models.model import build_model
from protgen.models.renamed import current_config
from protgen.spaces.backbone import Backbone
from protgen.spaces.torsions import Torsions
from protgen.types import State

TINY = {"name": "egnn", "dim": 16, "blocks": 1}


def config(**critic):
    return {
        "space": {"name": "torsions"},
        "encoder": {"name": "transformer", "dim": 8, "blocks": 1, "heads": 1},
        "family": {"name": "gan"},
        "critic": TINY | critic,
        "conditions": ["secondary_structure"],
    }


def point() -> State:
    """Three residues: -60, -45 and 180 degrees everywhere, and bond angles one deviation off."""
    torsions = torch.tensor([-math.pi / 3, -math.pi / 4, math.pi]).expand(1, 3, 3)
    mask = torch.ones(1, 3, dtype=torch.bool)
    return Torsions().project(State({"torsions": torsions, "angles": torch.ones(1, 3, 3)}, mask))


def test_coordinates_are_cosines_sines_and_values():
    """Of the middle residue, where all exist: cos and sin of -60, -45 and 180 degrees, and 1, 1, 1."""
    space = Torsions()
    found = coordinates_of(space, point())
    half, root = math.sqrt(3) / 2, math.sqrt(0.5)
    assert found.shape == (1, 3, coordinate_width(space)) == (1, 3, 9)
    assert found[0, 1].tolist() == pytest.approx([0.5, root, -1, -half, -root, 0, 1, 1, 1], abs=1e-6)
    padded = State(point().fields, torch.tensor([[True, True, False]]))
    assert torch.equal(coordinates_of(space, padded)[0, 2], torch.zeros(9))


def test_a_critic_reads_coordinates_beside_y(rng):
    """The network over frames gets y and then the coordinates of each position, as by hand."""
    model = build_model(config())
    critic = model.family.critic.network
    assert isinstance(critic, FramedEncoder)
    assert model.config["critic"] == TINY | {"coordinates": True}
    cond = model.conditions.unknown(point().mask)
    given = []
    critic.network.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    critic(point(), torch.zeros(1), cond)
    ((seen, _, y, _),) = given
    assert {"trans", "rots"} <= seen.fields.keys()
    assert torch.equal(y.residue, torch.cat([cond.residue, coordinates_of(Torsions(), point())], -1))


def test_a_critic_may_read_frames_alone():
    """Where the configuration says so; and where its network or the space has no coordinates beside frames."""
    plain = build_model(config(coordinates=False))
    width = plain.family.critic.network.network.reader.inputs.residue.weight.shape[1]
    both = build_model(config())
    assert both.family.critic.network.network.reader.inputs.residue.weight.shape[1] == width + 9
    assert "coordinates" not in build_model(config(name="transformer", heads=1)).config["critic"]
    frames = build_model(config() | {"space": {"name": "backbone"}, "encoder": TINY})
    assert "coordinates" not in frames.config["critic"]
    assert isinstance(frames.family.space, Backbone)


@pytest.mark.parametrize(
    ("critic", "words"),
    [
        ({"coordinates": 3}, "critic.coordinates is 3; give true or false"),
        ({"name": "transformer", "coordinates": True}, "transformer reads none beside frames"),
    ],
)
def test_what_cannot_be_read_is_refused(critic, words):
    with pytest.raises(ConfigError, match=words):
        build_model(config(**critic))


def test_folders_of_before_keep_a_critic_of_frames():
    """Their weights have no columns for coordinates."""
    assert current_config(config())["critic"] == TINY | {"coordinates": False}
    without = {key: value for key, value in config().items() if key != "critic"}
    assert current_config(without | {"encoder": TINY})["critic"] == TINY | {"coordinates": False}
    assert current_config(config(coordinates=True))["critic"] == TINY | {"coordinates": True}
