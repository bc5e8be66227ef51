"""`protgen check`: what a request means, whether it can be met, and what it will cost, without making it."""

import sys
import time
from typing import TYPE_CHECKING

from protgen.cli.console import JsonOption, print_json, stderr, stdout, table, warn
from protgen.cli.option_groups import grouped
from protgen.cli.options import Asked, RunOptions, SettingsOptions, prepare_job

MOST_WORDS = 160  # characters of a condition in the table

if TYPE_CHECKING:
    from protgen.conditions.base import Condition
    from protgen.generation.job import Job
    from protgen.types import JSON


@grouped
def check(run: RunOptions, asked: Asked, settings: SettingsOptions, as_json: JsonOption = False) -> None:
    """Check conditions without generating: what was understood, conflicts, memory and time."""
    with stderr().status("loading the model"):
        job = prepare_job(run, asked, settings)
    if not as_json:
        report(job)
    for line in job.warnings:
        warn(line)
    with stderr().status("timing two steps"):
        seconds, megabytes = cost(job, run.n, run.seed)
    if as_json:
        print_json(summary(job, run, seconds, megabytes))
        return
    console, candidates = stdout(), job.candidates
    each = "" if candidates == 1 else f", {candidates} candidates for each"
    memory = "" if megabytes is None else f", {megabytes:.0f} MB of memory at the most"
    made = f"{run.n} designs by {job.name} in {job.settings.steps} steps{each}"
    console.print(f"No conflicts. {made}: about {seconds:.0f} s on this machine{memory}.")


def report(job: "Job") -> None:
    """What was understood, and how long the designs will be."""
    console = stdout()
    understood = table("<condition", "<asked", "<acts by", "<or")
    for entry in job.assignments:
        others = ", ".join(option for option in entry.options if option != entry.mechanism)
        weight = "" if entry.weight == 1 else f" (weight {entry.weight:g})"
        understood.add_row(entry.condition.name, in_words(entry.condition) + weight, entry.mechanism, others)
    console.print(understood)
    for condition in job.conditions:
        for line in condition.details():
            console.print(line, markup=False, soft_wrap=True)
    low, high = job.lengths[0], job.lengths[-1]
    console.print(f"Chains of {low if low == high else f'{low} to {high}'} residues can meet all of it.")


def in_words(condition: "Condition") -> str:
    """A condition as a person would say it, in few characters."""
    text = condition.describe()
    return text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 3] + "..."


def summary(job: "Job", run: RunOptions, seconds: float, megabytes: float | None) -> "JSON":
    """What `--json` prints: each condition with its mechanism, lengths, settings, and the cost.

    Args:
        job: the request.
        run: number of designs, and seed.
        seconds: expected.
        megabytes: of memory at the most.
    """
    from dataclasses import asdict

    from protgen.conditions.language import to_plain

    return {
        "model": job.name,
        "conditions": [
            entry.to_json() | {"asked": entry.condition.describe(), "fields": to_plain(entry.condition)}
            for entry in job.assignments
        ],
        "lengths": [job.lengths[0], job.lengths[-1]],
        "n": run.n,
        "seed": run.seed,
        "candidates": job.candidates,
        "settings": asdict(job.settings),
        "warnings": job.warnings,
        "seconds": round(seconds, 2),
        "megabytes": None if megabytes is None else round(megabytes, 1),
    }


def cost(job: "Job", n: int, seed: int) -> tuple[float, float | None]:
    """Seconds and megabytes of a run, measured on two steps of its first designs; without the relaxation.

    Args:
        job: the request.
        n: how many designs the run is to have.
        seed: of the run.
    """
    from dataclasses import replace

    import torch

    from protgen.device import pick_device
    from protgen.generation.generate import make_designs

    settings = job.settings
    alone = pick_device(settings.device).type == "cpu"  # there, each design by itself and as many as there are threads
    first = min(n, torch.get_num_threads() if alone else settings.batch_size)
    short = replace(job, settings=replace(settings, steps=2, relax=False))  # candidates are made as asked, and timed
    begun = time.monotonic()
    for _ in make_designs([short] * first, seed):
        pass
    seconds = (time.monotonic() - begun) / 2 * settings.steps * n / first
    return seconds, peak_memory()


def peak_memory() -> float | None:
    """The most memory this process has had, MB; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, bytes on macOS
    return peak / (1024 if sys.platform != "darwin" else 1024**2)
