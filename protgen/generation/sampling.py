"""Samples the plans of a run batch by batch, and makes proteins of them."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from protgen.conditions.embedding import ConditionEmbedding
from protgen.device import pick_device
from protgen.errors import UsageError
from protgen.families.base import Family, IterativeFamily
from protgen.generation.assembly import assemble
from protgen.generation.backbones import finished_atoms, steps_of
from protgen.generation.copies import SymmetricCopies
from protgen.generation.design import Design, ResolvedSettings
from protgen.generation.energies import BatchEnergy, moved_to
from protgen.generation.guides import GuideMaker, guides_of
from protgen.generation.hands import redraw_of
from protgen.generation.job import Job, build_sampler
from protgen.generation.plan import Plan
from protgen.generation.trajectory import Recorder, require_predictions
from protgen.samplers.autoguidance import AutoGuidance
from protgen.samplers.base import Guidance, Sampler, SamplingTask
from protgen.spaces.atoms import ResidueFrames
from protgen.spaces.backbone import Backbone
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Admissible, require
from protgen.structure.protein import Protein
from protgen.threads import in_order
from protgen.types import CHAIN_GAP, Batch, Conditioning, State

REDRAWS = 32  # of a sample that its space does not admit; one in seven of a flow over torsions has a cis peptide
CHAIN_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Report = Callable[[int, State, State], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """What all batches of a run share.

    Attributes:
        family: of the model, on the device.
        guide: a weaker family for autoguidance, there too; None where the settings ask for none.
        conditions: of the model.
        settings: of the run.
        device: where the network runs.
        sampler: built from the settings; families that sample without one are not given it.
        seed: of the run.
        trajectory: whether to keep what the sampler predicts at each step.
    """

    family: Family
    guide: IterativeFamily | None
    conditions: ConditionEmbedding
    settings: ResolvedSettings
    device: torch.device
    sampler: Sampler
    seed: int
    trajectory: bool = False

    @classmethod
    def of(cls, job: Job, seed: int, trajectory: bool = False) -> "Run":
        """A run of a job, and of others with the same model and settings."""
        device = pick_device(job.settings.device)
        family = family_on(job.model.family, device)
        weak = job.model.guide if job.settings.autoguidance != 1 else None
        guide = None if weak is None else cast(IterativeFamily, family_on(weak, device))
        sampler = build_sampler(job.settings)
        if trajectory:
            require_predictions(family, sampler)
        return cls(family, guide, job.model.conditions, job.settings, device, sampler, seed, trajectory)

    def batches(self, plans: Sequence[Plan]) -> list[list[Plan]]:
        """Plans in batches.

        A batch rounds otherwise than its designs alone: on a CPU, where it saves little, each is made by itself.
        """
        return split(plans, 1 if self.device.type == "cpu" else self.settings.batch_size)


RunBatch = tuple[Run, list[Plan]]


def family_on(family: Family, device: torch.device) -> Family:
    """The family itself if it is on that device, else a copy there: a caller's model stays where it is."""
    places = {tensor.device for tensor in (*family.parameters(), *family.buffers())}
    here = {place.type for place in places} == {device.type} and (
        device.index is None or {place.index for place in places} == {device.index}
    )
    return family if here or not places else copy.deepcopy(family).to(device)


def split(plans: Sequence[Plan], size: int) -> list[list[Plan]]:
    """Batches of at most so many plans, each with one starting time and equal guidance weights; plans are in order."""
    batches: list[list[Plan]] = []
    before = None
    for plan in plans:
        key = plan.noise, plan.guidance
        if not batches or len(batches[-1]) == size or key != before:
            batches.append([])
        batches[-1].append(plan)
        before = key
    return batches


def make_batches(batches: list[RunBatch], on_step: Progress | None) -> Iterator[tuple[Plan, Design]]:
    """Sample each batch and hand out its designs; on a CPU several batches at a time.

    Args:
        batches: the run and the plans of each; all on one device.
        on_step: called with (steps done, steps in all).
    """
    lengths = [max(plan.length for plan in plans) for _, plans in batches]
    total = sum(steps_of(run.family, run.settings.steps, n) for (run, _), n in zip(batches, lengths, strict=True))
    done, lock = 0, threading.Lock()

    def make(batch: RunBatch, check: Callable[[], None]) -> list[tuple[Plan, Design]]:
        run, plans = batch

        def report(_step: int, _x: State, _x_pred: State) -> None:
            nonlocal done
            check()
            with lock:
                done += 1
                if on_step is not None:
                    on_step(done, total)

        return make_batch(run, plans, report)

    if all(run.device.type == "cpu" for run, _ in batches):
        for made in in_order(make, batches, torch.get_num_threads()):
            yield from made
    else:
        for batch in batches:
            yield from make(batch, lambda: None)


def make_batch(run: Run, plans: Sequence[Plan], report: Report) -> list[tuple[Plan, Design]]:
    """Sample one batch, relax it, and make proteins of it.

    Args:
        run: what batches share.
        plans: of this batch.
        report: called after each step of the sampler.
    """
    space = run.family.space
    recorder = Recorder(space, report)
    copies = copies_of(space, plans, run.device)
    raw = sample_batch(run, plans, recorder if run.trajectory else report, copies)
    # A radius drifts as joints are relaxed all along the chain. What a few residues are to do is done by then, and to
    # hold it as well bends them: Ramachandran favoured fell from 91 to 89 % with five contacts held besides.
    anchors = [plan.anchor() for plan in plans]
    whole = BatchEnergy.of_kind([plan.energies for plan in plans], anchors, local=False)
    held, kept = held_residues(plans, raw.mask), None if whole.empty else whole
    rings = torch.tensor([plan.ring for plan in plans], device=raw.mask.device)
    tied = None if copies is None else SymmetricCopies(Backbone(), plans, run.device).spread
    finished = finished_atoms(space, raw, run.settings.relax, held, kept, rings if bool(rings.any()) else None, tied)
    final, sampled = (atoms.cpu().numpy() for atoms in finished)
    return [
        (plan, design_of(plan, run.seed, [final[row], sampled[row], *recorder.of(row)]))
        for row, plan in enumerate(plans)
    ]


def design_of(plan: Plan, seed: int, frames: Sequence[np.ndarray]) -> Design:
    """The design of a plan from its atoms, each with padding behind.

    Args:
        plan: of the design.
        seed: of the run.
        frames: (p, 4, 3) as it is handed out, as it was sampled, and as it was predicted at each step if that was
            recorded.
    """
    proteins = [finish(plan, atoms[: plan.positions].astype(np.float64)) for atoms in frames]
    return Design(
        index=plan.index,
        protein=proteins[0],
        raw=proteins[1],
        asked=tuple(plan.asked),
        drawn=plan.drawn,
        seed=seed,
        motif=() if plan.motif is None else tuple(plan.motif.mapping()),
        candidate=plan.candidate,
        trajectory=tuple(proteins[2:]),
    )


def held_residues(plans: Sequence[Plan], mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b l"] | None:
    """Residues of motifs, which the relaxation is to leave where they are; None without any."""
    held = torch.zeros_like(mask)
    for row, plan in enumerate(plans):
        if plan.motif is not None:
            held[row, plan.motif.indices()] = True
    return held if bool(held.any()) else None


def copies_of(space: Space, plans: Sequence[Plan], device: torch.device) -> SymmetricCopies | None:
    """The copies of a batch that are made together; None where each design is one chain."""
    if all(len(plan.operations) == 1 for plan in plans):
        return None
    return SymmetricCopies(require(space, ResidueFrames, "a symmetric assembly"), plans, device)


def sample_batch(run: Run, plans: Sequence[Plan], report: Report, copies: SymmetricCopies | None = None) -> State:
    """Points of the space, one for each plan of a batch.

    Args:
        run: what batches share.
        plans: of this batch.
        report: called after each step of the sampler.
        copies: of chains that are made together.
    """
    mask = torch.zeros(len(plans), max(plan.length for plan in plans), dtype=torch.bool, device=run.device)
    for row, plan in enumerate(plans):
        mask[row, : plan.length] = True
    mask = mask if copies is None else copies.mask()
    cond, guidance = conditioning_of(run, plans, mask)
    # Next to the network: energies and projections act on the prediction that comes of it.
    guides = [*autoguides(run), *guides_of(run.family, plans, run.settings, run.device)]
    if copies is not None:
        cond = copies.conditioning(cond)
        guidance = None if guidance is None else guidance.changed(copies.conditioning)
        guides = [*guides, copies.guide]
    energy = energy_of(plans)
    # Particles are weighed by energies whether or not these move them as well; latents know only the latter.
    off = run.settings.energy_scale == 0 and run.family.takes_energy
    start, time = starting_point(run.family.space, plans, mask)
    task = SamplingTask(
        mask,
        cond,
        [plan.rng for plan in plans],
        temperature=run.settings.temperature,
        on_step=report,
        guidance=guidance,
        guides=guides,
        start=start,
        start_time=time,
        energy=None if energy.empty or off else energy,
        redraw=redraw_of(run.family, plans, run.settings.redraws) if copies is None else None,
    )
    if run.family.takes_sampler:
        return run.family.sample(task, run.sampler)
    return redrawn(run.family, task, lambda rows: energy_of([plans[row] for row in rows]))


def energy_of(plans: Sequence[Plan]) -> BatchEnergy:
    """The energies of some plans."""
    return BatchEnergy([plan.energies for plan in plans], [plan.anchor() for plan in plans])


def redrawn(family: Family, task: SamplingTask, energy_of: Callable[[Sequence[int]], BatchEnergy]) -> State:
    """Samples of a family that makes them in one go, those that the space does not admit drawn again.

    A chain of 80 residues with natives' share of cis peptides has one in a fifth of the cases, and without a sequence
    that counts as a break. Each is drawn again from its own stream, so it depends on no other.

    Args:
        family: of the samples.
        task: what to sample.
        energy_of: the energies of some of them, where the task has any.
    """
    made = family.sample(task)
    if not isinstance(family.space, Admissible):
        return made
    for _ in range(REDRAWS):
        rows = (~family.space.admits(made)).nonzero()[:, 0]
        if not len(rows):
            break
        part = replace(
            task,
            mask=task.mask[rows],
            cond=chosen(task.cond, rows),
            generators=[task.generators[i] for i in rows.tolist()],
            guidance=None if task.guidance is None else task.guidance.changed(lambda c, rows=rows: chosen(c, rows)),
            energy=None if task.energy is None else energy_of(rows.tolist()),
        )
        again = family.sample(part)
        made = made.with_fields(**{name: x.index_copy(0, rows, again[name]) for name, x in made.fields.items()})
    return made


def chosen(cond: Conditioning, rows: Tensor) -> Conditioning:
    """Some rows of y."""
    return cond.rows(lambda x: x[rows])


def autoguides(run: Run) -> list[GuideMaker]:
    """Autoguidance by the weaker network of a run; none where it has none."""
    if run.guide is None:
        return []
    weak, space, weight = run.guide.denoiser(), run.family.space, run.settings.autoguidance
    return [lambda own: AutoGuidance(own, space, weak, weight)]


def conditioning_of(run: Run, plans: Sequence[Plan], mask: Bool[Tensor, "b l"]) -> tuple[Conditioning, Guidance | None]:
    """What the network is given of a batch's conditions, and the classifier-free guidance towards them.

    Args:
        run: what batches share.
        plans: of this batch.
        mask: (b, l) real residues.
    """
    known = [plan.known for plan in plans]
    cond = run.conditions.from_requests(known, mask)
    parts: list[tuple[Conditioning, float]] = []
    for names, weight, instead in plans[0].guidance:
        free = [[*(c for c in own if names and c.learned_name not in names), *instead] for own in known]
        parts.append((run.conditions.from_requests(free, mask), weight))
    return cond, Guidance(*parts[0], run.settings.guidance_interval, parts[1:]) if parts else None


def starting_point(space: Space, plans: Sequence[Plan], mask: Tensor) -> tuple[State | None, float]:
    """The structures a batch starts from and the time of their noise; none and 1 where it starts from noise alone.

    Args:
        space: of the model.
        plans: of this batch.
        mask: (b, l) real residues.
    """
    noise = plans[0].noise
    if noise is None:
        return None, 1.0
    atoms = torch.zeros(*mask.shape, 3, 3)
    atoms[:] = torch.eye(3)  # frames of padding must exist, whatever they are
    for row, plan in enumerate(plans):
        assert plan.start is not None
        xyz = plan.start.backbone()
        atoms[row, : plan.length] = torch.from_numpy(xyz - xyz[:, 1].mean(0)).float()
    return space.encode(Batch({"atoms": atoms.to(mask.device)}, mask)), noise


def finish(plan: Plan, atoms: np.ndarray) -> Protein:
    """The protein of a plan: in the frame of its motif or start, with the motif's residue names, copies about axes.

    Args:
        plan: of the design.
        atoms: (p, 4, 3) of the chains that the network made, gaps between them, Å.

    Raises:
        UsageError: if a coordinate is no finite number.
    """
    name = f"design_{plan.index:04d}"
    if not np.isfinite(atoms).all():
        raise UsageError(
            f"{name}: the model gave coordinates that are no finite numbers; lower guidance, temperature and weights, "
            "or train the model anew"
        )
    anchor = plan.anchor()
    names = np.full(plan.length, "GLY")
    if plan.motif is not None:
        names[plan.motif.indices()] = plan.motif.residue_names()
    if plan.assembly is None:
        placed = atoms if anchor is None else moved_to(atoms, anchor)
        return Protein.from_backbone(placed, name=name, residue_names=names)
    copies = chains_of(plan, atoms)
    return Protein.from_backbone(
        copies.reshape(-1, 4, 3),
        name=name,
        chain_ids=np.repeat(list(CHAIN_NAMES[: len(copies)]), plan.length),
        residue_numbers=np.tile(np.arange(1, plan.length + 1), len(copies)),
        residue_names=np.tile(names, len(copies)),
    )


def chains_of(plan: Plan, atoms: np.ndarray) -> np.ndarray:
    """(n, l, 4, 3) all copies of an assembly, as the network made them, or one chain docked."""
    assert plan.assembly is not None
    if len(plan.operations) > 1:
        starts = np.arange(len(plan.operations)) * (plan.length + CHAIN_GAP)
        return atoms[starts[:, None] + np.arange(plan.length)]
    # Its own stream, the same for the raw and the final frames, so that both stand alike.
    state = plan.rng.get_state()
    copies = assemble(atoms, plan.assembly, plan.rng)
    plan.rng.set_state(state)
    return copies
