"""What we write, gemmi, biotite and Bio.PDB read back with the same CA and no warning; else it is refused."""

import os
import warnings

import gemmi
import numpy as np
import pytest

from protgen.errors import StructureError
from protgen.structure.ideal import add_cb, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_cif, write_pdb, write_structure

SUFFIXES = [".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".cif.gz"]


def example(n: int = 9, shift: float = 0.0) -> Protein:
    """Two chains, an insertion code, a negative number, a missing atom, UNK, glycine without CB."""
    backbone = np.concatenate([ideal_helix(n), ideal_helix(n) + 25]) + shift
    atoms = np.concatenate([backbone, add_cb(backbone)[:, None]], axis=1)
    mask = np.ones((2 * n, 5), dtype=bool)
    mask[3, 3] = mask[5, 4] = False
    atoms[~mask] = np.nan
    names = np.array(["ALA", "LEU", "LYS", "SER", "UNK", "GLY", "TRP", "MET", "HIS"] * 2)
    numbers = np.concatenate([np.arange(n) - 2, np.arange(n) + 100])
    codes = np.full(2 * n, "", dtype="U1")
    numbers[4:6], codes[5] = 2, "A"
    return Protein(atoms, mask, names, np.repeat(["A", "b"], n), numbers, codes, name="example")


def same(a: Protein, b: Protein) -> bool:
    fields = ("residue_names", "chain_ids", "residue_numbers", "insertion_codes", "mask")
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields) and bool(
        np.nanmax(np.abs(a.atoms - b.atoms)) < 0.00051
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    write_structure(example(), tmp_path / f"x{suffix}")
    found = read_structure(tmp_path / f"x{suffix}")
    assert same(found, example())
    expected = {"insertion_codes", "nonstandard_residue", "missing_backbone_atom"}
    assert {w.code for w in found.warnings} == expected
    assert os.listdir(tmp_path) == [f"x{suffix}"]


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_read_back_by_gemmi(tmp_path, suffix):
    write_structure(example(), tmp_path / f"x{suffix}")
    structure = gemmi.read_structure(str(tmp_path / f"x{suffix}"))
    residues = [(c.name, r.seqid.num, r.seqid.icode.strip(), r.name) for c in structure[0] for r in c]
    expected = example()
    assert residues == list(
        zip(
            expected.chain_ids.tolist(),
            expected.residue_numbers.tolist(),
            expected.insertion_codes.tolist(),
            expected.residue_names.tolist(),
            strict=True,
        )
    )
    ca = np.array([a.pos.tolist() for c in structure[0] for r in c for a in r if a.name == "CA"])
    assert np.abs(ca - expected.atoms[:, 1]).max() < 0.00051


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_read_back_by_biopython(tmp_path, suffix):
    from Bio.PDB.MMCIFParser import MMCIFParser
    from Bio.PDB.PDBParser import PDBParser

    write_structure(example(), tmp_path / f"x{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parser = PDBParser(PERMISSIVE=False) if suffix == ".pdb" else MMCIFParser()
        structure = parser.get_structure("x", str(tmp_path / f"x{suffix}"))
    ca = np.array([residue["CA"].coord for residue in structure.get_residues()])
    assert np.abs(ca - example().atoms[:, 1]).max() < 0.00051
    assert [c.id for c in structure.get_chains()] == ["A", "b"]
    assert [r.id[1] for r in structure.get_residues()] == example().residue_numbers.tolist()


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_read_back_by_biotite(tmp_path, suffix):
    pytest.importorskip("biotite")
    from biotite.structure.io import pdb, pdbx

    write_structure(example(), tmp_path / f"x{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if suffix == ".pdb":
            array = pdb.PDBFile.read(tmp_path / "x.pdb").get_structure(model=1)
        else:
            array = pdbx.get_structure(pdbx.CIFFile.read(tmp_path / "x.cif"), model=1)
    ca = array[array.atom_name == "CA"]
    assert np.abs(ca.coord - example().atoms[:, 1]).max() < 0.00051
    assert ca.res_id.tolist() == example().residue_numbers.tolist()
    assert ca.ins_code.tolist() == example().insertion_codes.tolist()


def test_binary_cif_of_biotite_is_read(tmp_path):
    pytest.importorskip("biotite")
    from biotite.structure.io import pdbx

    write_cif(example(), tmp_path / "x.cif")
    array = pdbx.get_structure(pdbx.CIFFile.read(tmp_path / "x.cif"), model=1)
    binary = pdbx.BinaryCIFFile()
    pdbx.set_structure(binary, array)
    for file, name in ((binary, "plain.bcif"), (pdbx.compress(binary), "packed.bcif")):
        file.write(tmp_path / name)
        assert same(read_structure(tmp_path / name), example())
        damaged = (tmp_path / name).read_bytes()[:-50]
        (tmp_path / "cut.bcif").write_bytes(damaged)
        with pytest.raises(StructureError, match=r"cut off|damaged"):
            read_structure(tmp_path / "cut.bcif")


@pytest.mark.parametrize("value", [10_000.0, 9999.9996, -10_000.0, -9999.9996, 1e5, -1e300])
@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_coordinates_that_no_format_takes(tmp_path, value, suffix):
    """One rule for both: nothing beyond 9999.999 Å is written, though mmCIF could hold it."""
    protein = example()
    protein.atoms[0, 0, 0] = value
    with pytest.raises(StructureError, match=r"^.*x\.\w+: a coordinate is farther than 9999\.999 Å from 0; move .*$"):
        write_structure(protein, tmp_path / f"x{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("value", "suffix"), [(9999.9994, ".pdb"), (9999.9994, ".cif"), (-9999.9994, ".cif")])
def test_the_farthest_coordinates_are_written(tmp_path, value, suffix):
    protein = example()
    protein.atoms[0, 0, 0] = value
    write_structure(protein, tmp_path / f"x{suffix}")
    assert read_structure(tmp_path / f"x{suffix}").atoms[0, 0, 0] == np.sign(value) * 9999.999


@pytest.mark.parametrize("value", [-1000.0, -999.9996])
def test_coordinates_pdb_cannot_hold(tmp_path, value):
    protein = example()
    protein.atoms[0, 0, 0] = value
    with pytest.raises(StructureError, match=r"x\.pdb: PDB cannot hold this: a coordinate"):
        write_pdb(protein, tmp_path / "x.pdb")
    assert os.listdir(tmp_path) == []
    write_cif(protein, tmp_path / "x.cif")
    assert read_structure(tmp_path / "x.cif").atoms[0, 0, 0] == pytest.approx(value, abs=0.001)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_not_finite(tmp_path, value, suffix):
    protein = example()
    protein.atoms[0, 0, 0] = value
    with pytest.raises(StructureError, match="not finite"):
        write_structure(protein, tmp_path / f"x{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("chain_ids", "AB", "chain names"),
        ("chain_ids", " ", "no chain name"),
        ("residue_numbers", 10_000, "residue numbers"),
        ("residue_numbers", -1000, "residue numbers"),
        ("residue_names", "LONG", "residue name"),
        ("insertion_codes", "XY", "insertion code"),
    ],
)
def test_fields_pdb_cannot_hold(tmp_path, field, value, reason):
    columns = {field: getattr(example(), field).astype(object)}
    columns[field][7] = value
    protein = Protein(**{**vars(example()), **columns})
    with pytest.raises(StructureError, match=reason):
        write_pdb(protein, tmp_path / "x.pdb")


def test_too_many_chains_and_atoms(tmp_path):
    backbone = ideal_helix(70)
    many = Protein.from_backbone(backbone, chain_ids=np.array([chr(48 + k) for k in range(70)]))
    with pytest.raises(StructureError, match="70 chains, 62 fit"):
        write_pdb(many, tmp_path / "x.pdb")
    write_cif(many, tmp_path / "x.cif")
    long = Protein.from_backbone(
        np.random.default_rng(0).normal(size=(25_000, 4, 3)), residue_numbers=np.arange(25_000)
    )
    with pytest.raises(StructureError, match="100,000 atoms"):
        write_pdb(long, tmp_path / "x.pdb")


def test_same_id_twice_and_nothing_to_write(tmp_path):
    twice = Protein.from_backbone(ideal_helix(3), residue_numbers=np.array([1, 2, 2]))
    with pytest.raises(StructureError, match="two residues are called A 2"):
        write_pdb(twice, tmp_path / "x.pdb")
    with pytest.raises(StructureError, match="no atom"):
        write_cif(Protein.from_backbone(np.full((3, 4, 3), np.nan)), tmp_path / "x.cif")


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_b_factors(tmp_path, suffix):
    values = np.arange(18) * 1.5
    write_structure(example(), tmp_path / f"x{suffix}", b_factors=values)
    structure = gemmi.read_structure(str(tmp_path / f"x{suffix}"))
    assert [r[0].b_iso for c in structure[0] for r in c] == pytest.approx(values.tolist())
    with pytest.raises(StructureError, match="b_factors"):
        write_structure(example(), tmp_path / f"x{suffix}", b_factors=values[:3])


def test_unknown_suffix_and_missing_folder(tmp_path):
    with pytest.raises(StructureError, match="unknown suffix"):
        write_structure(example(), tmp_path / "x.xyz")
    with pytest.raises(StructureError, match="cannot be written"):
        write_pdb(example(), tmp_path / "nowhere" / "x.pdb")


def test_ter_and_end(tmp_path):
    write_pdb(example(), tmp_path / "x.pdb")
    records = [line[:6].strip() for line in (tmp_path / "x.pdb").read_text().splitlines()]
    assert records.count("TER") == 2
    assert records[-1] == "END"
    assert set(records) == {"ATOM", "TER", "END"}


def test_same_input_gives_same_bytes(tmp_path):
    for suffix in SUFFIXES:
        write_structure(example(), tmp_path / f"a{suffix}")
        write_structure(example(), tmp_path / f"b{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
