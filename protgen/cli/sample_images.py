"""`protgen sample-images`: pictures of a model of images, on one PNG grid."""

from pathlib import Path
from typing import Annotated

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout
from protgen.cli.image_options import ImageModelOption, PictureSettings, load_image_model
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError

CLASSES = 10


@grouped
def sample_images(
    model: ImageModelOption,
    out: Annotated[Path, typer.Option("--out", help="The picture: a PNG.", metavar="FILE")],
    how: PictureSettings,
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=10_000, help="How many.")] = 100,
    label: Annotated[
        int | None, typer.Option("--label", min=0, max=CLASSES - 1, help="Class of all; else 0 to 9 in turn.")
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Ask for no class.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Picture i depends on (seed, i) and its class alone.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures from a model of images: protgen sample-images --model RUN --out samples.png

    Classes 0 to 9 come in turn where the model has learned classes, ten to a row.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: pictures are written as PNG; give a name that ends in .png")
    if free and label is not None:
        raise UsageError("--free asks for no class and --label for one; give one of them")
    with stderr().status("drawing"):
        from protgen.evaluation.image_grid import save_grid
        from protgen.evaluation.tables import require_place
        from protgen.models.image_samples import draw_images

        require_place(out)
        found = load_image_model(model, "sample-images")
        labels = [-1] * n
        if label is not None:
            labels = [label] * n
        elif found.conditions.names and not free:
            labels = [i % CLASSES for i in range(n)]
        save_grid(draw_images(found, labels, seed, how.sampling()), out)
    if as_json:
        print_json({"file": out, "n": n, "labels": labels, "seed": seed})
    else:
        stdout().print(f"{n} pictures: {out}", markup=False, soft_wrap=True)
