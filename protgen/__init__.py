"""Generate protein structures under property constraints, evaluate them, and train on your own.

    import protgen as pg

    model = pg.load("flow-small")
    for design in pg.generate(model, [pg.Length(80), pg.FoldClass("alpha")], n=4):
        pg.write_structure(design.protein, f"{design.index}.pdb")

Make designs: `load`, `generate`, `prepare`, `Model`, `Design`, `SampleSettings`. Say what they are to be: the
conditions, from `Length` to `Motif`; join them by `&`. Read and write files: `read_structure`, `read_models`,
`write_structure`, `Protein`. Exchange with other packages: `to_biopython`, `from_biopython`, `to_mdtraj`,
`from_mdtraj`. Measure: `evaluate`, `EvaluationSettings`. Train: `train`, `TrainSettings`, `Store`. Images:
`load_images`, `build_image_model`, `ImageBatches`, `draw_images`. User mistakes raise a `ProtgenError`. The parts that
others plug into are in `pg.conditions`, `pg.families`, `pg.encoders`, `pg.metrics`, `pg.samplers` and `pg.spaces`.

Names are imported when they are first used: `import protgen` costs nothing and loads no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Design": "protgen.generation.design",
    "EvaluationSettings": "protgen.evaluation.settings",
    "ImageBatches": "protgen.data.images",
    "Model": "protgen.models.model",
    "Protein": "protgen.structure.protein",
    "ProtgenError": "protgen.errors",
    "SampleSettings": "protgen.generation.design",
    "Store": "protgen.data.store",
    "TrainSettings": "protgen.training.settings",
    "build_image_model": "protgen.models.image_presets",
    "draw_images": "protgen.models.image_samples",
    "evaluate": "protgen.evaluation.runner",
    "from_biopython": "protgen.structure.adapters",
    "from_mdtraj": "protgen.structure.adapters",
    "generate": "protgen.generation.generate",
    "load": "protgen.models.released",
    "load_images": "protgen.data.image_files",
    "prepare": "protgen.generation.job",
    "read_models": "protgen.structure.reader",
    "read_structure": "protgen.structure.reader",
    "to_biopython": "protgen.structure.adapters",
    "to_mdtraj": "protgen.structure.adapters",
    "train": "protgen.training.loop",
    "write_structure": "protgen.structure.writer",
}
_PACKAGES = ("conditions", "encoders", "families", "metrics", "samplers", "spaces")


def homes() -> dict[str, str]:
    """Every public class and function with its module: those named here, and every class of `protgen.conditions`."""
    from protgen.exports import public_classes

    return public_classes("protgen.conditions") | _HOMES


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    from importlib.util import find_spec

    from protgen.exports import fetch, unknown

    if name == "__version__":
        globals()[name] = _version()
        return globals()[name]
    if name == "__all__":
        return __dir__()
    # These two before the conditions, whose files have to be read. `from protgen import registry` asks here first.
    if name in _HOMES:
        return fetch("protgen", name, _HOMES)
    if not name.startswith("_") and find_spec(f"protgen.{name}") is not None:
        return import_module(f"protgen.{name}")
    known = {} if name.startswith("_") else homes()
    if name in known:
        return fetch("protgen", name, known)
    raise unknown("protgen", name, [*known, *_PACKAGES] if known else ())


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*homes(), *_PACKAGES, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("protgen")
    except PackageNotFoundError:  # run from a source folder that was never installed
        return "0+source"
