"""From conditions to designs: resolve what was asked, draw what was left open, sample, clean up, hand out proteins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator

from protgen import registry
from protgen.conditions.base import Condition
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import UsageError
from protgen.generation.backbones import finished_atoms, require_backbones, steps_of
from protgen.generation.conflicts import check_conditions, find
from protgen.generation.design import Design, SampleSettings
from protgen.models.layouts import LayoutPrior, complete_request
from protgen.models.model import Model
from protgen.samplers.base import Guidance, SamplingTask
from protgen.structure.protein import Protein
from protgen.types import State

GUIDE_UNTIL = 0.25  # time below which guidance rests: by then secondary structure stands, and joints are being set


@dataclass(frozen=True)
class Plan:
    """One design before it is made: its length, all its conditions, and the generator its noise comes from."""

    index: int
    length: int
    asked: tuple[Condition, ...]
    drawn: tuple[Condition, ...]
    rng: Generator


def sample_generator(seed: int, index: int) -> Generator:
    """The random stream of sample `index` of a run: a function of (seed, index) alone.

    NumPy's SeedSequence mixes the two into one well-spread seed; neighbouring seeds give unrelated streams.
    """
    mixed = np.random.SeedSequence([seed, index]).generate_state(2, np.uint32)
    return Generator().manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))


def plan_design(conditions: Sequence[Condition], layouts: LayoutPrior | None, seed: int, index: int) -> Plan:
    """Draw the length and the layout of one design, where they are open, from its own random stream."""
    rng = sample_generator(seed, index)
    structure, length = find(conditions, SecondaryStructure), find(conditions, Length)
    fractions = find(conditions, Fractions)
    drawn: list[Condition] = []
    if structure is not None:
        residues = structure.length
    else:
        assert length is not None  # check_conditions saw to it
        residues = length.draw(rng)
        layout = complete_request(layouts, residues, fractions, rng)
        drawn += [] if layout is None else [layout]
    return Plan(index, residues, tuple(conditions), tuple(drawn), rng)


def generate(
    model: Model,
    conditions: Sequence[Condition],
    n: int,
    seed: int = 0,
    settings: SampleSettings | None = None,
    *,
    indices: Sequence[int] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Design]:
    """Generate n backbones that meet the same conditions, batch by batch.

    Args:
        model: a model of protein backbones.
        conditions: what the designs must be; one of them gives the length.
        n: number of designs.
        seed: of the run; design i depends on (seed, i) and the settings alone.
        settings: how to sample.
        indices: make only these of the n designs.
        on_step: called with (steps done, steps in all) of the whole run.

    Returns:
        An iterator over designs; batches go from short designs to long ones. Everything is checked before it starts.

    Raises:
        ConflictError: if conditions cannot hold together.
        UsageError: if a setting is out of range.
    """
    if n < 1:
        raise UsageError(f"n {n}: ask for at least 1 design")
    return generate_each(model, [conditions] * n, seed, settings, indices=indices, on_step=on_step)


def generate_each(
    model: Model,
    requests: Sequence[Sequence[Condition]],
    seed: int = 0,
    settings: SampleSettings | None = None,
    *,
    indices: Sequence[int] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Design]:
    """Generate one backbone for each request; arguments and errors as in `generate`."""
    settings = settings or SampleSettings()
    check_settings(settings)
    for conditions in {id(request): request for request in requests}.values():
        check_conditions(conditions, None)
        model.conditions.require_learned(conditions)
    space = model.family.space
    require_backbones(space)
    use_layouts = settings.layout == "auto" and SecondaryStructure.name in model.conditions.names
    layouts = model.layouts if use_layouts else None
    chosen = range(len(requests)) if indices is None else indices
    plans = [plan_design(requests[i], layouts, seed, i) for i in chosen]
    plans.sort(key=lambda plan: (plan.length, plan.index))  # alike lengths together: little padding
    device = pick_device(settings.device)
    model.family.to(device)
    batches = [plans[i : i + settings.batch_size] for i in range(0, len(plans), settings.batch_size)]
    return make_batches(model, batches, seed, settings, device, on_step)


def check_settings(settings: SampleSettings) -> None:
    """Raise UsageError if a setting is out of range."""
    if settings.temperature < 0:
        raise UsageError(f"temperature {settings.temperature}: cannot be negative; 1 is the learned distribution")
    if settings.batch_size < 1:
        raise UsageError(f"batch size {settings.batch_size}: must be at least 1")
    if settings.layout not in ("auto", "free"):
        raise UsageError(f"layout {settings.layout!r}: choose auto or free")
    registry.build("samplers", settings.sampler, steps=settings.steps)


def make_batches(
    model: Model,
    batches: list[list[Plan]],
    seed: int,
    settings: SampleSettings,
    device: torch.device,
    on_step: Callable[[int, int], None] | None,
) -> Iterator[Design]:
    """Sample each batch and hand out its designs."""
    sampler = registry.build("samplers", settings.sampler, steps=settings.steps)
    steps = [steps_of(model.family, settings.steps, max(plan.length for plan in plans)) for plans in batches]
    for number, plans in enumerate(batches):
        mask = torch.zeros(len(plans), max(plan.length for plan in plans), dtype=torch.bool, device=device)
        for row, plan in enumerate(plans):
            mask[row, : plan.length] = True

        def report(step: int, _x: State, _estimate: State, number: int = number) -> None:
            if on_step is not None:
                on_step(sum(steps[:number]) + step + 1, sum(steps))

        requests = [[*plan.asked, *plan.drawn] for plan in plans]
        cond = model.conditions.from_requests(requests, mask)
        guidance = None
        if settings.guidance != 1:
            guidance = Guidance(model.conditions.unknown(mask), settings.guidance, GUIDE_UNTIL)
        task = SamplingTask(mask, cond, [plan.rng for plan in plans], settings.temperature, report, guidance)
        raw = model.family.sample(task, sampler if model.family.takes_sampler else None)
        final_atoms, raw_atoms = (x.cpu().numpy() for x in finished_atoms(model.family.space, raw, settings.cleanup))
        for row, plan in enumerate(plans):
            proteins = [
                Protein.from_backbone(atoms[row, : plan.length].astype(np.float64), name=f"design_{plan.index:04d}")
                for atoms in (final_atoms, raw_atoms)
            ]
            yield Design(plan.index, proteins[0], proteins[1], plan.asked, plan.drawn, seed)


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" takes a GPU when there is one.

    Raises:
        UsageError: if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not to be had here; use auto or cpu") from error
    return device
