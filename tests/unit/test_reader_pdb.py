"""PDB: valid files are read right; damage that parsers pass in silence is refused or warned about."""

import numpy as np
import pytest
from reader_files import (
    LENGTH,
    assert_is_helix,
    atom_line,
    codes,
    helix,
    pdb_lines,
    pdb_text,
    read,
    replace_field,
)

from protgen.errors import StructureError
from protgen.structure.pdb_scan import scan_pdb
from protgen.structure.pdb_table import pdb_table
from protgen.structure.read_warnings import WarningLog
from protgen.structure.reader import read_models


def damaged(field: str, start: int = 31, line: int = 6) -> str:
    lines = pdb_lines()
    lines[line] = replace_field(lines[line], start, field)
    return pdb_text(lines)


def test_clean_file_has_no_warning(tmp_path):
    result = read(tmp_path, pdb_text())
    assert_is_helix(result)
    assert result.warnings == ()
    assert result.protein.residue_names[:2].tolist() == ["ALA", "LEU"]
    assert result.protein.mask.all()


def test_coordinates_are_to_the_bit_what_float_reads(tmp_path):
    """Signs, points and decimals anywhere: every kind of field that is allowed, beside those of ordinary files."""
    fields = [
        "  12.345", "  -0.001", "  -0.000", "   0.000", "+1.50000", "-1234.56", "99999.99", "   -.500", "     .25",
        "     12.", "      -7", "1.234567", "-.123456", " 0000.10", "   8.3  ", "12345   ", "-98765.4", "   1.100",
    ]  # fmt: skip
    values = np.random.default_rng(0).uniform(-999, 9999, size=33)
    lines, texts = pdb_lines(6), [*fields, *(f"{value:8.3f}" for value in values)]
    texts += [f"{k:8.2f}" for k in range(3 * len(lines) - len(texts))]
    for k, text in enumerate(texts):
        lines[k // 3] = replace_field(lines[k // 3], 31 + k % 3 * 8, text)
    table = pdb_table(scan_pdb(pdb_text(lines).encode(), WarningLog()), 0, WarningLog())
    expected = np.array([float(text) for text in texts]).reshape(-1, 3)
    assert table.xyz.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("********", "not a number"),
        ("        ", "blank"),
        ("  12,345", "not a number"),
        ("  12.O00", "not a number"),
        (" 1.2D+01", "not a number"),
        ("   1_2.3", "not a number"),
        ("     nan", "not a number"),
        ("     inf", "not a number"),
        ("78934567", "decimal point|beyond"),
        ("12.3 345", "not a number"),
        (" --1.234", "not a number"),
        ("\t12.345 ", "tab"),
        (" 0x1.234", "not a number"),
        ("  12 345", "not a number"),
        (" 12.345 ", "decimal point"),
    ],
)
def test_bad_coordinate_is_refused_with_its_line(tmp_path, field, reason):
    """gemmi reads stars as 0, 12,345 and 12.O00 as 12, 1.2D+01 as 1.2; Bio.PDB reads 1_2.3 as 12.3."""
    with pytest.raises(StructureError, match=rf"line 7.*({reason})"):
        read(tmp_path, damaged(field))


def test_all_three_blank(tmp_path):
    with pytest.raises(StructureError, match=r"line 7.*blank"):
        read(tmp_path, damaged(" " * 24))


def test_columns_shifted_right_by_one(tmp_path):
    lines = [line[:30] + " " + line[30:] for line in pdb_lines()]
    with pytest.raises(StructureError, match="line 1"):
        read(tmp_path, pdb_text(lines))


def test_one_line_shifted_left_by_one(tmp_path):
    lines = pdb_lines()
    lines[3] = lines[3][:25] + lines[3][26:]
    with pytest.raises(StructureError, match="line 4"):
        read(tmp_path, pdb_text(lines))


def test_coordinate_overflowing_to_the_left(tmp_path):
    with pytest.raises(StructureError, match="line 7, column 30"):
        read(tmp_path, damaged("-1234.567", start=30))


def test_full_width_digits(tmp_path):
    lines = pdb_lines()
    lines[6] = lines[6][:30] + " １２.345" + lines[6][38:]
    with pytest.raises(StructureError, match=r"line 7.*non-ASCII"):
        read(tmp_path, pdb_text(lines))


def test_short_atom_line(tmp_path):
    with pytest.raises(StructureError, match=r"line 60.*54"):
        read(tmp_path, pdb_text(end=False)[:-35])


def test_misspelt_record_is_not_dropped(tmp_path):
    lines = pdb_lines()
    lines[4] = "ATQM  " + lines[4][6:]
    with pytest.raises(StructureError, match=r"line 5.*ATQM"):
        read(tmp_path, pdb_text(lines))


def test_cut_between_two_lines(tmp_path):
    """All four parsers take a file cut between two lines for a whole one."""
    assert "no_end" in codes(read(tmp_path, pdb_text(pdb_lines()[:40], end=False)))


def test_cut_within_a_line_behind_the_coordinates(tmp_path):
    found = codes(read(tmp_path, pdb_text(end=False)[:-10]))
    assert {"no_end", "truncated_tail"} <= set(found)


def test_fewer_atoms_than_master_says(tmp_path):
    master = f"MASTER    {0:5d}{0:5d}{0:5d}{0:5d}{0:5d}{0:5d}{0:5d}{0:5d}{60:5d}{1:5d}{0:5d}{1:5d}"
    text = pdb_text(pdb_lines()[:50]).replace("END\n", master + "\nEND\n")
    assert "truncated_tail" in codes(read(tmp_path, text))


def test_no_atom_and_no_protein(tmp_path):
    with pytest.raises(StructureError, match="no ATOM"):
        read(tmp_path, "HEADER    NOTHING\nEND\n")
    water = atom_line([1, 2, 3], name="O", residue="HOH", record="HETATM")
    with pytest.raises(StructureError, match="no protein residue"):
        read(tmp_path, pdb_text([water]))


@pytest.mark.parametrize("label", ["AB", "12"])
def test_altloc_takes_the_highest_occupancy(tmp_path, label):
    """biotite loses a residue whose locations are named 1 and 2."""
    lines = pdb_lines()
    own, other = lines[10:15], pdb_lines(shift=1.0)[10:15]
    own = [replace_field(replace_field(line, 17, label[0]), 55, "  0.60") for line in own]
    other = [replace_field(replace_field(line, 17, label[1]), 55, "  0.40") for line in other]
    for pair in (
        [*own, *other],
        [*other, *own],
        [line for two in zip(own, other, strict=True) for line in two],
    ):
        result = read(tmp_path, pdb_text([*lines[:10], *pair, *lines[15:]]))
        assert_is_helix(result)
        assert codes(result) == {"altloc_used": 1}


def test_altloc_tie_goes_to_the_first_and_locations_do_not_mix(tmp_path):
    """One location a residue, not one an atom; Bio.PDB takes the last of two equal ones."""
    lines = pdb_lines()
    own = [replace_field(replace_field(line, 17, "A"), 55, "  0.50") for line in lines[10:15]]
    other = [replace_field(replace_field(line, 17, "B"), 55, "  0.50") for line in pdb_lines(shift=1.0)[10:15]]
    other[0] = replace_field(other[0], 55, "  0.51")  # one atom alone does not outweigh: the mean decides
    own[1] = replace_field(own[1], 55, "  0.52")
    assert_is_helix(read(tmp_path, pdb_text([*lines[:10], *own, *other, *lines[15:]])))


def test_microheterogeneity(tmp_path):
    lines = pdb_lines()
    own = [replace_field(replace_field(line, 17, "B"), 55, "  0.70") for line in lines[10:15]]
    other = [replace_field(replace_field(line, 17, "APRO"), 55, "  0.30") for line in pdb_lines(shift=0.5)[10:15]]
    result = read(tmp_path, pdb_text([*lines[:10], *other, *own, *lines[15:]]))
    assert_is_helix(result)
    assert result.protein.residue_names[2] == "GLU"
    assert {"altloc_used", "microheterogeneity"} == set(codes(result))


def test_insertion_codes_are_kept(tmp_path):
    lines = pdb_lines()
    lines[10:15] = [replace_field(line, 23, "   2A") for line in lines[10:15]]
    result = read(tmp_path, pdb_text(lines))
    assert_is_helix(result)
    assert result.protein.residue_numbers[2] == 2
    assert result.protein.insertion_codes[2] == "A"
    assert codes(result) == {"insertion_codes": 1}


def test_modified_residues_stay_and_ligands_go(tmp_path):
    lines = pdb_lines()
    lines[10:15] = [replace_field("HETATM" + line[6:], 18, "MSE") for line in lines[10:15]]
    lines[20:25] = [replace_field("HETATM" + line[6:], 18, "SEP") for line in lines[20:25]]
    extra = [
        "TER",
        atom_line([0, 0, 0], name="O", residue="HOH", number=100, record="HETATM"),
        atom_line([3, 0, 0], name="C1", residue="GOL", number=101, record="HETATM"),
        *[line.replace("ATOM  ", "HETATM") for line in pdb_lines(1, start=102, shift=30, residue="GLY")],
        "END",
    ]
    result = read(tmp_path, "\n".join([*lines, *extra]) + "\n")
    assert_is_helix(result)
    assert result.protein.residue_names[[2, 4]].tolist() == ["MET", "SER"]
    assert codes(result) == {"mse_as_met": 1, "nonstandard_residue": 1}


def test_standard_residue_as_hetatm_within_the_chain(tmp_path):
    lines = pdb_lines()
    lines[10:15] = [line.replace("ATOM  ", "HETATM") for line in lines[10:15]]
    for end in (["TER", "END"], ["END"]):  # by TER, or by its bonds
        result = read(tmp_path, pdb_text([*lines, *end], end=False))
        assert_is_helix(result)
        assert codes(result) == {"hetatm_standard": 1}


def test_modres_and_unknown_names(tmp_path):
    lines = pdb_lines()
    lines[10:15] = [replace_field(line, 18, "QQQ") for line in lines[10:15]]
    result = read(tmp_path, pdb_text(["MODRES 1ABC QQQ A    3  TRP  SOMETHING", *lines]))
    assert result.protein.residue_names[2] == "TRP"
    assert read(tmp_path, pdb_text(lines)).protein.residue_names[2] == "UNK"


def test_calcium_is_not_c_alpha(tmp_path):
    lines = pdb_lines()
    calcium = atom_line([0, 0, 0], name="CA", residue=" CA", number=99, element="CA", record="HETATM")
    assert_is_helix(read(tmp_path, pdb_text([*lines, calcium])))
    lines[11] = replace_field(lines[11], 77, "CA")
    result = read(tmp_path, pdb_text(lines))
    assert not result.protein.mask[2, 1]
    assert "missing_backbone_atom" in codes(result)


def test_calcium_by_its_column_where_elements_are_blank(tmp_path):
    lines = [line[:76] for line in pdb_lines()]
    lines[11] = replace_field(lines[11], 13, "CA  ")
    result = read(tmp_path, pdb_text(lines))
    assert not result.protein.mask[2, 1]
    assert {"element_inferred", "missing_backbone_atom"} <= set(codes(result))


def test_missing_atoms_are_masked(tmp_path):
    lines = [line for k, line in enumerate(pdb_lines()) if k not in (11, 15, 16, 17, 18)]  # no CA; only CB
    result = read(tmp_path, pdb_text(lines))
    assert result.protein.length == LENGTH
    assert result.protein.mask.sum() == 55
    assert codes(result)["missing_backbone_atom"] == 2
    assert np.isnan(result.protein.atoms[~result.protein.mask]).all()


def test_duplicate_atom(tmp_path):
    lines = pdb_lines()
    result = read(tmp_path, pdb_text([*lines[:12], replace_field(lines[11], 31, "  21.111"), *lines[12:]]))
    assert_is_helix(result)
    assert codes(result) == {"duplicate_atom": 1}


def test_two_residues_of_one_id_are_both_kept(tmp_path):
    lines = pdb_lines(residue="ALA")
    lines[15:20] = [replace_field(line, 23, "   3") for line in lines[15:20]]
    result = read(tmp_path, pdb_text(lines))
    assert_is_helix(result)
    assert codes(result) == {"duplicate_residue_id": 1}


def test_a_second_chain_under_the_same_name(tmp_path):
    result = read(tmp_path, pdb_text([*pdb_lines(), "TER", *pdb_lines(shift=40.0)]))
    assert result.protein.length == 2 * LENGTH
    assert np.abs(result.protein.atoms[LENGTH:, 1] - helix()[:, 1] - 40).max() < 0.002
    assert codes(result) == {"duplicate_residue_id": LENGTH, "chain_break": 1}


def test_interleaved_chain_is_gathered(tmp_path):
    a, b = pdb_lines(), pdb_lines(chain="B", shift=30.0)
    result = read(tmp_path, pdb_text([*a[:30], *b, *a[30:]]))
    assert result.protein.chain_ids.tolist() == ["A"] * LENGTH + ["B"] * LENGTH
    assert codes(result) == {"interleaved_chain": 1}


def models_text(n: int, *, endmdl: bool = True, different: bool = False) -> str:
    lines = []
    for k in range(n):
        atoms = pdb_lines(shift=float(k))
        lines += [f"MODEL     {k + 1:4d}", *(atoms[:-5] if different and k else atoms), "TER"]
        lines += ["ENDMDL"] if endmdl else []
    return pdb_text([*lines, "END"], end=False)


def test_first_model_only_unless_asked(tmp_path):
    result = read(tmp_path, models_text(3))
    assert_is_helix(result)
    assert result.n_models == 3
    assert codes(result) == {"multi_model": 3}
    third = read(tmp_path, models_text(3), model=2)
    assert np.abs(third.protein.atoms[:, 1] - helix()[:, 1] - 2).max() < 0.002
    assert [p.name for p in read_models(tmp_path / "test.pdb", strict=True)][-1] == "test_model3"
    with pytest.raises(StructureError, match="no model 3"):
        read(tmp_path, models_text(3), model=3)


def test_models_unbalanced_and_different(tmp_path):
    assert "model_records_unbalanced" in codes(read(tmp_path, models_text(2, endmdl=False)))
    assert "models_differ" in codes(read(tmp_path, models_text(2, different=True)))


def test_concatenated_files_do_not_merge(tmp_path):
    """biotite merges concatenated files."""
    result = read(tmp_path, pdb_text() + pdb_text(pdb_lines(chain="B", shift=40.0)))
    assert_is_helix(result)
    assert codes(result) == {"multi_block": 1}


def test_trailing_bytes_after_end(tmp_path):
    assert codes(read(tmp_path, pdb_text() + "something else\n")) == {"trailing_bytes": 1}


def test_occupancies(tmp_path):
    blank = [replace_field(line, 55, "      ") for line in pdb_lines()]
    assert codes(read(tmp_path, pdb_text(blank))) == {"occupancy_missing": 60}
    high = [replace_field(line, 55, "  1.50") for line in pdb_lines()]
    assert codes(read(tmp_path, pdb_text(high))) == {"occupancy_out_of_range": 60}


def test_blank_elements_and_chain(tmp_path):
    result = read(tmp_path, pdb_text([replace_field(line[:76], 22, " ") for line in pdb_lines()]))
    assert_is_helix(result)
    assert result.protein.chains == ["A"]
    assert codes(result) == {"element_inferred": 60, "no_chain_id": 60}


def test_hybrid_36_numbers(tmp_path):
    lines = pdb_lines(start=9994)
    text = pdb_text([line.replace("A10000", "AA000").replace("A1000", "AA00") for line in lines])
    result = read(tmp_path, text)
    assert result.protein.residue_numbers.tolist() == list(range(9994, 10006))
    assert result.warnings == ()


def test_bad_residue_number(tmp_path):
    with pytest.raises(StructureError, match=r"line 7.*residue number"):
        read(tmp_path, damaged("  x2", start=23))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: "\n".join(line.rstrip() for line in text.split("\n")).encode(),
        lambda text: ("REMARK   1 \u00e5ngstr\u00f6m\n" + text).encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["byte-order-mark", "crlf", "cr", "stripped", "utf-8 remark", "no last line end"],
)
def test_valid_oddities_are_read_without_a_word(tmp_path, change):
    result = read(tmp_path, change(pdb_text()))
    assert_is_helix(result)
    assert result.warnings == ()


def test_latin_1_remark(tmp_path):
    result = read(tmp_path, "REMARK   1 \u00e5ngstr\u00f6m\n".encode("latin-1") + pdb_text().encode())
    assert_is_helix(result)
    assert codes(result) == {"encoding_fallback": 1}


def test_fewer_decimals_flush_right_are_read(tmp_path):
    """Some generators print 12.020 as 12.02; that is no damage."""
    lines = pdb_lines()
    lines[6] = replace_field(lines[6], 31, "   12.02")
    assert read(tmp_path, pdb_text(lines)).protein.atoms[1, 1, 0] == 12.02


def test_seqres(tmp_path):
    good = "SEQRES   1 A   12  ALA LEU GLU LYS SER VAL THR ASP ARG PHE GLN ILE"
    assert read(tmp_path, pdb_text([good, *pdb_lines()])).warnings == ()
    bad = good.replace("GLU LYS", "LYS GLU")
    assert codes(read(tmp_path, pdb_text([bad, *pdb_lines()]))) == {"seqres_mismatch": 1}
    absent = good.replace(" A ", " B ")
    assert codes(read(tmp_path, pdb_text([absent, *pdb_lines()]))) == {"seqres_mismatch": 1}
