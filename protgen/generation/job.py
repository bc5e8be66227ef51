"""The job between asking and making: a request checked and planned once, for `sample`, `check` and `generate`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protgen import registry
from protgen.conditions.base import Conditions
from protgen.conditions.language import as_conditions
from protgen.conditions.roles import FixedPairs
from protgen.conditions.strand_pairing import StrandPairing
from protgen.device import pick_device
from protgen.errors import UsageError
from protgen.families.base import IterativeFamily
from protgen.generation.backbones import require_backbones
from protgen.generation.choice import model_for
from protgen.generation.conflicts import cautions, check_conditions, find, length_warnings
from protgen.generation.design import (
    HELD,
    PULLED,
    ResolvedSettings,
    SampleSettings,
    Settings,
    check_limits,
    is_number,
    resolved,
)
from protgen.generation.folds import fold_notes, leaves_length_open, with_length
from protgen.generation.planner import (
    Assignment,
    GuidanceWeights,
    assign,
    candidates_of,
    draws_blueprints,
    draws_topologies,
    guidance_weights,
    idle_weights,
)
from protgen.generation.reach import fractions_out_of_reach
from protgen.generation.together import TOGETHER, copies_together, with_docking
from protgen.models.blueprints import BlueprintPrior
from protgen.models.model import Model
from protgen.models.released import load
from protgen.models.topologies import TopologyPrior
from protgen.samplers.base import Sampler

PULLING = ("projection", "energy")  # mechanisms that pull designs while they are made


@dataclass(frozen=True)
class Job:
    """What designs are made of: a model and a request that it can meet, with all that was decided about it.

    Attributes:
        model: of protein backbones.
        conditions: the request.
        settings: of the run, none left open.
        assignments: the mechanism of each condition, in their order.
        lengths: at which the request can hold, ascending.
        name: of the model, or its folder; empty for a model that was given itself.
        warnings: a line each about what can be tried but is out of the model's reach, unusual, or odd in a file.
    """

    model: Model
    conditions: Conditions
    settings: ResolvedSettings
    assignments: tuple[Assignment, ...]
    lengths: Sequence[int]
    name: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def guidance(self) -> GuidanceWeights:
        """Weights of classifier-free guidance."""
        return guidance_weights(self.assignments, self.settings.guidance)

    @property
    def candidates(self) -> int:
        """How many candidates are made for each design."""
        return candidates_of(self.assignments, self.settings.candidates)

    @property
    def blueprints(self) -> BlueprintPrior | None:
        """What open secondary structure is drawn from; None where nothing is drawn."""
        drawn = draws_blueprints(self.conditions, self.model, self.settings.blueprint == "auto")
        return self.model.blueprints if drawn else None

    @property
    def topologies(self) -> TopologyPrior | None:
        """What strand pairing is drawn from, with secondary structure where that is open; None where nothing is."""
        drawn = draws_topologies(self.conditions, self.model, self.settings.blueprint == "auto")
        return self.model.topologies if drawn else None


def prepare(model: Model | str | Path | None, conditions: object, settings: Settings | None = None) -> Job:
    """Check and plan a request; nothing is sampled.

    Args:
        model: a model of protein backbones, the name of a released one, or a folder; None for the one that suits.
        conditions: a condition, several, or the text of `--ss`; together they give the length.
        settings: how to sample; what is not set is as the model asks for.

    Raises:
        ConflictError: if conditions cannot hold together.
        UsageError: if an argument is of another type, a setting out of range, or a condition out of the model's reach.
        ConfigError: if the model makes no backbones.
        CheckpointError: if there is no such model, or it is damaged.
    """
    asked = as_conditions(conditions)
    given = model_for(asked, settings if isinstance(settings, Settings) else None) if model is None else model
    known = model_of(given) if leaves_length_open(asked) else None
    asked = asked if known is None else with_length(asked, known)
    lengths = check_conditions(asked)
    if isinstance(settings, Settings) and settings.sampler is not None:
        registry.find("samplers", settings.sampler)  # before the model is loaded
    loaded = known or model_of(given)
    require_backbones(loaded.family.space)
    complete = resolved(settings, loaded)
    assignments = assign(asked, loaded, complete.enforce, complete.blueprint == "auto")
    acting = [entry for entry in assignments if entry.mechanism in PULLING or entry.condition.small_steps]
    if acting:
        held = all(entry.condition.large_steps for entry in acting)
        complete = resolved(settings, loaded, HELD if held else PULLED)
    check_settings(complete)
    check_autoguidance(loaded, complete.autoguidance)
    trained, enforced = loaded.trained_lengths, TOGETHER in complete.enforce.values()
    assignments, docked = with_docking(assignments, lengths, trained, enforced)
    seen = [copies_together(assignments) * length for length in (lengths[0], lengths[-1])]
    idle = idle_weights(assignments, complete.guidance)
    warnings = length_warnings(seen, trained) + cautions(asked, lengths) + docked + idle
    name = "" if isinstance(given, Model) else str(given)
    job = Job(loaded, asked, complete, assignments, lengths, name, warnings)
    beyond = fractions_out_of_reach(asked, lengths, job.blueprints, job.topologies)
    notes = fold_notes(asked, loaded, lengths, job.topologies) + idle_settings(settings, job)
    return replace(job, warnings=warnings + beyond + notes)


def idle_settings(given: Settings | None, job: Job) -> tuple[str, ...]:
    """A line for each setting that was given and does nothing for this model and request.

    Args:
        given: as they were asked for; settings that a run has resolved were not given one by one.
        job: of them.
    """
    if not isinstance(given, SampleSettings):
        return ()
    family, idle = job.model.family, {}
    of = job.name or type(family).__name__
    if not family.takes_sampler:
        asked = {"steps": given.steps, "sampler": given.sampler, "guidance interval": given.guidance_interval}
        idle |= {
            f"{name} {shown(value)}": f"{of} does not go from noise to a design by steps"
            for name, value in asked.items()
            if value is not None
        }
    elif given.guidance_interval is not None and not job.guidance:
        idle[f"guidance interval {shown(given.guidance_interval)}"] = "guidance is 1; add --guidance 2"
    paired = find(job.conditions, FixedPairs)
    known = job.topologies is not None or find(job.conditions, StrandPairing) is not None
    known |= paired is not None and bool(paired.ladders())
    if given.redraws not in (0, SampleSettings.redraws) and not (known and isinstance(family, IterativeFamily)):
        idle[f"redraws {given.redraws}"] = "only what is made by steps, of strands whose pairs are known, begins anew"
    return tuple(f"{what} does nothing here: {why}" for what, why in idle.items())


def shown(value: object) -> str:
    """A setting as it is typed: two times with a dash between."""
    return "-".join(f"{time:g}" for time in value) if isinstance(value, tuple) else str(value)


def model_of(given: object) -> Model:
    """A model as it is, or loaded by its name or folder.

    Raises:
        UsageError: for anything else, naming its type.
    """
    if isinstance(given, Model):
        return given
    if isinstance(given, str | Path):
        return load(str(given))
    raise UsageError(
        f"the model is a {type(given).__name__}; give a Model, a released one's name such as 'flow-small', or a folder"
    )


def check_settings(settings: ResolvedSettings) -> None:
    """Raise UsageError if a setting is out of range."""
    check_limits(settings)
    if settings.temperature < 0:
        raise UsageError(f"temperature {settings.temperature}: cannot be negative; 1 is the learned distribution")
    if settings.guidance < 0:
        raise UsageError(f"guidance {settings.guidance:g}: cannot be negative; 1 is plain conditioning")
    if settings.autoguidance < 0:
        raise UsageError(f"autoguidance {settings.autoguidance:g}: cannot be negative; 1 is the model alone")
    check_interval(settings.guidance_interval)
    if settings.batch_size < 1:
        raise UsageError(f"batch size {settings.batch_size}: must be at least 1")
    if settings.blueprint not in ("auto", "free"):
        raise UsageError(f"blueprint {settings.blueprint!r}: choose auto or free")
    if settings.candidates is not None and settings.candidates < 1:
        raise UsageError(f"candidates {settings.candidates}: make at least 1 for each design")
    if settings.energy_scale < 0 or settings.energy_steps < 1:
        raise UsageError(
            f"energy scale {settings.energy_scale} and steps {settings.energy_steps}: "
            "the scale cannot be negative, and there is at least 1 step"
        )
    if settings.redraws < 0:
        raise UsageError(f"redraws {settings.redraws}: cannot be negative; 0 takes every design as it begins")
    build_sampler(settings)
    pick_device(settings.device)


def check_interval(interval: object) -> None:
    """Raise UsageError if these are no two times."""
    pair = (
        interval if isinstance(interval, tuple | list) and len(interval) == 2 and all(map(is_number, interval)) else ()
    )
    if not pair or not 0 <= pair[0] <= pair[1] <= 1:
        raise UsageError(f"guidance interval {interval!r}: give two times from 0 to 1, the lower first: (0.25, 1)")


def check_autoguidance(model: Model, weight: float) -> None:
    """Raise UsageError if autoguidance is asked of a model that cannot have it."""
    if weight == 1:
        return
    if model.guide is None:
        raise UsageError(
            f"autoguidance {weight:g}: the model has no weaker one to guide it; leave it at 1, or train it with guide="
        )
    families = (model.family, model.guide)
    if not all(isinstance(family, IterativeFamily) for family in families):
        raise UsageError(f"autoguidance {weight:g}: only flow matching and diffusion take it; leave it at 1")


def build_sampler(settings: ResolvedSettings) -> Sampler:
    """The sampler of the settings.

    Raises:
        UsageError: if there is none of that name, or it does not take what is set.
    """
    particles = {} if settings.particles is None else {"particles": settings.particles}
    return registry.build("samplers", settings.sampler, steps=settings.steps, **particles)
