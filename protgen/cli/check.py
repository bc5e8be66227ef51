"""`protgen check`: what a request means, whether it can be met, and what it will cost, without making it."""

import resource
import sys
import time
from typing import TYPE_CHECKING

from protgen.cli import options as o
from protgen.cli.console import stderr, stdout, table, warn

MOST_WORDS = 160  # characters of a condition in the table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.conditions.base import Condition
    from protgen.generation.design import SampleSettings
    from protgen.models.model import Model


def check(
    model: o.ModelOption = None,
    length: o.LengthOption = None,
    ss: o.SecondaryStructureOption = None,
    helix: o.HelixOption = None,
    strand: o.StrandOption = None,
    rg: o.RgOption = None,
    contacts: o.ContactsOption = None,
    motif: o.MotifOption = None,
    contig: o.ContigOption = None,
    symmetry: o.SymmetryOption = None,
    fold_class: o.FoldClassOption = None,
    partial: o.PartialOption = None,
    noise: o.NoiseOption = None,
    conditions: o.ConditionsOption = None,
    label: o.LabelOption = None,
    n: o.NumberOption = 8,
    steps: o.StepsOption = None,
    guidance: o.GuidanceOption = None,
    sampler: o.SamplerOption = None,
    blueprint: o.BlueprintOption = None,
    enforce: o.EnforceOption = None,
    candidates: o.CandidatesOption = None,
    batch_size: o.BatchSizeOption = None,
    device: o.DeviceOption = None,
) -> None:
    """Check conditions without generating: what was understood, conflicts, memory and time."""
    settings_given = o.given(
        steps=steps, guidance=guidance, sampler=sampler, blueprint=blueprint, batch_size=batch_size, device=device,
        candidates=candidates, enforce=o.parse_enforce(enforce),
    )  # fmt: skip
    asked = o.Requested(
        length,
        ss,
        helix,
        strand,
        rg,
        contacts,
        motif,
        contig,
        symmetry,
        fold_class,
        partial,
        noise,
        conditions,
        label,
    )
    with stderr().status("loading the model"):
        from protgen.generation.backbones import require_backbones
        from protgen.generation.conflicts import check_conditions, feasible_lengths
        from protgen.generation.design import settings_for
        from protgen.generation.generate import check_settings
        from protgen.generation.planner import candidates_of, plan_actions
        from protgen.models.released import DEFAULT, load

        requests = o.parse_conditions(asked)
        check_conditions(requests, None)
        loaded = load(model or DEFAULT)
        require_backbones(loaded.family.space)
        settings = settings_for(loaded, **settings_given)
        check_settings(settings)
        lines = check_conditions(requests, loaded.trained_lengths)
        actions = plan_actions(requests, loaded, settings.enforce, settings.blueprint == "auto")
    console = stdout()
    understood = table("<condition", "<asked", "<acts by", "<or")
    for action in actions:
        others = ", ".join(how for how in action.possible if how != action.how)
        weight = "" if action.weight == 1 else f" (weight {action.weight:g})"
        understood.add_row(action.condition.name, in_words(action.condition) + weight, action.how, others)
    console.print(understood)
    for condition in requests:
        for line in drawings(condition):
            console.print(line, markup=False, soft_wrap=True)
    lengths = feasible_lengths(requests)
    span = str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    console.print(f"Chains of {span} residues can meet all of it.")
    for line in lines:
        warn(line)
    with stderr().status("timing two steps"):
        seconds, megabytes = cost(loaded, requests, n, settings)
    times = candidates_of(actions, settings.candidates)
    each = "" if times == 1 else f", {times} candidates for each"
    console.print(f"No conflicts. {n} designs in {settings.steps} steps{each}: about {seconds:.0f} s on this machine,")
    console.print(f"{megabytes:.0f} MB of memory at the most.")


def in_words(condition: "Condition") -> str:
    """A condition as a person would say it."""
    from protgen.conditions.fractions import Fractions
    from protgen.conditions.language import to_plain
    from protgen.conditions.length import Length
    from protgen.conditions.motif import Motif
    from protgen.conditions.secondary_structure import SecondaryStructure

    if isinstance(condition, Length):
        return f"{condition.low} residues" if not condition.high else f"{condition.low} to {condition.high} residues"
    if isinstance(condition, SecondaryStructure):
        counts = {"helix": "H", "strand": "E", "free": "X"}
        shares = ", ".join(f"{condition.codes.count(code)} {name}" for name, code in counts.items())
        loop = condition.length - sum(condition.codes.count(code) for code in "HEX")
        return f"{condition.length} residues: {shares}, {loop} loop"
    if isinstance(condition, Fractions):
        asked = {"helix": condition.helix, "strand": condition.strand}
        return ", ".join(f"{100 * fraction:.0f} % {name}" for name, fraction in asked.items() if fraction is not None)
    if isinstance(condition, Motif):
        segments = ", ".join(str(segment) for segment in condition.parsed.segments)
        return f"{condition.parsed.motif_length} residues ({segments}) of {condition.file}"
    skipped = ("condition", "tolerance", "checksum")
    shown = {key: value for key, value in to_plain(condition).items() if key not in skipped and value not in (None, [])}
    text = ", ".join(f"{key} {value}" for key, value in shown.items())
    return text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 3] + "..."


def drawings(condition: "Condition") -> "list[str]":
    """A motif as a line of text: where its segments lie, what is built between them, its secondary structure."""
    from protgen.conditions.motif import Motif

    if not isinstance(condition, Motif):
        return []
    contig = condition.parsed
    order = " in any order" if condition.order == "free" else ""
    return [f"Contig{order}: {contig.drawing()}", f"Motif's own structure: {condition.codes().replace('C', 'L')}"]


def cost(model: "Model", conditions: "Sequence[Condition]", n: int, settings: "SampleSettings") -> tuple[float, float]:
    """Seconds and megabytes of a run, measured on two steps of its first designs; without the relaxation."""
    from dataclasses import replace

    import torch

    from protgen.generation.generate import generate, pick_device

    alone = pick_device(settings.device).type == "cpu"  # there, each design by itself and as many as there are threads
    first = min(n, torch.get_num_threads() if alone else settings.batch_size)
    short = replace(settings, steps=2, relax=False)  # candidates are made as asked, so they are in the time
    begun = time.monotonic()
    for _ in generate(model, conditions, first, 0, short):
        pass
    seconds = (time.monotonic() - begun) / 2 * settings.steps * n / first
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, bytes on macOS
    return seconds, peak / (1024 if sys.platform != "darwin" else 1024**2)
