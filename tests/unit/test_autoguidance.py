"""Autoguidance against its closed form, and a model with its guide in a folder."""

import json
from dataclasses import replace

import pytest
import torch

from protgen.conditions.length import Length
from protgen.errors import CheckpointError, ConfigError, UsageError
from protgen.generation.design import SampleSettings, settings_for
from protgen.generation.generate import generate
from protgen.models.model import build_model, load_model, save_model, with_guide
from protgen.samplers.autoguidance import AutoGuidance
from protgen.samplers.brownian import GeometricBrownian
from protgen.samplers.euler import Euler
from protgen.samplers.schedules import Cosine, Linear, Path
from protgen.types import State
from tests.exact_denoisers import LINE, ExactGaussian, Towards, task
from tests.toy_space import Circle

PARTS = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_transformer", "dim": 16, "blocks": 1, "heads": 2, "modulation": 4},
    "family": {"name": "flow_matching"},
    "conditions": ["length", "secondary_structure"],
}
FEW = {"steps": 2, "relax": False, "blueprint": "free"}


def normal(std: float, path: Path | None = None) -> ExactGaussian:
    """Of N(0, std^2)."""
    return ExactGaussian(path, std, 0.0)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    strong = build_model(PARTS)
    weak = build_model(PARTS | {"encoder": PARTS["encoder"] | {"dim": 8}})
    for model in (strong, weak):
        model.family.eval()
        with torch.no_grad():  # fresh networks move nothing
            for weights in model.family.parameters():
                weights += 0.05 * torch.randn_like(weights)
    return strong, weak


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_two_normal_distributions_give_the_one_of_their_weighted_logarithms(weight):
    """The flow of a normal scales noise by its std, log-linear in the prediction: std_1^w std_0^(1 - w)."""

    class Guided(Euler):
        def sample(self, denoiser, space, task):
            return super().sample(AutoGuidance(denoiser, space, normal(0.8), weight), space, task)

    given = task(1, length=50)
    alone = Euler(steps=200).sample(normal(1.0), LINE, given)["x"]  # std 1 on the straight path: as far as it came
    found = Guided(steps=200).sample(normal(0.5), LINE, task(1, length=50))["x"]
    # The noise is the same in both; that of std 1 ends where it began, up to the error of the steps.
    torch.testing.assert_close(
        found / alone, torch.full_like(found, 0.5**weight * 0.8 ** (1 - weight)), rtol=0.01, atol=0
    )


def test_angles_are_led_on_along_the_circle():
    """Predictions at 3.0 (weak) and -3.0: on by 2 pi - 6 across the seam for w = 2."""
    circle, t = Circle(), torch.ones(1)
    at = [State({"angles": torch.full((1, 1, 2), angle)}, torch.ones(1, 1, dtype=torch.bool)) for angle in (-3.0, 3.0)]
    strong, weak = (Towards(one, one) for one in at)
    guide = AutoGuidance(strong, circle, weak, 2.0)
    found = guide.denoise(at[0], t, task(1, y=1).cond)["angles"]
    torch.testing.assert_close(found, torch.full((1, 1, 2), -3.0 + (2 * torch.pi - 6.0)))


def test_a_guide_of_another_path_is_refused():
    for other in (Path(Cosine()), Path(Linear(), GeometricBrownian())):
        with pytest.raises(UsageError, match="another path"):
            AutoGuidance(normal(0.5), LINE, normal(0.8, other), 2.0)


def test_a_design_depends_on_the_guide_and_its_weight_alone(pair):
    """Weight 1 is the model without a guide, to the bit; a guide like the model changes nothing but by rounding."""
    strong, weak = pair
    both = with_guide(strong, weak)

    def design(model, **settings):
        (made,) = generate(model, [Length(12)], 1, 0, SampleSettings(**FEW, **settings))
        return torch.from_numpy(made.protein.backbone)

    alone = design(strong)
    assert torch.equal(design(both), alone)
    assert (design(both, autoguidance=2.0) - alone).abs().max() > 0.1
    itself = design(with_guide(strong, strong), autoguidance=3.0)
    torch.testing.assert_close(itself, alone, atol=0.02, rtol=0)  # as written, to a hundredth of an Å


def test_a_model_keeps_its_guide_in_its_folder(pair, tmp_path):
    strong, weak = pair
    model = with_guide(strong, weak)
    model = replace(model, config=model.config | {"sampling": {"autoguidance": 2.0}})
    save_model(model, tmp_path, torch.float32)
    found = load_model(tmp_path)
    assert settings_for(found).autoguidance == 2.0
    for name, weights in weak.family.state_dict().items():
        assert torch.equal(found.guide.state_dict()[name], weights)
    for name, weights in strong.family.state_dict().items():
        assert torch.equal(found.family.state_dict()[name], weights)
    assert load_model(save_without(tmp_path)).guide is None


def save_without(folder):
    """The same folder, its configuration without the guide."""
    config = json.loads((folder / "config.json").read_text())
    del config["guide"], config["sampling"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (3, "guide must have encoder and family"),
        ({"encoder": PARTS["encoder"]}, "guide must have encoder and family"),
        ({"encoder": PARTS["encoder"], "family": {"name": "flow_matchin"}}, "flow_matching"),
        ({"encoder": PARTS["encoder"] | {"dim": 32}, "family": PARTS["family"]}, "shape"),
    ],
)
def test_a_damaged_guide_is_named(pair, tmp_path, guide, message):
    save_model(with_guide(*pair), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"guide": guide}))
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_guides_that_do_not_fit_are_refused(pair):
    strong, weak = pair
    other = build_model(PARTS | {"conditions": ["length"]})
    with pytest.raises(ConfigError, match="other conditions"):
        with_guide(strong, other)
    losses = build_model(PARTS | {"space": {"name": "backbone", "bond_weight": 3.0}})
    assert with_guide(strong, losses).guide is losses.family
    with pytest.raises(ConfigError, match="another space"):
        with_guide(strong, build_model(PARTS | {"space": {"name": "backbone", "noise_scale": 2.0}}))
    with pytest.raises(UsageError, match="no weaker one"):
        generate(strong, [Length(12)], 1, 0, SampleSettings(**FEW, autoguidance=2.0))
    smooth = build_model(PARTS | {"family": {"name": "diffusion"}})
    with pytest.raises(UsageError, match="another path"):
        list(generate(with_guide(strong, smooth), [Length(12)], 1, 0, SampleSettings(**FEW, autoguidance=2.0)))
    assert weak.guide is None
