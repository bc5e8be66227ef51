"""mmCIF: columns by exact tag, numbers as raw text, and a mark at the end."""

import numpy as np
import pytest
from reader_files import (
    CIF_TAGS,
    LENGTH,
    RESIDUES,
    assert_is_helix,
    cif_rows,
    cif_text,
    codes,
    helix,
    pdb_text,
    read,
)

from protgen.errors import StructureError

X = CIF_TAGS.index("Cartn_x")


def with_x(value: str) -> str:
    rows = cif_rows()
    rows[6][X] = value
    return cif_text(rows)


def test_clean_file_has_no_warning(tmp_path):
    result = read(tmp_path, cif_text(), "test.cif")
    assert_is_helix(result)
    assert result.warnings == ()
    pdb = read(tmp_path, pdb_text()).protein
    assert np.array_equal(pdb.atoms, result.protein.atoms)


@pytest.mark.parametrize(
    "value", ["abc", "'1 2'", "nan", "inf", "-inf", "1_2.3", "１２.3", "1,2", "0x12", "1e999", "1e7"]
)
def test_bad_coordinate_is_refused_with_its_tag(tmp_path, value):
    """gemmi gives NaN for text; nan and inf pass all four parsers; Bio.PDB, biotite and mdtraj take 1_2.3."""
    with pytest.raises(StructureError, match=r"Cartn_x, row 7|beyond|row 7"):
        read(tmp_path, with_x(value), "test.cif")


@pytest.mark.parametrize("value", ["12.345(6)", "1.2345e1", "'12.345'", "+12.345"])
def test_valid_ways_to_write_a_number(tmp_path, value):
    assert read(tmp_path, with_x(value), "test.cif").protein.atoms[1, 1, 0] == 12.345


@pytest.mark.parametrize("value", ["?", "."])
def test_unknown_coordinate_is_a_missing_atom(tmp_path, value):
    """biotite gives 0.0."""
    result = read(tmp_path, with_x(value), "test.cif")
    assert not result.protein.mask[1, 1]
    assert codes(result) == {"missing_backbone_atom": 1}


@pytest.mark.parametrize("tag", ["Cartn_x", "Cartn_y", "Cartn_z"])
def test_missing_coordinate_column(tmp_path, tag):
    """mdtraj takes x from another column."""
    with pytest.raises(StructureError, match=f"_atom_site.{tag}"):
        read(tmp_path, cif_text(drop=(tag,)), "test.cif")


@pytest.mark.parametrize("tag", ["id", "label_alt_id", "pdbx_PDB_model_num", "group_PDB", "pdbx_PDB_ins_code"])
def test_columns_that_may_be_missing(tmp_path, tag):
    """gemmi finds no model in a file without id, type_symbol or label_alt_id, and says nothing."""
    result = read(tmp_path, cif_text(drop=(tag,)), "test.cif")
    assert_is_helix(result)
    assert result.warnings == ()


def test_missing_type_symbol_and_occupancy(tmp_path):
    result = read(tmp_path, cif_text(drop=("type_symbol", "occupancy")), "test.cif")
    assert_is_helix(result)
    assert codes(result) == {"element_inferred": 60, "occupancy_missing": 60}


def test_shuffled_columns_and_upper_case_tags(tmp_path):
    order = list(range(len(CIF_TAGS)))[::-1]
    rows = [[row[k] for k in order] for row in cif_rows()]
    text = cif_text(rows, tuple(CIF_TAGS[k] for k in order))
    assert_is_helix(read(tmp_path, text, "test.cif"))
    for tag in CIF_TAGS:
        text = text.replace(f"_atom_site.{tag}\n", f"_ATOM_SITE.{tag.upper()}\n")
    assert_is_helix(read(tmp_path, text.replace("data_", "DATA_"), "test.cif"))


def test_content_beats_extension(tmp_path):
    assert_is_helix(read(tmp_path, cif_text(), "test.pdb"))
    assert_is_helix(read(tmp_path, pdb_text(), "test.cif"))
    assert_is_helix(read(tmp_path, "# a comment\n\n" + cif_text(), "test.ent"))


def test_cut_between_two_rows(tmp_path):
    result = read(tmp_path, cif_text(cif_rows()[:40], end=""), "test.cif")
    assert codes(result) == {"no_end": 1}
    assert "truncated_tail" in codes(read(tmp_path, cif_text(end="").rstrip("\n"), "test.cif"))


def test_cut_within_a_row(tmp_path):
    with pytest.raises(StructureError, match=r"line \d+"):
        read(tmp_path, cif_text(end="")[:-20], "test.cif")


def test_second_block_does_not_win(tmp_path):
    """Bio.PDB takes the second."""
    rows = cif_rows()
    for row in rows:
        row[X] = f"{float(row[X]) + 9:.3f}"
    second = cif_text(rows).replace("data_test", "data_other")
    result = read(tmp_path, cif_text() + second, "test.cif")
    assert_is_helix(result)
    assert codes(result) == {"multi_block": 2}


def test_models(tmp_path):
    rows = cif_rows()
    later = [[*row[:-1], "5"] for row in cif_rows()]
    for row in later:
        row[X] = f"{float(row[X]) + 1:.3f}"
    result = read(tmp_path, cif_text([*rows, *later]), "test.cif", model=1)
    assert np.abs(result.protein.atoms[:, 1, 0] - helix()[:, 1, 0] - 1).max() < 0.002
    assert codes(result) == {"multi_model": 2}


def test_quoted_names_and_long_chain_ids(tmp_path):
    rows = cif_rows()
    for row in rows:
        row[3], row[15] = f'"{row[3]}"', "'AAA'"
    result = read(tmp_path, cif_text(rows), "test.cif")
    assert_is_helix(result)
    assert result.protein.chains == ["AAA"]


def test_author_names_win_and_label_names_stand_in(tmp_path):
    result = read(tmp_path, cif_text(drop=("auth_seq_id", "auth_asym_id")), "test.cif")
    assert_is_helix(result)
    assert result.protein.residue_numbers.tolist() == list(range(1, LENGTH + 1))


def test_ligands_by_label_seq_id(tmp_path):
    rows = cif_rows()
    for row in rows[10:15]:
        row[0], row[5] = "HETATM", "MSE"
    free = cif_rows(1)
    for row in free:
        row[0], row[8], row[14] = "HETATM", ".", "99"
        row[X] = f"{float(row[X]) + 30:.3f}"
    result = read(tmp_path, cif_text([*rows, *free]), "test.cif")
    assert_is_helix(result)
    assert codes(result) == {"mse_as_met": 1}


def test_no_atoms(tmp_path):
    with pytest.raises(StructureError, match="no _atom_site"):
        read(tmp_path, "data_x\n_entry.id x\n", "test.cif")


def test_broken_syntax_names_the_line(tmp_path):
    with pytest.raises(StructureError, match=r"line 1\d"):
        read(tmp_path, cif_text().replace("_atom_site.Cartn_x", "_atom_site.Cartn_x 'open", 1), "test.cif")


def test_latin_1_in_text(tmp_path):
    text = cif_text().replace("data_test\n", "data_test\n_struct.title '\u00e5ngstr\u00f6m'\n")
    result = read(tmp_path, text.encode("latin-1"), "test.cif")
    assert_is_helix(result)
    assert codes(result) == {"encoding_fallback": 1}
    assert read(tmp_path, text.encode(), "test.cif").warnings == ()


def test_declared_sequence(tmp_path):
    names = RESIDUES
    table = "loop_\n_entity_poly_seq.entity_id\n_entity_poly_seq.mon_id\n"
    good = table + "".join(f"1 {name}\n" for name in names) + "#\n"
    assert read(tmp_path, cif_text().replace("#\n", "#\n" + good, 1), "test.cif").warnings == ()
    bad = table + "".join(f"1 {name}\n" for name in names[::-1]) + "#\n"
    assert codes(read(tmp_path, cif_text().replace("#\n", "#\n" + bad, 1), "test.cif")) == {"seqres_mismatch": 1}
