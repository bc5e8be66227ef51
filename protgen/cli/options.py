"""Options that `sample` and `check` (and in part `evaluate`) share, and how they become conditions and settings."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.conditions.base import Conditions

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
    float | None, typer.Option("--helix", help="Fraction of residues in helices, 0 to 1.", rich_help_panel=Y)
]
StrandOption = Annotated[
    float | None, typer.Option("--strand", help="Fraction of residues in strands, 0 to 1.", rich_help_panel=Y)
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
SamplerOption = Annotated[str | None, typer.Option("--sampler", help="Name, or module:Class.", rich_help_panel=HOW)]
BlueprintOption = Annotated[
    str | None,
    typer.Option(
        "--blueprint",
        "--layout",
        metavar="auto|free",
        help="auto draws a blueprint of helices and strands where none is asked for; free does not.",
        rich_help_panel=HOW,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Designs at a time on a GPU; on a CPU one a core.", rich_help_panel=HOW),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.", rich_help_panel=HOW)]
NoRelaxOption = Annotated[
    bool,
    typer.Option(
        "--no-relax", "--no-cleanup", help="Leave out the final repair of peptides and clashes.", rich_help_panel=HOW
    ),
]


RgOption = Annotated[str | None, typer.Option("--rg", help="Radius of gyration, Å.", metavar="Å", rich_help_panel=Y)]
ContactsOption = Annotated[
    str | None,
    typer.Option(
        "--contacts",
        help="CSV file (i,j,lower,upper) or pairs such as 5-40,12-60:10.",
        metavar="FILE|TEXT",
        rich_help_panel=Y,
    ),
]
MotifOption = Annotated[
    str | None, typer.Option("--motif", help="Structure file that holds the motif.", metavar="FILE", rich_help_panel=Y)
]
ContigOption = Annotated[
    str | None,
    typer.Option(
        "--contig",
        help="Its place: 10-40/A163-181/10-40, total length behind a colon.",
        metavar="TEXT",
        rich_help_panel=Y,
    ),
]
SymmetryOption = Annotated[
    str | None, typer.Option("--symmetry", help="C2, C3, ... or D2, D3, ...", metavar="GROUP", rich_help_panel=Y)
]
FoldClassOption = Annotated[
    str | None, typer.Option("--fold-class", help="By DSSP.", metavar="alpha|beta|mixed", rich_help_panel=Y)
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="A label of the data that the model has learned, as in ec_class=3.",
        metavar="FIELD=VALUE",
        rich_help_panel=Y,
    ),
]
PartialOption = Annotated[
    str | None, typer.Option("--partial", help="Structure file to vary.", metavar="FILE", rich_help_panel=Y)
]
NoiseOption = Annotated[
    float | None,
    typer.Option("--noise", help="How far to vary it, 0 to 1 (default 0.3).", rich_help_panel=Y),
]
ConditionsOption = Annotated[
    Path | None,
    typer.Option("--conditions", help="YAML file of conditions, these and more.", metavar="FILE", rich_help_panel=Y),
]
EnforceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--enforce",
        help="How a condition acts: radius_of_gyration=rank. See `protgen check` for what is possible.",
        metavar="NAME=HOW",
        rich_help_panel=HOW,
    ),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option("--candidates", min=1, help="Made for each design; the best is kept.", rich_help_panel=HOW),
]


@dataclass(frozen=True)
class Requested:
    """The options that say what to make, as they were typed; None where not given."""

    length: str | None = None
    ss: str | None = None
    helix: float | None = None
    strand: float | None = None
    rg: str | None = None
    contacts: str | None = None
    motif: str | None = None
    contig: str | None = None
    symmetry: str | None = None
    fold_class: str | None = None
    partial: str | None = None
    noise: float | None = None
    conditions: Path | None = None
    label: list[str] | None = None


SHORT_FORMS = {
    "length": "length",
    "ss": "secondary_structure",
    "rg": "radius_of_gyration",
    "contacts": "contacts",
    "symmetry": "symmetry",
    "fold_class": "fold_class",
}  # option -> condition that parses its text


def parse_conditions(asked: Requested) -> "Conditions":
    """Conditions of the options given, and of the file of conditions.

    Raises:
        UsageError: if one of them cannot be read, or is out of range.
    """
    from protgen.conditions.base import Conditions
    from protgen.conditions.language import from_fields, from_text, read_conditions

    given(helix=asked.helix, strand=asked.strand, noise=asked.noise)  # finite
    found = Conditions()
    for option, name in SHORT_FORMS.items():
        text = getattr(asked, option)
        if text is not None:
            found = found & from_text(name, text)
    if asked.helix is not None or asked.strand is not None:
        found = found & from_fields("fractions", {"helix": asked.helix, "strand": asked.strand})
    for text in asked.label or []:
        found = found & from_text("label", text)
    if asked.contig is not None and asked.motif is None:
        raise UsageError("--contig needs --motif, the structure file it refers to")
    if asked.motif is not None:
        found = found & from_fields("motif", {"file": asked.motif, "contig": asked.contig or ""})
    if asked.noise is not None and asked.partial is None:
        raise UsageError("--noise needs --partial, the structure file to vary")
    if asked.partial is not None:
        fields = {"file": asked.partial} | ({} if asked.noise is None else {"noise": asked.noise})
        found = found & from_fields("partial", fields)
    return found & read_conditions(asked.conditions) if asked.conditions is not None else found


def parse_enforce(entries: "list[str] | None") -> dict[str, str] | None:
    """NAME=HOW entries as a mapping; None where there are none.

    Raises:
        UsageError: if one has no =, or a name comes twice.
    """
    result: dict[str, str] = {}
    for entry in entries or []:
        name, equals, how = entry.partition("=")
        if not equals or name in result:
            raise UsageError(f"--enforce {entry}: write each condition once, as NAME=HOW")
        result[name] = how
    return result or None


def given(**options: object) -> dict[str, object]:
    """The options that were given, for a settings object whose defaults stand for the rest.

    Raises:
        UsageError: if a number is not finite.
    """
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} {value}: give a finite number")
    return {name: value for name, value in options.items() if value is not None}
