"""Options that commands share: what to make (the flags of conditions) and how to make it, added by decorators.

    @job_options
    def sample(job: JobOptions, out: OutOption): ...     # also check

    @condition_options
    def evaluate(paths: PathsArgument, asked: Asked): ...

A decorator spells the parameter of its kind out as options, and hands the function one object of what was typed.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.conditions.flags import Flag, declared_flags
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.conditions.base import Conditions
    from protgen.generation.job import Job

Y = "What to make"
COMPARED = "What to compare with"
HOW = "How to make it"
KINDS = {"text": str, "number": float, "switch": bool}  # type of a flag's value
PREFIX = "condition_"  # of parameters that hold the value of a condition's flag

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Name (see `protgen models`) or folder.", metavar="NAME|DIR")
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
class Asked:
    """The options that say what is asked for, as they were typed.

    Attributes:
        values: what was given for each flag, by its name.
        file: of conditions; None where not given.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.values) or self.file is not None

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

    Raises:
        UsageError: if one cannot be read, or another flag is missing.
    """
    from protgen.conditions.base import Conditions
    from protgen.conditions.language import from_fields, from_text

    found, fields = Conditions(), {}
    given = [flag for flag in flags if flag.name in values]
    for flag in given:
        value = values[flag.name]
        if flag.field is not None:
            fields[flag.field] = value
            continue
        texts = value if flag.many else ["" if flag.kind == "switch" else str(value)]
        for text in texts:
            found = found & from_text(name, text)
    for flag in flags:
        if fields and flag.required and flag.name not in values:
            raise UsageError(f"{given[0].name} needs {flag.name}: {flag.help}")
    return found & from_fields(name, fields) if fields else found


@dataclass(frozen=True)
class JobOptions:
    """The options of a job, as they were typed.

    Attributes:
        asked: what to make.
        model: name or folder; None for the default.
        n: number of designs.
        seed: of the run.
        settings: those of `SampleSettings` that were given.
    """

    asked: Asked
    model: str | None = None
    n: int = 8
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self) -> "Job":
        """The job, checked and planned.

        Raises:
            ProtgenError: whatever is wrong with it.
        """
        from protgen.generation.design import SampleSettings
        from protgen.generation.job import prepare
        from protgen.models.released import DEFAULT

        return prepare(self.model or DEFAULT, self.asked.conditions(), SampleSettings(**self.settings))


def settings_given(
    steps: StepsOption = None,
    temperature: TemperatureOption = None,
    guidance: GuidanceOption = None,
    sampler: SamplerOption = None,
    blueprint: BlueprintOption = None,
    enforce: EnforceOption = None,
    candidates: CandidatesOption = None,
    no_relax: NoRelaxOption = False,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = None,
) -> dict[str, Any]:
    """The settings of sampling that were given; its parameters are the options."""
    found = given(
        steps=steps, temperature=temperature, guidance=guidance, sampler=sampler, blueprint=blueprint,
        enforce=parse_enforce(enforce), candidates=candidates, batch_size=batch_size, device=device,
    )  # fmt: skip
    return found | ({"relax": False} if no_relax else {})


def of_run(model: ModelOption = None, n: NumberOption = 8, seed: SeedOption = 0) -> dict[str, Any]:
    """The options of a run beside conditions and settings; its parameters are the options."""
    return {"model": model, "n": n, "seed": seed}


def condition_options(function: Callable[..., None]) -> Callable[..., None]:
    """The command with its `Asked` parameter spelled out as the flags of all conditions and `--conditions`."""
    return expanded(function, Asked, condition_parameters(COMPARED), asked_of)


def job_options(function: Callable[..., None]) -> Callable[..., None]:
    """The command with its `JobOptions` parameter spelled out as options, the flags of all conditions among them."""
    run, settings = (list(inspect.signature(source).parameters.values()) for source in (of_run, settings_given))
    parameters = [run[0], *condition_parameters(Y), *run[1:], *settings]

    def collect(values: Mapping[str, Any]) -> JobOptions:
        about = of_run(**{parameter.name: values[parameter.name] for parameter in run})
        how = settings_given(**{parameter.name: values[parameter.name] for parameter in settings})
        return JobOptions(asked_of(values), settings=how, **about)

    return expanded(function, JobOptions, parameters, collect)


def condition_parameters(panel: str) -> list[inspect.Parameter]:
    """A parameter for each flag of each condition, and one for the file of conditions."""
    flags = [flag for own in declared_flags().values() for flag in own]
    file = typer.Option(
        "--conditions", help="YAML file of conditions, these and more.", metavar="FILE", rich_help_panel=panel
    )
    return [*(parameter_of(flag, panel) for flag in flags), parameter(PREFIX + "file", Path | None, file)]


def parameter_of(flag: Flag, panel: str) -> inspect.Parameter:
    """The parameter of a flag."""
    option = typer.Option(flag.name, help=flag.help, metavar=flag.metavar, rich_help_panel=panel)
    if flag.kind == "switch":
        return parameter(PREFIX + flag.key, bool, option, False)
    return parameter(PREFIX + flag.key, list[str] | None if flag.many else KINDS[flag.kind] | None, option)


def parameter(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    """A parameter as typer reads it."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def asked_of(values: Mapping[str, Any]) -> Asked:
    """What is asked for, of the values of `condition_parameters`.

    Raises:
        UsageError: if a number is not finite.
    """
    flags = [flag for own in declared_flags().values() for flag in own]
    typed = {flag.name: values[PREFIX + flag.key] for flag in flags}
    given(**{flag.key: typed[flag.name] for flag in flags})
    return Asked(
        {name: value for name, value in typed.items() if value not in (None, False, [])}, values[PREFIX + "file"]
    )


def expanded(
    function: Callable[..., None],
    kind: type,
    parameters: Sequence[inspect.Parameter],
    collect: Callable[[Mapping[str, Any]], Any],
) -> Callable[..., None]:
    """A function with its one parameter of a kind replaced by others.

    Args:
        function: the command.
        kind: type of the parameter to be replaced.
        parameters: what stands in its place.
        collect: makes the object out of their values.
    """
    own = inspect.signature(function, eval_str=True).parameters.values()
    (place,) = [entry.name for entry in own if entry.annotation is kind]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        taken = {entry.name: values.pop(entry.name) for entry in parameters}
        function(**values, **{place: collect(taken)})

    spelled: list[inspect.Parameter] = []
    for entry in own:
        spelled += parameters if entry.name == place else [entry]
    keyword = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in spelled]
    command.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    command.__annotations__ = {entry.name: entry.annotation for entry in keyword}
    return command


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
