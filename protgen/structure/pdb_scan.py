"""Scan the records of a PDB file: the positions of atoms and models, and the header."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from protgen.errors import StructureError
from protgen.structure.assemblies import MOST_ROWS, AssemblyText
from protgen.structure.atom_table import Header
from protgen.structure.read_warnings import WarningLog
from protgen.structure.residue_names import parent

KNOWN = frozenset(
    b"HEADER OBSLTE TITLE SPLIT CAVEAT COMPND SOURCE KEYWDS EXPDTA NUMMDL MDLTYP AUTHOR REVDAT SPRSDE JRNL "
    b"REMARK DBREF DBREF1 DBREF2 SEQADV SEQRES MODRES HET HETNAM HETSYN FORMUL HELIX SHEET TURN SSBOND LINK "
    b"LINKR CISPEP SITE HYDBND SLTBRG CRYST1 ORIGX1 ORIGX2 ORIGX3 SCALE1 SCALE2 SCALE3 MTRIX1 MTRIX2 MTRIX3 "
    b"TVECT MODEL ANISOU SIGATM SIGUIJ TER ENDMDL CONECT MASTER USER FTNOTE PARENT TARGET METHOD".split()
)
_COORDINATES = re.compile(rb" *[+-]?\d+\.\d+ *[+-]?\d+\.\d+ *[+-]?\d+\.\d+")
_RESIDUE_NUMBER = re.compile(rb" *\S?? *-?\d+[A-Za-z]? *")  # between residue name and coordinates, a column off at most
_RESOLUTION = re.compile(rb"REMARK   2 RESOLUTION\.\s*(\d+\.?\d*)", re.ASCII)


@dataclass
class PdbScan:
    """The lines of a PDB file, sorted by what they are.

    Attributes:
        lines: every line, without its end.
        models: of each model, the indices into `lines` of its atoms.
        ters: of each model, the number of its atoms before each TER.
        header: what the file says of itself.
        assemblies: what it says of its assemblies.
    """

    lines: list[bytes]
    models: list[Sequence[int]] = field(default_factory=list)
    ters: list[list[int]] = field(default_factory=list)
    header: Header = field(default_factory=Header)
    assemblies: AssemblyText = field(default_factory=AssemblyText)


class _State:
    """The state of the scan between lines."""

    def __init__(self) -> None:
        self.atoms = array("q")  # a list of numbers takes five times as much
        self.ters: list[int] = []
        self.open_model = False
        self.any_model = False
        self.unbalanced = 0
        self.unbalanced_at = ""
        self.end_line = 0
        self.master: int | None = None
        self.declared_models: int | None = None
        self.resolution: float | None = None
        self.sequences: dict[str, list[str]] = {}
        self.parents: dict[str, str] = {}


def scan_pdb(data: bytes, log: WarningLog) -> PdbScan:
    """Sort the lines of a PDB file.

    Args:
        data: the file.
        log: takes the warnings about models, the end of the file and its encoding.

    Raises:
        StructureError: if an atom record is too short, shifted or misspelt, or there is none.
    """
    _check_encoding(data, log)
    scan, state = PdbScan(data.splitlines()), _State()
    for index, line in enumerate(scan.lines):
        if line.startswith((b"ATOM  ", b"HETATM")):
            if len(line) < 54:
                raise StructureError(
                    f"line {index + 1}: an atom record of {len(line)} columns, at least 54 are needed; "
                    "the line is cut off"
                )
            state.atoms.append(index)
            continue
        record = line[:6].strip()
        if record == b"END":
            state.end_line = index + 1
            break
        if record in KNOWN:
            _note_record(record, line, index, scan, state)
        else:
            _refuse_odd_atom(line, index)
    _close_model(scan, state)
    if not scan.models:
        raise StructureError("no ATOM or HETATM records; not a PDB file, or an empty one")
    scan.header = Header(state.resolution, state.sequences, state.parents)
    _check_models(scan, state, log)
    _check_end(data, scan, state, log)
    return scan


def _note_record(record: bytes, line: bytes, index: int, scan: PdbScan, state: _State) -> None:
    if record == b"TER":
        state.ters.append(len(state.atoms))
    elif record in (b"MODEL", b"ENDMDL"):
        opening = record == b"MODEL"
        if opening == state.open_model or (opening and state.atoms):
            state.unbalanced += 1
            state.unbalanced_at = state.unbalanced_at or f"line {index + 1}"
        _close_model(scan, state)
        state.open_model, state.any_model = opening, True
    elif record == b"SEQRES":
        names = line[19:70].decode("latin-1").split()
        state.sequences.setdefault(line[11:12].decode("latin-1").strip(), []).extend(names)
    elif record == b"MODRES":
        name, standard = line[12:15].decode("latin-1").strip(), line[24:27].decode("latin-1").strip()
        if parent(standard):
            state.parents[name] = standard
    elif record == b"REMARK" and line[7:10] == b"350":
        _note_assembly(line, scan.assemblies)
    elif record == b"REMARK" and state.resolution is None:
        match = _RESOLUTION.match(line)
        state.resolution = float(match.group(1)) if match else None
    elif record == b"MASTER" and line[50:55].strip().isdigit():
        state.master = int(line[50:55])
    elif record == b"NUMMDL" and line[10:14].strip().isdigit():
        state.declared_models = int(line[10:14])


def _note_assembly(line: bytes, found: AssemblyText) -> None:
    if len(found.remarks) < MOST_ROWS:
        found.remarks.append(line[10:80].decode("latin-1"))
    else:
        found.problem = f"REMARK 350 has more than {MOST_ROWS:,} lines"


def _close_model(scan: PdbScan, state: _State) -> None:
    if state.atoms:
        scan.models.append(state.atoms)
        scan.ters.append(state.ters)
    state.atoms, state.ters = array("q"), []


def _refuse_odd_atom(line: bytes, index: int) -> None:
    """Raise if a line of unknown kind looks like a damaged atom record, which would be lost in silence.

    Numbers where coordinates stand are not enough: tables of scores behind the atoms have them too. The residue number
    before them tells the two apart.
    """
    start = line[:7].strip().upper()
    if (start.startswith((b"ATOM", b"HETATM")) and len(line) >= 27) or (
        len(line) >= 54 and _COORDINATES.fullmatch(line[30:54]) and _RESIDUE_NUMBER.fullmatch(line[20:30])
    ):
        shown = line[:6].decode("latin-1")
        raise StructureError(
            f"line {index + 1}: record {shown!r} looks like a damaged or shifted ATOM record; repair or delete the line"
        )


def _check_encoding(data: bytes, log: WarningLog) -> None:
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        log.add("encoding_fallback", f"line {line}")


def _check_models(scan: PdbScan, state: _State, log: WarningLog) -> None:
    if state.any_model and state.open_model:
        state.unbalanced += 1
        state.unbalanced_at = state.unbalanced_at or "the last MODEL, which has no ENDMDL"
    if state.declared_models not in (None, len(scan.models)):
        state.unbalanced += 1
        state.unbalanced_at = (
            state.unbalanced_at or f"NUMMDL, which says {state.declared_models}; the file has {len(scan.models)}"
        )
    if state.unbalanced:
        log.add("model_records_unbalanced", state.unbalanced_at, state.unbalanced)
    if len(scan.models) > 1:
        identities = [b"".join([scan.lines[i][12:27] for i in model]) for model in scan.models]
        different = [i for i, identity in enumerate(identities) if identity != identities[0]]
        if different:
            log.add("models_differ", f"model {different[0] + 1} against model 1", len(different))


def _check_end(data: bytes, scan: PdbScan, state: _State, log: WarningLog) -> None:
    if state.end_line:
        after = [i for i in range(state.end_line, len(scan.lines)) if scan.lines[i].strip()]
        if any(scan.lines[i].startswith((b"ATOM  ", b"HETATM")) for i in after):
            log.add("multi_block", f"line {after[0] + 1}, after END")
        elif after and not all(scan.lines[i].strip() == b"END" for i in after):
            log.add("trailing_bytes", f"line {after[0] + 1}, after END", len(after))
    else:
        log.add("no_end", "the last line; there is no END record")
        if not data.endswith((b"\n", b"\r")):
            log.add("truncated_tail", f"line {len(scan.lines)}, which has no line end")
    n_atoms = sum(len(model) for model in scan.models)
    if state.master is not None and n_atoms < state.master:  # MASTER leaves out alternate locations: more is ordinary
        log.add("truncated_tail", f"MASTER, which says {state.master} atoms; the file has {n_atoms}")
