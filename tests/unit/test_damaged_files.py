"""Two hundred files with one fault each: refused in one line, or read to what the file holds, and nothing else."""

import numpy as np
import pytest
from damaged_files import variants
from reader_files import pdb_text

from protgen.errors import StructureError
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Protein:
    path = tmp_path_factory.mktemp("intact") / "x.pdb"
    path.write_text(pdb_text())
    return read_structure(path)


def test_each_has_its_right_outcome(tmp_path, intact):
    """By name: refused; the same residues and atoms within 0.001 Å; or fewer, of which each is one of these."""
    given = list(variants())
    assert len({(variant.suffix, variant.data) for variant in given}) >= 200
    assert len({variant.name for variant in given}) == len(given)
    wrong = {}
    for variant in given:
        found = outcome(tmp_path / f"x.{variant.suffix}", variant.data, intact)
        if found != variant.right:
            wrong[variant.name] = (variant.right, found)
    assert wrong == {}
    counts = [sum(variant.right == right for variant in given) for right in ("refused", "whole", "less")]
    assert counts == [160, 31, 23]


def test_what_is_less_is_said(tmp_path):
    """Each file that lacks atoms has the warnings of its fault, and those alone; of a CB that is gone there is none."""
    wrong, silent = {}, []
    for variant in variants():
        if variant.right != "less":
            continue
        path = tmp_path / f"x.{variant.suffix}"
        path.write_bytes(variant.data)
        said = {warning.code for warning in read_structure(path).warnings}
        if said != variant.said:
            wrong[variant.name] = (variant.said, said)
        if not said:
            silent.append(variant.name)
    assert wrong == {}
    assert silent == [f"pdb: line {k} is gone" for k in (4, 14, 24)]  # the CB of residues 1, 3 and 5


def outcome(path, data: bytes, intact: Protein) -> str:
    """What reading gives: refused, whole, less, or what it should never give."""
    path.write_bytes(data)
    try:
        protein = read_structure(path)
    except StructureError as error:
        return "refused" if str(path) in str(error) and len(str(error).splitlines()) == 1 else f"says {error}"
    known, atoms = intact.atoms[intact.mask], protein.atoms[protein.mask]
    off = np.abs(known[None] - atoms[:, None]).max(axis=2)
    if off.min(axis=1).max() > 0.001:
        return "atoms that the file does not hold"
    if len(atoms) < len(known):
        return "less"
    same = np.array_equal(protein.mask, intact.mask) and np.array_equal(protein.residue_names, intact.residue_names)
    return "whole" if same and np.abs(known - atoms).max() <= 0.001 else "other residues"


def test_the_outcomes_are_told_apart(tmp_path, intact):
    """A changed coordinate is an atom that the file does not hold, and a swap of two residues other residues."""
    text = pdb_text()
    changed = text.replace(text[30:38], f"{float(text[30:38]) + 0.002:8.3f}", 1)
    assert outcome(tmp_path / "a.pdb", changed.encode(), intact) == "atoms that the file does not hold"
    assert outcome(tmp_path / "b.pdb", text.replace("LEU", "VAL", 5).encode(), intact) == "other residues"
    assert outcome(tmp_path / "c.pdb", text.encode(), intact) == "whole"
