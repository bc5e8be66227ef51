"""Pairs that cannot be: refused when a model is built, with the reason and what to use instead."""

import pytest

from protgen import registry
from protgen.errors import ConfigError
from protgen.models.framed import FramedEncoder
from protgen.models.model import build_model

SMALL_IMAGE = {"name": "image", "height": 8, "width": 8, "levels": 17}
PIXELS = {"name": "transformer", "dim": 8, "blocks": 1, "heads": 1, "fields": {"pixels": 1}}
ON_IMAGES = [n for n in registry.names("encoders") if registry.find("encoders", n).reads == ("pixels",)]
ON_BACKBONES = [n for n in registry.names("encoders") if "trans" in registry.find("encoders", n).reads]


def build(space, encoder, family, conditions=(), **more):
    parts = {"space": space, "encoder": encoder, "family": family}
    named = {part: {"name": value} if isinstance(value, str) else value for part, value in parts.items()}
    return build_model(named | {"conditions": list(conditions)} | more)


@pytest.mark.parametrize("family", registry.names("families"))
def test_descriptors_are_for_classical_models(family):
    """Every other family needs positions that structures can be made of."""
    if family == "classical":
        assert build("descriptors", "transformer", family).family.positions == 1
        return
    encoder = "egnn" if registry.find("families", family).causal else "frame_attention"
    with pytest.raises(ConfigError, match="family=classical"):
        build("descriptors", encoder, family)


@pytest.mark.parametrize("encoder", ON_IMAGES)
def test_encoders_of_images_do_not_read_backbones(encoder):
    with pytest.raises(ConfigError, match=r"reads pixels.*use egnn"):
        build("backbone", encoder, "flow_matching")


@pytest.mark.parametrize("encoder", ON_BACKBONES)
def test_encoders_of_backbones_do_not_read_images(encoder):
    with pytest.raises(ConfigError, match=r"reads trans and rots.*unet"):
        build(SMALL_IMAGE, encoder, "diffusion")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("backbone", "egnn", {"name": "diffusion", "target": "eps", "path": "edm"}), "use target=x"),
        (("backbone", "egnn", {"name": "diffusion", "target": "eps"}), "use target=v"),
        (("backbone", "egnn", {"name": "diffusion", "path": "edm", "target": "edm"}), "Brownian motion"),
        (("backbone", "egnn", {"name": "flow_matching", "path": "edm"}), "family=diffusion"),
        (("backbone", "egnn", "normalizing_flow"), "torsions"),
        (("backbone", "egnn", "autoregressive"), "torsions"),
        (("backbone", "egnn", "classical"), "descriptors"),
        (("torsions", "transformer", "classical"), "descriptors"),
        (("torsions", "frame_attention", "autoregressive"), "choose from egnn"),
        (("torsions", "unet", "flow_matching"), "transformer with fields torsions, angles"),
        ((SMALL_IMAGE, "transformer", "flow_matching"), "fields pixels"),
        ((SMALL_IMAGE, PIXELS, {"name": "gan", "likelihood": "ode"}), "takes no keyword 'likelihood'"),
        (("backbone", {"name": "frame_attention", "blocks": 2}, "flow_matching"), "from 1 to blocks"),
    ],
)
def test_impossible_pairs_name_what_to_use(parts, words):
    with pytest.raises(ConfigError, match=words):
        build(*parts)


def test_a_critic_reads_the_space_too():
    with pytest.raises(ConfigError, match="the critic reads pixels"):
        build("backbone", "egnn", "gan", critic={"name": "unet"})


@pytest.mark.parametrize("family", ["autoregressive", "normalizing_flow"])
def test_families_that_read_what_is_before_take_graph_encoders_on_torsions(family):
    build("torsions", {"name": "egnn", "dim": 16, "blocks": 1}, family)


@pytest.mark.parametrize("family", ["flow_matching", "diffusion", "vae", "gan"])
def test_equivariant_encoders_read_the_frames_of_torsions(family):
    """Points without frames are placed for them; a family that has a second network takes one like the first."""
    model = build("torsions", {"name": "gvp", "dim": 16, "blocks": 1}, family)
    assert isinstance(model.family.encoder, FramedEncoder)
    names = [name for name in model.family.state_dict() if name.startswith("encoder.")]
    assert names
    assert all(name.startswith("encoder.network.") for name in names)
