"""A protein space that only this file knows gets energies, guidance, weights and a start by the capabilities it has."""

import pytest
import torch
from torch import nn

from protgen.conditions.base import Conditions
from protgen.conditions.embedding import ConditionEmbedding
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.motif import Motif
from protgen.conditions.partial import Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.encoders.base import Encoder
from protgen.errors import ConfigError, UsageError
from protgen.families.flow_matching import FlowMatching
from protgen.generation.design import ResolvedSettings, SampleSettings
from protgen.generation.generate import generate
from protgen.generation.planner import assign
from protgen.models.fits import require_fit
from protgen.models.model import Model
from protgen.samplers.energy import EnergyGuidance
from protgen.spaces.atoms import BackboneAtoms
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Observable, Positional
from protgen.spaces.latent import LatentSpace
from protgen.spaces.manifolds import Euclidean
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import Batch, Features, State

LENGTH, STEPS = 24, 12
SCALE = 6.0  # Å


class Cartesian(Space, BackboneAtoms):
    """Backbone atoms as they are: one flat field of twelve numbers a residue, Å; no symmetry is taken out."""

    normals_per_position = 12

    def __init__(self) -> None:
        super().__init__()
        self.manifolds = {"atoms": Euclidean(12)}

    def encode(self, batch: Batch) -> State:
        atoms = batch["atoms"]
        atoms = torch.cat([atoms, atoms[:, :, 2:]], 2) if atoms.shape[2] == 3 else atoms
        return self.project(State({"atoms": atoms.flatten(2)}, batch.mask))

    def decode(self, state: State) -> Batch:
        return Batch({"atoms": self.observe(state)}, state.mask)

    def observe(self, state: State):
        return state["atoms"].unflatten(2, (4, 3))

    def noise(self, mask, normals):
        return self.project(State({"atoms": SCALE * normals}, mask))

    def scale(self, mask):
        return {"atoms": SCALE * torch.ones(len(mask), device=mask.device)}

    def project(self, state: State) -> State:
        return state.map(lambda x: masked(x, state.mask))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        return Offset()


class Coil(Encoder):
    """Knows one structure, a helix, 1.2 times as large where y has a helix fraction of 1; near data it keeps x_pred."""

    symmetry, vector_dim, scalar_dim, reads = "none", 0, 12, ("atoms",)

    def forward(self, state, t, cond, x_pred=None):
        helix = torch.from_numpy(ideal_helix(state.mask.shape[1])).float().flatten(1)
        wish = cond.globals[:, :1] * cond.globals[:, 1:2] if cond.globals.shape[1] else torch.zeros(len(t), 1)
        known = helix * (1 + 0.2 * wish[..., None])
        if x_pred is not None and bool((t < ResolvedSettings().guidance_interval[0]).all()):
            known = x_pred["atoms"]
        return Features(known, torch.zeros(*state.mask.shape, 0, 3))


class Offset(nn.Module):
    def forward(self, features: Features, state: State) -> State:
        return state.with_fields(atoms=features.scalars)


def model(*conditions: str) -> Model:
    family = FlowMatching(Cartesian(), Coil()).eval()
    require_fit(family.space, {"encoder": family.encoder}, "flow_matching")
    return Model(family, ConditionEmbedding(conditions), {"conditions": list(conditions)})


def radius(protein: Protein) -> float:
    ca = torch.from_numpy(protein.backbone[:, 1])
    return float((ca - ca.mean(0)).square().sum(-1).mean().sqrt())


def made(conditions, own: Model, **settings) -> Protein:
    asked = SampleSettings(steps=STEPS, relax=False, device="cpu", **settings)
    return next(iter(generate(own, conditions, 1, 0, asked))).protein


def test_an_energy_acts_in_it():
    """The helix of 24 residues has Rg 10.6 Å; asked for 9 Å, the design has it to 0.2 Å."""
    own = model()
    free = radius(made([Length(LENGTH)], own))
    assert free == pytest.approx(radius(Protein.from_backbone(ideal_helix(LENGTH))), abs=1e-3)
    conditions = Conditions.of([Length(LENGTH), RadiusOfGyration(9.0)])
    assert [one.mechanism for one in assign(conditions, own)] == ["construction", "energy"]
    assert radius(made(conditions, own)) == pytest.approx(9.0, abs=0.2)
    assert abs(free - 9.0) > 1


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_guidance_acts_in_it(weight):
    """Weight w extrapolates from the helix through 1.2 helix to (1 + 0.2 w) helix."""
    conditions = [Length(LENGTH), Fractions(helix=1.0)]
    found = radius(made(conditions, model("fractions"), guidance=weight))
    alone = radius(Protein.from_backbone(ideal_helix(LENGTH)))
    assert found / alone == pytest.approx(1 + 0.2 * weight, abs=1e-4)


def test_it_can_start_from_a_structure_and_is_relaxed(tmp_path):
    """Partial diffusion needs atoms alone, and the relaxation makes frames of any backbone."""
    write_structure(Protein.from_backbone(ideal_helix(LENGTH)), tmp_path / "start.pdb")
    own = model()
    settings = SampleSettings(steps=STEPS, device="cpu")
    (design,) = generate(own, [Partial(str(tmp_path / "start.pdb"), 0.3)], 1, 0, settings)
    assert design.protein.length == LENGTH
    assert abs(radius(design.protein) - radius(design.raw)) < 0.3


def test_what_it_has_not_is_left_to_other_mechanisms_or_refused(tmp_path):
    """No frames of residues: a motif is met by its energy, not by projection."""
    write_structure(Protein.from_backbone(ideal_helix(LENGTH)), tmp_path / "motif.pdb")
    motif = Motif(str(tmp_path / "motif.pdb"), "8/A5-12/8")
    (assignment,) = assign([motif], model())
    assert "projection" not in assignment.options
    assert assignment.mechanism == "energy"
    with pytest.raises(UsageError, match="enforce motif=projection"):
        assign([motif], model(), {"motif": "projection"})


class Hidden(LatentSpace):
    """Only for its type: a space that shows no coordinates."""


def test_a_missing_capability_is_named_with_spaces_that_have_it():
    space = Hidden(2)
    with pytest.raises(ConfigError, match=r"energy guidance needs .*such as backbone; Hidden has no Observable"):
        EnergyGuidance(FlowMatching(Cartesian(), Coil()).denoiser(), space, lambda x, mask: x.sum())
    assert isinstance(space, Positional)
    assert not isinstance(space, Observable)
