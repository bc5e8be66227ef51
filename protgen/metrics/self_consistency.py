"""Self-consistency: distances between a design and the structures predicted for its sequences.

A design's sequences are folded, and each refold is laid onto the design. Residues correspond by their order in the
file, so both have the same number of them. sc_rmsd is what the field calls scRMSD; several repositories (FrameDiff,
FoldFlow, ReQFlow) print the mean distance under that name, which is smaller, and here it has a name of its own.

References: Trippe et al. 2023 (scTM); Yim et al. 2023, FrameDiff (scRMSD < 2 Å); Lin et al. 2024, Genie 2 (pLDDT, F1);
Watson et al. 2023, RFdiffusion (motif RMSD < 1 Å).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.errors import ProtgenError
from protgen.geometry.superposition import superpose
from protgen.metrics.base import Quantity, Value
from protgen.metrics.tm import MIN_LENGTH, ca_trace, tm_score
from protgen.structure.protein import CA, Protein

DESIGNABLE = 2.0  # Å, scRMSD
SAME_FOLD = 0.5  # scTM
CONFIDENT = 70.0  # mean pLDDT
MOTIF_KEPT = 1.0  # Å, motif scRMSD
_FEWEST = 3  # residues: fewer have no superposition

_BEST = "the least over the refolds"
QUANTITIES = (
    Quantity("sc_rmsd", "Å", "lower", f"CA RMSD of design and refold after superposition, {_BEST}"),
    Quantity(
        "sc_mean_distance",
        "Å",
        "lower",
        f"mean CA distance after that superposition, {_BEST}; FrameDiff, FoldFlow and ReQFlow print it as RMSD",
    ),
    Quantity(
        "sc_tm",
        "",
        "higher",
        "TM-score of design and refold (sequence-independent, by the design's length), the highest over the refolds",
    ),
    Quantity(
        "sc_plddt",
        "",
        "higher",
        "mean pLDDT (0-100, CA B-factors) of the refold with the least sc_rmsd; its own opinion",
    ),
    Quantity("designable", "fraction", "higher", f"1 if sc_rmsd is below {DESIGNABLE:g} Å (best of n_refolds_used)"),
    Quantity(
        "designable_confident",
        "fraction",
        "higher",
        f"1 if one refold has both sc_rmsd below {DESIGNABLE:g} Å and mean pLDDT of {CONFIDENT:g} or more (Genie 2)",
    ),
    Quantity("designable_tm", "fraction", "higher", f"1 if sc_tm is above {SAME_FOLD:g}, the older rule"),
    Quantity("n_refolds", "count", None, "refolds given, or sequences asked for; best-of-n figures improve with n"),
    Quantity("n_refolds_used", "count", None, "refolds that could be read and have as many residues as the design"),
)
MOTIF_QUANTITIES = (
    Quantity(
        "motif_sc_rmsd",
        "Å",
        "lower",
        f"N, CA, C RMSD of the motif's file and those residues of the refold, superposed on them, {_BEST}",
    ),
    Quantity(
        "motif_success",
        "fraction",
        "higher",
        f"1 if one refold has both motif_sc_rmsd below {MOTIF_KEPT:g} Å and sc_rmsd below {DESIGNABLE:g} Å",
    ),
)
LABELS = ("best_refold", "refold_message")


@dataclass(frozen=True)
class MotifTarget:
    """A motif that a design was to hold.

    Attributes:
        indices: (m,) its residues in the design, from 0.
        backbone: (m, 3, 3) Å; N, CA, C of the motif's own file.
    """

    indices: np.ndarray
    backbone: np.ndarray


@dataclass(frozen=True)
class RefoldScore:
    """One refold against its design.

    Attributes:
        name: of the refold.
        rmsd: CA, Å.
        mean_distance: CA, Å, after the same superposition.
        tm: by the design's length; NaN below 5 residues.
        plddt: mean, 0 to 100; NaN where the file has none.
        motif_rmsd: N, CA, C, Å; NaN without a motif.
    """

    name: str
    rmsd: float
    mean_distance: float
    tm: float
    plddt: float
    motif_rmsd: float = np.nan


def score_refold(design: Protein, refold: Protein, plddt: np.ndarray, motif: MotifTarget | None = None) -> RefoldScore:
    """Compare one refold with its design.

    Args:
        design: the backbone.
        refold: a structure predicted for a sequence of it.
        plddt: (l,) of the refold, 0 to 100; NaN where unknown.
        motif: what the design was to hold.

    Raises:
        ProtgenError: if the numbers of residues differ, or fewer than three have CA in both.

    Example:
        >>> from protgen.structure.ideal import ideal_helix
        >>> helix = Protein.from_backbone(ideal_helix(20))
        >>> round(score_refold(helix, helix, np.full(20, 90.0)).tm, 3)
        1.0
    """
    if refold.length != design.length:
        raise ProtgenError(f"has {refold.length} residues, and the design {design.length}")
    both = design.mask[:, CA] & refold.mask[:, CA]
    if both.sum() < _FEWEST:
        raise ProtgenError(f"has {int(both.sum())} CA atoms in common with the design; a superposition needs {_FEWEST}")
    distance = superposed_distance(refold.atoms[both, CA], design.atoms[both, CA])
    traces = ca_trace(design), ca_trace(refold)
    known = plddt[np.isfinite(plddt)]
    motif_rmsd = np.nan
    if motif is not None:
        own = refold.atoms[motif.indices, :3].reshape(-1, 3)
        if np.isfinite(own).all():
            motif_rmsd = root_mean_square(superposed_distance(own, motif.backbone.reshape(-1, 3)))
    return RefoldScore(
        refold.name,
        root_mean_square(distance),
        float(distance.mean()),
        tm_score(*traces)[0] if min(map(len, traces)) >= MIN_LENGTH else np.nan,
        float(known.mean()) if len(known) else np.nan,
        motif_rmsd,
    )


def superposed_distance(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) Å between points (n, 3) after the proper rigid motion of least RMSD."""
    x, y = (np.asarray(points, dtype=float).T[:, :, None] for points in (mobile, target))
    moved = superpose(x, y, np.ones((x.shape[1], 1))).apply(x)
    return np.linalg.norm(moved - y, axis=0)[:, 0]


def root_mean_square(values: np.ndarray) -> float:
    """The square root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def best_of(scores: Sequence[RefoldScore], n_given: int, motif: bool = False) -> dict[str, Value]:
    """The columns of one design: the best over its refolds, with how many there were.

    Args:
        scores: of the refolds that could be scored.
        n_given: refolds there were, or were to be.
        motif: whether the design was to hold a motif.

    Returns:
        A value for each quantity that there is one for; nothing but the counts where no refold could be scored.
    """
    row: dict[str, Value] = {"n_refolds": n_given, "n_refolds_used": len(scores)}
    if not scores:
        return row
    best = min(scores, key=lambda score: score.rmsd)
    row |= {
        "sc_rmsd": best.rmsd,
        "sc_mean_distance": min(score.mean_distance for score in scores),
        "sc_plddt": best.plddt,
        "designable": float(best.rmsd < DESIGNABLE),
        "best_refold": best.name,
    }
    tm = [score.tm for score in scores if np.isfinite(score.tm)]
    if tm:
        row |= {"sc_tm": max(tm), "designable_tm": float(max(tm) > SAME_FOLD)}
    sure = any(score.rmsd < DESIGNABLE and score.plddt >= CONFIDENT for score in scores)
    # Where a refold that decides has no pLDDT, nobody knows.
    undecided = any(score.rmsd < DESIGNABLE and not np.isfinite(score.plddt) for score in scores)
    if sure or not undecided:
        row["designable_confident"] = float(sure)
    if motif:
        known = [score for score in scores if np.isfinite(score.motif_rmsd)]
        if known:
            row["motif_sc_rmsd"] = min(score.motif_rmsd for score in known)
            row["motif_success"] = float(
                any(score.motif_rmsd < MOTIF_KEPT and score.rmsd < DESIGNABLE for score in known)
            )
    return row


def f1(designable: float, clusters_per_sample: float) -> float:
    """Genie 2's F1 = 2 D V / (D + V), of designability and diversity over all samples; 0 where both are 0."""
    total = designable + clusters_per_sample
    return 2 * designable * clusters_per_sample / total if total else 0.0
