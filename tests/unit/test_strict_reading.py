"""Strict reading makes an error of each warning that the reader has, by the function and by `evaluate --strict`."""

import csv

import numpy as np
import pytest
from reader_files import atom_line, cif_text, codes, helix, pdb_lines, pdb_text, read, replace_field

from protgen.cli.main import run
from protgen.errors import StructureError
from protgen.structure.ideal import mirror
from protgen.structure.read_warnings import CODES

LINES = pdb_lines()


def changed(numbers: range, start: int, text: str) -> str:
    """The helix with `text` from column `start` on in some of its lines."""
    return pdb_text([replace_field(line, start, text) if k in numbers else line for k, line in enumerate(LINES)])


def placed(xyz: np.ndarray) -> str:
    """The helix with its backbone elsewhere. xyz (12, 4, 3)."""
    rows = [(i, name, xyz[i, j]) for i in range(12) for j, name in enumerate(("N", "CA", "C", "O"))]
    return pdb_text([atom_line(at, k + 1, name, number=i + 1) for k, (i, name, at) in enumerate(rows)])


def of_models(*models: list[str], end: str = "ENDMDL") -> str:
    """A file of several models; each ends in that record."""
    lines = [line for k, atoms in enumerate(models) for line in (f"MODEL     {k + 1:4d}", *atoms, "TER", end)]
    return pdb_text([*lines, "END"], end=False)


OWN = [replace_field(replace_field(line, 17, "A"), 55, "  0.70") for line in LINES[10:15]]
OTHER = [replace_field(replace_field(line, 17, "B"), 55, "  0.30") for line in pdb_lines(shift=0.5)[10:15]]
PROLINE = [replace_field(line, 18, "PRO") for line in OTHER]
ALL = range(60)
# A file for each code; of some, more is said.
FILES: dict[str, str | bytes] = {
    "altloc_used": pdb_text([*LINES[:10], *OWN, *OTHER, *LINES[15:]]),
    "microheterogeneity": pdb_text([*LINES[:10], *OWN, *PROLINE, *LINES[15:]]),
    "insertion_codes": changed(range(10, 15), 23, "   2A"),
    "nonstandard_residue": changed(range(10, 15), 18, "SEP"),
    "mse_as_met": changed(range(10, 15), 18, "MSE"),
    "missing_backbone_atom": pdb_text([*LINES[:6], *LINES[7:]]),
    "chain_break": pdb_text([*LINES[:20], *LINES[30:]]),
    "duplicate_atom": pdb_text([*LINES[:12], LINES[11], *LINES[12:]]),
    "duplicate_residue_id": pdb_text([*LINES, "TER", *pdb_lines(shift=40.0)]),
    "interleaved_chain": pdb_text([*LINES[:30], *pdb_lines(chain="B", shift=30.0), *LINES[30:]]),
    "multi_model": of_models(LINES, pdb_lines(shift=1.0)),
    "models_differ": of_models(LINES, LINES[:-5]),
    "model_records_unbalanced": of_models(LINES, end="REMARK"),
    "element_inferred": pdb_text([line[:76] for line in LINES]),
    "occupancy_missing": changed(ALL, 55, "      "),
    "occupancy_out_of_range": changed(ALL, 55, "  1.50"),
    "truncated_tail": pdb_text(end=False)[:-10],
    "no_end": pdb_text(end=False),
    "seqres_mismatch": pdb_text([f"SEQRES   1 A   12  {'ALA ' * 12}".rstrip(), *LINES]),
    "mirror_image": placed(mirror(helix()[:, :4])),
    "degenerate_coordinates": placed(helix()[:, :4] * [1.0, 1.0, 0.0]),
    "scale_suspect_nm": placed(helix()[:, :4] / 10),
    "multi_block": pdb_text() + pdb_text(pdb_lines(chain="B", shift=40.0)),
    "encoding_fallback": "REMARK   1 \u00e5ngstr\u00f6m\n".encode("latin-1") + pdb_text().encode(),
    "trailing_bytes": pdb_text() + "something else\n",
    "hetatm_standard": changed(range(10, 15), 1, "HETATM"),
    "no_chain_id": changed(ALL, 22, " "),
}


@pytest.mark.parametrize("code", CODES)
def test_each_warning_is_an_error_where_reading_is_strict(tmp_path, code):
    """The line names the code, which reading otherwise warns of, and where."""
    assert code in codes(read(tmp_path, FILES[code]))
    with pytest.raises(StructureError, match="strict reading was asked for") as refusal:
        read(tmp_path, FILES[code], strict=True)
    assert f"{code} (" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_evaluate_strict_makes_every_one_of_them_a_failed_row(tmp_path, capsys):
    """Exit code 3, as one file has no warning; each other row says that strict reading refused it."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.cif").write_text(cif_text())
    for code, content in FILES.items():
        (folder / f"{code}.pdb").write_bytes(content if isinstance(content, bytes) else content.encode())
    common = ["--no-report", "--jobs", "1"]
    assert run(["evaluate", str(folder), "--strict", *common, "--out", str(tmp_path / "strict")]) == 3
    assert "internal error" not in capsys.readouterr().err
    with (tmp_path / "strict" / "structures.csv").open(newline="") as lines:
        rows = {row["file"].partition(".")[0]: row for row in csv.DictReader(lines)}
    assert rows.keys() == {"good", *CODES}
    assert rows.pop("good")["status"] != "error"
    assert {row["status"] for row in rows.values()} == {"error"}
    assert all("strict reading was asked for" in row["message"] for row in rows.values())
