"""There and back through Bio.PDB and mdtraj, in Å on our side."""

import subprocess
import sys

import numpy as np
import pytest
from test_writer import example, same

from protgen.errors import StructureError
from protgen.structure.adapters import from_biopython, from_mdtraj, to_biopython, to_mdtraj
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein


def test_biopython_there_and_back():
    structure = to_biopython(example())
    assert same(from_biopython(structure), example())
    chain = from_biopython(structure[0]["b"])
    assert chain.chains == ["b"]
    assert chain.length == 9


def test_biopython_skips_water_and_keeps_modified_residues():
    from Bio.PDB.Residue import Residue

    structure = to_biopython(example())
    structure[0]["A"].add(Residue(("W", 900, " "), "HOH", " "))
    residue = structure[0]["A"][6 - 2]
    residue.resname, residue.id = "MSE", ("H_MSE", residue.id[1], " ")
    protein = from_biopython(structure)
    assert protein.length == 18
    assert "HOH" not in protein.residue_names


def test_biopython_refuses_doubles():
    twice = Protein.from_backbone(ideal_helix(3), residue_numbers=np.array([1, 2, 2]))
    with pytest.raises(StructureError, match="two residues"):
        to_biopython(twice)


def test_mdtraj_there_and_back():
    trajectory = to_mdtraj(example())
    ca = trajectory.topology.select("name CA")
    assert np.allclose(trajectory.xyz[0, ca] * 10, example().atoms[:, 1], atol=1e-4)
    back = from_mdtraj(trajectory)
    assert np.nanmax(np.abs(back.atoms - example().atoms)) < 1e-4
    assert np.array_equal(back.mask, example().mask)
    assert back.residue_numbers.tolist() == example().residue_numbers.tolist()
    assert back.chain_ids.tolist() == example().chain_ids.tolist()


def test_mdtraj_frames():
    trajectory = to_mdtraj(example())
    trajectory.xyz = np.concatenate([trajectory.xyz, trajectory.xyz + 1.0])
    trajectory.time = np.arange(2)
    assert np.nanmax(np.abs(from_mdtraj(trajectory, 1).atoms - example().atoms - 10)) < 1e-3
    with pytest.raises(StructureError, match="no frame 2"):
        from_mdtraj(trajectory, 2)


def test_importing_the_adapters_is_light():
    code = "import sys, protgen.structure.adapters; print({'mdtraj', 'Bio', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
