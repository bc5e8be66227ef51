"""`protgen check`: what a request means, whether it can be met, and what it will cost, without making it."""

import resource
import sys
import time
from typing import TYPE_CHECKING

from protgen.cli import options as o
from protgen.cli.console import stderr, stdout, table, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.conditions.base import Condition
    from protgen.generation.design import SampleSettings
    from protgen.models.model import Model


def check(
    model: o.ModelOption = None,
    length: o.LengthOption = None,
    ss: o.SecondaryStructureOption = None,
    helix: o.HelixOption = None,
    strand: o.StrandOption = None,
    n: o.NumberOption = 8,
    steps: o.StepsOption = None,
    guidance: o.GuidanceOption = None,
    sampler: o.SamplerOption = None,
    layout: o.LayoutOption = None,
    batch_size: o.BatchSizeOption = None,
    device: o.DeviceOption = None,
) -> None:
    """Check conditions without generating: what was understood, conflicts, memory and time."""
    settings_given = o.given(
        steps=steps, guidance=guidance, sampler=sampler, layout=layout, batch_size=batch_size, device=device
    )
    with stderr().status("loading the model"):
        from protgen.generation.conflicts import check_conditions
        from protgen.generation.design import SampleSettings
        from protgen.models.released import DEFAULT, load

        conditions = o.parse_conditions(length, ss, helix, strand)
        settings = SampleSettings(**settings_given)  # type: ignore[arg-type]
        check_conditions(conditions, None)
        loaded = load(model or DEFAULT)
        lines = check_conditions(conditions, loaded.trained_lengths)
    console = stdout()
    understood = table("<condition", "<asked")
    for condition in conditions:
        understood.add_row(condition.name, in_words(condition))
    console.print(understood)
    for line in lines:
        warn(line)
    with stderr().status("timing two steps"):
        seconds, megabytes = cost(loaded, conditions, n, settings)
    console.print(f"No conflicts. {n} designs in {settings.steps} steps: about {seconds:.0f} s on this machine,")
    console.print(f"{megabytes:.0f} MB of memory at the most (batches of {settings.batch_size}).")


def in_words(condition: "Condition") -> str:
    """A condition as a person would say it."""
    from protgen.conditions.fractions import Fractions
    from protgen.conditions.length import Length
    from protgen.conditions.secondary_structure import SecondaryStructure

    if isinstance(condition, Length):
        return f"{condition.low} residues" if not condition.high else f"{condition.low} to {condition.high} residues"
    if isinstance(condition, SecondaryStructure):
        counts = {"helix": "H", "strand": "E", "free": "X"}
        shares = ", ".join(f"{condition.codes.count(code)} {name}" for name, code in counts.items())
        loop = condition.length - sum(condition.codes.count(code) for code in "HEX")
        return f"{condition.length} residues: {shares}, {loop} loop"
    if isinstance(condition, Fractions):
        asked = {"helix": condition.helix, "strand": condition.strand}
        return ", ".join(f"{100 * share:.0f} % {name}" for name, share in asked.items() if share is not None)
    return str(condition)


def cost(model: "Model", conditions: "Sequence[Condition]", n: int, settings: "SampleSettings") -> tuple[float, float]:
    """Seconds and megabytes of a run, measured on two steps of its first batch; without the clean-up."""
    from dataclasses import replace

    from protgen.generation.generate import generate

    first = min(n, settings.batch_size)
    short = replace(settings, steps=2, cleanup=False)
    begun = time.monotonic()
    for _ in generate(model, conditions, first, 0, short):
        pass
    seconds = (time.monotonic() - begun) / 2 * settings.steps * n / first
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, bytes on macOS
    return seconds, peak / (1024 if sys.platform != "darwin" else 1024**2)
