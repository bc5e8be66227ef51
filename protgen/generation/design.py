"""What is asked of a run, and what comes out of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from protgen.conditions.base import Condition
from protgen.conditions.roles import MotifResidue
from protgen.errors import CheckpointError, UsageError
from protgen.models.bounds import MOST
from protgen.models.model import Model
from protgen.structure.protein import Protein

# Which a model may set for itself, and what their values are.
OWN_SETTINGS: dict[str, type] = {
    "steps": int,
    "temperature": float,
    "guidance": float,
    "guidance_interval": tuple,
    "autoguidance": float,
    "sampler": str,
    "blueprint": str,
}
# Settings of designs on which conditions act while they are made, or that small steps serve; and of those of them that
# larger steps serve as well.
PULLED, HELD = "pulled", "held"
# The most of each setting, up or down: more is a slip of the finger, and takes all memory or gives no numbers.
LIMITS: Mapping[str, int | float] = {
    "steps": MOST, "candidates": MOST, "particles": MOST, "redraws": MOST, "batch_size": MOST, "energy_steps": MOST,
    "temperature": 10.0, "guidance": 100.0, "autoguidance": 100.0, "energy_scale": 1000.0,
}  # fmt: skip


@dataclass(frozen=True)
class SampleSettings:
    """How to sample; what to sample is said by conditions. What is None is as the model asks for, else the default.

    Attributes:
        steps: sampler steps (80).
        temperature: T times all standard deviations (0.8), and probabilities to the power 1 / T^2;
            1 is the learned distribution, below 1 trades diversity for quality. Uniform noise on rotations stays.
        guidance: weight w of classifier-free guidance, x_free + w (x_asked - x_free); 1 is plain conditioning (2; 1 for
            families that extrapolate samples by it, `Family.guidance_weight`).
        guidance_interval: times between which it acts (0.25, 1), 1 at noise and 0 at data: below 0.25 secondary
            structure stands, and joints are being set. Outside, a step is plain conditioning and takes half the time
            (Kynkäänniemi et al. 2024, Applying Guidance in a Limited Interval).
        autoguidance: weight w of autoguidance (1), x_weak + w (x_hat - x_weak), for a model that has a weaker one to
            guide it; 1 is the model alone.
        sampler: registry name ("euler").
        relax: whether to relax peptide geometry and clashes of the final frames.
        blueprint: "auto" (the default) draws a secondary-structure blueprint from the model's own p(y | length) where
            none is asked for; "free" leaves it to the network.
        batch_size: most designs at a time on a GPU; changes memory and speed, and by rounding those designs that
            amplify it. On a CPU each design is made alone, as many at a time as torch has threads.
        device: "auto", "cpu", "cuda", ...
        enforce: condition -> mechanism, in place of the one that is chosen (`protgen.generation.planner`).
        candidates: made for each design, of which the one that meets its conditions best is kept; None for 1, or more
            where a condition is met by choosing alone (`candidates_of`).
        energy_scale: weight of all energies together; 0 turns them off.
        energy_steps: steps of gradient descent on the energy for each predicted structure.
        particles: of sequential Monte Carlo for each design, with `sampler="smc"`; None for its default.
        redraws: how often a design begins anew at the most while a crossover of its sheets goes left, which shows after
            a quarter of its steps, in long chains after half (6); only where its pairs of strands are drawn or asked.
    """

    steps: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    guidance_interval: tuple[float, float] | None = None
    autoguidance: float | None = None
    sampler: str | None = None
    relax: bool = True
    blueprint: str | None = None
    batch_size: int = 8
    device: str = "auto"
    enforce: Mapping[str, str] = field(default_factory=dict)
    candidates: int | None = None
    energy_scale: float = 1.0
    energy_steps: int = 10
    particles: int | None = None
    redraws: int = 6


@dataclass(frozen=True)
class ResolvedSettings:
    """The settings of a run, none left to the model: what records and `run.json` hold. Attributes as above."""

    steps: int = 80
    temperature: float = 0.8
    guidance: float = 2.0
    guidance_interval: tuple[float, float] = (0.25, 1.0)
    autoguidance: float = 1.0
    sampler: str = "euler"
    relax: bool = True
    blueprint: str = "auto"
    batch_size: int = 8
    device: str = "auto"
    enforce: Mapping[str, str] = field(default_factory=dict)
    candidates: int | None = None
    energy_scale: float = 1.0
    energy_steps: int = 10
    particles: int | None = None
    redraws: int = 6


Settings = SampleSettings | ResolvedSettings


def check_limits(settings: Settings) -> None:
    """Raise UsageError if a setting is no number, not a whole one where it counts, or beyond its limit."""
    for name, most in LIMITS.items():
        value, what = getattr(settings, name), name.replace("_", " ")
        if value is None:
            continue
        if not is_number(value) or (isinstance(most, int) and not isinstance(value, int)):
            kind = "whole number" if isinstance(most, int) else "finite number"
            raise UsageError(f"{what} is {str(value)[:40]!r}; give a {kind}")
        if abs(value) > most:
            raise UsageError(f"{what} {str(value)[:20]}: at most {most:,g} is possible")


def settings_for(model: Model, kind: str = "", **given: Any) -> ResolvedSettings:
    """How to sample a model: what is given, then what its config asks for under "sampling", then the defaults.

    Args:
        model: to sample.
        kind: "pulled" if conditions act on the designs while they are made, or want small steps (`small_steps`);
            "held" if all that act do as well with larger ones (`large_steps`). What the config asks for under that
            name in "sampling", or else under "pulled", then comes before the rest of it.
        given: settings.

    Raises:
        CheckpointError: if the config asks for what is no setting of sampling.
    """
    whole = model.config.get("sampling", {})
    parts = {name: whole.get(name, {}) for name in (PULLED, HELD)} if isinstance(whole, Mapping) else {}
    wrong = [name for name, part in parts.items() if not isinstance(part, Mapping)]
    if not parts or wrong:
        raise CheckpointError(f"config.json: sampling and its {(wrong or [PULLED])[0]!r} are mappings of settings")
    own = {key: value for key, value in whole.items() if key not in parts}
    for part in (own, *parts.values()):
        for key, value in part.items():
            check_own(key, value)
    then = {} if not kind else parts[HELD] if kind == HELD and parts[HELD] else parts[PULLED]
    values: dict[str, Any] = {"guidance": model.family.guidance_weight, **own, **then, **given}
    if isinstance(values.get("guidance_interval"), list):  # as JSON has it
        values["guidance_interval"] = tuple(values["guidance_interval"])
    return ResolvedSettings(**values)


def check_own(key: str, value: Any) -> None:
    """Raise CheckpointError if a model's config sets what is no setting of sampling, or gives it no such value."""
    if key not in OWN_SETTINGS:
        known = ", ".join((*OWN_SETTINGS, PULLED, HELD))
        raise CheckpointError(f"config.json: no sampling setting {key!r}; choose from {known}")
    kind = OWN_SETTINGS[key]
    if kind is tuple:
        fits = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
    else:
        fits = is_number(value) if kind is float else type(value) is kind
    if not fits:
        wanted = {int: "a whole number", float: "a number", str: "a name", tuple: "a pair of numbers"}[kind]
        raise CheckpointError(f"config.json: the sampling setting {key} is {str(value)[:20]!r}; it is {wanted}")


def is_number(value: Any) -> bool:
    """Whether a value of a config is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def resolved(settings: Settings | None, model: Model, kind: str = "") -> ResolvedSettings:
    """Settings with a value for each that was left to the model; `kind` as of `settings_for`.

    Raises:
        UsageError: if they are no settings.
        CheckpointError: if the model's config asks for what is no setting.
    """
    if isinstance(settings, ResolvedSettings):
        return settings
    if settings is not None and not isinstance(settings, SampleSettings):
        raise UsageError(
            f"settings are a {type(settings).__name__}; give SampleSettings, such as SampleSettings(steps=40)"
        )
    values = {} if settings is None else {entry.name: getattr(settings, entry.name) for entry in fields(settings)}
    left = [key for key in OWN_SETTINGS if values.get(key) is None]
    return settings_for(model, kind, **{key: value for key, value in values.items() if key not in left})


@dataclass(frozen=True)
class Design:
    """One generated backbone.

    Attributes:
        index: i of sample i.
        protein: the backbone; residue names are placeholders (GLY).
        raw: the same before relaxation.
        asked: conditions of the user.
        drawn: conditions drawn from the model's p(y), where the user left them open.
        seed: of the run; (seed, index) gives this design again.
        motif: which of its residues are which of the motif file; empty without a motif.
        candidate: which of the design's candidates it is.
        trajectory: the structure that the sampler predicted at each step, where it was asked for; not relaxed.
    """

    index: int
    protein: Protein
    raw: Protein
    asked: tuple[Condition, ...]
    drawn: tuple[Condition, ...]
    seed: int
    motif: tuple[MotifResidue, ...] = ()
    candidate: int = 0
    trajectory: tuple[Protein, ...] = ()

    def __repr__(self) -> str:
        """One line: which design it is, its size, and what was asked."""
        asked = " & ".join(repr(condition) for condition in self.asked)
        size = f"{self.protein.length} residues" + (f" in {n} chains" if (n := len(self.protein.chains)) > 1 else "")
        return f"<Design {self.index} of seed {self.seed}: {size}, asked {shortened(asked) or 'nothing'}>"

    def _repr_html_(self) -> str:
        """A drawing, the conditions as asked and as measured, and the validity, for notebooks."""
        from protgen.generation.notebook import design_html

        facts = {"design": str(self.index), "seed": str(self.seed)}
        facts |= {"candidate": str(self.candidate)} if self.candidate else {}
        return design_html(self.protein, facts, self.asked, self.drawn)

    def show(self) -> Any:
        """Show the structure in Mol*, in a notebook; works offline.

        Raises:
            UsageError: if ipymolstar is not installed.
        """
        return self.protein.show()


def shortened(text: str, most: int = 80) -> str:
    """A text in at most so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
