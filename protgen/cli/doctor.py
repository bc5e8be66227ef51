"""`protgen doctor`: what is installed, on what machine, and whether it works."""

import platform
import time
from importlib.metadata import PackageNotFoundError, version

from protgen.cli.console import say_error, stderr, stdout, table

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "gemmi",
    "roma",
    "mdtraj",
    "biopython",
    "safetensors",
    "lightning",
    "hydra-core",
)


def doctor() -> None:
    """Print versions, device and threads, and run a self-test of a few seconds."""
    import typer

    console = stdout()
    versions = table("<package", "<version")
    versions.add_row("protgen", installed("protgen"))
    versions.add_row("python", platform.python_version())
    for name in PACKAGES:
        versions.add_row(name, installed(name))
    console.print(versions)
    for line in plugin_lines():
        console.print(line, markup=False, soft_wrap=True)
    with stderr().status("loading torch"):
        import torch
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    console.print(f"{platform.system()} {platform.machine()}, device {device}, {torch.get_num_threads()} threads")
    failed = 0
    for name, test in (
        ("structures", check_structures),
        ("metrics", check_metrics),
        ("sampling", check_sampling),
    ):
        begun = time.monotonic()
        try:
            with stderr().status(f"testing {name}"):
                said = test()
        except Exception as error:  # whatever is broken, the others are tested too
            failed += 1
            say_error(f"{name}: {type(error).__name__}: {error}")
        else:
            console.print(f"ok  {name}: {said} ({time.monotonic() - begun:.1f} s)")
    raise typer.Exit(2 if failed else 0)


def plugin_lines() -> list[str]:
    """One line for each plug-in of another package; one that cannot be loaded is left out with a warning."""
    from protgen.registry import BASES, classes, plugins

    found = []
    for kind in BASES:
        others = {name: plugin for name, plugin in plugins(kind).items() if plugin.package}
        usable = classes(kind) if others else {}
        found += [f"plug-in  {kind} {name}, of {p.package}" for name, p in others.items() if name in usable]
    return found


def installed(name: str) -> str:
    """Version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def check_structures() -> str:
    """Write and read back an ideal helix."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from protgen.structure.ideal import ideal_helix
    from protgen.structure.protein import Protein
    from protgen.structure.reader import read_structure
    from protgen.structure.writer import write_structure

    helix = Protein.from_backbone(ideal_helix(20))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("pdb", "cif"):
            path = Path(folder) / f"helix.{suffix}"
            write_structure(helix, path)
            off = float(np.abs(read_structure(path).backbone - helix.backbone).max())
            if off > 0.001:
                raise ValueError(f"{suffix} came back {off:.4f} Å off")
    return "PDB and mmCIF come back as written"


def check_metrics() -> str:
    """Judge an ideal helix."""
    from protgen.evaluation.validity import validity
    from protgen.metrics.tm_native import engine
    from protgen.structure.ideal import ideal_helix
    from protgen.structure.protein import Protein

    found = validity(Protein.from_backbone(ideal_helix(20)))
    if found["chain_breaks"] or float(found["helix"]) < 0.8:
        raise ValueError(f"an ideal helix is judged as {found['ss']}, {found['chain_breaks']} breaks")
    return f"an ideal helix is judged as one; TM-score search: {engine()}"


def check_sampling() -> str:
    """Make one short design with the default model in few steps."""
    from protgen.conditions.length import Length
    from protgen.generation.design import SampleSettings
    from protgen.generation.generate import generate
    from protgen.models.released import DEFAULT, load

    model = load(DEFAULT)
    (design,) = generate(model, [Length(40)], 1, 0, SampleSettings(steps=5, relax=False))
    return f"{DEFAULT} makes a backbone of {design.protein.length} residues"
