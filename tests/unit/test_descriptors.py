"""The space of fold descriptors: the definitions of the metrics, standardised, and classical models over it."""

import numpy as np
import pytest
import torch
from torch import Generator

from protgen.conditions.fold_class import CLASSES, FoldClass
from protgen.errors import ConfigError, UsageError
from protgen.families.classify import classify
from protgen.generation.backbones import require_backbones
from protgen.geometry import so3
from protgen.metrics.descriptors import NAMES, descriptors
from protgen.models.model import build_model
from protgen.samplers.base import SamplingTask
from protgen.spaces.descriptors import REFERENCE, Descriptors
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.types import Batch, State

pytestmark = pytest.mark.slow


def batch_of(backbones, length=60):
    """Padded backbones."""
    atoms = torch.zeros(len(backbones), length, 4, 3)
    mask = torch.zeros(len(backbones), length, dtype=torch.bool)
    for row, xyz in enumerate(backbones):
        atoms[row, : len(xyz)] = torch.from_numpy(np.asarray(xyz)).float()
        mask[row, : len(xyz)] = True
    return Batch({"atoms": atoms}, mask)


def folds(count, rng):
    """Noisy helices and hairpins of several lengths, and which is which (1 for hairpins)."""
    kinds = rng.integers(0, 2, count)
    made = [
        ideal_hairpin(2 * int(rng.integers(10, 16))) if k else ideal_helix(int(rng.integers(24, 40))) for k in kinds
    ]
    return batch_of([xyz + 0.05 * rng.normal(size=xyz.shape) for xyz in made]), torch.from_numpy(kinds)


def fitted(model, batch, kinds, **keywords):
    """A classical model of descriptors given the fold class."""
    config = {
        "space": {"name": "descriptors", "names": ["writhe", "rg_exponent", "contacts_per_residue"]},
        "encoder": {"name": "transformer", "dim": 8, "blocks": 1, "heads": 1},
        "family": {"name": "classical", "model": model, **keywords},
        "conditions": ["fold_class"],
    }
    built = build_model(config)
    requests = [[FoldClass(CLASSES[k])] for k in kinds.tolist()]
    cond = built.conditions.from_requests(requests, batch.mask)
    built.family.train().loss(built.family.space.encode(batch), cond, Generator())
    built.family.eval()
    return built, cond


def test_descriptors_are_those_of_the_metrics():
    """In their own units after decoding; the reference has a scale for each."""
    backbones = [ideal_helix(30), ideal_hairpin(26)]
    space = Descriptors()
    found = space.decode(space.encode(batch_of(backbones)))["descriptors"].numpy()
    expected = descriptors([Protein.from_backbone(xyz) for xyz in backbones])
    assert space.names == NAMES == tuple(REFERENCE)
    assert np.abs(found - expected).max() < 2e-4  # of float32 coordinates


# Mean and standard deviation of 400 random items of the training split of the released models, drawn and described
# apart from the table of the space.
NATIVES = {
    "writhe": (0.0491, 0.0408),
    "abs_writhe": (0.2832, 0.0396),
    "crossings_3_10": (0.0869, 0.0263),
    "crossings_10_25": (0.0535, 0.0121),
    "crossings_25_60": (0.0725, 0.0228),
    "crossings_60_10000": (0.0256, 0.0217),
    "writhe_3_10": (0.0190, 0.0158),
    "writhe_10_25": (-0.0008, 0.0084),
    "writhe_25_60": (0.0018, 0.0065),
    "writhe_60_10000": (-0.0001, 0.0039),
    "helix": (0.420, 0.239),
    "strand": (0.215, 0.189),
    "rg_exponent": (0.4056, 0.0298),
    "contacts_per_residue": (2.454, 0.302),
    "contact_order": (0.199, 0.0746),
    "shape_second": (0.447, 0.210),
    "shape_third": (0.250, 0.142),
    "log_length": (4.513, 0.257),
}


def test_the_unit_is_the_standard_deviation_of_natives():
    """A sample of 400 has mean 0 +- 0.05 and deviation 1 +- 0.05 in those units."""
    mean, std = np.array([NATIVES[name] for name in Descriptors().names]).T
    centre, scale = np.array(list(REFERENCE.values())).T
    assert np.abs((mean - centre) / scale).max() < 0.1
    assert np.abs(std / scale - 1).max() < 0.09


def test_neither_motion_nor_padding_matters(rng):
    xyz = torch.from_numpy(ideal_hairpin(30)).float()
    turn = so3.uniform(torch.randn(4, generator=rng))
    space = Descriptors()
    one, two = (
        space.encode(batch_of([each.numpy()], length))
        for each, length in ((xyz, 30), (xyz @ turn.T + torch.tensor([20.0, -7.0, 3.0]), 50))
    )
    assert torch.allclose(one["descriptors"], two["descriptors"], atol=5e-3)
    assert one.mask.shape == two.mask.shape == (1, 1)


def test_noise_is_standard_and_projects_to_itself(rng):
    space = Descriptors(["helix", "strand"])
    mask = space.full_mask(2000)
    noise = space.noise(mask, torch.randn(2000, 1, space.normals_per_position, generator=rng))
    assert torch.equal(space.project(noise)["descriptors"], noise["descriptors"])
    assert (noise["descriptors"].std(0) - 1).abs().max() < 0.1
    mean = space.observe(State({"descriptors": torch.zeros(1, 1, 2)}, space.full_mask(1)))
    assert mean.flatten().tolist() == pytest.approx([REFERENCE["helix"][0], REFERENCE["strand"][0]])


@pytest.mark.parametrize("model", ["naive_bayes", "discriminant", "mixture"])
def test_classical_models_tell_folds_apart(model):
    """p(y | x) by Bayes from p(x | y) finds the class of new structures; p(x) is the mixture over classes."""
    rng = np.random.default_rng(0)
    built, _ = fitted(model, *folds(80, rng), **({"components": 2} if model == "mixture" else {}))
    family, space = built.family, built.family.space
    batch, kinds = folds(30, rng)
    x = space.encode(batch)
    asked = [built.conditions.from_requests([[FoldClass(fold)]] * 30, batch.mask) for fold in CLASSES[:2]]
    found = classify(family, x, asked)
    assert found.kind == "exact"
    assert torch.equal(found.best, kinds)
    free = family.log_prob(x, built.conditions.unknown(batch.mask), Generator()).nats
    priors = family.examples[:2] / family.examples[:2].sum()
    codes = [int((cond.globals[0] @ family.codes[:2].T).argmax()) for cond in asked]
    assert torch.allclose(free, (found.log_likelihood + priors[codes].log()).logsumexp(-1), atol=1e-3)


def test_samples_are_descriptors_of_their_class():
    """In their own units: hairpins wind and lie as those fitted do; no structure comes of them."""
    batch, kinds = folds(80, np.random.default_rng(0))
    built, cond = fitted("discriminant", batch, kinds)
    space = built.family.space
    rows = torch.nonzero(kinds)[:1].expand(300, 1)[:, 0]
    task = SamplingTask(
        space.full_mask(300),
        type(cond)(cond.residue[rows], cond.globals[rows]),
        [Generator().manual_seed(i) for i in range(300)],
    )
    drawn = space.decode(built.family.sample(task))["descriptors"]
    own = space.decode(space.encode(batch))["descriptors"][kinds == 1]
    assert ((drawn.mean(0) - own.mean(0)).abs() < 0.3 * own.std(0) + 0.02).all()
    with pytest.raises(ConfigError, match="no structure can be made"):
        require_backbones(space)


def test_what_cannot_be_described_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'helix'"):
        Descriptors(["helx"])
    with pytest.raises(ConfigError, match="twice"):
        Descriptors(["helix", "helix"])
    with pytest.raises(UsageError, match="7 residues"):
        Descriptors().encode(batch_of([ideal_helix(7)]))
