"""One cell of `families_proteins.py`: a family over an encoder, trained, sampled and judged; it resumes where it was.

A cell has a folder of its own. `plan.json` holds its model; `run/` is a run of `protgen.training`, whose checkpoints
count the CPU time that was used; `sessions.json` says when it ran, with which load of the machine; `designs/` and
`raw/` hold designs with and without the relaxation, each written as it is made. A cell that is killed, or told to stop
by SIGTERM, loses what came after the last checkpoint or design.
"""

import json
import os
import platform
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from flow_small import asked_structure, figures, nearest

from protgen.atomic import write_text
from protgen.cli.train import sample_evaluator
from protgen.conditions.length import Length
from protgen.data.dataset import collate
from protgen.data.store import Store
from protgen.families.base import IterativeFamily, LikelihoodFamily
from protgen.families.ode_likelihood import log_noise
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.metrics.base import summarise
from protgen.metrics.diversity import Clustering, diversity
from protgen.metrics.tm import ca_trace
from protgen.models.blueprints import fit_store
from protgen.models.model import Model, build_model
from protgen.models.released import load
from protgen.samplers.schedules import Path as NoisePath
from protgen.structure.picture import draw_backbones
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure
from protgen.training.loop import train
from protgen.training.settings import Machine, TrainSettings
from protgen.training.validation import Validation
from protgen.types import JSON

SHORTEST, LONGEST = 40, 96
# Of p(x | z): each torsion has a width of its own, and centres are what is looked at.
DECODED = {"warmup": 100, "std": 0.3, "local_std": True, "observation_noise": False}
# What is not a default.
FAMILIES: dict[str, JSON] = {
    "flow_matching": {},
    "diffusion": {"brownian": "linear", "weighting": "velocity"},
    "vae": {"beta": 0.3, "latent_dim": 8, **DECODED},
    "latent": {"latent_dim": 8, "vae": {"beta": 0.03, **DECODED}},
    "autoregressive": {"exposure_noise": 0.01},
    "normalizing_flow": {"coupling": "spline"},
    "gan": {"loss_type": "relativistic", "start": "blank", "penalty": 0.2, "penalty_every": 4},
}
ON_FRAMES = ("flow_matching", "diffusion")
# Families that make torsions from what an encoder of frames has read, or for a critic of frames: the part that makes
# them is a transformer, and what reads frames is shallow, as its edges cost most of a step.
MAKERS = {"vae": "decoder", "latent": "decoder", "gan": "encoder"}
SHALLOW: JSON = {"blocks": 2, "neighbours": 12}
# A GAN needs steps more than it needs pairs, and at the rate of the others its critic outruns its generator.
RATES = {"gan": 4e-4}
PAIRS = {"gan": 12_000}
NARROWEST, WIDEST, GRAIN = 16, 512, 4  # widths of encoders that are tried
TOLERANCE = 0.2  # of the number of parameters
TRIAL = 24  # steps timed where a family has to know beforehand how many there will be
FIRST_STAGE = 0.6  # of the steps of `latent`: its autoencoder


@dataclass(frozen=True)
class Cell:
    """What is trained, and how it is judged.

    Attributes:
        family, encoder: registry names.
        seed: of weights, batches and designs.
        minutes: CPU time of the training.
        parameters: of the whole model, within `TOLERANCE`.
        n: designs of 40-96 residues, with default settings.
        store: made by `protgen data build CHAINS --max-length 96`.
        out: folder of all cells.
    """

    family: str
    encoder: str
    seed: int
    minutes: float
    parameters: int
    n: int
    store: Path
    out: Path

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.family}_{self.encoder}" + (f"_s{self.seed}" if self.seed else "")

    @property
    def folder(self) -> Path:
        """Of what it keeps while it runs."""
        return self.out / "cells" / self.name


def configuration(family: str, encoder: str, dim: int) -> JSON:
    """The model of a cell with an encoder of that width."""
    network: JSON = {"name": encoder, "dim": dim}
    maker: JSON = {"name": "transformer", "dim": dim}
    parts: JSON = {"encoder": maker if encoder == "transformer" else network}
    if family in MAKERS:
        reader = "critic" if MAKERS[family] == "encoder" else "encoder"
        parts = {reader: network | SHALLOW, MAKERS[family]: maker}
    if family == "latent":
        parts["prior"] = maker | {"fields": {"latents": FAMILIES[family]["latent_dim"]}}
    return {
        "space": {"name": "backbone" if family in ON_FRAMES else "torsions"},
        "family": {"name": family} | FAMILIES[family],
        "conditions": ["length", "secondary_structure", "fractions"],
        **parts,
    }


def size(config: JSON) -> int:
    """Parameters of a model."""
    return sum(p.numel() for p in build_model(config).family.parameters())


def sized(family: str, encoder: str, parameters: int) -> JSON:
    """The configuration whose parameters are nearest to a number; they rise with the width.

    Raises:
        SystemExit: if none has parameters within `TOLERANCE` of it.
    """
    low, high = NARROWEST // GRAIN, WIDEST // GRAIN
    while high - low > 1:
        middle = (low + high) // 2
        below = size(configuration(family, encoder, GRAIN * middle)) < parameters
        low, high = (middle, high) if below else (low, middle)
    choices = [configuration(family, encoder, GRAIN * width) for width in (low, high)]
    found = min(choices, key=lambda config: abs(size(config) - parameters))
    if abs(size(found) / parameters - 1) > TOLERANCE:
        raise SystemExit(f"{family} over {encoder}: no width has {parameters:,} parameters within {TOLERANCE:.0%}")
    return found


def settings(cell: Cell, steps: int | None = None) -> TrainSettings:
    """Of the training: so many minutes of CPU time, over which the learning rate falls, or so many steps.

    A moving average over about 100 steps where there are few thousand.
    """
    return TrainSettings(
        steps=10**9 if steps is None else steps, minutes=cell.minutes if steps is None else None,
        max_pairs_per_batch=PAIRS.get(cell.family, 20_000), lr=RATES.get(cell.family, 1e-3), warmup=200, ema=0.99,
        seed=cell.seed, log_every=50, validate_every=500, checkpoint_minutes=2.0,
    )  # fmt: skip


def pace(cell: Cell, config: JSON, store: Store) -> float:
    """CPU seconds of a step."""

    def seconds(steps: int) -> float:
        begun = time.process_time()
        train(build_model(config), store, settings(cell, steps), machine=Machine("cpu"))
        return time.process_time() - begun

    seconds(2)  # what only the first steps of a process cost
    return seconds(TRIAL) / TRIAL


def planned(cell: Cell, store: Store) -> JSON:
    """The model of a cell, decided once.

    Raises:
        SystemExit: if the cell was begun with another budget.
    """
    path = cell.folder / "plan.json"
    asked = {"minutes": cell.minutes, "parameters": cell.parameters, "n": cell.n}
    if not path.is_file():
        config = sized(cell.family, cell.encoder, cell.parameters)
        if cell.family == "latent":
            steps = 60 * cell.minutes / pace(cell, config, store)
            config["family"]["first_stage"] = max(1, int(FIRST_STAGE * steps))
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"asked": asked, "model": config}, indent=1) + "\n")
    plan = json.loads(path.read_text())
    if plan["asked"] != asked:
        raise SystemExit(f"{cell.folder} was begun with {plan['asked']}, now {asked}; give another --out or remove it")
    return plan["model"]


class Stop:
    """Whether SIGTERM or SIGINT has come; the training then writes a checkpoint and ends."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """Take the signal."""
        self.asked = True

    def __call__(self) -> bool:
        """Whether it has come."""
        return self.asked

    def leave(self) -> None:
        """End the process if it has."""
        if self.asked:
            raise SystemExit(143)


def session(cell: Cell) -> Callable[[], None]:
    """Note when the cell ran and the load of the machine; to be called again and again while it does."""
    path = cell.folder / "sessions.json"
    before: list[JSON] = json.loads(path.read_text()) if path.is_file() else []
    now: JSON = {"begun": time.time(), "machine": machine()}

    def note() -> None:
        loads = [*now.get("load", []), round(os.getloadavg()[0], 1)]
        now.update(ended=time.time(), load=loads, minutes=round((time.time() - now["begun"]) / 60, 1))
        write_text(path, json.dumps([*before, now], indent=1) + "\n")

    return note


def machine() -> str:
    """What computes."""
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


def trained(cell: Cell, store: Store, stop: Stop, note: Callable[[], None]) -> tuple[Model, JSON]:
    """The model after its CPU time, and what the training was; goes on from the newest checkpoint.

    Args:
        cell: what is trained.
        store: of the data.
        stop: whether to end early.
        note: called at each validation.
    """
    run, done = cell.folder / "run", cell.folder / "trained.json"
    config = planned(cell, store)
    if not done.is_file():
        torch.manual_seed(cell.seed)
        model = replace(build_model(config), blueprints=fit_store(store))
        looks = sample_evaluator(4, 64, 40)

        def look(model: Model, step: int, folder: Path | None) -> dict[str, float]:
            note()
            return dict(looks(model, step, folder))

        validation = Validation(store, 20_000, 4, evaluator=look)
        train(model, store, settings(cell), run=run, machine=Machine("cpu"), on_validation=validation, should_stop=stop)
        stop.leave()
        ended = json.loads((run / "run.json").read_text())["ended"]
        write_text(done, json.dumps({"steps": ended["step"], "CPU minutes": cell.minutes}) + "\n")
    model = load(str(run / "model"))
    model.family.autocast_dtype = None
    return model, json.loads(done.read_text())


def designed(cell: Cell, model: Model, stop: Stop) -> tuple[list[Protein], list[Protein], float]:
    """Designs with and without relaxation, as they are read from their files, and CPU seconds a design."""
    times = cell.folder / "seconds.json"
    seconds: dict[str, float] = json.loads(times.read_text()) if times.is_file() else {}
    folders = [cell.folder / "designs", cell.folder / "raw"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    for i in range(cell.n):
        if str(i) in seconds:
            continue
        begun = time.process_time()
        asked, own = [Length(SHORTEST, LONGEST)], SampleSettings(device="cpu")
        (design,) = generate(model, asked, cell.n, cell.seed, own, indices=[i])
        seconds[str(i)] = time.process_time() - begun
        for protein, folder in zip((design.protein, design.raw), folders, strict=True):
            write_structure(protein, folder / f"{i:03d}.pdb")
        write_text(times, json.dumps(seconds) + "\n")
        stop.leave()
    found = [[read_structure(folder / f"{i:03d}.pdb") for i in range(cell.n)] for folder in folders]
    return found[0], found[1], float(np.mean([seconds[str(i)] for i in range(cell.n)]))


def likelihood(model: Model, store: Store, seed: int, count: int = 16) -> JSON:
    """Held-out nats a residue, y unknown, with what kind of number it is."""
    family = model.family
    if not isinstance(family, LikelihoodFamily):
        return {"kind": "none"}
    nats, noise, kind = [], [], ""
    for i in store.indices("validation")[:count]:
        batch = collate([store[int(i)]])
        state = family.space.encode(batch)
        rng = torch.Generator().manual_seed(seed)
        found = family.log_prob(state, model.conditions.unknown(batch.mask), rng)
        kind = found.kind
        nats.append(-float(found.nats[0]) / int(batch.mask.sum()))
        noise.append(-float(log_noise(family.space, NoisePath(), state)[0]) / int(batch.mask.sum()))
    first = family.first if isinstance(family, IterativeFamily) else None
    return {
        "kind": kind,
        "first": first,
        "-log p / l": asdict(summarise(np.array(nats))),
        "noise baseline": float(np.mean(noise)),
    }


def kept(path: Path, make: Callable[[], JSON]) -> JSON:
    """A part of the result, made once."""
    if not path.is_file():
        write_text(path, json.dumps(make(), indent=1) + "\n")
    return json.loads(path.read_text())


def novelties(designs: Sequence[Protein], store: Store) -> JSON:
    """The nearest training item of each design."""
    items = [np.array(store[int(i)].atoms[:, 1], dtype=float) for i in store.indices("train")]
    return nearest([ca_trace(design) for design in designs], items, 1)


def judged(cell: Cell, model: Model, store: Store, stop: Stop) -> JSON:
    """All figures of a trained cell; each part is kept by itself."""
    designs, raw, seconds = designed(cell, model, stop)
    draw_backbones(designs[:4], cell.out / f"{cell.name}.png", columns=4)
    folder, own = cell.folder, SampleSettings(device="cpu")
    asked = kept(folder / "asked.json", lambda: asked_structure(model, store, cell.seed, own, count=16))
    stop.leave()
    density = kept(folder / "likelihood.json", lambda: likelihood(model, store, cell.seed))
    stop.leave()
    return {
        "n": cell.n,
        "CPU seconds per sample": round(seconds, 2),
        "after relaxation": figures(designs),
        "before relaxation": figures(raw),
        "clusters / samples at TM 0.5": diversity([ca_trace(d) for d in designs], jobs=1).clusters_per_sample,
        "clusters by": str(Clustering()),
        "asked": {name: asked[name] for name in ("n", "asked structure obtained")},
        "novelty": kept(folder / "novelty.json", lambda: novelties(designs, store)),
        "likelihood": density,
    }


def curve(cell: Cell) -> JSON:
    """The learning curve: validation loss and the share of whole chains among four designs, by step."""
    import csv

    rows = list(csv.DictReader((cell.folder / "run" / "losses.csv").open()))
    names = ("validation_loss", "sample_unbroken", "sample_peptide_valid", "sample_clash_free")
    looked = [row for row in rows if row.get("sample_unbroken")]
    return {
        "step": [int(row["step"]) for row in looked],
        **{name: [float(row[name]) for row in looked] for name in names if looked and looked[0].get(name)},
    }


def run_cell(cell: Cell) -> JSON:
    """Train, sample and judge; what the parent process asks of its child."""
    torch.set_num_threads(1)
    store, stop = Store(cell.store), Stop()
    cell.folder.mkdir(parents=True, exist_ok=True)
    note = session(cell)
    note()
    model, training = trained(cell, store, stop, note)
    result = judged(cell, model, store, stop)
    note()
    sessions = json.loads((cell.folder / "sessions.json").read_text())
    return {
        "model": model.config,
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "seed": cell.seed,
        **training,
        **result,
        "curve": curve(cell),
        "sessions": sessions,
    }
