"""Small structure files for the reader tests, made from an ideal helix so that nothing has to be stored."""

import gzip
from pathlib import Path

import numpy as np

from protgen.structure.ideal import add_cb, ideal_helix
from protgen.structure.reader import ReadResult, parse_structure

NAMES = ("N", "CA", "C", "O", "CB")
RESIDUES = ("ALA", "LEU", "GLU", "LYS", "SER", "VAL", "THR", "ASP", "ARG", "PHE", "GLN", "ILE")
LENGTH = 12


def helix(n: int = LENGTH) -> np.ndarray:
    backbone = ideal_helix(n) + 20.0  # away from the origin, where defaults of zero would hide
    return np.concatenate([backbone, add_cb(backbone)[:, None]], axis=1)


def atom_line(
    xyz,
    serial=1,
    name="CA",
    residue="ALA",
    chain="A",
    number=1,
    insertion=" ",
    altloc=" ",
    occupancy="  1.00",
    element=None,
    record="ATOM",
) -> str:
    element = name[0] if element is None else element
    return (
        f"{record:<6}{serial:>5}  {name:<3}{altloc}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{xyz[0]:8.3f}{xyz[1]:8.3f}{xyz[2]:8.3f}{occupancy}{0:6.2f}          {element:>2}"
    )


def pdb_lines(n: int = LENGTH, chain: str = "A", start: int = 1, shift: float = 0.0, **keywords) -> list[str]:
    lines = []
    for i, residue in enumerate(helix(n) + shift):
        for name, xyz in zip(NAMES, residue, strict=True):
            lines.append(
                atom_line(
                    xyz,
                    len(lines) + 1,
                    name,
                    keywords.get("residue", RESIDUES[i % 12]),
                    chain,
                    start + i,
                    **{k: v for k, v in keywords.items() if k != "residue"},
                )
            )
    return lines


def pdb_text(lines: list[str] | None = None, *, end: bool = True) -> str:
    return "\n".join([*(pdb_lines() if lines is None else lines), *(["TER", "END"] if end else [])]) + "\n"


CIF_TAGS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
)  # fmt: skip


def cif_rows(n: int = LENGTH) -> list[list[str]]:
    rows = []
    for i, residue in enumerate(helix(n)):
        for name, xyz in zip(NAMES, residue, strict=True):
            coordinates = [f"{value:.3f}" for value in xyz]
            rows.append(
                ["ATOM", str(len(rows) + 1), name[0], name, ".", RESIDUES[i % 12], "A", "1", str(i + 1), "?",
                 *coordinates, "1.00", str(i + 1), "A", "1"]
            )  # fmt: skip
    return rows


def cif_text(rows: list[list[str]] | None = None, tags=CIF_TAGS, drop: tuple[str, ...] = (), end="#\n") -> str:
    rows = cif_rows() if rows is None else rows
    keep = [k for k, tag in enumerate(tags) if tag not in drop]
    head = ["data_test", "#", "loop_", *(f"_atom_site.{tags[k]}" for k in keep)]
    return "\n".join([*head, *(" ".join(row[k] for k in keep) for row in rows)]) + "\n" + end


def read(tmp_path: Path, content: str | bytes, name: str = "test.pdb", **keywords) -> ReadResult:
    data = content.encode() if isinstance(content, str) else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return parse_structure(path, **keywords)


def codes(result: ReadResult) -> dict[str, int]:
    return {warning.code: warning.count for warning in result.warnings}


def assert_is_helix(result: ReadResult, n: int = LENGTH) -> None:
    """The residues, and every CA within 0.002 Å."""
    assert result.protein.length == n
    assert np.abs(result.protein.atoms[:, 1] - helix(n)[:, 1]).max() < 0.002


def replace_field(line: str, start: int, text: str) -> str:
    """A line with `text` put at column `start` (from 1)."""
    return line[: start - 1] + text + line[start - 1 + len(text) :]
