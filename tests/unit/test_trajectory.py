"""Trajectories in and out: coordinates within the format's precision, and one line for what does not fit."""

import numpy as np
import pytest

from protgen.conditions.length import Length
from protgen.conditions.symmetry import Symmetry
from protgen.errors import StructureError, UsageError
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.models.released import load
from protgen.structure.adapters import frames_to_mdtraj, from_mdtraj, to_mdtraj
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.trajectory import read_trajectory, unpacked, write_trajectory
from protgen.structure.writer import write_structure

pytestmark = pytest.mark.slow

N_FRAMES = 405  # more than two chunks


def frame(k: int, n: int = 6) -> Protein:
    """A helix in two chains whose residues are interleaved in the arrays, moved by k hundredths of an Å."""
    return Protein.from_backbone(ideal_helix(n) + 0.01 * k, name=f"f{k}", chain_ids=np.array(list("ABABBA")[:n]))


def by_chain(protein: Protein) -> np.ndarray:
    """Backbone in the order of files: chain by chain."""
    return np.concatenate([protein.backbone[protein.chain_ids == chain] for chain in protein.chains])


@pytest.fixture
def files(tmp_path):
    """An .xtc file of many frames, and a topology."""
    write_trajectory([frame(k) for k in range(N_FRAMES)], tmp_path / "md.xtc")
    write_structure(frame(0), tmp_path / "top.pdb")
    return tmp_path / "md.xtc", tmp_path / "top.pdb"


def test_there_and_back(files):
    """Every frame in order, under its name, within 0.005 Å: half the step of the format."""
    found = list(read_trajectory(*files))
    assert [protein.name for protein in found] == [f"md_{k:06d}" for k in range(N_FRAMES)]
    off = [np.abs(protein.backbone - by_chain(frame(k))).max() for k, protein in enumerate(found)]
    assert max(off) < 0.0051
    assert found[0].chain_ids.tolist() == ["A", "A", "A", "B", "B", "B"]
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["md.xtc", "top.pdb"]


def test_mdtraj_reads_what_is_written(files):
    """An independent program finds the same atoms with the topology, in nm."""
    import mdtraj

    trajectory = mdtraj.load(str(files[0]), top=str(files[1]))
    ca = trajectory.topology.select("name CA")
    assert np.abs(trajectory.xyz[7][ca] * 10 - by_chain(frame(7))[:, 1]).max() < 0.0051


def test_a_format_with_a_topology_of_its_own(tmp_path):
    """.h5 needs no topology, and keeps single precision."""
    pytest.importorskip("tables")
    frames_to_mdtraj([frame(0), frame(1)]).save_hdf5(str(tmp_path / "md.h5"))
    found = list(read_trajectory(tmp_path / "md.h5"))
    assert np.abs(found[1].backbone - by_chain(frame(1))).max() < 1e-5


def test_atoms_that_are_no_amino_acids_are_left_out(tmp_path):
    """Water that comes first in the file is not in the protein, and moves no index."""
    import mdtraj

    trajectory = to_mdtraj(frame(3))
    water = mdtraj.Topology()
    water.add_atom("O", mdtraj.element.oxygen, water.add_residue("HOH", water.add_chain(), resSeq=99))
    topology = water.join(trajectory.topology)
    xyz = np.concatenate([np.zeros((1, 1, 3), np.float32), trajectory.xyz], axis=1)
    mdtraj.Trajectory(xyz, topology).save_xtc(str(tmp_path / "md.xtc"))
    found = mdtraj.load(str(tmp_path / "md.xtc"), top=topology)
    assert found.n_atoms == trajectory.n_atoms + 1
    assert np.abs(from_mdtraj(found).backbone - by_chain(frame(3))).max() < 0.0051


def test_frames_become_files(files, tmp_path):
    """A folder stands in the place of the trajectory, in order, and is gone afterwards."""
    with unpacked([tmp_path / "a", files[0], "b"], files[1]) as found:
        assert found[0] == tmp_path / "a"
        assert found[2] == "b"
        names = sorted(path.name for path in found[1].iterdir())
        assert names[0] == "md_000000.cif"
        assert len(names) == N_FRAMES
        assert np.abs(read_structure(found[1] / names[9]).backbone - by_chain(frame(9))).max() < 0.0056
    assert not found[1].exists()


def test_what_does_not_fit_is_one_line(files, tmp_path):
    """Missing and wrong topologies, missing and damaged files, names that clash: what, where, what to do."""
    path, top = files
    with pytest.raises(UsageError, match=r"md\.xtc: a trajectory needs a topology.*add --top FILE"):
        list(read_trajectory(path))
    with pytest.raises(UsageError, match=r"nowhere\.xtc: no such file"):
        list(read_trajectory(tmp_path / "nowhere.xtc", top))
    with pytest.raises(UsageError, match=r"none\.pdb: no such file"):
        list(read_trajectory(path, tmp_path / "none.pdb"))
    write_structure(frame(0, 5), tmp_path / "short.pdb")
    with pytest.raises(StructureError, match=r"md\.xtc cannot be read with the topology .*short\.pdb") as caught:
        list(read_trajectory(path, tmp_path / "short.pdb"))
    assert "\n" not in str(caught.value)
    (tmp_path / "bad.xtc").write_bytes(b"no trajectory at all, only words" * 9)
    with pytest.raises(StructureError, match=r"bad\.xtc"):
        list(read_trajectory(tmp_path / "bad.xtc", top))
    with pytest.raises(UsageError, match="none of the paths is a trajectory"), unpacked([tmp_path], top):
        pass
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="same name"), unpacked([path, tmp_path / "sub" / "md.xtc"], top):
        pass


def test_frames_must_have_the_same_atoms(tmp_path):
    """Or none is written."""
    with pytest.raises(StructureError, match="f1: has other atoms than f0"):
        write_trajectory([frame(0), frame(1, 5)], tmp_path / "x.xtc")
    with pytest.raises(StructureError, match="at least one frame"):
        write_trajectory([], tmp_path / "x.xtc")
    assert not list(tmp_path.iterdir())


def test_a_design_keeps_what_was_predicted():
    """One frame a step, which come closer to the sampled structure and end on it; the design is the same."""
    model, settings = load("flow-small"), SampleSettings(steps=5, blueprint="free")
    (plain,) = generate(model, Length(24), 1, 3, settings)
    (design,) = generate(model, Length(24), 1, 3, settings, trajectory=True)
    assert plain.trajectory == ()
    assert np.array_equal(design.protein.backbone, plain.protein.backbone)
    off = [float(np.abs(frame.backbone - design.raw.backbone).max()) for frame in design.trajectory]
    assert len(off) == 5
    assert off[0] > 1.0
    assert off[0] > off[-2] > off[-1]
    assert off[-1] < 1e-5  # not 0: the structure is projected once more


def test_symmetric_designs_have_all_chains_in_each_frame(tmp_path):
    """So that the design is the topology of its trajectory."""
    settings = SampleSettings(steps=3, blueprint="free")
    (design,) = generate("flow-small", [Length(24), Symmetry("C2")], 1, 3, settings, trajectory=True)
    assert [frame.chains for frame in design.trajectory] == [["A", "B"]] * 3
    write_trajectory(design.trajectory, tmp_path / "x.xtc")
    write_structure(design.protein, tmp_path / "x.pdb")
    found = list(read_trajectory(tmp_path / "x.xtc", tmp_path / "x.pdb"))
    assert np.abs(found[-1].backbone - design.raw.backbone).max() < 0.0051


def test_where_no_structure_is_predicted_it_is_refused():
    """Families that go another way, and particles, with what to use in their place."""
    with pytest.raises(UsageError, match="Autoregressive does not; use one of flow_matching or diffusion"):
        generate("autoregressive-small", [Length(24)], trajectory=True)
    with pytest.raises(UsageError, match="smc replaces particles"):
        generate("flow-small", [Length(24)], settings=SampleSettings(sampler="smc"), trajectory=True)
