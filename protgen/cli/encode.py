"""`protgen encode`: the latents of structures or images."""

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout
from protgen.cli.exit_codes import of_failures
from protgen.cli.items import (
    ImageNumbers,
    ItemModelOption,
    PathsArgument,
    latent_family,
    load_any,
    nothing_asked,
    open_items,
)
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError


@grouped
def encode(
    model: ItemModelOption,
    out: Annotated[
        Path, typer.Option("--out", help="An .npz: an array of latents by the name of each.", metavar="FILE")
    ],
    numbers: ImageNumbers,
    paths: PathsArgument = None,
    draw: Annotated[
        int | None, typer.Option("--draw", min=0, help="Draw from q(z | x) with this seed; its mean without.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write latents z of structures or images: protgen encode DIR --model vae-small --out latents.npz

    Each is (positions, width); where a model has one latent for the whole, positions is 1. What is asked of y is
    unknown. Exits with 3 if some files could not be read.
    """
    if out.suffix != ".npz":
        raise UsageError(f"--out {out}: latents are written as .npz; give a name that ends in it")
    with stderr().status("encoding"):
        import numpy as np
        import torch

        from protgen.evaluation.tables import replacing, require_place

        require_place(out)
        found = load_any(model)
        family = latent_family(found, "encode")
        items = open_items(paths, numbers, found)
        latents = {}
        with torch.no_grad():
            for item in items.every:
                rng = None if draw is None else torch.Generator().manual_seed(draw)
                z = family.encode(item.state, nothing_asked(found, item.state), rng)
                latents[item.name] = z[0].cpu().numpy()
        with replacing(out) as temporary, zipfile.ZipFile(temporary, "x") as archive:
            for name, values in latents.items():  # np.savez takes names as keywords, and not every name is one
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
    shapes = {name: list(values.shape) for name, values in latents.items()}
    if as_json:
        print_json({"file": out, "n": len(shapes), "n_failed": items.failed, "shapes": shapes})
    else:
        positions, width = next(iter(shapes.values()))
        of = "for the whole" if positions == 1 else "for each position"
        stdout().print(f"{len(shapes)} encoded, {width} numbers {of}: {out}", markup=False, soft_wrap=True)
    raise typer.Exit(of_failures(items.failed, len(items.every) + items.failed))
