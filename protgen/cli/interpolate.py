"""`protgen interpolate`: points on the straight line between two structures or images in latent space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout
from protgen.cli.items import (
    ImageNumbers,
    Item,
    ItemModelOption,
    PathsArgument,
    backbone_of,
    latent_family,
    load_any,
    nothing_asked,
    open_items,
)
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.models.model import Model
    from protgen.types import State


@grouped
def interpolate(
    model: ItemModelOption,
    out: Annotated[
        Path,
        typer.Option("--out", help="Of structures a .pdb of several models, and a .png beside it.", metavar="FILE"),
    ],
    numbers: ImageNumbers,
    paths: PathsArgument = None,
    steps: Annotated[int, typer.Option("-n", "--number", min=2, max=1000, help="Points, both ends included.")] = 9,
    as_json: JsonOption = False,
) -> None:
    """Go from one to the other in latent space: protgen interpolate A.pdb B.pdb --model vae-small --out path.pdb

    Two structures of one length give a file of several models and a picture; two images (--images 3,17) a picture.
    The second structure is superposed on the first before.
    """
    with stderr().status("interpolating"):
        import torch

        from protgen.families.base import interpolate as run
        from protgen.spaces.capabilities import aligned

        found = load_any(model)
        family = latent_family(found, "interpolate")
        items = open_items(paths, numbers, found)
        check_two(items.every, out)
        first, second = items.every
        end = aligned(found.family.space, second.state, first.state)
        fractions = torch.linspace(0, 1, steps)
        with torch.no_grad():
            states = run(family, first.state, end, nothing_asked(found, first.state), fractions)
        write = write_structures if first.protein is not None else write_images
        files = write(found, states, fractions.tolist(), out)
    if as_json:
        print_json({"from": first.name, "to": second.name, "n": steps, **files})
    else:
        stdout().print(
            f"{steps} from {first.name} to {second.name}: {', '.join(map(str, files.values()))}", markup=False
        )


def check_two(items: list[Item], out: Path) -> None:
    """Refuse what has no line between.

    Raises:
        UsageError: if there are not two, they differ in length, or the file has another name than its kind asks for, or
            cannot be written.
    """
    from protgen.evaluation.tables import require_place

    if len(items) != 2:
        raise UsageError(f"interpolate goes between two, and {len(items)} are given; give two")
    first, second = items
    lengths = [item.state.mask.shape[1] for item in items]
    if lengths[0] != lengths[1]:
        raise UsageError(
            f"{first.name} has {lengths[0]} residues and {second.name} {lengths[1]}; a line joins structures of one "
            "length"
        )
    suffix = ".png" if first.protein is None else ".pdb"
    if out.suffix.lower() != suffix:
        raise UsageError(f"--out {out}: give a name that ends in {suffix}")
    require_place(out)
    if first.protein is not None:
        require_place(out.with_suffix(".png"))


def write_structures(model: "Model", states: "State", fractions: list[float], out: Path) -> dict[str, Any]:
    """A file of several models, and a picture of them."""
    from protgen.evaluation.tables import writing
    from protgen.structure.picture import draw_backbones
    from protgen.structure.writer import write_models
    from protgen.types import State

    make = backbone_of(model, "interpolate")
    rows = [
        State({key: x[i : i + 1] for key, x in states.fields.items()}, states.mask[i : i + 1])
        for i in range(len(fractions))
    ]
    proteins = [make(row, out.stem) for row in rows]
    write_models(proteins, out)
    picture = out.with_suffix(".png")
    with writing(picture):
        draw_backbones(proteins, picture, titles=[f"{fraction:.2f}" for fraction in fractions])
    return {"file": out, "picture": picture}


def write_images(model: "Model", states: "State", fractions: list[float], out: Path) -> dict[str, Any]:
    """A picture of one row."""
    from protgen.evaluation.image_grid import save_grid
    from protgen.models.image_samples import image_space

    pictures = image_space(model, "interpolate").observe(states).clamp(0, 1).cpu()
    save_grid(pictures, out, columns=len(fractions))
    return {"picture": out}
