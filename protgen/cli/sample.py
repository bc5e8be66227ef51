"""`protgen sample`: backbones from constraints, written one by one and judged on the spot."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli import options as o
from protgen.cli.console import progress, stderr, stdout, warn
from protgen.cli.interruption import Interrupted
from protgen.errors import ProtgenError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.cli.design_folder import DesignFolder
    from protgen.conditions.base import Condition
    from protgen.generation.design import SampleSettings
    from protgen.models.model import Model


class FileFormat(StrEnum):
    """Formats a design can be written in."""

    PDB = "pdb"
    CIF = "cif"


def sample(
    out: Annotated[Path, typer.Option("--out", help="Folder for the designs.", metavar="DIR")],
    model: o.ModelOption = None,
    length: o.LengthOption = None,
    ss: o.SecondaryStructureOption = None,
    helix: o.HelixOption = None,
    strand: o.StrandOption = None,
    rg: o.RgOption = None,
    contacts: o.ContactsOption = None,
    motif: o.MotifOption = None,
    contig: o.ContigOption = None,
    symmetry: o.SymmetryOption = None,
    fold_class: o.FoldClassOption = None,
    partial: o.PartialOption = None,
    noise: o.NoiseOption = None,
    conditions: o.ConditionsOption = None,
    label: o.LabelOption = None,
    n: o.NumberOption = 8,
    seed: o.SeedOption = 0,
    steps: o.StepsOption = None,
    temperature: o.TemperatureOption = None,
    guidance: o.GuidanceOption = None,
    sampler: o.SamplerOption = None,
    blueprint: o.BlueprintOption = None,
    enforce: o.EnforceOption = None,
    candidates: o.CandidatesOption = None,
    no_relax: o.NoRelaxOption = False,
    batch_size: o.BatchSizeOption = None,
    device: o.DeviceOption = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="File format.")] = FileFormat.PDB,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the designs in the folder.")] = False,
) -> None:
    """Generate protein backbones from constraints.

    protgen sample --ss L2H14L4H14L4H14L2 -n 4 --out designs
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other; give one of them")
    settings_given = o.given(
        steps=steps, temperature=temperature, guidance=guidance, sampler=sampler, blueprint=blueprint,
        batch_size=batch_size, device=device, candidates=candidates, enforce=o.parse_enforce(enforce),
    )  # fmt: skip
    asked = o.Requested(
        length,
        ss,
        helix,
        strand,
        rg,
        contacts,
        motif,
        contig,
        symmetry,
        fold_class,
        partial,
        noise,
        conditions,
        label,
    )
    begun = time.monotonic()
    with stderr().status("loading the model"):
        from protgen.cli.design_folder import DesignFolder
        from protgen.cli.design_record import describe_model, describe_request
        from protgen.generation.backbones import require_backbones
        from protgen.generation.conflicts import check_conditions
        from protgen.generation.design import settings_for
        from protgen.generation.planner import plan_actions
        from protgen.models.released import DEFAULT, find_model, load
        from protgen.registry import find

        requests = o.parse_conditions(asked)
        check_conditions(requests, None)
        if sampler is not None:
            find("samplers", sampler)
        name = model or DEFAULT
        loaded = load(name)
        require_backbones(loaded.family.space)
        settings = settings_for(loaded, relax=not no_relax, **settings_given)
    for line in check_conditions(requests, loaded.trained_lengths):
        warn(line)
    actions = plan_actions(requests, loaded, settings.enforce, settings.blueprint == "auto")
    facts = describe_model(name, find_model(name))
    request = describe_request(facts, requests, seed, settings, file_format.value)
    request["acting"] = [action.to_json() for action in actions]
    folder = DesignFolder(out, file_format.value, request, n)
    make(folder, loaded, requests, settings, seed, facts, resume=resume, overwrite=overwrite)
    report(folder, time.monotonic() - begun)


def make(
    folder: "DesignFolder",
    model: "Model",
    conditions: "Sequence[Condition]",
    settings: "SampleSettings",
    seed: int,
    facts: dict,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Generate what is missing in the folder; whatever happens, what is made stays."""
    import torch

    from protgen.cli.design_record import record_of
    from protgen.generation.generate import generate

    todo = folder.open(resume=resume, overwrite=overwrite)
    if not todo:
        stderr().print(f"all {folder.n} designs are there already")
        return
    device = str(next(model.family.parameters()).device)
    folder.write_run("running", device=device, threads=torch.get_num_threads(), torch=torch.__version__)
    try:
        with progress("sampling") as show:

            def on_step(done: int, total: int) -> None:
                show(done, total, f"{len(folder.records)} of {folder.n} designs")

            designs = generate(model, conditions, folder.n, seed, settings, indices=todo, on_step=on_step)
            for design in designs:
                folder.add(design, record_of(design, folder.files(design.index)[0].name, facts, settings))
    except Interrupted as interruption:
        folder.write_run("interrupted")
        kept = f"{len(folder.records)} of {folder.n} designs are in {folder.path}"
        raise Interrupted(interruption.exit_code, f"interrupted: {kept}; --resume makes the rest") from None
    except (ProtgenError, RuntimeError, MemoryError):
        folder.write_run("failed")
        raise
    folder.write_run("done")


def report(folder: "DesignFolder", seconds: float) -> None:
    """The table of designs, where the files are, and what to do next."""
    from protgen.cli.design_table import (
        asked_and_got,
        conditions_table,
        designs_table,
        legend,
        others,
        verdict,
    )

    console = stdout()
    records = [folder.records[index] for index in sorted(folder.records)]
    console.print(designs_table(records))
    for record in records:
        for line in asked_and_got(record, min(console.width, 100)):
            console.print(line, markup=False)
    if others(records):
        console.print(conditions_table(records))
    good = sum(not verdict(record) for record in records)
    last = folder.files(records[-1]["index"])[0].name
    first = folder.files(records[0]["index"])[0].name
    files = first if len(records) == 1 else f"{first} to {last}"
    for line in (
        *legend(records),
        "",
        f"{good} of {len(records)} good, {seconds:.0f} s in all.",
        f"Files: {folder.path}/{files}, a .json beside each, and run.json",
        "Next:  these are backbones, every residue a placeholder (GLY). Design sequences",
        "       for them (e.g. with ProteinMPNN), fold those, and keep what comes back.",
    ):
        console.print(line, markup=False, soft_wrap=True)
