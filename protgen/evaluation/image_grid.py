"""Pictures in rows on one PNG, without matplotlib."""

from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.evaluation.tables import replacing

LINE = 0.5  # brightness of the lines between pictures
WIDTH = 600  # pixels of a grid, or a little less: each pixel becomes a whole number of pixels


def save_grid(pictures: Float[Tensor, "n h w c"], path: str | PathLike[str], columns: int = 10) -> None:
    """Write pictures of one size, row by row, with a grey line between.

    Args:
        pictures: brightness 0 to 1; one channel is grey, three are colours.
        path: the file, a PNG.
        columns: pictures of a row.

    Raises:
        UsageError: if it cannot be written.
    """
    from PIL import Image as Picture

    n, h, w, c = pictures.shape
    columns = max(1, min(columns, n))
    rows = max(1, -(-n // columns))
    canvas = torch.full((rows * (h + 1), columns * (w + 1), c), LINE)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        canvas[top : top + h, left : left + w] = picture
    values = (canvas.clamp(0, 1) * 255).to(torch.uint8).numpy()
    picture = Picture.fromarray(values[..., 0] if c == 1 else values[..., :3])
    scale = max(1, WIDTH // picture.width)
    larger = picture.resize((picture.width * scale, picture.height * scale), Picture.Resampling.NEAREST)
    with replacing(Path(path)) as temporary, temporary.open("xb") as file:
        larger.save(file, format="PNG")
