"""Options of several commands, in groups: the flags of conditions, and how to make what they ask for.

@grouped
def sample(run: RunOptions, asked: Asked, settings: SettingsOptions, ...): ...   # check takes the same groups

@grouped
def evaluate(paths: ..., asked: Asked, ...): ...
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from protgen.cli.option_groups import DynamicGroup
from protgen.conditions.flags import Flag, declared_flags
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.conditions.base import Conditions
    from protgen.generation.job import Job

Y = "Conditions"
HOW = "How to make it"
KINDS = {"text": str, "number": float, "switch": bool}  # type of a flag's value
PREFIX = "condition_"  # of parameters that hold the value of a condition's flag

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name (see `protgen models`), folder or run; by default the released one that suits the request.",
        metavar="NAME|DIR",
    ),
]
NumberOption = Annotated[int, typer.Option("-n", "--number", min=1, max=1_000_000, help="How many designs.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Design i depends on (seed, i) alone.")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="Sampler steps.", rich_help_panel=HOW)]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        help="T: standard deviations are T times the learned ones (1: as learned); lower is safer, less diverse.",
        rich_help_panel=HOW,
    ),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance", help="Weight of the conditions; 1 is plain conditioning.", rich_help_panel=HOW),
]
AutoGuidanceOption = Annotated[
    float | None,
    typer.Option(
        "--autoguidance",
        help="Weight against the weaker network that a model may have beside it; 1 is the model alone.",
        rich_help_panel=HOW,
    ),
]
GuidanceIntervalOption = Annotated[
    str | None,
    typer.Option(
        "--guidance-interval",
        help="Times between which --guidance acts; 1 is noise, 0 the design.",
        metavar="LOW-HIGH",
        rich_help_panel=HOW,
    ),
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
EnforceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--enforce",
        help="The mechanism of a condition: radius_of_gyration=rank. `protgen check` shows what is possible.",
        metavar="NAME=MECHANISM",
        rich_help_panel=HOW,
    ),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option("--candidates", min=1, help="Made for each design; the best is kept.", rich_help_panel=HOW),
]
RedrawsOption = Annotated[
    int | None,
    typer.Option(
        "--redraws",
        min=0,
        help="How often a design begins anew at the most while a crossover of its sheets goes left.",
        rich_help_panel=HOW,
    ),
]
NoRelaxOption = Annotated[
    bool,
    typer.Option(
        "--no-relax", "--no-cleanup", help="Leave out the final repair of peptides and clashes.", rich_help_panel=HOW
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Designs at a time on a GPU; on a CPU one a core.", rich_help_panel=HOW),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.", rich_help_panel=HOW)]


@dataclass(frozen=True)
class Asked(DynamicGroup):
    """The options that say what is asked for, as they were typed.

    Attributes:
        values: what was given for each flag, by its name.
        file: of conditions; None where not given.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    @classmethod
    def options(cls) -> list[inspect.Parameter]:
        """A parameter for each flag of each condition, and one for the file of conditions."""
        file = typer.Option(
            "--conditions", help="YAML file of conditions, these and more.", metavar="FILE", rich_help_panel=Y
        )
        return [*(parameter_of(flag) for flag in all_flags()), parameter(PREFIX + "file", Path | None, file)]

    @classmethod
    def collected(cls, values: Mapping[str, Any]) -> Self:
        """What was given, by the names of flags.

        Raises:
            UsageError: if a number is not finite.
        """
        typed = {flag.name: values[PREFIX + flag.key] for flag in all_flags()}
        given(**{name.lstrip("-"): value for name, value in typed.items()})
        kept = {name: value for name, value in typed.items() if value not in (None, False, [])}
        return cls(kept, values[PREFIX + "file"])

    def conditions(self) -> "Conditions":
        """The conditions of the flags, and then those of the file.

        Raises:
            UsageError: if one of them cannot be read, or is out of range.
        """
        from protgen.conditions.base import Conditions
        from protgen.conditions.language import read_conditions

        found = Conditions()
        for name, flags in declared_flags().items():
            found = found & conditions_of_flags(name, flags, self.values)
        return found & read_conditions(self.file) if self.file is not None else found


def conditions_of_flags(name: str, flags: Sequence[Flag], values: Mapping[str, Any]) -> "Conditions":
    """The conditions of one kind that its flags ask for: none, one, or several.

    Args:
        name: of the condition.
        flags: that it declares.
        values: what was typed, by name of the flag.

    Raises:
        UsageError: if one cannot be read, or another flag is missing.
    """
    from protgen.conditions.base import Conditions
    from protgen.conditions.language import from_fields, from_text

    found, values_of = Conditions(), {}
    given = [flag for flag in flags if flag.name in values]
    for flag in given:
        value = values[flag.name]
        if flag.field is not None:
            values_of[flag.field] = value
            continue
        texts = value if flag.many else ["" if flag.kind == "switch" else str(value)]
        for text in texts:
            found = found & from_text(name, text)
    for flag in flags:
        if values_of and flag.required and flag.name not in values:
            raise UsageError(f"{given[0].name} needs {flag.name}: {flag.help}")
    return found & from_fields(name, values_of) if values_of else found


@dataclass(frozen=True)
class RunOptions:
    """The options of a run other than conditions and settings."""

    model: ModelOption = None
    n: NumberOption = 8
    seed: SeedOption = 0


@dataclass(frozen=True)
class SettingsOptions:
    """The settings of sampling, as they were typed; None where not given."""

    steps: StepsOption = None
    temperature: TemperatureOption = None
    guidance: GuidanceOption = None
    guidance_interval: GuidanceIntervalOption = None
    autoguidance: AutoGuidanceOption = None
    sampler: SamplerOption = None
    blueprint: BlueprintOption = None
    enforce: EnforceOption = None
    candidates: CandidatesOption = None
    redraws: RedrawsOption = None
    no_relax: NoRelaxOption = False
    batch_size: BatchSizeOption = None
    device: DeviceOption = None

    def given(self) -> dict[str, Any]:
        """Those that were given, as `SampleSettings` takes them.

        Raises:
            UsageError: if one cannot be read.
        """
        typed = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "no_relax"}
        parsed = {"enforce": parse_enforce(self.enforce), "guidance_interval": parse_interval(self.guidance_interval)}
        found = given(**typed | parsed)
        return found | ({"relax": False} if self.no_relax else {})


def prepare_job(run: RunOptions, asked: Asked, settings: SettingsOptions) -> "Job":
    """The job of the options, checked and planned.

    Args:
        run: model, number and seed.
        asked: conditions.
        settings: how to make them.

    Raises:
        ProtgenError: whatever is wrong with it.
    """
    from protgen.generation.design import SampleSettings
    from protgen.generation.job import prepare

    given = settings.given()
    return prepare(run.model, asked.conditions(), SampleSettings(**given))


def all_flags() -> list[Flag]:
    """The flags of all conditions, in order."""
    return [flag for own in declared_flags().values() for flag in own]


def parameter_of(flag: Flag) -> inspect.Parameter:
    """The parameter of a flag."""
    option = typer.Option(flag.name, help=flag.help, metavar=flag.metavar, rich_help_panel=Y)
    if flag.kind == "switch":
        return parameter(PREFIX + flag.key, bool, option, False)
    return parameter(PREFIX + flag.key, list[str] | None if flag.many else KINDS[flag.kind] | None, option)


def parameter(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    """A parameter as typer reads it.

    Args:
        name: in Python.
        kind: its type.
        option: the option.
        default: its value where it is not given.
    """
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def parse_interval(text: str | None) -> tuple[float, float] | None:
    """LOW-HIGH as two times; None where it is not given.

    Raises:
        UsageError: if it is no two numbers.
    """
    if text is None:
        return None
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError:
        raise UsageError(f"--guidance-interval {text}: give two times, the lower first, as in 0.25-1") from None


def parse_enforce(entries: "list[str] | None") -> dict[str, str] | None:
    """NAME=MECHANISM entries as a mapping; None where there are none.

    Raises:
        UsageError: if one has no =, or a name comes twice.
    """
    result: dict[str, str] = {}
    for entry in entries or []:
        name, equals, mechanism = entry.partition("=")
        if not equals or name in result:
            raise UsageError(f"--enforce {entry}: write each condition once, as NAME=MECHANISM")
        result[name] = mechanism
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
