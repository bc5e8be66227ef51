"""Fold classes of structures by the fold network, and figures of a set's classes: fold score and fold divergence.

    fold score       exp(E_x KL(p(c | x) || E_x p(c | x)))   1 if all folds are alike, the number of classes at most
    fold divergence  JS(E_a p(c | x), E_b p(c | x))          bits: 0 if two sets have the same folds, 1 if none shared

at the levels class (C), architecture (A) and topology (T) of CATH, as far as the network distinguishes them. The
numbers belong to this network, which is named with its accuracy wherever they are printed. They cannot be compared with
figures of another network.

References:
    Geffner et al. 2025, Proteina, ICLR, section 3.4. Salimans et al. 2016, Improved Techniques for Training GANs,
    section 4.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from protgen.errors import DataError
from protgen.metrics.distribution import jensen_shannon
from protgen.metrics.tm import ca_trace
from protgen.structure.protein import CA, Protein

if TYPE_CHECKING:
    from protgen.metrics.fold_network import FoldNetwork

MIN_LENGTH = 8  # residues with CA: fewer have no fold
LEVELS = ("c", "a", "t")
LEVEL_NAMES = {"c": "class", "a": "architecture", "t": "topology"}
ARCHITECTURES = {
    "1.10": "orthogonal bundle", "1.20": "up-down bundle", "1.25": "alpha horseshoe", "2.10": "ribbon",
    "2.20": "single sheet", "2.30": "beta roll", "2.40": "beta barrel", "2.60": "sandwich",
    "2.70": "distorted sandwich", "2.170": "beta complex", "3.10": "alpha-beta roll", "3.20": "alpha-beta barrel",
    "3.30": "2-layer sandwich", "3.40": "3-layer (aba)", "3.50": "3-layer (bba)", "3.60": "4-layer sandwich",
    "3.90": "alpha-beta complex", "4.10": "irregular", "1.*": "other alpha", "2.*": "other beta",
    "3.*": "other alpha-beta", "4.*": "other irregular",
}  # fmt: skip


@dataclass(frozen=True)
class FoldReading:
    """The output of the network for n structures.

    Attributes:
        embedding: (n, w), each dimension of mean 0 and deviation 1 over the natives it was fitted to.
        probabilities: (n, k) of the finest classes.
    """

    embedding: np.ndarray
    probabilities: np.ndarray

    def take(self, rows: np.ndarray) -> "FoldReading":
        """Some of the structures, or some several times."""
        return FoldReading(self.embedding[rows], self.probabilities[rows])


@cache
def fold_network_card() -> Mapping[str, Any]:
    """The network: name, classes, the class of each at coarser levels, accuracy on held-out natives.

    Raises:
        DataError: if the file is missing from the installation or damaged.
    """
    try:
        return json.loads(_resource("json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"reference/fold_network.json of the installed package: {error}; reinstall protgen") from error


@cache
def fold_network() -> "FoldNetwork":
    """The shipped network.

    Raises:
        DataError: if its weights are missing from the installation or damaged.
    """
    from safetensors.torch import load

    from protgen.metrics.fold_network import FoldNetwork

    card = fold_network_card()
    try:
        weights = load(_resource("safetensors").read_bytes())
        network = FoldNetwork(len(card["classes"]), **card["settings"])
        network.load_state_dict({name.replace("spread", "std"): tensor.float() for name, tensor in weights.items()})
    except Exception as error:  # safetensors raises its own, and torch RuntimeError
        text = " ".join(str(error).split())[:200]
        raise DataError(f"reference/fold_network.safetensors of the installed package: {text}; reinstall") from error
    return network.eval()


def read_folds(proteins: Sequence[Protein]) -> FoldReading:
    """Embedding and class probabilities of each structure; rows of NaN for fewer than eight CA atoms.

    Each is read by itself, so that nothing depends on the others.
    """
    import torch

    network = fold_network()
    width, classes = len(network.centre), len(fold_network_card()["classes"])
    embedding, probabilities = np.full((len(proteins), width), np.nan), np.full((len(proteins), classes), np.nan)
    with torch.no_grad():
        for k, protein in enumerate(proteins):
            trace = ca_trace(protein)
            if len(trace) < MIN_LENGTH:
                continue
            ca = torch.from_numpy((trace - trace.mean(axis=0)).astype(np.float32))[None]
            mask = torch.ones(1, len(trace), dtype=torch.bool)
            place = torch.from_numpy(_places(protein))[None]
            found = network.embed(ca, mask, place)
            embedding[k] = found[0].double().numpy()
            probabilities[k] = network.classify(found)[0].double().softmax(dim=-1).numpy()
    return FoldReading(embedding, probabilities)


def at_level(probabilities: np.ndarray, level: str) -> np.ndarray:
    """(n, classes of the level): sums of the finest probabilities (n, k)."""
    return summed(probabilities, np.array(fold_network_card()["levels"][level]))


def summed(probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums of columns of one group.

    Example:
        >>> summed(np.array([[0.2, 0.3, 0.5]]), np.array([0, 1, 0])).tolist()
        [[0.7, 0.3]]
    """
    return probabilities @ np.eye(groups.max() + 1)[groups]


def class_names(level: str) -> list[str]:
    """CATH codes of a level's classes: "3", "3.40" or "3.*" (the rest of class 3), "3.40.50" or "3.40.*"."""
    card = fold_network_card()
    names: dict[int, str] = {}
    for name, group in zip(card["classes"], card["levels"][level], strict=True):
        parts = name.split(".")
        names[group] = {"c": parts[0], "a": ".".join(parts[:2]), "t": name}[level]
    return [names[group] for group in sorted(names)]


def fold_score(probabilities: np.ndarray) -> float:
    """exp(E_x KL(p(c | x) || p(c))) of (n, k) class probabilities; NaN for none.

    Biased downwards by few samples, as the mean over them is near each of them: compare sets of one size.

    Example:
        >>> round(fold_score(np.eye(4)), 6), round(fold_score(np.full((4, 4), 0.25)), 6)
        (4.0, 1.0)
    """
    if not len(probabilities):
        return float("nan")
    mean = probabilities.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * np.log(probabilities / mean), 0.0)
    return float(np.exp(terms.sum(axis=1).mean()))


def fold_divergence(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence (bits) of the mean class probabilities of two sets (n, k) and (m, k).

    Example:
        >>> fold_divergence(np.eye(2)[[0, 1]], np.eye(2)[[1, 0]]), fold_divergence(np.eye(2)[[0]], np.eye(2)[[1]])
        (0.0, 1.0)
    """
    if not len(first) or not len(second):
        return float("nan")
    return jensen_shannon(first.mean(axis=0), second.mean(axis=0))


def named_folds(probabilities: np.ndarray) -> list[tuple[str, float]]:
    """The likeliest finest class of each structure, and its probability; ("", NaN) where there is none."""
    names = class_names("t")
    result = []
    for row in probabilities:
        known = bool(np.isfinite(row).all())
        result.append((names[int(row.argmax())], float(row.max())) if known else ("", float("nan")))
    return result


def _places(protein: Protein) -> np.ndarray:
    """(l,) number of each residue with CA; far on in another chain, so that no two chains touch along the sequence."""
    from protgen.metrics.fold_network import BETWEEN

    chains = protein.chain_ids[protein.mask[:, CA]]
    changes = np.concatenate([[0], np.cumsum(chains[1:] != chains[:-1])])
    return np.arange(len(chains)) + BETWEEN * changes


def _resource(ending: str) -> Any:
    return resources.files("protgen.metrics").joinpath(f"reference/fold_network.{ending}")
