"""Each quantity has one definition: whoever asks for it gets the same answer, in numpy and in torch."""

import numpy as np
import pytest
import torch

from protgen.data.windows import Filters, windows_of
from protgen.geometry import alignment, angles, constants, size
from protgen.geometry import superposition as numpy_superposition
from protgen.metrics import compactness
from protgen.metrics.bonds import Bonds
from protgen.metrics.descriptors import describe
from protgen.metrics.secondary_structure import secondary_structure
from protgen.spaces import descriptors as space_descriptors
from protgen.structure import angles as numpy_angles
from protgen.structure import ideal, trace
from protgen.structure.dssp import assign_dssp, dssp, to_string
from protgen.structure.geometry_checks import chain_breaks
from protgen.structure.links import backbone_torsions, links
from protgen.structure.protein import CA, Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_pdb

FILTERS = Filters(min_length=8, max_coil=1.0)


def pulled_helix(gap: float, n: int = 24) -> np.ndarray:
    """A helix whose second half is moved along the CA-CA direction of the joint, so that this CA-CA grows by `gap`."""
    xyz = ideal.ideal_helix(n)
    step = xyz[n // 2, 1] - xyz[n // 2 - 1, 1]
    xyz[n // 2 :] += gap * step / np.linalg.norm(step)
    return xyz


def verdicts(backbone: np.ndarray, **keywords) -> tuple[int, int, int]:
    """Chain breaks by the reader, the store and the metrics."""
    protein = Protein.from_backbone(backbone, **keywords)
    _, reason = windows_of("x", protein, FILTERS)
    in_store = int(reason.split()[0]) if reason.endswith("chain breaks") else 0
    row = Bonds().measure(protein)
    return len(chain_breaks(protein)), in_store, int(row["chain_breaks"] + row["missing_segments"])


@pytest.mark.parametrize(("gap", "expected"), [(0.0, 0), (0.7, 0), (0.8, 1), (-0.7, 0), (-0.8, 1), (12.0, 1)])
def test_chain_break_is_the_same_to_the_reader_the_store_and_the_metrics(gap, expected):
    """CA-CA of 3.80 + gap is a break beyond 0.75 Å on either side."""
    assert verdicts(pulled_helix(gap)) == (expected,) * 3
    assert np.linalg.norm(np.diff(pulled_helix(gap)[:, 1], axis=0), axis=-1)[11] == pytest.approx(3.80 + gap, abs=0.02)


def test_cis_peptide_is_no_break():
    """A chain with one omega of 0 is whole to all, and is a break by RFdiffusion3's rule alone."""
    omega = np.full(20, np.pi)
    omega[9] = 0.0
    xyz = ideal.build_from_torsions(np.full(20, -2.1), np.full(20, 2.3), omega)
    assert verdicts(xyz) == (0, 0, 0)
    assert Bonds().measure(Protein.from_backbone(xyz))["chain_breaks_rfdiffusion3"] == 1


def test_break_without_ca_is_seen_by_the_peptide_bond():
    """A break at a residue without CA is determined by C-N; one without any of them by the residue numbers."""
    for gap, expected in ((0.0, 0), (3.0, 1)):
        xyz = pulled_helix(gap)
        xyz[12, 1] = np.nan
        assert int(links(Protein.from_backbone(xyz)).broken.sum()) == expected
    xyz = ideal.ideal_helix(8)
    xyz[4, :3] = np.nan
    numbers = np.r_[1:5, 9:13]
    assert links(Protein.from_backbone(xyz, residue_numbers=numbers)).missing.sum() == 1
    assert links(Protein.from_backbone(xyz)).broken.sum() == 0


def test_squeezed_link_is_no_cis_peptide():
    """CA-CA of 2.96 Å with a trans omega is a break where N and C are known; to a CA trace it looks like a cis one."""
    xyz = pulled_helix(-0.84)
    assert links(Protein.from_backbone(xyz)).broken.sum() == 1
    xyz[:, [0, 2, 3]] = np.nan
    assert links(Protein.from_backbone(xyz)).broken.sum() == 0


def test_break_is_read_from_a_file_with_its_place(tmp_path):
    """The reader's warning names CA-CA, the distance that makes the break."""
    write_pdb(Protein.from_backbone(pulled_helix(0.8)), tmp_path / "x.pdb")
    (warning,) = [w for w in read_structure(tmp_path / "x.pdb").warnings if w.code == "chain_break"]
    assert "residue 12" in warning.first_place
    assert "4.6 Å" in warning.first_place


def random_points(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape) * 5


def test_dihedral_and_angle_in_numpy_and_torch():
    """Float64: equal to 1e-12 rad, also at angles near 0 and pi."""
    points = random_points(4, 500, 3)
    points[3, :5] = points[0, :5]  # dihedral 0
    tensors = [torch.from_numpy(p) for p in points]
    assert np.abs(numpy_angles.dihedral(*points) - angles.dihedral(*tensors).numpy()).max() < 1e-12
    assert np.abs(numpy_angles.angle(*points[:3]) - angles.bond_angle(*tensors[:3]).numpy()).max() < 1e-9


def test_backbone_torsions_in_numpy_and_torch():
    """Phi, psi and omega of one chain agree, with NaN at the same ends."""
    xyz = ideal.build_from_torsions(*np.random.default_rng(1).uniform(-3, 3, (2, 30)))
    own = backbone_torsions(Protein.from_backbone(xyz))
    for a, b in zip(own, angles.backbone_torsions(torch.from_numpy(xyz)), strict=True):
        assert np.allclose(a, b.numpy(), atol=1e-12, equal_nan=True)


def test_radius_of_gyration_in_numpy_and_torch():
    """Rg and the sum of the variances along the axes are one number; torch's has 1e-8 Å^2 under the root."""
    ca = random_points(40, 3)
    masked = torch.from_numpy(np.concatenate([ca, random_points(7, 3)]))[None]
    mask = torch.arange(47)[None] < 40
    rg = trace.radius_of_gyration(ca)
    assert float(size.radius_of_gyration(masked, mask)) == pytest.approx(np.sqrt(rg**2 + 1e-8), rel=1e-12)
    assert float(size.gyration_variances(masked, mask).sum()) == pytest.approx(rg**2, rel=1e-12)
    backbone = np.full((40, 4, 3), np.nan)
    backbone[:, CA] = ca
    assert compactness.radius_of_gyration(Protein.from_backbone(backbone)) == rg


def test_expected_radius_of_gyration_is_one_law():
    assert compactness.expected_radius_of_gyration(100) == pytest.approx(2.2 * 100**0.38)
    from protgen.spaces.backbone import Backbone

    scale = Backbone().scale(torch.ones(1, 100, dtype=torch.bool))["trans"]
    assert float(scale) * 3**0.5 == pytest.approx(compactness.expected_radius_of_gyration(100), rel=1e-6)
    assert constants.RG_SCALE == 2.2


@pytest.mark.parametrize("mirrored", [False, True])
def test_superposition_in_numpy_and_torch(mirrored):
    """The rotation and the RMSD agree in float64, also where the best orthogonal matrix would be a reflection."""
    target = random_points(30, 3)
    turn = np.linalg.qr(random_points(3, 3))[0]
    turn *= np.sign(np.linalg.det(turn)) * (-1 if mirrored else 1)
    mobile = target @ turn + np.random.default_rng(2).normal(size=(30, 3)) + 7.0
    motion = numpy_superposition.superpose(mobile.T[..., None], target.T[..., None], np.ones((30, 1)))
    moved = motion.apply(mobile.T[..., None])[..., 0].T
    a, b, mask = torch.from_numpy(mobile)[None], torch.from_numpy(target)[None], torch.ones(1, 30, dtype=torch.bool)
    rotation, shift = alignment.kabsch(a, b, mask)
    assert np.abs(motion.rotation[..., 0] - rotation[0].numpy()).max() < 1e-8
    assert np.abs(motion.shift[:, 0] - shift[0].numpy()).max() < 1e-7
    off = np.sqrt(np.square(moved - target).sum(-1).mean())
    assert off == pytest.approx(float(alignment.rmsd(a, b, mask)), rel=1e-10)


def test_dssp_is_the_same_to_the_store_the_metrics_and_the_descriptors():
    """The store's labels are the metrics' string; prolines, which donate no hydrogen bond, end a helix in both."""
    names = np.repeat(["ALA", "PRO"], [12, 8])
    protein = Protein.from_backbone(ideal.ideal_helix(20), residue_names=names)
    items, _ = windows_of("x", protein, FILTERS)
    assert to_string(items[0].labels) == dssp(protein) == secondary_structure(protein) == "C" + 10 * "H" + 9 * "C"
    plain = Protein.from_backbone(protein.backbone)
    assert "".join(assign_dssp(plain.backbone[None])[0]) == dssp(plain) == "C" + 18 * "H" + "C"
    assert np.allclose(space_descriptors.describe(plain.backbone), describe(plain), atol=1e-12)


def test_dssp_is_cut_at_a_break_and_between_chains():
    """A helix pulled apart by 3 Å loses its hydrogen bonds to neither half: each half has coil ends."""
    whole, cut = ideal.ideal_helix(24), pulled_helix(3.0)
    assert "".join(assign_dssp(whole[None])[0]) == "C" + 22 * "H" + "C"
    by_chain = Protein.from_backbone(whole, chain_ids=np.repeat(["A", "B"], 12))
    assert dssp(by_chain) == "".join(assign_dssp(whole[None], (12, 12))[0])
    assert "".join(assign_dssp(cut[None])[0]) == dssp(Protein.from_backbone(cut))
