"""`protgen sample`: generates backbones under constraints; writes and measures each as it is made."""

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.best import BestOptions, Kept, keep_best
from protgen.cli.console import JsonOption, print_json, progress, stderr, stdout, warn
from protgen.cli.interruption import Interrupted
from protgen.cli.option_groups import grouped
from protgen.cli.options import Asked, RunOptions, SettingsOptions, prepare_job
from protgen.cli.parts import PartOptions
from protgen.errors import ProtgenError, UsageError
from protgen.folder_lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protgen.cli.design_folder import DesignFolder
    from protgen.evaluation.run_records import Part
    from protgen.generation.design import Design
    from protgen.generation.job import Job
    from protgen.generation.sampling import Progress
    from protgen.types import JSON

TASK = "protgen sample"  # as the lock of its folder names it


class FileFormat(StrEnum):
    """Formats a design can be written in."""

    PDB = "pdb"
    CIF = "cif"


@grouped
def sample(
    out: Annotated[Path, typer.Option("--out", help="Folder for the designs.", metavar="DIR")],
    run: RunOptions,
    asked: Asked,
    settings: SettingsOptions,
    best: BestOptions,
    parts: PartOptions,
    file_format: Annotated[FileFormat, typer.Option("--format", help="File format.")] = FileFormat.PDB,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the designs in the folder.")] = False,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Write what the sampler predicts at each step: design_0000.xtc, ...")
    ] = False,
    keep_numbering: Annotated[
        bool, typer.Option("--keep-numbering", help="Write the motif with the chain and numbers of its own file.")
    ] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Leave out designs.png and designs.html.")] = False,
    cluster: Annotated[
        str, typer.Option("--cluster", help="Dask scheduler whose workers make the designs.", metavar="tcp://HOST:PORT")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Generate protein backbones from constraints.

    protgen sample --ss L2H16L4H16L4H16L2 -n 4 --out designs
    """
    check_restart(resume=resume, overwrite=overwrite)
    part = parts.part(run.n, best=best.best is not None, overwrite=overwrite)
    begun = time.monotonic()
    by = best.ranking(run.n, out)
    how = {"trajectory": trajectory, "keep_numbering": keep_numbering, "cluster": cluster}
    planned = plan(out, run, asked, settings, file_format, part, **how)
    with locked(planned.folder.path, *planned.lock):
        fill(planned, resume=resume, overwrite=overwrite)
        kept = None if by is None or best.best is None else keep_best(planned.folder, by, best.best)
        if not no_pictures:
            draw(planned.folder, kept)
    seconds = time.monotonic() - begun
    if as_json:
        print_json(summary(planned.folder, planned.job, seconds, kept))
    else:
        report(planned.folder, seconds, kept, pictures=not no_pictures)


def check_restart(*, resume: bool, overwrite: bool) -> None:
    """Raise UsageError if an earlier run is to be finished and replaced."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other; give one of them")


def check_numbering(job: "Job", seed: int, indices: range, file_format: FileFormat) -> None:
    """Raise UsageError if a design of the run cannot have the motif's numbers, before anything is made.

    Args:
        job: the request.
        seed: of the run.
        indices: of the designs.
        file_format: of the designs.
    """
    import numpy as np

    from protgen.generation.numbering import with_motif_numbers
    from protgen.generation.plan import plan_design
    from protgen.structure.protein import Protein

    for index in indices:
        for candidate in range(job.candidates):
            plan = plan_design(job, seed, index, candidate)
            if plan.motif is None:
                raise UsageError(
                    "--keep-numbering keeps the numbers of a motif; give --motif and --contig, or leave it out"
                )
            numbered = with_motif_numbers(Protein.from_backbone(np.zeros((plan.length, 4, 3))), plan.motif.mapping())
            if file_format is FileFormat.PDB and len(numbered.chains[0]) > 1:
                raise UsageError(f"--keep-numbering: PDB has no chain {numbered.chains[0]}; add --format cif")


@dataclass(frozen=True)
class Making:
    """A run: the folder it fills, the job, its seed, which weights these are, how it is written, and on which cluster
    it is made."""

    folder: "DesignFolder"
    job: "Job"
    seed: int
    model: "JSON"
    trajectory: bool = False
    keep_numbering: bool = False
    cluster: str = ""

    @property
    def lock(self) -> "tuple[str, range | None]":
        """What the lock of its folder says of it, and the indices that it is of."""
        part = self.folder.part
        return (TASK, None) if part is None else (f"{TASK} {part.asked}", part.indices)


def plan(
    out: Path,
    run: RunOptions,
    asked: Asked,
    settings: SettingsOptions,
    file_format: FileFormat,
    part: "Part | None" = None,
    *,
    trajectory: bool = False,
    keep_numbering: bool = False,
    cluster: str = "",
) -> Making:
    """The run of the options, checked; its warnings are said. Nothing is made yet.

    Args:
        out: folder for the designs.
        run: model, number and seed.
        asked: conditions.
        settings: how to make them.
        file_format: of the designs.
        part: of them that is made; None for all.
        trajectory: whether to write what the sampler predicts at each step.
        keep_numbering: whether motifs keep the chain and numbers of their own files.
        cluster: address of a Dask scheduler whose workers make the designs; "" for this machine.
    """
    with stderr().status("loading the model"):
        from protgen.cli.design_folder import DesignFolder
        from protgen.cli.design_record import describe_model, describe_request
        from protgen.models.released import find_model

        job = prepare_job(run, asked, settings)
        facts = describe_model(job.name, find_model(job.name))
    for line in job.warnings:
        warn(line)
    request = describe_request(facts, job, run.seed, file_format.value)
    if keep_numbering:
        check_numbering(job, run.seed, range(run.n) if part is None else part.indices, file_format)
        request["keep_numbering"] = True
    folder = DesignFolder(out, file_format.value, request, run.n, part)
    return Making(folder, job, run.seed, facts, trajectory, keep_numbering, cluster)


def make(run: Making, *, resume: bool, overwrite: bool) -> None:
    """Generate what is missing in the folder; whatever happens, what is made stays.

    Args:
        run: the run.
        resume: whether to finish an earlier one.
        overwrite: whether to replace an earlier one.

    Raises:
        LockedError: if another run fills the folder.
    """
    with locked(run.folder.path, *run.lock):
        fill(run, resume=resume, overwrite=overwrite)


def fill(run: Making, *, resume: bool, overwrite: bool) -> None:
    """`make` in a folder that no other run uses."""
    import torch

    from protgen.cli.design_record import record_of
    from protgen.device import pick_device
    from protgen.generation.numbering import with_motif_numbers

    folder, settings = run.folder, run.job.settings
    todo = folder.open(resume=resume, overwrite=overwrite)
    n = len(folder.indices)
    if not todo:
        folder.complete()
        stderr().print(f"all {n} designs are there already")
        return
    device = "cpu" if run.cluster else str(pick_device(settings.device))
    folder.write_run("running", device=device, threads=torch.get_num_threads(), torch=torch.__version__)
    try:
        with progress("sampling") as show:

            def on_step(done: int, total: int) -> None:
                show(done, total, f"{len(folder.records)} of {n} designs")

            for design in designs_of(run, todo, on_step):
                if run.keep_numbering:
                    design = replace(design, protein=with_motif_numbers(design.protein, design.motif))
                folder.add(design, record_of(design, folder.files(design.index)[0].name, run.model, settings))
    except Interrupted as interruption:
        folder.write_run("interrupted")
        kept = f"{len(folder.records)} of {n} designs are in {folder.path}"
        raise Interrupted(interruption.exit_code, f"interrupted: {kept}; --resume makes the rest") from None
    except (ProtgenError, RuntimeError, MemoryError):
        folder.write_run("failed")
        raise
    folder.complete()
    folder.write_run("done")


def designs_of(run: Making, todo: "Sequence[int]", on_step: "Progress") -> "Iterator[Design]":
    """The designs of a run, made here or by the workers of a cluster.

    Args:
        run: the run.
        todo: indices of the designs.
        on_step: called with (done, in all) of steps, or of designs on a cluster.
    """
    if run.cluster:
        from protgen.generation.remote import designs_of_cluster, order_of

        order = order_of(run.job, run.model["name"], str(run.folder.request), run.seed, trajectory=run.trajectory)
        return designs_of_cluster(order, run.job, todo, run.cluster, on_step)
    from protgen.generation.generate import make_designs

    return make_designs([run.job] * run.folder.n, run.seed, indices=todo, on_step=on_step, trajectory=run.trajectory)


def summary(folder: "DesignFolder", job: "Job", seconds: float, kept: Kept | None = None) -> "JSON":
    """What `--json` prints: the request, and the record of each design with its path and what is wrong with it.

    Args:
        folder: with the designs.
        job: the request.
        seconds: it took.
        kept: the best, where they were asked for.
    """
    from protgen.cli.design_table import verdict

    records = [folder.records[index] for index in sorted(folder.records)]
    problems = [verdict(record) for record in records]
    best = {} if kept is None else {"best": ranked(folder, kept)}
    part = {} if folder.part is None else {"part": folder.part.to_json()}
    return {
        "folder": folder.path,
        "n": folder.n,
        **part,
        "n_done": len(records),
        "n_good": sum(not entry for entry in problems),
        "wall_seconds": round(seconds, 2),
        "warnings": job.warnings,
        "request": folder.request,
        "designs": [
            {"path": folder.files(record["index"])[0], "problems": entry} | record
            for record, entry in zip(records, problems, strict=True)
        ],
        **best,
    }


def ranked(folder: "DesignFolder", kept: Kept) -> "JSON":
    """The best of a run as `--json` has them, in their order."""
    ranking = kept.ranking
    designs = [{"path": folder.files(index)[0], "index": index, "value": kept.values[index]} for index in kept.indices]
    return {"folder": kept.folder, "ranked_by": ranking.by, "better": ranking.better, "designs": designs}


def draw(folder: "DesignFolder", kept: Kept | None) -> None:
    """Write the picture and the page of all designs, in their order or from the best on."""
    from protgen.cli.design_folder import PICTURES
    from protgen.cli.design_table import verdict
    from protgen.evaluation.design_page import Shown, write_pictures
    from protgen.structure.reader import read_structure

    values = dict.fromkeys(sorted(folder.records)) if kept is None else kept.values
    best = [] if kept is None else kept.indices
    with stderr().status("drawing"):
        designs = [
            Shown(
                name=f"{index:04d}",
                file=folder.files(index)[0].name,
                protein=read_structure(folder.files(index)[0]),
                figures=folder.records[index]["validity"],
                verdict=", ".join(verdict(folder.records[index])) or "good",
                best=index in best,
                value=value,
            )
            for index, value in values.items()
        ]
        good = sum(one.verdict == "good" for one in designs)
        about = f"{len(designs)} designs, {good} good" + ("" if kept is None else f". {kept.line()}")
        files = folder.named(PICTURES[0]), folder.named(PICTURES[1])
        write_pictures(designs, files, about, "" if kept is None else kept.ranking.by)


def report(folder: "DesignFolder", seconds: float, kept: Kept | None = None, *, pictures: bool = True) -> None:
    """The table of designs, where the files are, and what to do next.

    Args:
        folder: with the designs.
        seconds: it took.
        kept: the best, where they were asked for: the table has these alone, best first.
        pictures: whether there are a picture and a page.
    """
    from protgen.cli.design_table import (
        asked_and_got,
        conditions_table,
        designs_table,
        in_full,
        legend,
        others,
        verdict,
    )

    console = stdout()
    every = [folder.records[index] for index in sorted(folder.records)]
    records = every if kept is None else [folder.records[index] for index in kept.indices]
    ranked = None if kept is None else (kept.ranking.by, kept.values)
    console.print(designs_table(records, ranked))
    for line in in_full(records, ranked):
        console.print(line, markup=False, soft_wrap=True)
    for record in records:
        for line in asked_and_got(record, min(console.width, 100)):
            console.print(line, markup=False)
    if others(records):
        console.print(conditions_table(records))
    good = sum(not verdict(record) for record in every)
    for line in (
        *legend(records),
        "",
        *([] if kept is None else [kept.line()]),
        f"{good} of {len(every)} good, {seconds:.0f} s in all.",
        *file_lines(folder, kept, pictures=pictures),
        f"Model: {folder.request['model']['name']}",
        *next_lines(every, folder.path if kept is None else kept.folder),
    ):
        console.print(line, markup=False, soft_wrap=True)


def file_lines(folder: "DesignFolder", kept: Kept | None, *, pictures: bool) -> list[str]:
    """Where everything is; arguments as of `report`."""
    from protgen.cli.design_folder import FIXED, PICTURES

    names = [folder.files(index)[0].name for index in sorted(folder.records)]
    files = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    lines = [f"Files: {folder.path}/{files}, a .json beside each, and {folder.run_name()}"]
    if any(record.get("motif") for record in folder.records.values()):
        lines.append(f"       {folder.named(FIXED).name}: the motif's positions, for ProteinMPNN")
    if pictures:
        picture, page = (folder.named(name).name for name in PICTURES)
        lines.append(f"       {picture}: a picture, {page}: all of them to turn, offline")
    if kept is not None:
        lines.append("       best/: copies of the best, ranking.csv: all of them in order")
    return lines


def next_lines(records: "list[JSON]", folder: Path) -> list[str]:
    """What to do next, and which residues have no name yet.

    Args:
        records: of the designs.
        folder: of those to go on with.
    """
    motif = any(record.get("motif") for record in records)
    lines = ["These are backbones: every residue is a placeholder (GLY)."]
    if motif:
        lines = [
            "Residues of the motif keep their names, and their letters in sequences;",
            "all others are placeholders (GLY).",
        ]
    return [f"Next:  protgen design-sequences {folder}", *(f"       {line}" for line in lines)]
