"""From conditions to designs: resolve what was asked, draw what was left open, sample, clean up, hand out proteins."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from protgen import registry
from protgen.conditions.base import Condition, Conditions
from protgen.conditions.measure import judges
from protgen.conditions.motif import Motif
from protgen.conditions.partial import Partial
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.conditions.symmetry import Symmetry
from protgen.errors import ProtgenError, UsageError
from protgen.families.base import LatentFamily
from protgen.generation.assembly import assemble
from protgen.generation.backbones import finished_atoms, require_backbones, steps_of
from protgen.generation.conflicts import check_conditions, find
from protgen.generation.design import Design, SampleSettings, settings_for
from protgen.generation.energies import BatchEnergy, moved_to
from protgen.generation.guides import guides_of
from protgen.generation.planner import Action, Pushes, candidates_of, plan_actions, pushes_of, requested
from protgen.generation.resolve import Plan, plan_design
from protgen.generation.threads import in_order
from protgen.models.model import Model
from protgen.samplers.base import Guidance, Sampler, SamplingTask
from protgen.spaces.base import Space
from protgen.structure.protein import Protein
from protgen.types import Batch, State

GUIDE_UNTIL = 0.25  # time below which guidance rests: by then secondary structure stands, and joints are being set
CHAIN_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Run:
    """What all batches of a run share.

    Attributes:
        model, settings: as given.
        device: where the network runs.
        sampler: built from the settings; families that sample without one are not given it.
        seed: of the run.
    """

    model: Model
    settings: SampleSettings
    device: torch.device
    sampler: Sampler
    seed: int


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
        conditions: what the designs must be, with weights where they are `Conditions`; together they give the length.
        n: number of designs.
        seed: of the run; design i depends on (seed, i) and the settings alone.
        settings: how to sample; as the model asks for by default.
        indices: make only these of the n designs.
        on_step: called with (steps done, steps in all) of the whole run, on a CPU from the threads that sample (one
            call at a time).

    Returns:
        An iterator over designs, from short ones to long ones. Everything is checked before it starts.

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
    settings = settings or settings_for(model)
    check_settings(settings)
    require_backbones(model.family.space)
    use_layouts = settings.layout == "auto" and SecondaryStructure.name in model.conditions.names
    layouts = model.layouts if use_layouts else None
    topologies = model.topologies if use_layouts and StrandPairing.name in model.conditions.names else None
    actions: dict[int, tuple[Action, ...]] = {}
    for conditions in {id(request): request for request in requests}.values():
        check_conditions(conditions, None)
        actions[id(conditions)] = plan_actions(conditions, model, settings.enforce, use_layouts)
    chosen = range(len(requests)) if indices is None else indices
    plans, acting, pushes = [], {}, {}
    for i in chosen:
        conditions = Conditions.of(requests[i])
        acting[i] = actions[id(requests[i])]
        pushes[i] = pushes_of(acting[i], settings.guidance)
        for candidate in range(candidates_of(acting[i], settings.candidates)):
            plans.append(plan_design(conditions, layouts, seed, i, candidate, topologies))
    # Alike starts, guidance and lengths together: one of the first two for each batch, and little padding.
    plans.sort(key=lambda plan: (plan.noise or 0.0, str(pushes[plan.index]), plan.length, plan.index, plan.candidate))
    device = pick_device(settings.device)
    model.family.to(device)
    run = Run(model, settings, device, build_sampler(settings), seed)
    # A batch rounds otherwise than its designs alone: on a CPU, where it saves little, each is made by itself.
    size = 1 if device.type == "cpu" else settings.batch_size
    return best_of(make_batches(run, split(plans, size, pushes), acting, on_step), plans)


def split(plans: list[Plan], size: int, pushes: dict[int, Pushes]) -> list[list[Plan]]:
    """Batches of at most so many plans, each with one starting time and alike guidance."""
    batches: list[list[Plan]] = []
    before = None
    for plan in plans:
        key = plan.noise, pushes[plan.index]
        if not batches or len(batches[-1]) == size or key != before:
            batches.append([])
        batches[-1].append(plan)
        before = key
    return batches


def check_settings(settings: SampleSettings) -> None:
    """Raise UsageError if a setting is out of range."""
    if settings.temperature < 0:
        raise UsageError(f"temperature {settings.temperature}: cannot be negative; 1 is the learned distribution")
    if settings.batch_size < 1:
        raise UsageError(f"batch size {settings.batch_size}: must be at least 1")
    if settings.layout not in ("auto", "free"):
        raise UsageError(f"layout {settings.layout!r}: choose auto or free")
    if settings.candidates is not None and settings.candidates < 1:
        raise UsageError(f"candidates {settings.candidates}: make at least 1 for each design")
    if settings.energy_scale < 0 or settings.energy_steps < 1:
        raise UsageError(
            f"energy scale {settings.energy_scale} and steps {settings.energy_steps}: "
            "the scale cannot be negative, and there is at least 1 step"
        )
    build_sampler(settings)


def build_sampler(settings: SampleSettings) -> Sampler:
    """The sampler of the settings.

    Raises:
        UsageError: if there is none of that name, or it does not take what is set.
    """
    particles = {} if settings.particles is None else {"particles": settings.particles}
    return registry.build("samplers", settings.sampler, steps=settings.steps, **particles)


def make_batches(
    run: Run,
    batches: list[list[Plan]],
    acting: dict[int, tuple[Action, ...]],
    on_step: Callable[[int, int], None] | None,
) -> Iterator[tuple[Plan, Design]]:
    """Sample each batch and hand out its designs; on a CPU several batches at a time."""
    family, settings = run.model.family, run.settings
    total = sum(steps_of(family, settings.steps, max(plan.length for plan in plans)) for plans in batches)
    done, lock = 0, threading.Lock()

    def make(plans: list[Plan], check: Callable[[], None]) -> list[tuple[Plan, Design]]:
        def report(_step: int, _x: State, _estimate: State) -> None:
            nonlocal done
            check()
            with lock:
                done += 1
                if on_step is not None:
                    on_step(done, total)

        return make_batch(run, plans, acting, report)

    if run.device.type == "cpu":
        for made in in_order(make, batches, torch.get_num_threads()):
            yield from made
    else:
        for plans in batches:
            yield from make(plans, lambda: None)


def make_batch(
    run: Run,
    plans: list[Plan],
    acting: dict[int, tuple[Action, ...]],
    report: Callable[[int, State, State], None],
) -> list[tuple[Plan, Design]]:
    """Sample one batch, clean it up, and make proteins of it."""
    space = run.model.family.space
    energies = [weighted(plan, acting, "energy") for plan in plans]
    raw = sample_batch(run, plans, acting, energies, report)
    # A radius drifts as joints are mended all along the chain. What a few residues are to do is done by then, and to
    # hold it as well bends them: Ramachandran favoured fell from 91 to 89 % with five contacts held besides.
    whole = BatchEnergy.of_kind(energies, [plan.anchor() for plan in plans], local=False)
    held, kept = held_residues(plans, raw.mask), None if whole.empty else whole
    finished = finished_atoms(space, raw, run.settings.cleanup, held, kept)
    final_atoms, raw_atoms = (atoms.cpu().numpy() for atoms in finished)
    made = []
    for row, plan in enumerate(plans):
        proteins = [finish(plan, atoms[row, : plan.length].astype(np.float64)) for atoms in (final_atoms, raw_atoms)]
        motif = find(plan.asked, Motif)
        design = Design(
            index=plan.index,
            protein=proteins[0],
            raw=proteins[1],
            asked=tuple(plan.asked),
            drawn=plan.drawn,
            seed=run.seed,
            motif=() if motif is None else tuple(motif.mapping()),
            candidate=plan.candidate,
        )
        made.append((plan, design))
    return made


def held_residues(plans: list[Plan], mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b l"] | None:
    """Residues of motifs, which the clean-up is to leave where they are; None without any."""
    held = torch.zeros_like(mask)
    for row, plan in enumerate(plans):
        motif = find(plan.asked, Motif)
        if motif is not None:
            held[row, motif.indices()] = True
    return held if bool(held.any()) else None


def sample_batch(
    run: Run,
    plans: list[Plan],
    acting: dict[int, tuple[Action, ...]],
    energies: list[list[tuple[Condition, float]]],
    report: Callable[[int, State, State], None],
) -> State:
    """Frames of a batch of plans."""
    mask = torch.zeros(len(plans), max(plan.length for plan in plans), dtype=torch.bool, device=run.device)
    for row, plan in enumerate(plans):
        mask[row, : plan.length] = True
    conditions, settings = run.model.conditions, run.settings
    known = [
        [c for c in (*in_force(plan, acting, "learned"), *plan.drawn) if c.name in conditions.names] for plan in plans
    ]
    cond = conditions.from_requests(known, mask)
    parts = [
        (conditions.from_requests([[c for c in own if names and c.name not in names] for own in known], mask), weight)
        for names, weight in pushes_of(acting[plans[0].index], settings.guidance)
    ]
    guidance = Guidance(*parts[0], GUIDE_UNTIL, parts[1:]) if parts else None
    anchors = [plan.anchor() for plan in plans]
    held = [find(plan.asked, Motif) if in_force(plan, acting, "projection") else None for plan in plans]
    energy = BatchEnergy(energies, anchors)
    guides = guides_of(run.model.family, settings, energies, anchors, held, run.device)
    start, time = starting_point(run.model.family.space, plans, mask)
    # Particles are weighed by energies whether or not these move them as well; latents know only the latter.
    off = settings.energy_scale == 0 and isinstance(run.model.family, LatentFamily)
    task = SamplingTask(
        mask, cond, [plan.rng for plan in plans], settings.temperature, report, guidance, guides, start, time,
        None if energy.empty or off else energy,
    )  # fmt: skip
    family = run.model.family
    return family.sample(task, run.sampler if family.takes_sampler else None)


def weighted(plan: Plan, acting: dict[int, tuple[Action, ...]], how: str) -> list[tuple[Condition, float]]:
    """Conditions of a plan, with weights, that act in one way."""
    return requested(acting[plan.index], how)


def in_force(plan: Plan, acting: dict[int, tuple[Action, ...]], how: str) -> list[Condition]:
    """Conditions of a plan that act in one way, and, for the learned, those met by construction too."""
    hows = (how, "construction") if how == "learned" else (how,)
    names = {action.condition.name for action in acting[plan.index] if action.how in hows}
    return [condition for condition in plan.asked if condition.name in names]


def starting_point(space: Space, plans: list[Plan], mask: Tensor) -> tuple[State | None, float]:
    """The structures a batch starts from and the time of their noise; none and 1 where it starts from noise alone."""
    noise = plans[0].noise
    if noise is None:
        return None, 1.0
    atoms = torch.zeros(*mask.shape, 3, 3)
    atoms[:] = torch.eye(3)  # frames of padding must exist, whatever they are
    for row, plan in enumerate(plans):
        partial = find(plan.asked, Partial)
        assert partial is not None
        xyz = partial.backbone()
        atoms[row, : plan.length] = torch.from_numpy(xyz - xyz[:, 1].mean(0)).float()
    return space.encode(Batch({"atoms": atoms.to(mask.device)}, mask)), noise


def finish(plan: Plan, atoms: np.ndarray) -> Protein:
    """The protein of a plan: in the frame of its motif or start, with the motif's residue names, copies about axes."""
    name = f"design_{plan.index:04d}"
    symmetry, motif, anchor = find(plan.asked, Symmetry), find(plan.asked, Motif), plan.anchor()
    names = np.full(len(atoms), "GLY")
    if motif is not None:
        names[motif.indices()] = motif.residues().residue_names
    if symmetry is None:
        placed = atoms if anchor is None else moved_to(atoms, anchor)
        return Protein.from_backbone(placed, name=name, residue_names=names)
    # Its own stream, the same for the raw and the final frames, so that both stand alike.
    state = plan.rng.get_state()
    copies = assemble(atoms, symmetry, plan.rng)
    plan.rng.set_state(state)
    return Protein.from_backbone(
        copies.reshape(-1, 4, 3),
        name=name,
        chain_ids=np.repeat(list(CHAIN_NAMES[: len(copies)]), len(atoms)),
        residue_numbers=np.tile(np.arange(1, len(atoms) + 1), len(copies)),
        residue_names=np.tile(names, len(copies)),
    )


def best_of(candidates: Iterator[tuple[Plan, Design]], plans: list[Plan]) -> Iterator[Design]:
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
        found.setdefault(plan.index, []).append((miss(design, plan.asked), plan.candidate, design))
        if len(found[plan.index]) == left[plan.index]:
            yield min(found.pop(plan.index), key=lambda entry: entry[:2])[2]


def miss(design: Design, asked: Conditions) -> float:
    """By how much a design misses its conditions, in units of their tolerances, weighted; measured on what is kept."""
    total = 0.0
    weights: dict[Any, float] = {id(own): weight for own, weight in zip(asked.items, asked.weights, strict=True)}
    for judge in judges(asked.items):
        try:
            met = judge.adherence(design.protein)
        except ProtgenError:
            return math.inf
        off = met.difference / met.tolerance if met.tolerance > 0 else met.difference
        total += weights[id(judge.condition)] * (off if math.isfinite(off) else 1e6)
    return total


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
