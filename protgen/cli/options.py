"""Options that `sample` and `check` share, and how they become conditions and settings."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.conditions.base import Condition

Y = "What to make"
HOW = "How to make it"

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Name (see `protgen models`) or folder.", metavar="NAME|DIR")
]
LengthOption = Annotated[
    str | None,
    typer.Option("--length", help="Residues: 80, or a range such as 60-100.", metavar="N|A-B", rich_help_panel=Y),
]
SecondaryStructureOption = Annotated[
    str | None,
    typer.Option(
        "--ss",
        help="Secondary structure, runs (H12L4E6) or letters (HHHLLEE); X is free. Gives the length too.",
        metavar="TEXT",
        rich_help_panel=Y,
    ),
]
HelixOption = Annotated[
    float | None, typer.Option("--helix", help="Share of residues in helices, 0 to 1.", rich_help_panel=Y)
]
StrandOption = Annotated[
    float | None, typer.Option("--strand", help="Share of residues in strands, 0 to 1.", rich_help_panel=Y)
]
NumberOption = Annotated[int, typer.Option("-n", "--number", min=1, help="How many designs.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Design i depends on (seed, i) alone.")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="Sampler steps.", rich_help_panel=HOW)]
TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", help="Scale of the noise; lower is safer and less diverse.", rich_help_panel=HOW),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance", help="Weight of the conditions; 1 is plain conditioning.", rich_help_panel=HOW),
]
SamplerOption = Annotated[str | None, typer.Option("--sampler", help="Registry name.", rich_help_panel=HOW)]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="auto|free",
        help="auto draws a layout of helices and strands where none is asked for; free does not.",
        rich_help_panel=HOW,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Designs at a time; changes memory, not designs.", rich_help_panel=HOW),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.", rich_help_panel=HOW)]
NoCleanupOption = Annotated[
    bool,
    typer.Option("--no-cleanup", help="Leave out the final repair of peptides and clashes.", rich_help_panel=HOW),
]


def parse_conditions(
    length: str | None, ss: str | None, helix: float | None, strand: float | None
) -> "list[Condition]":
    """Conditions of the options given.

    Raises:
        UsageError: if one of them cannot be read, or is out of range.
    """
    from protgen.conditions.fractions import Fractions
    from protgen.conditions.length import Length
    from protgen.conditions.secondary_structure import SecondaryStructure

    conditions: list[Condition] = []
    if length is not None:
        conditions.append(Length.parse(length))
    if ss is not None:
        conditions.append(SecondaryStructure.parse(ss))
    if helix is not None or strand is not None:
        conditions.append(Fractions(helix, strand))
    return conditions


def given(**options: object) -> dict[str, object]:
    """The options that were given, for a settings object whose defaults stand for the rest.

    Raises:
        UsageError: if a number is not finite.
    """
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} {value}: give a finite number")
    return {name: value for name, value in options.items() if value is not None}
