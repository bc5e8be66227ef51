"""A set against natives, or against another set, as distributions: histograms, and distances on named features."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protgen.evaluation.features import Features
from protgen.evaluation.folds import FEWEST_EMBEDDED, fold_distances, with_interval
from protgen.evaluation.reference import TRAIN
from protgen.geometry.constants import RG_EXPONENT
from protgen.metrics.descriptors import NAMES
from protgen.metrics.distribution import (
    FEWEST_A_COLUMN,
    classifier_two_sample,
    frechet_distance,
    jensen_shannon,
    length_matched,
    maximum_mean_discrepancy,
    neighbourhood,
    standardise,
)
from protgen.metrics.fold import fold_network_card
from protgen.structure.links import backbone_torsions
from protgen.structure.protein import Protein

FEWEST = 20  # structures of either side, after matching lengths; fewer say nothing of a distribution
MOST = 500  # of either side: the features take some 10 ms each
TORSION_BINS = 36  # of 10 degrees
VALUE_BINS = 20
_NET = fold_network_card()["name"]
DEFINITIONS = {
    "n": f"structures of either side, matched in strata of 20 residues; {FEWEST} at least, {MOST} at most",
    "js_phi_psi": "Jensen-Shannon divergence (bits) of phi and psi over 36 x 36 cells",
    "js_ss": "the same of helix, strand and coil residues",
    "js_rg": "the same of Rg / (2.2 L^0.38) over 20 bins of both sides' range",
    "js_contact_order": "the same of relative contact order",
    "js_fold_c": f"the same of the mean class probabilities by {_NET}: CATH class",
    "js_fold_c_corrected": "js_fold_c less its bias, which is upwards too",
    "js_fold_a": "the same at the level of CATH architecture",
    "js_fold_a_corrected": "js_fold_a less its bias, which is upwards too",
    "js_fold_t": "the same at the level of CATH topology, rare ones of an architecture taken together",
    "js_fold_t_corrected": "js_fold_t less its bias, which is upwards too",
    "frechet": "Fréchet distance on the 18 hand-made descriptors, scaled by the natives; biased upwards by few samples",
    "frechet_corrected": "frechet less that bias",
    "frechet_natives": "the same between natives (n_natives) and others of the same lengths: what bias and chance give",
    "frechet_fold": f"Fréchet distance on the 32 features of {_NET}, at least {FEWEST_EMBEDDED} structures; biased "
    "upwards by few samples",
    "frechet_fold_corrected": "frechet_fold less that bias",
    "frechet_fold_natives": "the same between natives and other natives, as for frechet_natives",
    "n_natives": "natives of either side for the two figures above",
    "mmd": "unbiased squared maximum mean discrepancy on the descriptors, Gaussian kernel at the median distance",
    "precision": "fraction of the set within the 5-nearest-neighbour balls of the natives, on the descriptors",
    "recall": "fraction of the natives within the balls of the set",
    "density": "mean number of native balls a structure is in, over 5",
    "coverage": "fraction of native balls that hold a structure",
    "classifier_accuracy": "balanced accuracy of a logistic regression on the descriptors that separates set from "
    "natives; 0.5 if alike",
}
INTERVALS = (
    "figures ending in `_corrected` are less the bias of few samples that a bootstrap over both sides finds, and those "
    "ending in `_ci_low` and `_ci_high` the ends of their 95 % intervals; they are given where either side has "
    f"{FEWEST_A_COLUMN} structures or more for each feature or class, as with fewer no interval covers what it says"
)


def describe_distribution(
    ours: Features, natives: Features, splits: Sequence[str], name: str, seed: int = 0
) -> dict[str, Any]:
    """Every figure of `DEFINITIONS` for one set; only the counts where there are too few to say anything.

    Held-out natives are used if there are enough of them, all otherwise; length for length, at most 500 of either side.

    Args:
        ours: the set.
        natives: what it is compared with.
        splits: of the natives; "train" or another.
        name: of the natives.
        seed: of matching and resampling.
    """
    held_out = np.array([k for k, split in enumerate(splits) if split != TRAIN], dtype=int)
    every = np.arange(len(natives))
    pool = held_out
    mine, theirs = _matched(ours.lengths, natives.lengths, held_out, seed)
    if len(mine) < FEWEST:
        pool = every
        mine, theirs = _matched(ours.lengths, natives.lengths, every, seed)
    result = {"n": len(mine), "n_given": len(ours), "reference": name, **_distances(ours, natives, mine, theirs, seed)}
    if "frechet" in result:
        rest = np.setdiff1d(pool, theirs)
        result |= _native_distances(natives, theirs, rest if len(rest) >= FEWEST else np.setdiff1d(every, theirs), seed)
    return result


def between_sets(first: Features, second: Features, seed: int = 0) -> dict[str, Any]:
    """The same figures of a set against another one, which takes the place of the natives.

    Args:
        first: the set.
        second: the set that it is compared with.
        seed: of matching and resampling.
    """
    mine, theirs = _matched(first.lengths, second.lengths, np.arange(len(second)), seed)
    counts = {"n": len(mine), "n_given": len(first), "n_given_second": len(second)}
    return {**counts, **_distances(first, second, mine, theirs, seed)}


def _distances(ours: Features, natives: Features, mine: np.ndarray, theirs: np.ndarray, seed: int) -> dict[str, Any]:
    if len(mine) < FEWEST:
        return {}
    features = [natives.descriptors(theirs), ours.descriptors(mine)]
    whole = [part[np.isfinite(part).all(axis=1)] for part in features]
    if min(map(len, whole)) < FEWEST:
        return {}
    first, second = standardise(*whole)
    near = neighbourhood(first, second)
    pairs = [[natives.proteins[k] for k in theirs], [ours.proteins[k] for k in mine]]
    return {
        **_divergences(pairs[0], pairs[1], whole),
        **fold_distances(ours.folds(mine), natives.folds(theirs), seed),
        "features": "18 hand-made descriptors: " + ", ".join(NAMES),
        **with_interval("frechet", frechet_distance, first, second, seed),
        "mmd": maximum_mean_discrepancy(first, second),
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
        "classifier_accuracy": classifier_two_sample(first, second, seed),
    }


def _native_distances(natives: Features, chosen: np.ndarray, rest: np.ndarray, seed: int) -> dict[str, float]:
    """Fréchet distances between natives and others of the same lengths: what a perfect set of that size would score."""
    left, right = length_matched(natives.lengths[chosen], natives.lengths[rest], seed=seed)
    if len(left) < FEWEST:
        return {}
    rows = chosen[left], rest[right]
    parts = [natives.descriptors(part) for part in rows]
    parts = [part[np.isfinite(part).all(axis=1)] for part in parts]
    if min(map(len, parts)) < FEWEST:
        return {}
    result = {"frechet_natives": frechet_distance(*standardise(*parts)), "n_natives": len(left)}
    if len(left) >= FEWEST_EMBEDDED:
        result["frechet_fold_natives"] = frechet_distance(*(natives.folds(part).embedding for part in rows))
    return result


def _matched(ours: np.ndarray, natives: np.ndarray, pool: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of either side, as many in each stratum of lengths; at most 500, those evenly chosen."""
    left, right = length_matched(ours, natives[pool], seed=seed)
    kept = np.unique(np.linspace(0, max(len(left) - 1, 0), min(MOST, len(left))).astype(int))
    return left[kept], pool[right[kept]]


def _divergences(
    natives: Sequence[Protein], ours: Sequence[Protein], features: Sequence[np.ndarray]
) -> dict[str, float]:
    edges = np.linspace(-np.pi, np.pi, TORSION_BINS + 1)
    angles = []
    for part in (natives, ours):
        torsions = np.concatenate([np.stack(backbone_torsions(protein)[:2]) for protein in part], axis=1)
        known = torsions[:, np.isfinite(torsions).all(axis=0)]
        angles.append(np.histogram2d(known[0], known[1], bins=(edges, edges))[0])
    length, helix, strand, exponent, order = (
        [part[:, NAMES.index(name)] for part in features]
        for name in ("log_length", "helix", "strand", "rg_exponent", "contact_order")
    )
    weights = [np.exp(values) for values in length]
    fractions = [
        np.array([(w * h).sum(), (w * e).sum(), (w * (1 - h - e)).sum()])
        for w, h, e in zip(weights, helix, strand, strict=True)
    ]
    ratios = [np.exp((x - RG_EXPONENT) * n) for x, n in zip(exponent, length, strict=True)]
    return {
        "js_phi_psi": jensen_shannon(*angles),
        "js_ss": jensen_shannon(*fractions),
        "js_rg": _binned(*ratios),
        "js_contact_order": _binned(*order),
    }


def _binned(first: np.ndarray, second: np.ndarray) -> float:
    both = np.concatenate([first, second])
    edges = np.linspace(both.min(), both.max() + 1e-9, VALUE_BINS + 1)
    return jensen_shannon(*(np.histogram(part, edges)[0] for part in (first, second)))
