"""Structure files with one fault each, made from one helix: what the fault is, the bytes, and what is right.

What is right: `refused` (a StructureError of one line), `whole` (the same residues and atoms as without the fault), or
`less` (some of these atoms, and none that is not among them), then with the codes of what the reader says.

A CB that is gone is no warning: glycine has none, models of backbones have none, and where a metric needs one it is
placed by N, CA and C.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass

from reader_files import CIF_TAGS, cif_rows, cif_text, pdb_lines, pdb_text

FIELDS = {"x": (30, 38), "y": (38, 46), "z": (46, 54)}  # columns of a PDB line, from 0
NO_NUMBER = ("abc", "1.2.3", "nan", "inf", "-inf", "1e999", "1_0", "\uff11", "0x10", "1,5", "--1", "+-1", "")
NO_INTEGER = ("x2", "1.5", "0x1", "\uff11", "1_0", "-", "")
BACKBONE_GONE = frozenset({"missing_backbone_atom"})
CUT = frozenset({"truncated_tail", "no_end"})
NEEDED = ("Cartn_x", "Cartn_y", "Cartn_z", "label_atom_id", "label_comp_id")


@dataclass(frozen=True)
class Variant:
    """A damaged file.

    Attributes:
        name: what is wrong with it.
        suffix: of the file's name.
        data: its bytes.
        right: refused, whole or less.
        said: of less, the codes of the reader's warnings.
    """

    name: str
    suffix: str
    data: bytes
    right: str
    said: frozenset[str] = frozenset()


def variants() -> Iterator[Variant]:
    """All of them, with names of their own."""
    yield from pdb_fields()
    yield from pdb_lines_changed()
    yield from cif_columns()
    yield from cif_values()
    yield from cut_off()
    yield from encodings()
    yield from compressed()


def pdb(lines: list[str], name: str, right: str, said: frozenset[str] = frozenset()) -> Variant:
    return Variant(f"pdb: {name}", "pdb", pdb_text(lines).encode(), right, said)


def pdb_fields() -> Iterator[Variant]:
    """A field of one ATOM line, the CA of the second residue."""
    lines = pdb_lines()
    for field, (start, stop) in FIELDS.items():
        for text in NO_NUMBER:
            changed = [*lines]
            changed[6] = lines[6][:start] + text.rjust(stop - start) + lines[6][stop:]
            yield pdb(changed, f"{field} is {text!r}", "refused")
    for text in NO_INTEGER:
        changed = [*lines]
        changed[6] = lines[6][:22] + text.rjust(4) + lines[6][26:]
        yield pdb(changed, f"residue number is {text!r}", "refused")
    for text in ("abc", "nan", "inf"):
        changed = [*lines]
        changed[6] = lines[6][:54] + text.rjust(6) + lines[6][60:]
        yield pdb(changed, f"occupancy is {text!r}", "whole")


def pdb_lines_changed() -> Iterator[Variant]:
    """Lines that are gone, twice there, cut, or between others."""
    lines = pdb_lines()
    for k in range(0, 25, 2):
        said = frozenset() if lines[k][12:16].strip() == "CB" else BACKBONE_GONE
        yield pdb(lines[:k] + lines[k + 1 :], f"line {k} is gone", "less", said)
    for k in range(5):
        yield pdb([*lines[: k + 1], lines[k], *lines[k + 1 :]], f"line {k} comes twice", "whole")
    for width in (10, 21, 26, 33, 45, 53):
        yield pdb([*lines[:6], lines[6][:width], *lines[7:]], f"line 6 is cut at {width}", "refused")
    yield pdb([*lines[:6], "REMARK 999 \x00\x01", *lines[6:]], "NUL bytes lie between", "refused")
    for text in ("GARBAGE", "", "CONECT    1    2", "ANISOU    2  CA  ALA A   1    x", "END?"):
        yield pdb([*lines[:6], text, *lines[6:]], f"{text!r} lies between", "whole")
    yield pdb([], "no atoms", "refused")
    yield pdb(
        [line.replace("ATOM  ", "HETATM").replace(line[17:20], "HOH") for line in lines], "water alone", "refused"
    )


def cif_columns() -> Iterator[Variant]:
    """A column is gone or comes twice, or a row has a value too many or too few."""
    rows = cif_rows()
    for k, tag in enumerate(CIF_TAGS):
        tags, cells = [t for t in CIF_TAGS if t != tag], [row[:k] + row[k + 1 :] for row in rows]
        yield cif(tags, cells, f"no column {tag}", "refused" if tag in NEEDED else "whole")
        yield cif([*CIF_TAGS, tag], [[*row, row[k]] for row in rows], f"column {tag} comes twice", "refused")
    for change, name in ((lambda row: row[:-1], "a value too few"), (lambda row: [*row, "1"], "a value too many")):
        yield cif(CIF_TAGS, [*rows[:6], change(rows[6]), *rows[7:]], name, "refused")


def cif_values() -> Iterator[Variant]:
    """A value of one row."""
    rows = cif_rows()
    for tag in ("Cartn_x", "Cartn_y", "Cartn_z"):
        for text in (*NO_NUMBER[:-1], "'1 2'", "?", "."):
            row = [*rows[6]]
            row[CIF_TAGS.index(tag)] = text
            right, said = ("less", BACKBONE_GONE) if text in "?." else ("refused", frozenset())
            yield cif(CIF_TAGS, [*rows[:6], row, *rows[7:]], f"{tag} is {text!r}", right, said)


def cif(tags, rows, name: str, right: str, said: frozenset[str] = frozenset()) -> Variant:
    head = "\n".join(["data_TEST", "loop_", *(f"_atom_site.{tag}" for tag in tags)])
    text = "\n".join([head, *(" ".join(row) for row in rows), "#", ""])
    return Variant(f"cif: {name}", "cif", text.encode(), right, said)


def cut_off() -> Iterator[Variant]:
    """Files that end too early, within a line."""
    for suffix, text in (("pdb", pdb_text()), ("cif", cif_text())):
        data = text.encode()
        for share in (0.0, 0.02, 0.3, 0.5, 0.7, 0.9):
            stop = int(share * len(data))
            within = suffix == "pdb" and share in (0.3, 0.5, 0.7)  # after the last coordinate of an atom
            right = "less" if within else "refused"
            said = CUT if share == 0.5 else CUT | BACKBONE_GONE  # half of the atoms end with a residue
            yield Variant(f"{suffix}: ends at {share:.0%}", suffix, data[:stop], right, said if within else frozenset())


def encodings() -> Iterator[Variant]:
    """The same text in other bytes."""
    for suffix, text in (("pdb", pdb_text()), ("cif", cif_text())):
        yield Variant(f"{suffix}: CRLF", suffix, text.replace("\n", "\r\n").encode(), "whole")
        yield Variant(f"{suffix}: UTF-16", suffix, text.encode("utf-16"), "refused")
        yield Variant(f"{suffix}: HTML", suffix, f"<!DOCTYPE html><html>{text}</html>".encode(), "refused")
        yield Variant(f"{suffix}: zeros", suffix, bytes(len(text)), "refused")
        right, said = ("less", CUT | BACKBONE_GONE) if suffix == "pdb" else ("refused", frozenset())
        yield Variant(f"{suffix}: all lines in one", suffix, text.replace("\n", "  ").encode(), right, said)


def compressed() -> Iterator[Variant]:
    """gzip data that are cut, changed, or no gzip data."""
    for suffix, text in (("pdb", pdb_text()), ("cif", cif_text())):
        data = gzip.compress(text.encode(), mtime=0)
        for stop in (0, 1, 5, 10, 30, len(data) // 2, len(data) - 9, len(data) - 4, len(data) - 1):
            yield Variant(f"{suffix}.gz: ends at byte {stop}", f"{suffix}.gz", data[:stop], "refused")
        for at in (20, len(data) // 2, len(data) - 6, len(data) - 2):
            changed = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            yield Variant(f"{suffix}.gz: byte {at} is changed", f"{suffix}.gz", changed, "refused")
        yield Variant(f"{suffix}.gz: plain text", f"{suffix}.gz", text.encode(), "whole")
        yield Variant(f"{suffix}: gzip by another name", suffix, data, "whole")
