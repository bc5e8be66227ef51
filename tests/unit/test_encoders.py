"""Encoders: they learn, their configurations compose and compare at equal size, and tensor products are exact."""

import math

import pytest
import torch
from e3nn import o3

from protgen import registry
from protgen.cli.train_config import choices, load_config
from protgen.errors import ConfigError
from protgen.geometry import so3
from protgen.nn.irreps import DepthwiseProduct, even_irreps
from protgen.structure.ideal import ideal_helix
from protgen.types import Batch, Conditioning, State

pytestmark = pytest.mark.slow

SE3 = [name for name in registry.names("encoders") if registry.find("encoders", name).symmetry == "SE3"]
WIDTHS = {"residue_dim": 10, "global_dim": 8}


def parameters(encoder: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in encoder.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", SE3)
def test_it_learns_helices(name, rng):
    """Eighty steps of flow matching on four ideal helices: the loss at fixed times and noise falls by a third."""
    torch.manual_seed(0)
    space = registry.build("spaces", "backbone")
    keywords = {"refresh": 1} if name == "frame_attention" else {}
    encoder = registry.build("encoders", name, residue_dim=0, global_dim=0, dim=32, blocks=2, **keywords)
    family = registry.build("families", "flow_matching", space=space, encoder=encoder)
    lengths = [9, 10, 11, 12]
    atoms = torch.zeros(len(lengths), 12, 4, 3)
    for i, length in enumerate(lengths):
        atoms[i, :length] = torch.as_tensor(ideal_helix(length)).float()
    mask = torch.arange(12)[None] < torch.tensor(lengths)[:, None]
    x_data = space.encode(Batch({"atoms": atoms}, mask))
    cond = Conditioning(torch.zeros(4, 12, 0), torch.zeros(4, 0))

    def loss() -> float:
        with torch.no_grad():
            fixed = torch.Generator().manual_seed(1)
            return sum(float(family.loss(x_data, cond, fixed).total) for _ in range(6)) / 6

    before = loss()
    optimizer = torch.optim.Adam(family.parameters(), 5e-3, fused=True)
    for _ in range(80):
        optimizer.zero_grad()
        family.loss(x_data, cond, rng).total.backward()
        torch.nn.utils.clip_grad_norm_(family.parameters(), 1.0)
        optimizer.step()
    assert loss() < 0.67 * before


@pytest.mark.parametrize("name", choices("encoder"))
def test_every_configuration_composes_and_builds(name, tmp_path):
    """The keywords of each file are those of its encoder."""
    config = load_config([f"encoder={name}", f"data.store={tmp_path}", f"run={tmp_path}"]).model["encoder"]
    assert config["name"] == name
    encoder = registry.build("encoders", name, **WIDTHS, **{k: v for k, v in config.items() if k != "name"})
    assert parameters(encoder) > 1000


def test_every_encoder_has_a_configuration():
    """So that `encoder=NAME` works for all of them."""
    assert choices("encoder") == registry.names("encoders")


def test_configurations_of_backbone_encoders_have_equal_size(tmp_path):
    """Within 20 % of frame_attention: one word changed is a fair comparison."""
    sizes = {}
    for name in choices("encoder"):
        config = load_config([f"encoder={name}", f"data.store={tmp_path}", f"run={tmp_path}"]).model["encoder"]
        encoder = registry.build("encoders", name, **WIDTHS, **{k: v for k, v in config.items() if k != "name"})
        if "trans" in encoder.reads:
            sizes[name] = parameters(encoder)
    assert len(sizes) == 7
    for name, size in sizes.items():
        assert 0.8 < size / sizes["frame_attention"] < 1.2, (name, sizes)


def test_depthwise_products_are_those_of_the_definition(rng):
    """Against a sum over Wigner symbols path by path, to 1e-12, after a detour by float32."""
    features, harmonics = [3, 2, 2], [1, 2, 1]
    product = DepthwiseProduct(features, harmonics).to(torch.float32).to(torch.float64)
    x = torch.randn(4, even_irreps(features).dim, generator=rng, dtype=torch.float64)
    h = torch.randn(4, even_irreps(harmonics).dim, generator=rng, dtype=torch.float64)
    weights = torch.randn(4, product.weight_numel, generator=rng, dtype=torch.float64)
    result = product(x, h, weights)

    def part(flat, channels, degree):
        width, start = 2 * degree + 1, sum(c * (2 * k + 1) for k, c in enumerate(channels[:degree]))
        return flat[:, start : start + channels[degree] * width].unflatten(-1, (channels[degree], width))

    expected, used = [], 0
    for out in range(3):
        for left in range(3):
            for right in range(3):
                if not abs(left - right) <= out <= left + right:
                    continue
                u, v = features[left], harmonics[right]
                w = weights[:, used : used + u * v].reshape(4, u, v)
                used += u * v
                symbols = o3.wigner_3j(left, right, out, dtype=torch.float64)
                one = torch.einsum(
                    "euv,eui,evj,ijk->euk", w, part(x, features, left), part(h, harmonics, right), symbols
                )
                expected.append((one * ((2 * out + 1) / v) ** 0.5).flatten(1))
    assert used == product.weight_numel
    assert (result - torch.cat(expected, dim=-1)).abs().max() < 1e-12


def test_tensors_of_degree_two_are_equivariant_and_used(rng):
    """The option other than the default, by the same contract; another degree is refused."""
    from tests.contracts.test_encoders import moved, random_input, randomised

    encoder = randomised("tensor_field", degree=2, blocks=2, vectors=6)
    state, t, cond, x_pred = random_input(17, 1, rng)
    rotation = so3.project(so3.uniform(torch.randn(1, 4, generator=rng, dtype=torch.float64)))
    shift = torch.randn(1, 3, generator=rng, dtype=torch.float64)
    features = encoder(state, t, cond, x_pred)
    rotated = encoder(moved(state, rotation, shift), t, cond, moved(x_pred, rotation, -shift))
    assert (rotated.scalars - features.scalars).abs().max() < 1e-9
    assert (rotated.vectors - features.vectors @ rotation[0].T).abs().max() < 1e-8
    with pytest.raises(ConfigError, match="degree"):
        registry.build("encoders", "tensor_field", **WIDTHS, degree=3)


@pytest.mark.parametrize(
    ("name", "keywords", "words"),
    [
        ("transformer", {"dim": 30, "heads": 4}, "multiple of heads"),
        ("frame_transformer", {"dim": 30, "heads": 4}, "multiple of the heads"),
        ("unet", {"height": 2, "width": 2}, "resolutions"),
        ("unet", {"dim": 9, "multipliers": (1, 1)}, "heads"),
        ("unet", {"multipliers": (1, 0)}, r"multipliers \[1, 0\]: each is at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_construction(name, keywords, words):
    """One line that says which."""
    with pytest.raises(ConfigError, match=words):
        registry.build("encoders", name, **WIDTHS, **keywords)


def test_a_transformer_reads_angles_that_are_one_as_one():
    """pi and -pi are one angle; as plain numbers they are the two that differ most."""
    plain, round_ = (
        registry.build("encoders", "transformer", **WIDTHS, dim=32, fields={"torsions": 3}, circles=circles)
        for circles in ((), ("torsions",))
    )
    mask = torch.ones(1, 4, dtype=torch.bool)
    angles = torch.full((1, 4, 3), math.pi - 1e-4)
    y = Conditioning(torch.zeros(1, 4, WIDTHS["residue_dim"]), torch.zeros(1, WIDTHS["global_dim"]))
    for encoder, same in ((plain, False), (round_, True)):
        one, other = (encoder(State({"torsions": x}, mask), torch.zeros(1), y).scalars for x in (angles, -angles))
        assert (float((one - other).abs().max()) < 1e-2) == same
    with pytest.raises(ConfigError, match="circles has 'rots'"):
        registry.build("encoders", "transformer", **WIDTHS, fields={"torsions": 3}, circles=["rots"])
