"""Designs from conditions: jobs are prepared, their designs planned and sampled, and the best candidates handed out."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from protgen.conditions.base import Condition, Conditions
from protgen.conditions.measure import evaluators
from protgen.errors import ProtgenError, UsageError
from protgen.generation.design import Design, Settings
from protgen.generation.job import Job, model_of, prepare
from protgen.generation.plan import Plan, plan_design
from protgen.generation.sampling import Progress, Run, make_batches
from protgen.models.model import Model

MOST_DESIGNS = 1_000_000  # of one call; their jobs and plans are in memory

Asked = Condition | Sequence[Condition] | str  # `Conditions` are a sequence


def generate(
    model: Model | str | Path,
    conditions: Asked,
    n: int = 1,
    seed: int = 0,
    settings: Settings | None = None,
    *,
    indices: Sequence[int] | None = None,
    on_step: Progress | None = None,
    trajectory: bool = False,
) -> Iterator[Design]:
    """Generate n backbones that meet the same conditions, batch by batch.

    Args:
        model: a model of protein backbones, the name of a released one, or a folder. It stays on its device.
        conditions: what the designs must be: a condition, several, with weights where they are `Conditions`, or the
            text of `--ss`; together they give the length.
        n: number of designs.
        seed: of the run; design i depends on (seed, i) and the settings alone.
        settings: how to sample; what is not set is as the model asks for.
        indices: make only these of the n designs.
        on_step: called with (steps done, steps in all) of the whole run, on a CPU from the threads that sample (one
            call at a time).
        trajectory: keep what the sampler predicts at each step, in `Design.trajectory`.

    Returns:
        An iterator over designs, from short ones to long ones. Everything is checked before it starts.

    Raises:
        ConflictError: if conditions cannot hold together.
        UsageError: if a setting is out of range, or an argument of another type.

    Examples:
        >>> designs = generate("flow-small", "L2H16L4H16L2", n=4)  # doctest: +SKIP
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise UsageError(f"n is a {type(n).__name__}; give a whole number of designs")
    if n < 1:
        raise UsageError(f"n {n}: ask for at least 1 design")
    if n > MOST_DESIGNS:
        raise UsageError(f"n {n}: at most {MOST_DESIGNS:,} designs are made at once; make the others by another seed")
    jobs = [prepare(model, conditions, settings)] * n
    return make_designs(jobs, seed, indices=indices, on_step=on_step, trajectory=trajectory)


def generate_each(
    model: Model | str | Path,
    requests: Sequence[Asked],
    seed: int = 0,
    settings: Settings | None = None,
    *,
    indices: Sequence[int] | None = None,
    on_step: Progress | None = None,
) -> Iterator[Design]:
    """Generate one backbone for each request; arguments and errors as in `generate`."""
    loaded = model_of(model)
    jobs: list[Job] = []
    for place, request in enumerate(requests):
        same = place > 0 and request is requests[place - 1]
        jobs.append(jobs[-1] if same else prepare(loaded, request, settings))
    return make_designs(jobs, seed, indices=indices, on_step=on_step)


def make_designs(
    jobs: Sequence[Job],
    seed: int = 0,
    *,
    indices: Sequence[int] | None = None,
    on_step: Progress | None = None,
    trajectory: bool = False,
) -> Iterator[Design]:
    """Make one design for each job; all have one model, and settings on the same device.

    Args:
        jobs: what is asked for, from `prepare`; the same one n times for n designs.
        seed: of the run.
        indices: make only these.
        on_step: as in `generate`.
        trajectory: as in `generate`.
    """
    if not jobs:
        return iter(())
    chosen = range(len(jobs)) if indices is None else indices
    plans = [
        plan_design(jobs[index], seed, index, candidate)
        for index in chosen
        for candidate in range(jobs[index].candidates)
    ]
    # Alike starts, guidance and lengths together: one of the first two for each batch, and little padding.
    plans.sort(key=lambda plan: (plan.noise or 0.0, str(plan.guidance), plan.length, plan.index, plan.candidate))
    batches = [(run, batch) for run, own in by_settings(plans, seed, trajectory) for batch in run.batches(own)]
    return best_of(make_batches(batches, on_step), plans)


def by_settings(plans: Sequence[Plan], seed: int, trajectory: bool) -> list[tuple[Run, list[Plan]]]:
    """Plans with the run that makes them: jobs of one model may be sampled otherwise, as their conditions want."""
    found: list[tuple[Run, list[Plan]]] = []
    for plan in plans:
        for run, own in found:
            if run.settings == plan.job.settings:
                own.append(plan)
                break
        else:
            found.append((Run.of(plan.job, seed, trajectory), [plan]))
    return found


def best_of(candidates: Iterator[tuple[Plan, Design]], plans: Sequence[Plan]) -> Iterator[Design]:
    """Each design's best candidate, as soon as the last of them is made."""
    left: dict[int, int] = {}
    for plan in plans:
        left[plan.index] = left.get(plan.index, 0) + 1
    several = {index for index, count in left.items() if count > 1}
    found: dict[int, list[tuple[float, int, Design]]] = {}
    for plan, design in candidates:
        if plan.index not in several:
            yield design
            continue
        found.setdefault(plan.index, []).append((violation(design, plan.asked), plan.candidate, design))
        if len(found[plan.index]) == left[plan.index]:
            yield min(found.pop(plan.index), key=lambda entry: entry[:2])[2]


def violation(design: Design, asked: Conditions) -> float:
    """Weighted violation of the conditions of a design, in units of their tolerances, by its final structure."""
    total = 0.0
    for evaluator in evaluators(asked):
        weight = asked.weight(evaluator.condition)
        try:
            met = evaluator.adherence(design.protein)
        except ProtgenError:
            return math.inf
        off = met.difference / met.tolerance if met.tolerance > 0 else met.difference
        total += weight * (off if math.isfinite(off) else 1e6)
    return total
