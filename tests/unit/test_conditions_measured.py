"""Geometric conditions on structures made by hand, whose answers are known."""

import numpy as np
import pytest
import torch

from protgen.conditions.clashes import Clashes
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.contact_order import ContactOrder
from protgen.conditions.contacts import Contacts
from protgen.conditions.custom import Custom
from protgen.conditions.cyclic import Cyclic
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.keep_out import KeepOut
from protgen.conditions.partial import Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.shape import Shape
from protgen.conditions.symmetry import Symmetry
from protgen.conditions.termini_distance import TerminiDistance
from protgen.errors import ConflictError, UsageError
from protgen.structure.ideal import ideal_hairpin, ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

HELIX = Protein.from_backbone(ideal_helix(30))
HAIRPIN = Protein.from_backbone(ideal_hairpin(20))
RISE = 1.5  # Å a residue of an alpha helix


def at(ca: np.ndarray) -> Protein:
    """A protein with CA atoms at given places, the other atoms about them."""
    offsets = np.array([[-1.2, 0.8, 0.0], [0.0, 0.0, 0.0], [1.2, 0.8, 0.0], [1.4, 1.9, 0.3]])
    return Protein.from_backbone(np.asarray(ca, float)[:, None] + offsets)


def test_radius_of_gyration_of_a_square():
    """Four CA at the corners of a square of half-diagonal 5 Å."""
    square = at([[5, 0, 0], [0, 5, 0], [-5, 0, 0], [0, -5, 0]])
    met = RadiusOfGyration(5.0).adherence(square)
    assert met.difference == pytest.approx(0, abs=1e-12)
    assert met.satisfied
    assert RadiusOfGyration(10.0).adherence(square).difference == pytest.approx(0.5)
    with pytest.raises(ConflictError, match=r"radius_of_gyration.*length"):
        RadiusOfGyration(5.0).check_length(100)
    with pytest.raises(ConflictError):
        RadiusOfGyration(200.0).check_length(100)
    RadiusOfGyration(12.5).check_length(100)


def test_one_step_down_the_energy_of_rg_reaches_it():
    xyz = torch.from_numpy(ideal_helix(30))[None].requires_grad_()
    mask = torch.ones(1, 30, dtype=torch.bool)
    wanted = RadiusOfGyration(9.0)
    (gradient,) = torch.autograd.grad(wanted.energy(xyz, mask).sum(), xyz)
    assert wanted.adherence(Protein.from_backbone((xyz - gradient).detach()[0].numpy())).difference < 1e-6


def test_asphericity_of_a_rod_and_of_an_octahedron():
    rod = at([[x, 0, 0] for x in range(6)])
    assert Shape(asphericity=1.0).adherence(rod).difference == pytest.approx(0, abs=1e-6)
    octahedron = at([[4, 0, 0], [-4, 0, 0], [0, 4, 0], [0, -4, 0], [0, 0, 4], [0, 0, -4]])
    assert Shape(asphericity=0.0).adherence(octahedron).difference == pytest.approx(0, abs=1e-6)


def test_ellipsoid_of_points_that_fill_it():
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((20000, 3))
    ball *= rng.random((20000, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=-1, keepdims=True)
    filled = at(ball * [20.0, 12.0, 8.0])
    assert Shape(ellipsoid=(8, 20, 12)).adherence(filled).difference < 0.02
    assert not Shape(ellipsoid=(12, 12, 12)).adherence(filled).satisfied


def test_a_cloud_of_points_is_met_by_itself_wherever_it_lies(tmp_path):
    path = tmp_path / "cloud.csv"
    points = ideal_helix(30)[:, 1] @ np.diag([1.0, -1.0, -1.0]) + 50
    path.write_text("x,y,z\n" + "\n".join(",".join(map(str, p)) for p in points))
    assert Shape(points=str(path)).adherence(HELIX).difference < 1e-4
    assert not Shape(points=str(path)).adherence(HAIRPIN).satisfied
    path.write_text("x,y,z\n1,2,3\n")
    with pytest.raises(UsageError, match="at least 4"):
        Shape(points=str(path))


def test_contacts_within_and_beyond_their_bounds():
    """Residues i and i + 10 of a helix are 15 Å apart."""
    distance = float(np.linalg.norm(HELIX.atoms[4, 1] - HELIX.atoms[14, 1]))
    assert distance == pytest.approx(10 * RISE, abs=1.0)
    met = Contacts(((5, 15, 14.0, 17.0),)).adherence(HELIX)
    assert met.satisfied
    assert met.difference == 0
    missed = Contacts.parse("5-15:8, 5-9:8").adherence(HELIX)
    assert not missed.satisfied
    assert missed.difference == pytest.approx((distance - 8) / 2)
    with pytest.raises(ConflictError, match="40"):
        Contacts.parse("1-40").check_length(30)


def test_contacts_of_a_file(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("i,j,upper\n5,15,\n20,3,6.5\n")
    assert Contacts.parse(str(path)).pairs == ((5, 15, 0.0, 8.0), (3, 20, 0.0, 6.5))
    for bad, word in (("a,b\n1,2\n", "columns"), ("i,j\n1,x\n", "line 2"), ("i,j\n", "no pair"), ("i,j\n5,5\n", "5-5")):
        path.write_text(bad)
        with pytest.raises(UsageError, match=word):
            Contacts.parse(str(path))
    for bad in ("5", "5-5", "0-3", "5-40:-1", "5-40:9:8", "1-2, 1-2", "3-4:100:200"):
        with pytest.raises(UsageError):
            Contacts.parse(bad)


def test_strands_of_a_hairpin_pair_antiparallel():
    blueprint = "L" + "E" * 8 + "LL" + "E" * 8 + "L"
    assert ContactMap(blueprint, ((1, 2, "antiparallel"),)).adherence(HAIRPIN).satisfied
    assert ContactMap(blueprint, ((1, 2, "near"),)).adherence(HAIRPIN).satisfied
    missed = ContactMap(blueprint, ((1, 2, "parallel"),)).adherence(HAIRPIN)
    assert missed.difference == 1
    assert missed.got == ["1-2: antiparallel"]
    strand = Protein.from_backbone(ideal_strand(20))
    assert ContactMap(blueprint, ((1, 2, "near"),)).adherence(strand).got == ["1-2: apart"]
    with pytest.raises(UsageError, match="must be strands"):
        ContactMap("H8L2E8", ((1, 2, "parallel"),))


def test_contact_order_of_one_contact():
    """Two residues of six touch, the first and the last: |i - j| = 5 over 6."""
    ring = at([[0, 0, 0], [10, 0, 0], [20, 0, 0], [20, 10, 0], [10, 11, 0], [0, 6, 0]])
    assert ContactOrder(5 / 6).adherence(ring).difference == pytest.approx(0, abs=1e-9)
    assert ContactOrder(0.0).adherence(Protein.from_backbone(ideal_strand(12))).satisfied


def test_termini_of_a_helix():
    met = TerminiDistance(29 * RISE).adherence(HELIX)
    assert met.satisfied
    with pytest.raises(ConflictError, match="termini_distance"):
        TerminiDistance(60.0).check_length(10)


@pytest.mark.parametrize(("protein", "kind"), [(HELIX, "alpha"), (HAIRPIN, "beta")])
def test_fold_classes(protein, kind):
    assert FoldClass(kind).adherence(protein).satisfied
    for other in {"alpha", "beta", "mixed"} - {kind}:
        missed = FoldClass(other).adherence(protein)
        assert not missed.satisfied
        assert missed.difference > 0
        assert missed.got == kind


def test_clashes_of_a_chain_laid_through_itself():
    assert Clashes().adherence(HELIX).satisfied
    doubled = Protein.from_backbone(np.concatenate([ideal_helix(12), ideal_helix(12) + 0.3]))
    assert not Clashes().adherence(doubled).satisfied


def test_a_helix_is_no_ring_and_a_ring_is_one():
    assert not Cyclic().adherence(HELIX).satisfied
    angle = np.linspace(0, 2 * np.pi, 31)[:30]
    radius = 3.8 / (2 * np.sin(np.pi / 30))
    closed = at(np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], -1))
    backbone = closed.backbone.copy()
    backbone[-1, 2] = backbone[0, 0] + [0.0, 1.33, 0.0]
    met = Cyclic().adherence(Protein.from_backbone(backbone))
    assert met.satisfied
    assert met.difference < 0.01


def test_volumes_are_entered_or_not(tmp_path):
    assert not KeepOut(((0.0, 0.0, 0.0, 5.0),)).adherence(HELIX).satisfied
    assert KeepOut.parse("100,0,0,5").adherence(HELIX).satisfied
    away = Protein.from_backbone(HELIX.backbone + np.array([12.0, 0, 0]), name="partner")
    write_structure(away, tmp_path / "partner.pdb")
    assert KeepOut(file=str(tmp_path / "partner.pdb")).adherence(HELIX).satisfied
    assert not KeepOut(file=str(tmp_path / "partner.pdb")).adherence(away).satisfied


def test_a_partial_structure_is_known_again_and_its_file_watched(tmp_path):
    path = tmp_path / "start.pdb"
    write_structure(HELIX, path)
    asked = Partial(str(path), 0.3)
    assert asked.length == 30
    assert asked.adherence(HELIX).difference < 0.01
    with pytest.raises(ConflictError, match="30"):
        asked.check_length(31)
    write_structure(Protein.from_backbone(ideal_strand(30)), path)
    with pytest.raises(UsageError, match="changed"):
        Partial(str(path), 0.3, checksum=asked.checksum)


def copies(group: str, rng: np.random.Generator) -> Protein:
    """A helix off the axis and its copies, the whole turned and shifted at random."""
    operations = Symmetry(group).operations()
    protomer = ideal_helix(12) + np.array([15.0, 4.0, 7.0])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    placed = np.einsum("gij,laj->glai", turn @ operations, protomer) + rng.standard_normal(3) * 30
    ids = np.repeat(list("ABCDEFGH")[: len(placed)], 12)
    return Protein.from_backbone(placed.reshape(-1, 4, 3), chain_ids=ids)


@pytest.mark.parametrize("group", ["C2", "C3", "C4", "C7", "D2", "D3"])
def test_perfect_symmetry_is_recognised_and_a_moved_chain_measured(group):
    """One chain of n with noise d is d sqrt(n - 1) / n from the nearest symmetric assembly, or a little less."""
    rng = np.random.default_rng(3)
    asked = Symmetry(group)
    perfect = copies(group, rng)
    assert asked.adherence(perfect).difference < 1e-6
    n = asked.copies
    backbone = perfect.backbone.copy()
    backbone[:12] += rng.standard_normal((12, 1, 3)) * 0.5
    std = np.sqrt(np.square(backbone - perfect.backbone)[:12].sum(-1).mean())
    off = asked.adherence(Protein.from_backbone(backbone, chain_ids=perfect.chain_ids)).difference
    assert 0.7 * std * np.sqrt(n - 1) / n < off < 1.01 * std * np.sqrt(n - 1) / n


def test_another_symmetry_is_not_met():
    rng = np.random.default_rng(1)
    assert Symmetry("C4").adherence(copies("D2", rng)).difference > 1
    assert Symmetry("D2").adherence(copies("C4", rng)).difference > 1
    with pytest.raises(UsageError, match="3 chains"):
        Symmetry("C3").adherence(copies("C2", rng))


def test_chains_in_another_order_are_found():
    perfect = copies("C4", np.random.default_rng(2))
    order = np.concatenate([np.arange(12) + 12 * k for k in (0, 2, 1, 3)])
    shuffled = Protein.from_backbone(perfect.backbone[order], chain_ids=np.repeat(list("ABCD"), 12))
    assert Symmetry("C4").adherence(shuffled).satisfied


@pytest.mark.parametrize("text", ["C1", "X3", "C", "D1", "C99", "C25", "D13", "", "C3.5", "С3", "T3"])
def test_strange_groups_are_refused(text):
    with pytest.raises(UsageError, match=r"choose C2 to C24 or D2 to D12$"):
        Symmetry.parse(text)


@pytest.mark.parametrize("text", ["T", "o", "I", "tetrahedral", "icosahedral"])
def test_cages_are_said_not_to_be_offered(text):
    with pytest.raises(UsageError, match="tetrahedral, octahedral and icosahedral cages are not offered; choose C2"):
        Symmetry.parse(text)


def test_a_users_function_is_checked_for_its_shape():
    flat = Custom(lambda xyz, mask: (xyz[..., 2].square().mean(-1) * mask).sum(-1), "flat", 50.0)
    assert flat.adherence(at([[5, 0, 0], [0, 5, 0], [-5, 0, 0]])).satisfied
    wrong = Custom(lambda xyz, mask: xyz.sum(), "wrong")
    with pytest.raises(UsageError, match="wrong"):
        wrong.adherence(HELIX)
    with pytest.raises(UsageError, match="Python"):
        Custom.parse("os.system")
