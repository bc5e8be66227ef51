"""`Protein`: what it says of itself, and what a reader says through it."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import protgen as pg
from protgen.errors import StructureError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein


def helix(n: int = 12, **keywords) -> Protein:
    return Protein.from_backbone(ideal_helix(n), **keywords)


def test_repr_is_one_short_line():
    assert repr(helix(1, name="one")) == "<Protein one: 1 residue, chain A>"
    assert repr(helix(12)) == "<Protein protein: 12 residues, chain A>"
    many = helix(1200, name="big", chain_ids=np.repeat(list("ABCDEFGH"), 150))
    assert repr(many) == "<Protein big: 1,200 residues, chains A, B, C, D, E, F, ...>"


def test_a_reader_warns_on_the_protein(tmp_path):
    """A file cut off at its end has one warning, which a selection keeps; a protein made in memory has none."""
    path = tmp_path / "cut.pdb"
    pg.write_structure(helix(), path)
    path.write_text(path.read_text().replace("END", ""))
    protein = pg.read_structure(path)
    assert isinstance(protein, Protein)
    assert [(warning.code, warning.count) for warning in protein.warnings] == [("no_end", 1)]
    assert repr(protein) == "<Protein cut: 12 residues, chain A, 1 warning>"
    assert protein.select(np.arange(3)).warnings == protein.warnings
    assert helix().warnings == ()


@pytest.mark.parametrize("suffix", [".pdb", ".ent", ".cif", ".mmcif", ".PDB", ".pdb.gz", ".cif.gz", ".CIF.GZ"])
@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_written_can_be_read(tmp_path, suffix, kind):
    """By every suffix and kind of path that `write_structure` takes: coordinates within the format's 0.0005 Å."""
    path = kind(str(tmp_path / f"x{suffix}"))
    pg.write_structure(helix(), path)
    found = pg.read_structure(path)
    assert found.name == "x"
    assert np.abs(found.backbone - helix().backbone).max() <= 0.0005 + 1e-12
    assert (Path(path).read_bytes()[:2] == b"\x1f\x8b") == suffix.lower().endswith(".gz")


def test_models_are_proteins(tmp_path):
    """One protein a model, each named."""
    lines = "".join(f"MODEL     {k}\n{{}}ENDMDL\n" for k in (1, 2))
    pg.write_structure(helix(3), tmp_path / "one.pdb")
    atoms = (tmp_path / "one.pdb").read_text().replace("END", "")
    (tmp_path / "two.pdb.gz").write_bytes(gzip.compress((lines.format(atoms, atoms) + "END\n").encode()))
    assert [protein.name for protein in pg.read_models(tmp_path / "two.pdb.gz")] == ["two_model1", "two_model2"]


@pytest.mark.parametrize("wrong", [None, 3, helix(), b"x.pdb"])
def test_what_is_no_path_is_refused(wrong):
    """The message names the type and what is taken, on both sides."""
    message = rf"a {type(wrong).__name__} is no path; give the file's name as str or Path"
    with pytest.raises(StructureError, match=message):
        pg.read_structure(wrong)
    with pytest.raises(StructureError, match=message):
        pg.write_structure(helix(), wrong)


def test_the_text_of_a_file_is_no_path():
    with pytest.raises(StructureError, match="several lines"):
        pg.read_structure("HEADER\nATOM\n")


def test_what_is_no_protein_is_not_written(tmp_path):
    with pytest.raises(StructureError, match=r"a list is no Protein; of a Design, write its \.protein"):
        pg.write_structure([helix()], tmp_path / "x.pdb")
    assert not list(tmp_path.iterdir())


def test_the_old_spelling_still_works():
    """`read_structure(path).protein` of 0.1: itself, with a warning."""
    protein = helix()
    with pytest.warns(DeprecationWarning, match=r"leave out \.protein"):
        assert protein.protein is protein
