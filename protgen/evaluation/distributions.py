"""A set against natives as distributions: histograms of angles and sizes, and distances on named features."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protgen.evaluation.reference import TRAIN, Reference
from protgen.metrics.descriptors import NAMES, descriptors
from protgen.metrics.distribution import (
    classifier_two_sample,
    frechet_distance,
    jensen_shannon,
    length_matched,
    maximum_mean_discrepancy,
    neighbourhood,
    standardise,
)
from protgen.metrics.torsions import backbone_torsions
from protgen.structure.protein import Protein

FEWEST = 20  # structures of either side, after matching lengths; fewer say nothing of a distribution
MOST = 500  # of either side: the features take some 10 ms each
TORSION_BINS = 36  # of 10 degrees
VALUE_BINS = 20
RESAMPLES = 200  # of the interval of the Fréchet distance
DEFINITIONS = {
    "n": "structures of either side after matching lengths in strata of 20 residues",
    "js_phi_psi": "Jensen-Shannon divergence (bits) of phi and psi over 36 x 36 cells",
    "js_ss": "the same of helix, strand and coil residues",
    "js_rg": "the same of Rg / (2.2 L^0.38) over 20 bins of both sides' range",
    "js_contact_order": "the same of relative contact order",
    "frechet": "Fréchet distance on the 18 hand-made descriptors, scaled by the natives; biased upwards by few samples",
    "frechet_ci_low": "2.5 % of the distance over resamples of both sides, less their mean excess over the distance",
    "frechet_ci_high": "97.5 % likewise",
    "mmd": "unbiased squared maximum mean discrepancy on the same features, Gaussian kernel at the median distance",
    "precision": "share of the set within the 5-nearest-neighbour balls of the natives",
    "recall": "share of the natives within the balls of the set",
    "density": "mean number of native balls a structure is in, over 5",
    "coverage": "share of native balls that hold a structure",
    "classifier_accuracy": "balanced accuracy of a logistic regression that tells set from natives; 0.5 if alike",
}


def describe_distribution(proteins: Sequence[Protein], reference: Reference, seed: int = 0) -> dict[str, Any]:
    """Every figure of `DEFINITIONS` for one set; only the counts where there are too few to say anything.

    Held-out natives are used if there are enough of them, all otherwise; length for length, at most 500 of either side.

    Args:
        proteins: the set.
        reference: natives.
        seed: of matching and resampling.
    """
    held_out = [p for p, split in zip(reference.proteins, reference.splits, strict=True) if split != TRAIN]
    plain = _matched(proteins, held_out, seed)
    ours, natives = plain if len(plain[0]) >= FEWEST else _matched(proteins, reference.proteins, seed)
    result: dict[str, Any] = {"n": len(ours), "n_given": len(proteins), "reference": reference.name}
    if len(ours) < FEWEST:
        return result
    features = [descriptors(part) for part in (natives, ours)]
    whole = [np.flatnonzero(np.isfinite(part).all(axis=1)) for part in features]
    if min(map(len, whole)) < FEWEST:
        return result
    first, second = standardise(*(part[rows] for part, rows in zip(features, whole, strict=True)))
    near = neighbourhood(first, second)
    distance = frechet_distance(first, second)
    low, high = _frechet_interval(first, second, distance, seed)
    return {
        **result,
        **_divergences(natives, ours, [part[rows] for part, rows in zip(features, whole, strict=True)]),
        "features": "18 hand-made descriptors: " + ", ".join(NAMES),
        "frechet": distance,
        "frechet_ci_low": low,
        "frechet_ci_high": high,
        "mmd": maximum_mean_discrepancy(first, second),
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
        "classifier_accuracy": classifier_two_sample(first, second, seed),
    }


def _matched(ours: Sequence[Protein], natives: Sequence[Protein], seed: int) -> tuple[list[Protein], list[Protein]]:
    """As many of either side in each stratum of lengths, at most 500, those evenly chosen."""
    lengths = [np.array([protein.length for protein in part], dtype=int) for part in (ours, natives)]
    left, right = length_matched(lengths[0], lengths[1], seed=seed)
    kept = np.unique(np.linspace(0, max(len(left) - 1, 0), min(MOST, len(left))).astype(int))
    return [ours[i] for i in left[kept]], [natives[i] for i in right[kept]]


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
    shares = [
        np.array([(w * h).sum(), (w * e).sum(), (w * (1 - h - e)).sum()])
        for w, h, e in zip(weights, helix, strand, strict=True)
    ]
    ratios = [np.exp((x - 0.38) * n) for x, n in zip(exponent, length, strict=True)]
    return {
        "js_phi_psi": jensen_shannon(*angles),
        "js_ss": jensen_shannon(*shares),
        "js_rg": _binned(*ratios),
        "js_contact_order": _binned(*order),
    }


def _binned(first: np.ndarray, second: np.ndarray) -> float:
    both = np.concatenate([first, second])
    edges = np.linspace(both.min(), both.max() + 1e-9, VALUE_BINS + 1)
    return jensen_shannon(*(np.histogram(part, edges)[0] for part in (first, second)))


def _frechet_interval(first: np.ndarray, second: np.ndarray, distance: float, seed: int) -> tuple[float, float]:
    """Bootstrap interval; resamples repeat members, which adds a bias of its own that is taken off."""
    rng = np.random.default_rng(seed)
    drawn = [
        frechet_distance(*(part[rng.integers(0, len(part), len(part))] for part in (first, second)))
        for _ in range(RESAMPLES)
    ]
    values = np.array(drawn) - (np.mean(drawn) - distance)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(max(low, 0.0)), float(high)
