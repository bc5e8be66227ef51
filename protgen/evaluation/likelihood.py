"""The likelihood of each structure under a model: nats and bits per residue, and the kind of number.

    nats_per_residue = -log p(x | y) / l

p is a density with respect to the volume of the model's space, in the units of the space. So numbers of two models can
be compared only if their spaces are the same. A density may exceed 1, so nats per residue may be negative. A family
whose log p is a lower bound gives an upper bound of this number.
"""

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import protgen
from protgen.conditions.base import Condition
from protgen.errors import ProtgenError, StructureError, UsageError
from protgen.evaluation.refold_cache import structure_hash
from protgen.evaluation.row_log import KeptRow, RowLog, plain_row
from protgen.families.base import Likelihood, LikelihoodFamily
from protgen.families.diffusion import Diffusion
from protgen.families.flow_matching import FlowMatching
from protgen.families.ode_likelihood import OdeSettings
from protgen.metrics.base import Quantity, Value, summarise
from protgen.models.model import WEIGHTS, Model, load_model
from protgen.models.released import find_model
from protgen.spaces.atoms import BackboneAtoms
from protgen.structure.protein import Protein
from protgen.types import Batch, State

DEFINITIONS = {
    "nats_per_residue": "-log p(x | y) / l, l residues; lower is likelier",
    "bits_per_residue": "nats_per_residue / ln 2",
    "nats_per_residue_error": "standard error of nats_per_residue by the scatter of its own draws (noisy points and "
    "probes of a probability flow, times of a bound); empty where nothing is drawn",
    "likelihood_kind": "of log p: exact, lower_bound or estimate",
    "likelihood_message": "why a structure has no number (several chains, missing atoms), or that the model has seen "
    "no chain of its length",
}
LABELS = ("likelihood_kind", "likelihood_message")
KINDS = {  # of log p -> what is said of -log p
    "exact": "exact",
    "lower_bound": "upper bound, from a lower bound of log p",
    "estimate": "estimate",
}
FEWEST = 3  # residues
LIKELIHOODS = "likelihoods.jsonl"


@dataclass(frozen=True)
class LikelihoodSettings:
    """The likelihood model and its settings.

    Attributes:
        model: with a likelihood, over backbones.
        name: as it was asked for.
        sha256: of its weights.
        given: y, for all structures; what is not given is unknown to the model.
        seed: of estimates and bounds; the draws of a structure depend on it and on the structure alone.
        steps: of the probability flow, where the likelihood is computed by one; None for the family's own.
    """

    model: Model
    name: str
    sha256: str
    given: tuple[Condition, ...] = ()
    seed: int = 0
    steps: int | None = None


@dataclass(frozen=True)
class LikelihoodResult:
    """What the likelihoods are, in addition to the columns of the rows.

    Attributes:
        about: model, kind, volume, conditions, settings and counts, for the summary.
        quantities: the columns, with a definition that names all of these.
        labels: the text columns.
    """

    about: dict[str, Any]
    quantities: tuple[Quantity, ...]
    labels: tuple[str, ...] = LABELS

    def describe(self, rows: Sequence[dict[str, Value]]) -> dict[str, Any]:
        """The likelihood of one set, of its files that could be read, for `summary.json`."""
        values = [float(row.get("nats_per_residue", np.nan)) for row in rows]
        nats = summarise(values)
        return {
            "kind": self.about["kind"],
            "nats_per_residue": nats.mean,
            "nats_per_residue_error": float(np.nanstd(values, ddof=1)) / nats.n**0.5 if nats.n > 1 else None,
            "bits_per_residue": nats.mean / math.log(2),
            "n": nats.n,
            "n_given": nats.n_given,
        }


def open_likelihood(
    name: str,
    *,
    given: Sequence[Condition] = (),
    seed: int = 0,
    steps: int | None = None,
    device: torch.device | str = "cpu",
) -> LikelihoodSettings:
    """Load a likelihood model.

    Args:
        name: of a released model, or a folder.
        given: conditions given to the model; they must be learned ones.
        seed: of estimates.
        steps: of the probability flow.
        device: where to compute; another one rounds otherwise.

    Raises:
        CheckpointError: if there is no such model.
        UsageError: if it has no likelihood, is not over protein backbones, has not learned a condition, or takes no
            steps.
    """
    folder = find_model(name)
    model = load_model(folder)
    if not isinstance(model.family, LikelihoodFamily):
        kind = model.config["family"]["name"]
        raise UsageError(f"--likelihood {name}: its family, {kind}, has no likelihood; name a model of another family")
    if not isinstance(model.family.space, BackboneAtoms):
        space = model.config["space"]["name"]
        other = {"image": "evaluate-images", "descriptors": "classify"}.get(space)
        way = f"; `protgen {other}` takes it" if other else ""
        raise UsageError(f"--likelihood {name}: its space is {space}, and not of backbones{way}")
    model.conditions.require_learned(given)
    settings = LikelihoodSettings(
        model, name, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(), tuple(given), seed, steps
    )
    if steps is not None and flow_settings(settings) is None:
        raise UsageError(f"--likelihood {name}: its likelihood is not found by steps; leave out --likelihood-steps")
    model.family.to(device)
    return settings


def flow_settings(settings: LikelihoodSettings) -> OdeSettings | None:
    """The settings of the probability flow; None where the family computes its likelihood in another way."""
    family = settings.model.family
    if not isinstance(family, FlowMatching) and not (isinstance(family, Diffusion) and family.likelihood == "ode"):
        return None
    usual = OdeSettings(first=family.first, draws=family.draws)
    return usual if settings.steps is None else replace(usual, steps=settings.steps)


def likelihood(
    rows: Sequence[dict[str, Value]],
    proteins: Sequence[Protein | None],
    settings: LikelihoodSettings,
    progress: Callable[[int, int], None] | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
) -> LikelihoodResult:
    """Write nats and bits per residue into the rows.

    A structure that the space cannot take has no number, and `likelihood_message` says why.

    Args:
        rows: of the table; changed.
        proteins: (n,) one a row, None where the file could not be read.
        settings: the model, and how.
        progress: called with (structures done, structures in all).
        folder: where each is written as it comes, `likelihoods.jsonl`; None for nowhere.
        resume: whether those of an earlier evaluation, of the same coordinates with the same settings, are used.
    """
    readable = [(k, protein) for k, protein in enumerate(proteins) if protein is not None]
    places = {k: (str(rows[k].get("file", k)), 0) for k, _ in readable}
    kinds: list[str] = []
    with contextlib.ExitStack() as stack:
        log = None
        if folder is not None:
            head = {"version": protgen.__version__, **describe(settings, None)}
            log = stack.enter_context(RowLog(folder, head, resume=resume, wanted=places.values(), name=LIKELIHOODS))
        for done, (k, protein) in enumerate(readable, start=1):
            of = {"structure": structure_hash(protein)}
            known = None if log is None else log.known.get(places[k])
            if known is None or known.file != of:
                known = KeptRow(plain_row(columns_of(protein, settings)), of)
            if log is not None:
                log.add(places[k], known)
            rows[k].update(known.row)
            if "likelihood_kind" in known.row:
                kinds.append(str(known.row["likelihood_kind"]))
            if progress is not None:
                progress(done, len(readable))
    about = describe(settings, kinds[0] if kinds else None)
    about["n"], about["n_given"] = len(kinds), len(readable)
    return LikelihoodResult(about, quantities_of(about))


def columns_of(protein: Protein, settings: LikelihoodSettings) -> dict[str, Value]:
    """The columns of one protein; where it has no number, the reason alone.

    Args:
        protein: a structure.
        settings: the model, and how.
    """
    try:
        found = log_prob(protein, settings)
        nats = -float(found.nats[0]) / protein.length
        if not math.isfinite(nats):
            raise StructureError(f"the model gave {nats} nats per residue")
    except ProtgenError as error:
        return {"likelihood_message": " ".join(str(error).split())}
    columns = {"nats_per_residue": nats, "bits_per_residue": nats / math.log(2), "likelihood_kind": found.kind}
    if found.error is not None and math.isfinite(float(found.error[0])):
        columns["nats_per_residue_error"] = float(found.error[0]) / protein.length
    return {**columns, "likelihood_message": outside_training(protein.length, settings.model)}


def log_prob(protein: Protein, settings: LikelihoodSettings) -> Likelihood:
    """log p(x | y) of one protein, by itself: it does not depend on the other structures.

    Raises:
        ProtgenError: if the space or the family cannot take it.
    """
    model = settings.model
    state = state_of(protein, model)
    if settings.given:
        for condition in settings.given:
            condition.check_length(protein.length)
        cond = model.conditions.from_requests([settings.given], state.mask)
    else:
        cond = model.conditions.unknown(state.mask)
    words = np.frombuffer(bytes.fromhex(structure_hash(protein)), dtype="<u4").tolist()
    seed = int(np.random.SeedSequence([settings.seed, *words]).generate_state(1, np.uint64)[0]) >> 1
    rng = torch.Generator().manual_seed(seed)
    flow = flow_settings(settings)
    keywords = {} if flow is None else {"settings": flow}
    family = model.family
    assert isinstance(family, LikelihoodFamily)
    with torch.no_grad():
        return family.log_prob(state, cond, rng, **keywords)


def state_of(protein: Protein, model: Model) -> State:
    """A protein as a point of the model's space.

    Raises:
        StructureError: if it has several chains, too few residues, or a residue without N, CA or C.
    """
    if len(protein.chains) != 1:
        raise StructureError(f"{len(protein.chains)} chains; the model's space holds one")
    if protein.length < FEWEST:
        raise StructureError(f"{protein.length} residues; a likelihood needs {FEWEST}")
    whole = protein.mask[:, :3].all(axis=1)
    if not whole.all():
        number = protein.residue_numbers[np.flatnonzero(~whole)[0]]
        raise StructureError(f"{int((~whole).sum())} residues lack N, CA or C (the first is {number})")
    atoms = torch.from_numpy(np.nan_to_num(protein.backbone)[None]).float()
    mask = torch.ones(1, protein.length, dtype=torch.bool)
    device = next((parameter.device for parameter in model.family.parameters()), mask.device)
    return model.family.space.encode(Batch({"atoms": atoms}, mask).to(device))


def outside_training(length: int, model: Model) -> str:
    """A note where a chain is shorter or longer than those the model has seen; else empty."""
    bounds = model.trained_lengths
    if bounds is None or bounds[0] <= length <= bounds[1]:
        return ""
    return f"note: {length} residues, and the model has seen {bounds[0]} to {bounds[1]}"


def describe(settings: LikelihoodSettings, kind: str | None) -> dict[str, Any]:
    """What the numbers are, for the summary."""
    flow = flow_settings(settings)
    by_steps = "" if flow is None else said_of(flow)
    return {
        "model": settings.name,
        "sha256": settings.sha256,
        "kind": kind,
        "of_minus_log_p": None if kind is None else KINDS[kind] + by_steps,
        "volume": settings.model.family.space.volume,
        "given": [condition.name for condition in settings.given] or "nothing but the length (all else unknown)",
        "flow_steps": None if flow is None else flow.steps,
        "flow_first": None if flow is None else flow.first,
        "flow_draws": None if flow is None else flow.draws,
        "flow_probes": None if flow is None else flow.probes,
        "seed": settings.seed,
    }


def said_of(flow: OdeSettings) -> str:
    """How a number by the probability flow was found, in words."""
    start = f"{flow.draws} noisy points" if flow.draws else "the point itself"
    return (
        f" of a lower bound of log p: {flow.steps} Heun steps of the probability flow from t = {flow.first:g}, "
        f"{start}, {flow.probes} probe{'s' if flow.probes > 1 else ''} each"
    )


def quantities_of(about: dict[str, Any]) -> tuple[Quantity, ...]:
    """The columns, with what the number is in their definitions."""
    kind = about["of_minus_log_p"] or "kind unknown, as no structure has a likelihood"
    given = about["given"] if isinstance(about["given"], str) else ", ".join(about["given"])
    nats = (
        f"{DEFINITIONS['nats_per_residue']}; p of {about['model']} ({kind}), a density with respect to "
        f"{about['volume']}; y: {given}; comparable between models of one space alone"
    )
    return (
        Quantity("nats_per_residue", "nats", "lower", nats),
        Quantity("bits_per_residue", "bits", "lower", f"{DEFINITIONS['bits_per_residue']} ({kind})"),
        Quantity("nats_per_residue_error", "nats", None, f"{DEFINITIONS['nats_per_residue_error']} ({kind})"),
    )
