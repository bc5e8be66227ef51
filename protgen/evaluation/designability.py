"""Designability: whether the sequences designed for a backbone are predicted to fold into it.

Refolds come from a folder of files, or from tools. Each design keeps the best value over its refolds, with their
number. A refold that cannot be used is counted and named. A design without a refold has no value, which is not 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protgen.atomic import unicode_text
from protgen.errors import DocumentError, ProtgenError, UsageError
from protgen.evaluation import laptop_refold
from protgen.evaluation.design_records import read_record, recorded_residue
from protgen.evaluation.refold_names import assign_refolds
from protgen.evaluation.refolding import Refolder, Refolds
from protgen.metrics.base import Quantity, Value, number_of, summarise
from protgen.metrics.self_consistency import (
    LABELS,
    MOTIF_QUANTITIES,
    QUANTITIES,
    MotifTarget,
    RefoldScore,
    best_of,
    f1,
    score_refold,
)
from protgen.parallel import run
from protgen.structure.b_factors import plddt_of, read_b_factors
from protgen.structure.file_names import is_structure_name
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.residue_id import ResidueId, residue_ids

MOST_NAMED = 20  # refolds without a design, in the summary
SEQUENCE_QUANTITIES = (
    Quantity(
        "sequence_score",
        "nats a residue",
        "lower",
        "mean negative log-likelihood of the designed sequences by their designer (by ProteinMPNN at temperature 0.1 "
        "natives have 0.98, natives with loop torsions drawn anew 1.30)",
    ),
)

Row = dict[str, Value]
Progress = Callable[[int, int], None]
RULE = (
    "a refold of design_0003.pdb is called design_0003.pdb or design_0003_*.pdb (any mark that is no letter or digit), "
    "or is in a folder design_0003"
)


@dataclass(frozen=True)
class Design:
    """One design and what it is compared with.

    Attributes:
        protein: the design.
        root: folder that names of refolds are given within.
        refolds: of the design.
        motif: the motif that its record names.
        problem: why the motif cannot be compared, if so.
    """

    protein: Protein
    root: Path
    refolds: Refolds
    motif: MotifTarget | None = None
    problem: str = ""


@dataclass(frozen=True)
class DesignabilityResult:
    """The source and the columns of the refolds.

    Attributes:
        source: where the refolds come from, for the summary.
        quantities: the columns written.
        labels: the text columns written.
    """

    source: dict[str, Any]
    quantities: tuple[Quantity, ...]
    labels: tuple[str, ...] = LABELS


def refolds_of(
    folder: Path, designs: Sequence[tuple[str, Path]], sets: Sequence[str]
) -> tuple[list[Refolds], list[str]]:
    """The refolds of each design in a folder of files, and those that belong to none.

    Args:
        folder: of refolds.
        designs: (n,) path of each within its set's folder, and whole.
        sets: (n,) the set of each.

    Raises:
        UsageError: if there is no such folder, no structure file in it, none that belongs to a design, one that
            belongs to two, or one that is a design itself.
    """
    if not folder.is_dir():
        raise UsageError(f"--refolds {folder}: no such folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_structure_name(path))
    if not files:
        raise UsageError(f"--refolds {folder}: no structure files here")
    same = {path.resolve() for path in files} & {path.resolve() for _, path in designs}
    if same:
        raise UsageError(
            f"--refolds {folder}: {min(same).name} is one of the designs; keep refolds in a folder of their own, "
            "or each would be its own refold"
        )
    names = [unicode_text(path.relative_to(folder).as_posix()) for path in files]
    owners = assign_refolds([label for label, _ in designs], sets, names)
    found = [Refolds(0) for _ in designs]
    for path, owner in zip(files, owners, strict=True):
        if owner is not None:
            found[owner].paths.append(path)
            found[owner].n_given += 1
    unassigned = [name for name, owner in zip(names, owners, strict=True) if owner is None]
    if len(unassigned) == len(files):
        raise UsageError(f"--refolds {folder}: none of {len(files)} files belongs to a design by its name: {RULE}")
    return found, unassigned


def designability(
    rows: Sequence[Row],
    proteins: Sequence[Protein | None],
    files: Sequence[tuple[str, Path]],
    source: Path | Refolder,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> DesignabilityResult:
    """Write the columns of self-consistency into the rows.

    Args:
        rows: of the table, with "set"; changed.
        proteins: (n,) one a row, None where the file could not be read.
        files: (n,) path of each within its set's folder, and whole.
        source: a folder of refolds, or tools that make them.
        jobs: processes that read and compare refolds; tools run one after another.
        progress: called with (designs done, designs in all).

    Raises:
        UsageError: if the folder of refolds cannot be used.
    """
    readable = [k for k, protein in enumerate(proteins) if protein is not None]
    if isinstance(source, Path):
        every, unassigned = refolds_of(source, files, [str(row["set"]) for row in rows])
        root, about = source, {"refolds": str(source), "rule": RULE}
        about |= {"n_unassigned": len(unassigned), "unassigned": unassigned[:MOST_NAMED]}
    else:
        every, root, about = [Refolds(0) for _ in rows], source.cache.folder, source.settings
        for done, k in enumerate(readable, start=1):
            protein = proteins[k]
            assert protein is not None
            every[k] = source.refold(protein)
            if progress is not None:
                progress(done, len(readable))
    designs = []
    for k in readable:
        protein = proteins[k]
        assert protein is not None
        motif, problem = motif_of(files[k][1], protein)
        designs.append(Design(protein, root, every[k], motif, problem))
    relative = laptop_refold.is_relative(source)
    for outcome in run(score_design, designs, jobs=jobs):
        died: Row = {"refold_message": "the process that compared its refolds was killed (out of memory, or a crash)"}
        row = outcome.result or died
        rows[readable[outcome.index]].update(laptop_refold.relative_row(row) if relative else row)
    with_motif = any(design.motif is not None or design.problem for design in designs)
    return DesignabilityResult(about | {"relative": relative}, quantities_of(rows, relative, with_motif))


def quantities_of(rows: Sequence[Row], relative: bool, with_motif: bool) -> tuple[Quantity, ...]:
    """The columns that were written.

    Args:
        rows: of the table.
        relative: whether the judge is a relative one.
        with_motif: whether a design was to hold a motif.
    """
    first, of_motif = QUANTITIES, MOTIF_QUANTITIES
    if relative:
        first, of_motif = laptop_refold.QUANTITIES, laptop_refold.MOTIF_QUANTITIES
    scored = SEQUENCE_QUANTITIES if any("sequence_score" in row for row in rows) else ()
    return (*first, *scored, *(of_motif if with_motif else ()))


def score_design(design: Design) -> Row:
    """The columns of one design; it never raises for what its refolds hold."""
    problems = list(design.refolds.problems)
    scores: list[RefoldScore] = []
    for path in design.refolds.paths:
        name = unicode_text(path.relative_to(design.root).as_posix())
        try:
            refold = read_structure(path, name=name)
            plddt = plddt_of(read_b_factors(path, refold))
            scores.append(score_refold(design.protein, refold, plddt, design.motif))
        except (ProtgenError, OSError) as error:
            problems.append(f"{name}: {str(error).removeprefix(f'{path}: ')}")
    row = best_of(scores, design.refolds.n_given, design.motif is not None)
    if np.isfinite(design.refolds.score):
        row["sequence_score"] = design.refolds.score
    row["refold_message"] = describe(design, len(scores), problems)
    return row


def describe(design: Design, n_used: int, problems: Sequence[str]) -> str:
    """One line on what is missing; empty where nothing is.

    Args:
        design: with its refolds.
        n_used: refolds that could be scored.
        problems: why the others could not.
    """
    n = design.refolds.n_given
    lines = [] if n else ["no refold"]
    if problems:
        lines.append(f"{n_used} of {n} refolds used; {'; '.join(dict.fromkeys(problems))}" if n else problems[0])
    if design.problem:
        lines.append(f"motif: {design.problem}")
    return " ".join("; ".join(lines).split())[:500]


def motif_of(path: Path, protein: Protein) -> tuple[MotifTarget | None, str]:
    """The motif that the record of a design names, and the reason if it cannot be used.

    The record has the motif's file, and which residue of the design is which of the motif's.
    """
    try:
        record = read_record(path)
    except DocumentError as error:
        return None, str(error)
    mapping = record.get("motif")
    asked = [entry for entry in record.get("requested", []) if entry["condition"] == "motif"]
    if not mapping or len(asked) != 1:
        return None, ""
    from protgen.conditions.motif import Motif

    try:
        fields = {key: value for key, value in asked[0].items() if key not in ("condition", "weight")}
        residues = Motif(**fields).residues()  # which confirms that the file is the one of the request
        native = _places(residues)
        own = _places(protein)
        rows = [native[recorded_residue(entry["motif"])] for entry in mapping]
        indices = [own[recorded_residue(entry["design"])] for entry in mapping]
    except ProtgenError as error:
        return None, str(error)
    except (KeyError, TypeError, ValueError):
        return None, "the record does not fit its design and motif file"
    return MotifTarget(np.array(indices), residues.backbone[rows, :3]), ""


def _places(protein: Protein) -> dict[ResidueId, int]:
    return {own: k for k, own in enumerate(residue_ids(protein))}


def refold_folder(source: Path | Refolder) -> Path:
    """Where the refolds are, which may be below the designs."""
    return source if isinstance(source, Path) else source.cache.folder


def describe_designability(rows: Sequence[Row], diversity: Mapping[str, Any], relative: bool = False) -> dict[str, Any]:
    """The designability of one set for `summary.json`.

    Args:
        rows: of its files that could be read.
        diversity: of the set, as in `summary.json`; empty if it was not clustered.
        relative: whether the judge is a relative one.
    """
    if relative:
        return laptop_refold.describe_refolds(rows)
    values = {name: summarise([number_of(row.get(name)) for row in rows]) for name in ("designable", "sc_rmsd")}
    fraction = values["designable"]
    # F1 is of all samples: where one has no verdict, or no cluster, there is none.
    whole = 0 < fraction.n == len(rows) == diversity.get("n")
    used = [number_of(row.get("n_refolds_used")) for row in rows]
    counts = sorted({int(n) for n in used if n > 0})
    return {
        "n": fraction.n,
        "n_given": len(rows),
        "designable_fraction": fraction.mean,
        "designable_fraction_ci_low": fraction.ci_low,
        "designable_fraction_ci_high": fraction.ci_high,
        "mean_sc_rmsd": values["sc_rmsd"].mean,
        "refolds_used": laptop_refold.count_of(rows, "n_refolds_used"),
        "refolds_given": laptop_refold.count_of(rows, "n_refolds"),
        "best_of": [counts[0], counts[-1]] if counts else None,
        "f1": f1(fraction.mean, diversity["clusters_per_sample"]) if whole else None,
    }
