"""mmCIF beyond the columns of PDB: gemmi, biotite, Bio.PDB and our reader give back what was written."""

import warnings

import gemmi
import numpy as np
import pytest

from protgen.errors import StructureError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_cif, write_pdb

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An mmCIF file of 25,200 residues and 100,800 atoms, in two chains numbered from 1 to 12,600; and its protein."""
    n = 12_600
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(21), np.arange(30), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    helices = (ideal_helix(n=2)[None] + 12.0 * grid[:, None]).reshape(-1, 4, 3)  # (25,200, 4, 3) Å, pairs of residues
    numbers, chains = np.tile(np.arange(1, n + 1), 2), np.repeat(["A", "B"], n)
    protein = Protein.from_backbone(helices, chain_ids=chains, residue_numbers=numbers)
    path = tmp_path_factory.mktemp("large") / "x.cif"
    write_cif(protein, path)
    return protein, path


def read_by_gemmi(path):
    model = gemmi.read_structure(str(path))[0]
    assert model.count_atom_sites() == 100_800
    rows = [(chain.name, residue.seqid.num, residue["CA"][0].pos.tolist()) for chain in model for residue in chain]
    return zip(*rows, strict=True)


def read_by_biotite(path):
    pytest.importorskip("biotite")
    from biotite.structure.io import pdbx

    array = pdbx.get_structure(pdbx.CIFFile.read(path), model=1)
    assert len(array) == 100_800
    ca = array[array.atom_name == "CA"]
    return ca.chain_id.tolist(), ca.res_id.tolist(), ca.coord


def read_by_biopython(path):
    from Bio.PDB.MMCIFParser import MMCIFParser

    structure = MMCIFParser().get_structure("x", str(path))
    assert sum(1 for _ in structure.get_atoms()) == 100_800
    rows = [(chain.id, residue.id[1], residue["CA"].coord) for chain in structure[0] for residue in chain]
    return zip(*rows, strict=True)


def read_by_us(path):
    protein = read_structure(path)
    assert protein.mask.sum() == 100_800
    return protein.chain_ids.tolist(), protein.residue_numbers.tolist(), protein.atoms[:, 1]


@pytest.mark.parametrize("reader", [read_by_us, read_by_gemmi, read_by_biotite, read_by_biopython])
def test_mmcif_beyond_the_columns_of_pdb_is_read_back(large, reader):
    """More than 99,999 atoms and residue numbers above 9,999: chains, numbers and CA come back, without a warning."""
    protein, path = large
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chains, numbers, ca = reader(path)
    assert list(chains) == protein.chain_ids.tolist()
    assert list(numbers) == protein.residue_numbers.tolist()
    assert np.abs(np.asarray(ca) - protein.atoms[:, 1]).max() < 0.0011
    with pytest.raises(StructureError, match="PDB cannot hold this: 100,800 atoms"):
        write_pdb(protein, path.with_name("x.pdb"))
