"""`protgen design-sequences`: sequences for a folder of backbones, with scores and liabilities."""

import time
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, progress, say_error, stdout, table
from protgen.cli.exit_codes import of_failures
from protgen.cli.option_groups import grouped
from protgen.cli.sample import FileFormat, check_restart
from protgen.cli.sequence_options import SequenceOptions, agreement_of, check_unchanged, say_agreement
from protgen.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

MOST_SHOWN = 40  # backbones in the table

Row = dict[str, Any]


@grouped
def design_sequences(
    paths: Annotated[list[Path], typer.Argument(help="Folders of backbones, or files.", metavar="DIR...")],
    sequences: SequenceOptions,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the sequences (DIR/sequences).", metavar="DIR")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Sequence k depends on (seed, k) alone.")] = 0,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the structures.")] = FileFormat.PDB,
    resume: Annotated[bool, typer.Option("--resume", help="Design what is missing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sequences in the folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Design sequences for backbones: FASTA, structures with names and CB, scores, liabilities.

    protgen design-sequences designs --sequences 8
    """
    check_restart(resume=resume, overwrite=overwrite)
    begun = time.monotonic()
    from protgen import registry
    from protgen.evaluation.collect import collect_files
    from protgen.evaluation.sequence_design import design_folder

    folder = place_for(paths, out)
    files = [path for _, path in collect_files(paths, leave_out=[folder])]
    check_names(files)
    tool, settings = sequences.tool(), sequences.settings(seed, file_format.value)
    second = sequences.second(tool)
    if overwrite:
        remove_old(folder, files)
    check_unchanged(folder, tool, settings, resume=resume)
    with progress("designing sequences") as show:
        rows = design_folder(files, folder, tool, settings, show, second)
    failed = [row for row in rows if "message" in row]
    code = of_failures(len(failed), len(files))
    if as_json:
        seconds = round(time.monotonic() - begun, 2)
        content = {"exit_code": code, "folder": folder, "wall_seconds": seconds, "sequences": rows}
        print_json(content | agreement_of(rows, tool, second))
    else:
        stdout().print(sequences_table(rows))
        n = len(rows) - len(failed)
        by = f"by {registry.reference('inverse_folding', type(tool))}"
        line = f"{n} sequences of {len(files) - len(failed)} backbones {by}, {time.monotonic() - begun:.0f} s in all."
        stdout().print(line, markup=False)
        if len(files) - len(failed) > MOST_SHOWN:
            stdout().print(f"The first {MOST_SHOWN} backbones are shown; sequences.csv has all.", markup=False)
        say_agreement(rows, tool, second)
        stdout().print(f"Files: {folder}/*.fasta, structures, and sequences.csv", markup=False, soft_wrap=True)
    for row in failed:
        say_error(f"{row['design']}: {row['message']}")
    raise typer.Exit(code)


def place_for(paths: Sequence[Path], out: Path | None) -> Path:
    """The folder for the sequences.

    Raises:
        UsageError: if it is not given, and not one folder of backbones is.
    """
    if out is not None:
        return out
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0] / "sequences"
    raise UsageError("--out is needed where files or several folders of backbones are given")


def check_names(files: Sequence[Path]) -> None:
    """Raise UsageError if two backbones would share their files of sequences."""
    from protgen.structure.reader import stem

    seen: dict[str, Path] = {}
    for path in files:
        other = seen.setdefault(stem(path), path)
        if other is not path:
            raise UsageError(f"{other} and {path} have one name; give their folders one at a time, each its own --out")


def remove_old(folder: Path, backbones: Sequence[Path]) -> None:
    """Remove the sequences that were made in a folder, and those of these backbones, and nothing else."""
    from protgen.evaluation.made_files import MadeFiles
    from protgen.inverse_folding.tool_fasta import SUFFIXES
    from protgen.structure.reader import stem

    if not folder.is_dir():
        return
    with MadeFiles(folder) as made:
        for name in made.names:
            made.remove(name)
    for name in map(stem, backbones):
        for path in folder.glob(f"{escape(name)}*"):
            number = path.stem.removeprefix(f"{name}_")
            if (path.stem == name and path.suffix in SUFFIXES) or (
                path.suffix in (".pdb", ".cif") and number.isdigit()
            ):
                path.unlink()


def sequences_table(rows: Sequence[Row]) -> "Table":
    """One line a backbone: its best sequence, and what to look at."""
    from protgen.evaluation.sequence_design import best_sequences

    shown = table("<design", "n", "score", "conf. %", "charge", "pI", "<liabilities", "<best sequence")
    for design, row in list(best_sequences(rows).items())[:MOST_SHOWN]:
        known = "score" in row
        shown.add_row(
            design,
            str(sum(other["design"] == design for other in rows)),
            f"{row['score']:.2f}" if known else "-",
            f"{100 * row['confidence']:.0f}" if "confidence" in row else "-",
            f"{row['charge']:+.1f}",
            f"{row['isoelectric_point']:.1f}",
            row["liabilities"],
            row["sequence"],
        )
    return shown
