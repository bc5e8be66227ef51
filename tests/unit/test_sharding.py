"""Weights divided by FSDP, on one process: gradients of encoders, the norm by value, and what is refused."""

import math

import pytest
import torch

from protgen import registry
from protgen.errors import ConfigError
from protgen.models.model import Model, build_model
from protgen.structure.ideal import ideal_helix
from protgen.training import sharding
from protgen.training.loss import TrainingLoss
from protgen.training.optimizers import make_optimizer
from protgen.training.processes import Processes
from protgen.training.settings import Machine, TrainSettings
from protgen.training.sharding import Shards, blocks_of, whole
from protgen.training.step import TrainingStep
from protgen.types import Batch

ENCODERS = ("egnn", "frame_attention", "frame_transformer", "transformer")
ALONE = Processes(1, 0, torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A group of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def backbones() -> Batch:
    """Two bent helices."""
    rng, mask = torch.Generator().manual_seed(0), torch.arange(14) < torch.tensor([9, 14])[:, None]
    atoms = torch.from_numpy(ideal_helix(14)).float() + 0.3 * torch.randn(2, 14, 4, 3, generator=rng)
    return Batch({"atoms": atoms * mask[..., None, None]}, mask)


def built(encoder: str, family: str = "flow_matching", **keywords) -> Model:
    """A small model of backbones."""
    torch.manual_seed(0)
    cls = registry.find("encoders", encoder)
    parts = {"space": {"name": "backbone"}, "encoder": {"name": encoder} | cls.example(), "conditions": ["length"]}
    model = build_model(parts | {"family": {"name": family} | keywords})
    model.family.train()
    return model


def gradients(model: Model, divided: bool, clip: float = math.inf) -> tuple[dict[str, torch.Tensor | None], float]:
    """The gradient of one step, after clipping, and its norm before."""
    shards = Shards(model, TrainingLoss(model), ALONE) if divided else None
    optimizer = torch.optim.SGD(model.family.parameters(), lr=0.0)
    found = TrainingStep(model, optimizer, TrainSettings(clip=clip), ALONE, shards)([backbones()], 0)
    named = model.family.named_parameters()
    return {name: None if p.grad is None else whole(p.grad) for name, p in named}, found[0]["grad_norm"]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_have_the_same_gradients(encoder, monkeypatch):
    """Its blocks are gathered one by one; a weight that is not used has none. Clipped to a third of the norm."""
    monkeypatch.setattr(sharding, "BLOCK", 1)
    model = built(encoder)
    expected, norm = gradients(model, False)
    model = built(encoder)
    assert len(blocks_of(model.family)) > 1
    found, divided = gradients(model, True, clip=norm / 3)
    assert divided == pytest.approx(norm, rel=1e-5)
    assert [name for name, x in found.items() if x is None] == [name for name, x in expected.items() if x is None]
    for name, value in expected.items():
        other = found[name]
        if value is not None and other is not None:
            torch.testing.assert_close(3 * other, value, rtol=0, atol=1e-5 * float(value.abs().max()) + 1e-12)


def test_a_number_is_held_by_each_process_and_trained():
    """The scale of a VAE's pixels, beside weights that are divided: the same after two steps of AdamW."""
    image = {"name": "image", "height": 4, "width": 4, "channels": 1, "levels": 17, "binary": False}
    network = {"name": "perceptron", "height": 4, "width": 4, "channels": 1, "scalar_dim": 1, "dim": 8}
    parts = {"space": image, "encoder": network, "family": {"name": "vae", "latent_dim": 4, "pool": True, "warmup": 0}}
    pixels = torch.randint(0, 17, (6, 16, 1), generator=torch.Generator().manual_seed(0))
    batch = Batch({"pixels": pixels}, torch.ones(6, 16, dtype=torch.bool))
    settings = TrainSettings(clip=0.1, bf16=False)
    found = []
    for divided in (False, True):
        torch.manual_seed(0)
        model = build_model(parts | {"conditions": []})
        model.family.train()
        before = {name: p.detach().clone() for name, p in model.family.named_parameters() if not p.ndim}
        shards = Shards(model, TrainingLoss(model), ALONE) if divided else None
        optimizer = make_optimizer(model.family, settings, (0.9, 0.98))
        step = TrainingStep(model, optimizer, settings, ALONE, shards)
        norms = [step([batch], k)[0]["grad_norm"] for k in range(2)]
        found.append((norms, {name: whole(p.detach()) for name, p in model.family.named_parameters()}))
    (norms, expected), (divided_norms, values) = found
    assert before
    assert all(float((expected[name] - value).abs()) > 1e-3 for name, value in before.items())
    assert divided_norms == pytest.approx(norms, rel=1e-5)
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value, rtol=0, atol=1e-6)


def test_the_model_in_one_piece_holds_weights_only_while_it_is_used():
    model = built("egnn")
    shards = Shards(model, TrainingLoss(model), ALONE)
    weights = shards.gathered(model.family.state_dict())
    name, value = next(iter(weights.items()))
    with shards.holding(weights) as copy:
        assert torch.equal(copy.family.state_dict()[name], value)
        assert not copy.family.training
        held = copy.family
    assert all(p.is_meta for p in held.parameters())


def test_what_cannot_be_divided_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"^machine.sharding is zero; give fsdp, or null for none$"):
        Machine(sharding="zero")
    flow = {"space": {"name": "torsions"}, "family": {"name": "normalizing_flow", "steps": 2}, "conditions": ["length"]}
    network = {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2, "fields": {"torsions": 3, "angles": 3}}
    model = build_model(flow | {"encoder": network})
    with pytest.raises(ConfigError, match=r"^NormalizingFlow takes its first weights from data.*sharding=null$"):
        Shards(model, TrainingLoss(model), ALONE)
    monkeypatch.setattr(sharding, "TORCH", (999, 0))
    with pytest.raises(ConfigError, match=r"^machine.sharding=fsdp needs torch 999.0 or later"):
        Shards(model, TrainingLoss(model), ALONE)


def test_a_family_that_differentiates_within_its_loss_is_gathered_at_once():
    model = built("egnn")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(sharding, "BLOCK", 1)
        assert blocks_of(model.family)
        patch.setattr(type(model.family), "adversarial", True)
        assert not blocks_of(model.family)
