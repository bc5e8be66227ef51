"""What an evaluation does: the settings of `protgen.evaluate`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import protgen
from protgen.conditions.base import Condition
from protgen.conditions.language import to_plain
from protgen.evaluation.adherence import Evaluator
from protgen.evaluation.reference import Reference
from protgen.evaluation.refolding import Refolder
from protgen.evaluation.sets import MOST_COMPARED
from protgen.evaluation.validity import structure_metrics
from protgen.metrics.diversity import Clustering
from protgen.types import JSON

if TYPE_CHECKING:
    from protgen.evaluation.likelihood import LikelihoodSettings


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation does beyond the validity of each structure.

    Attributes:
        conditions: requests y that every structure is compared with; each adds columns asked, got, difference,
            satisfied.
        reference: structures to compare with: novelty, nearest native, memorisation, native control.
        refolds: where refolds of the structures come from, for designability: a folder of files, or tools.
        likelihood: the likelihood model, and its settings.
        tm: "quick" or "full" search of all pairs, or "foldseek" for clusters by it; "none" leaves out clusters and
            pairwise TM.
        clustering: what makes a cluster: the length that normalises TM, the linkage and the threshold.
        most_compared: clusters are made of at most so many structures; of more the summary says "not_clustered" and
            why.
        folds: classify folds by the fold network where a set has enough structures, and compare the sets.
        residues: write `residues.csv`, a row a residue.
        strict: treat parser warnings as errors.
        jobs: number of processes; the results do not depend on it.
        metrics: of other packages, as `module:Class`, in addition to those that packages have registered.
        top: structure file with the atoms of the trajectories among the paths.
        chain: the chain that is judged, of every file; "" for all chains of a file together.
        models: "first" model of each file, or "all", each a row of its own.
        resume: use the rows, and the likelihoods, that an earlier evaluation left in the folder, of files with the
            same bytes and measured with the same settings.
    """

    conditions: Sequence[Evaluator] = ()
    reference: Reference | None = None
    refolds: Path | Refolder | None = None
    likelihood: "LikelihoodSettings | None" = None
    tm: str = "none"
    clustering: Clustering = field(default_factory=Clustering)
    most_compared: int = MOST_COMPARED
    folds: bool = False
    residues: bool = False
    strict: bool = False
    jobs: int = 1
    metrics: tuple[str, ...] = ()
    top: Path | None = None
    chain: str = ""
    models: str = "first"
    resume: bool = False


Settings = EvaluationSettings  # its name in 0.1


def measured_with(settings: EvaluationSettings) -> JSON:
    """All that decides the row of a file beside its bytes."""
    metrics = structure_metrics(settings.metrics)
    conditions = [getattr(one, "condition", one) for one in settings.conditions]
    return {
        "version": protgen.__version__,
        "strict": settings.strict,
        "chain": settings.chain,
        "models": settings.models,
        "conditions": [to_plain(one) if isinstance(one, Condition) else repr(one) for one in conditions],
        "metrics": [[metric.name, [asdict(quantity) for quantity in metric.quantities]] for metric in metrics],
    }
