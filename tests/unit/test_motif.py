"""Motifs: their residues by chain and number, their places in designs, and where they are found again."""

import numpy as np
import pytest
import torch

from protgen.conditions.motif import Motif
from protgen.conditions.roles import Anchor
from protgen.errors import ConflictError, StructureError, UsageError
from protgen.generation.energies import moved_to
from protgen.generation.motif_projection import MotifProjection
from protgen.geometry import frames
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import build_from_torsions, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import Batch


def wild(length: int, seed: int = 0) -> np.ndarray:
    """A chain of random torsions: no two places of it are alike."""
    rng = np.random.default_rng(seed)
    return build_from_torsions(rng.uniform(-2.5, -0.8, length), rng.uniform(-1, 2.5, length))


@pytest.fixture
def file(tmp_path) -> str:
    """Two chains, B before A, with odd numbering and residue names."""
    path = tmp_path / "motif.pdb"
    backbone = np.concatenate([wild(30, 1), wild(30, 2) + 60])
    names = np.array(["ALA", "SER", "LYS"] * 20)
    write_structure(
        Protein.from_backbone(
            backbone,
            chain_ids=np.repeat(["B", "A"], 30),
            residue_numbers=np.concatenate([np.arange(101, 131), np.arange(7, 37)]),
            residue_names=names,
        ),
        path,
    )
    return str(path)


def test_residues_come_by_chain_and_number_in_the_order_of_the_contig(file):
    motif = Motif(file, "5/A10-12/3/B105/2")
    residues = motif.residues()
    assert residues.chain_ids.tolist() == ["A", "A", "A", "B"]
    assert residues.residue_numbers.tolist() == [10, 11, 12, 105]
    assert np.abs(residues.backbone[3] - wild(30, 1)[4]).max() < 1e-3
    assert motif.indices() == [5, 6, 7, 11]
    mapping = [(m.index, m.chain, m.number) for m in motif.mapping()]
    assert mapping == [(5, "A", 10), (6, "A", 11), (7, "A", 12), (11, "B", 105)]
    assert motif.placed


def test_what_is_not_in_the_file_is_named(file, tmp_path):
    with pytest.raises(UsageError, match=r"A98.*A7-36"):
        Motif(file, "5/A98-99/5")
    with pytest.raises(UsageError, match="no segment"):
        Motif(file, "5-10")
    with pytest.raises(UsageError, match="nowhere"):
        Motif(str(tmp_path / "nowhere.pdb"), "5/A10/5")
    with pytest.raises((UsageError, StructureError)):
        Motif(file, "")  # it has no REMARK 999 INPUT
    with pytest.raises(UsageError, match="free"):
        Motif(file, "5/A10/5", order="any")


def holding(motif: Motif, length: int, seed: int = 5) -> np.ndarray:
    """A random chain with the motif's atoms, moved, in the motif's places."""
    backbone = wild(length, seed) + 20
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    backbone[motif.indices()] = motif.residues().backbone @ turn.T + [3.0, -8.0, 1.0]
    return backbone


def test_a_motif_in_place_is_met_and_a_bent_one_is_not(file, rng):
    motif = Motif(file, "3-20/A10-18/4-20/B105-112/0-20").place(40, rng)
    backbone = holding(motif, 40)
    assert motif.adherence(Protein.from_backbone(backbone)).difference < 1e-3
    backbone[motif.indices()[:9]] += [2.5, 0, 0]
    met = motif.adherence(Protein.from_backbone(backbone))
    assert 1.0 < met.difference < 2.5
    assert not met.satisfied


@pytest.mark.parametrize("contig", ["0-30/A10-18/0-30", "3-20/A10-18/4-20/B105-112/0-20", "0-40/A20/5-9/B110/0-40"])
def test_a_motif_is_found_where_its_place_is_not_told(file, rng, contig):
    open_motif = Motif(file, contig)
    for seed in range(3):
        placed = open_motif.place(36, rng)
        met = open_motif.adherence(Protein.from_backbone(holding(placed, 36, seed)))
        assert met.difference < 1e-2, seed
        assert Motif(file, met.got["contig"]).indices() == placed.indices() or placed.parsed.motif_length < 3


def test_segments_in_free_order_are_found_in_any(file, rng):
    motif = Motif(file, "2-9/A10-18/2-9/B105-112/2-9", order="free")
    orders = set()
    for seed in range(8):
        placed = motif.place(32, rng)
        assert placed.placed
        orders.add(placed.parsed.segments[0].chain)
        assert motif.adherence(Protein.from_backbone(holding(placed, 32, seed))).difference < 1e-2
    assert orders == {"A", "B"}


def test_lengths_that_cannot_be_are_conflicts(file, rng):
    motif = Motif(file, "3-20/A10-18/3-20")
    with pytest.raises(ConflictError, match=r"motif.*60"):
        motif.check_length(60)
    with pytest.raises(ConflictError):
        motif.place(10, rng)


def test_placement_suits_a_secondary_structure(tmp_path, rng):
    """A helix is placed where helix is asked for, not over the strand."""
    path = tmp_path / "helix.pdb"
    write_structure(Protein.from_backbone(ideal_helix(14)), path)
    motif = Motif(str(path), "0-40/A3-12/0-40")
    codes = "L" * 2 + "E" * 20 + "L" * 3 + "H" * 14 + "L"
    indices = motif.place(40, rng, codes).indices()
    assert all(codes[index] == "H" for index in indices)


def test_the_projection_puts_the_motif_where_it_was_predicted(file, rng):
    """Exactly the motif's inner geometry, moved as one body, nothing else touched; rows without a motif neither."""
    motif = Motif(file, "5/A10-18/6/B105/9")
    space = Backbone()
    atoms = torch.from_numpy(np.stack([wild(30, 3), wild(30, 4)])).float()
    mask = torch.ones(2, 30, dtype=torch.bool)
    state = space.encode(Batch({"atoms": atoms}, mask))
    projected = MotifProjection(space, [motif.anchor(), None], torch.device("cpu"))(state)
    assert torch.allclose(projected["trans"][1], state["trans"][1], atol=1e-5)
    indices = motif.indices()
    others = [i for i in range(30) if i not in indices]
    assert torch.equal(projected["rots"][0, others], state["rots"][0, others])
    xyz = space.observe(projected)[0].double().numpy()
    assert motif.adherence(Protein.from_backbone(xyz)).difference < 0.05  # ideal bond angles within residues
    moved = MotifProjection(space, [motif.anchor(), None], torch.device("cpu"))(projected)
    assert torch.allclose(moved["trans"], projected["trans"], atol=1e-3)


def test_the_projection_of_a_turned_structure_is_turned(file):
    """Equivariance: a projection has no frame of its own."""
    motif = Motif(file, "5/A10-18/16")
    space = Backbone()
    state = space.encode(Batch({"atoms": torch.from_numpy(wild(30, 3)).float()[None]}, torch.ones(1, 30).bool()))
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]).float()
    turn = turn * torch.linalg.det(turn).sign()
    project = MotifProjection(space, [motif.anchor()], torch.device("cpu"))
    rotated = state.with_fields(trans=state["trans"] @ turn.T, rots=turn @ state["rots"])
    assert torch.allclose(project(rotated)["trans"], project(state)["trans"] @ turn.T, atol=1e-3)
    assert torch.allclose(project(rotated)["rots"], turn @ project(state)["rots"], atol=1e-4)


def test_a_finished_design_lies_in_the_frame_of_its_motif(file):
    motif = Motif(file, "5/A10-18/16")
    atoms = moved_to(holding(motif, 30), motif.anchor())
    assert np.abs(atoms[motif.indices(), :3] - motif.residues().backbone[:, :3]).max() < 1e-2
    rots, trans = frames.frames_from_backbone(torch.from_numpy(atoms))
    assert torch.isfinite(rots).all()
    assert isinstance(motif.anchor(), Anchor)
    assert torch.isfinite(trans).all()
