"""`protgen reconstruct`: what is left of structures or images after encoding and decoding."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout, table
from protgen.cli.exit_codes import of_failures
from protgen.cli.items import (
    ImageNumbers,
    Item,
    ItemModelOption,
    PathsArgument,
    backbone_of,
    columns_of,
    latent_family,
    load_any,
    nothing_asked,
    open_items,
)
from protgen.cli.option_groups import grouped

if TYPE_CHECKING:
    from protgen.models.model import Model
    from protgen.types import State

COLUMNS = 10  # images of a row of the picture


@grouped
def reconstruct(
    model: ItemModelOption,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for what is left, and reconstructions.csv.", metavar="DIR")
    ],
    numbers: ImageNumbers,
    paths: PathsArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Encode and decode structures or images: protgen reconstruct DIR --model vae-small --out again

    Of structures the files and the CA RMSD after superposition; of images a picture, each row above what is left of
    it, and the error of a pixel. Exits with 3 if some files could not be read.
    """
    with stderr().status("reconstructing"):
        import torch

        from protgen.evaluation.tables import make_folder, write_csv
        from protgen.families.base import reconstruct as run

        found = load_any(model)
        family = latent_family(found, "reconstruct")
        items = open_items(paths, numbers, found)
        make_folder(out)
        with torch.no_grad():
            again = [run(family, item.state, nothing_asked(found, item.state)) for item in items.every]
        structures = items.every[0].protein is not None
        made = structure_rows if structures else image_rows
        rows = made(found, items.every, again, out)
        write_csv(out / "reconstructions.csv", columns_of(rows), rows)
    if as_json:
        print_json({"folder": out, "n": len(rows), "n_failed": items.failed, "items": rows})
    else:
        key = "ca_rmsd" if structures else "rms_error"
        unit = "CA RMSD, Å" if structures else "RMS error of a pixel, brightness 0 to 1"
        mean = sum(float(row[key]) for row in rows) / len(rows)
        listing = table("<what", unit)
        for row in rows[:20]:
            listing.add_row(str(row["name"]), f"{float(row[key]):.3f}")
        stdout().print(listing)
        stdout().print(f"Mean of {len(rows)}: {mean:.3f}. Files: {out}", markup=False, soft_wrap=True)
    raise typer.Exit(of_failures(items.failed, len(rows) + items.failed))


def structure_rows(model: "Model", items: list[Item], again: "list[State]", out: Path) -> list[dict[str, Any]]:
    """Write each structure, and a row of the table for it: its file and the CA RMSD from where it began."""
    import torch

    from protgen.geometry.alignment import rmsd
    from protgen.structure.protein import CA
    from protgen.structure.writer import write_structure

    make, rows = backbone_of(model, "reconstruct"), []
    for number, (item, state) in enumerate(zip(items, again, strict=True)):
        protein = make(state, Path(item.name).stem)
        file = out / f"{number:04d}_{Path(item.name).stem}.pdb"
        write_structure(protein, file)
        assert item.protein is not None
        after, before = (torch.from_numpy(each.atoms[None, :, CA]).float() for each in (protein, item.protein))
        off = float(rmsd(after, before, torch.ones(1, protein.length, dtype=torch.bool))[0])
        rows.append({"name": item.name, "file": file.name, "length": protein.length, "ca_rmsd": off})
    return rows


def image_rows(model: "Model", items: list[Item], again: "list[State]", out: Path) -> list[dict[str, Any]]:
    """Write the picture, and a row of the table for each image: its class and the error of a pixel."""
    import torch

    from protgen.evaluation.image_grid import save_grid
    from protgen.models.image_samples import image_space

    space, rows = image_space(model, "reconstruct"), []
    before = torch.cat([space.observe(item.state) for item in items]).clamp(0, 1).cpu()
    after = torch.cat([space.observe(state) for state in again]).clamp(0, 1).cpu()
    errors = (before - after).square().mean((1, 2, 3)).sqrt()
    for item, error in zip(items, errors, strict=True):
        rows.append({"name": item.name, "label": item.label, "rms_error": float(error)})
    shown = []
    for start in range(0, len(before), COLUMNS):
        blank = torch.ones(max(0, min(COLUMNS, len(before)) - len(before[start : start + COLUMNS])), *before.shape[1:])
        shown += [part for values in (before, after) for part in (values[start : start + COLUMNS], blank)]
    save_grid(torch.cat(shown), out / "reconstructions.png", columns=min(COLUMNS, len(before)))
    return rows
