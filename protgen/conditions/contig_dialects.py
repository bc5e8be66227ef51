"""Contigs as other tools write them: RFdiffusion's command line, FrameFlow's table, Genie2's REMARKs, MotifBench.

Every dialect becomes a `MotifProblem` and can be written from one, so each converts into every other. RFdiffusion's and
Genie2's have no insertion codes and no chain names of several letters: a contig with these is refused there. The tables
of FrameFlow and MotifBench hold any contig of ours.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protgen.conditions.contigs import Contig, Gap
from protgen.conditions.files import structure_of
from protgen.conditions.segments import Segment, places_of
from protgen.errors import ProtgenError, StructureError, UsageError

_NOT_PLAIN = "it has a chain name of several letters, an insertion code or a negative number; renumber the motif file"


@dataclass(frozen=True)
class MotifProblem:
    """A motif to be scaffolded.

    Attributes:
        name: of the problem.
        contig: where the motif lies in the design.
        file: structure file that holds the motif.
    """

    name: str
    contig: Contig
    file: Path


def to_rfdiffusion(contig: Contig) -> str:
    """Options of RFdiffusion's command line, quoted for a shell.

    Raises:
        UsageError: for a segment that it would read otherwise.
    """
    for segment in contig.segments:
        if not segment.plain:
            raise UsageError(f"RFdiffusion cannot say the contig segment {segment}: {_NOT_PLAIN}")
    options = [f"'contigmap.contigs=[{contig.without_total()}]'"]
    if contig.total is not None:
        low, high = contig.total  # its parser wants both ends
        options.append(f"contigmap.length={low}-{high}")
    return " ".join(options)


def from_rfdiffusion(text: str) -> Contig:
    """A contig from `contigmap.contigs=[...]` and `contigmap.length=...`, or from what is inside the brackets.

    Raises:
        UsageError: if it cannot be read.
    """
    bare = re.sub(r"['\"]", "", text)
    inside = re.search(r"contigmap\.contigs=\[([^\]]*)\]", bare)
    length = re.search(r"contigmap\.length=([0-9-]+)", bare)
    return Contig.parse(inside.group(1) if inside else bare, length.group(1) if length else None)


def contig_of(file: Path, text: str, total: str | None = None) -> Contig:
    """A contig whose segments have as many residues as the motif file has there, if the file can be read.

    Args:
        file: of the motif.
        text: of the contig.
        total: length of the design, where the dialect keeps it apart.

    Raises:
        UsageError: if the contig cannot be read, or the file lacks one of its residues.
    """
    try:
        protein = structure_of(str(file))
    except ProtgenError:  # a table may come without its files; a motif says what is wrong with its own
        return Contig.parse(text, total)

    def count(segment: Segment) -> int:
        try:
            return len(places_of(segment, protein))
        except UsageError as error:
            raise UsageError(f"{file}: {error}") from None

    return Contig.parse(text, total, count)


def read_frameflow(path: Path, folder: Path | None = None) -> list[MotifProblem]:
    """FrameFlow's table: columns target, contig (parts between commas), length (may be empty), motif_path.

    Args:
        path: the CSV file.
        folder: where the motif files are, in place of the table's own paths.

    Raises:
        UsageError: naming the line that cannot be read.
    """
    rows = _read_table(path, {"target", "contig", "length", "motif_path"})
    problems = []
    for line, row in rows:
        file = Path(row["motif_path"])
        file = folder / file.name if folder else file
        with _Place(path, line):
            contig = contig_of(file, row["contig"], row["length"].strip() or None)
        problems.append(MotifProblem(row["target"], contig, file))
    return problems


def write_frameflow(problems: Sequence[MotifProblem]) -> str:
    """The text of such a table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["", "target", "contig", "length", "motif_path"])
    for number, problem in enumerate(problems):
        total = "" if problem.contig.total is None else str(Gap(*problem.contig.total))
        parts = ",".join(str(part) for part in problem.contig.parts)
        if len(problem.contig.chains) > 1:
            raise UsageError(f"{problem.name}: FrameFlow's table has no chain breaks; use another dialect")
        writer.writerow([number, problem.name, parts, total, problem.file])
    return out.getvalue()


def read_genie2(path: Path) -> MotifProblem:
    """A motif file with Genie2's `REMARK 999` lines: NAME, INPUT (columns: chain 19, first 20-23, last 24-27), lengths.

    Raises:
        UsageError: if it has none, or one cannot be read.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a motif file ({type(error).__name__})") from error
    name, parts, bounds = path.stem, [], {}
    for number, line in enumerate(lines, start=1):
        if not line.startswith("REMARK 999 "):
            continue
        words = line[11:].split()
        with _Place(path, number):
            if words[:1] == ["NAME"]:
                name = " ".join(words[1:]) or name
            elif words[:1] == ["INPUT"]:
                parts.append(_genie2_part(line))
            elif words[1:3] == ["TOTAL", "LENGTH"] and re.fullmatch(r"[0-9]{1,9}", "".join(words[3:4])):
                bounds[words[0]] = int(words[3])
    if not parts:
        raise UsageError(f"{path}: has no line REMARK 999 INPUT; give a contig too")
    total = (bounds["MINIMUM"], bounds["MAXIMUM"]) if {"MINIMUM", "MAXIMUM"} <= bounds.keys() else None
    with _Place(path, None):
        contig = Contig((tuple(parts),), total)
    return MotifProblem(name, contig, path)


def _genie2_part(line: str) -> Segment | Gap:
    chain, *numbers = line[18:19].strip(), line[19:23], line[23:27]
    if not all(number.strip().removeprefix("-").isdigit() for number in numbers):
        raise UsageError(f"cannot read {line.rstrip()!r}; expected chain, first and last in columns 19, 20-23, 24-27")
    low, high = (int(number) for number in numbers)
    return Segment(chain, low, high) if chain else Gap(low, high)


def write_genie2(problem: MotifProblem) -> str:
    """The `REMARK 999` lines of a problem."""
    if len(problem.contig.chains) > 1:
        raise UsageError(f"{problem.name}: Genie2's REMARK lines have no chain breaks; use another dialect")
    lines = [f"REMARK 999 NAME   {problem.name}", f"REMARK 999 PDB    {problem.file.stem}"]
    for part in problem.contig.parts:
        chain, low, high = (
            (part.chain, part.first, part.last) if isinstance(part, Segment) else (" ", part.low, part.high)
        )
        if isinstance(part, Segment) and (len(part.chain) > 1 or part.coded):
            raise UsageError(f"{problem.name}: REMARK 999 INPUT cannot say {part}: {_NOT_PLAIN}")
        if high > 9999 or low < -999:
            raise UsageError(f"{problem.name}: {part} does not fit the four columns of REMARK 999 INPUT")
        lines.append(f"REMARK 999 INPUT  {chain}{low:>4}{high:>4}")
    low, high = problem.contig.total or problem.contig.lengths
    lines += [f"REMARK 999 MINIMUM TOTAL LENGTH      {low}", f"REMARK 999 MAXIMUM TOTAL LENGTH      {high}"]
    return "\n".join(lines) + "\n"


def read_motifbench(path: Path, folder: Path) -> list[MotifProblem]:
    """MotifBench's table of contigs: columns problem, length, contig (parts between semicolons).

    Args:
        path: `example_contig_specifications.csv`.
        folder: the motif files, `{problem}.pdb`.

    Raises:
        UsageError: naming the line that cannot be read.
    """
    problems = []
    for line, row in _read_table(path, {"problem", "length", "contig"}):
        file = folder / f"{row['problem']}.pdb"
        with _Place(path, line):
            contig = contig_of(file, row["contig"], row["length"])
        problems.append(MotifProblem(row["problem"], contig, file))
    return problems


def write_motifbench(problems: Sequence[MotifProblem]) -> str:
    """The text of such a table."""
    lines = ["problem,length,contig"]
    for problem in problems:
        low, high = problem.contig.lengths
        if low != high or len(problem.contig.chains) > 1:
            raise UsageError(f"{problem.name}: MotifBench wants one chain of one length, not {problem.contig}")
        lines.append(f"{problem.name},{low},{';'.join(str(part) for part in problem.contig.parts)}")
    return "\n".join(lines) + "\n"


def to_placement(contig: Contig) -> str:
    """MotifBench's `motif_placements` of a design: sizes of gaps and chains of the motif file, `30/A/27/B/20`."""
    texts: list[str] = []
    for part in contig.parts:
        if isinstance(part, Gap):
            assert part.low == part.high, "draw the gaps first"
            if texts and texts[-1].isdigit():
                texts[-1] = str(int(texts[-1]) + part.low)
            else:
                texts.append(str(part.low))
        else:
            texts.append(part.chain)
    return "/".join(text for text in texts if text != "0")


def from_placement(text: str, segments: Sequence[Segment]) -> Contig:
    """The contig of a design from `motif_placements` and the segments of the motif file, one for each chain.

    Raises:
        UsageError: if it names a chain that is not there, or is no placement.
    """
    by_chain = {segment.chain: segment for segment in segments}
    parts: list[Segment | Gap] = []
    for word in text.strip().split("/"):
        if word.isascii() and word.isdigit() and len(word) <= 5:
            parts.append(Gap(int(word), int(word)))
        elif word in by_chain:
            parts.append(by_chain[word])
        else:
            raise UsageError(f"motif placement {text!r}: {word!r} is neither a number nor a chain of the motif")
    return Contig((tuple(parts),))


class _Place:
    """Puts the file and the line before the message of an error."""

    def __init__(self, path: Path, line: int | None) -> None:
        self.where = f"{path}: " if line is None else f"{path}: line {line}: "

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UsageError | StructureError):
            raise type(error)(f"{self.where}{error}") from None


def _read_table(path: Path, columns: set[str]) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a CSV file ({type(error).__name__})") from error
    reader = csv.DictReader(io.StringIO(text))
    missing = columns - set(reader.fieldnames or ())
    if missing:
        raise UsageError(f"{path}: has no column {', '.join(sorted(missing))}; is this the right table?")
    return [(reader.line_num, {key: row[key] or "" for key in columns}) for row in reader]
