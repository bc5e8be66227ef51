"""The options of `protgen evaluate`, in groups, and what each group makes."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.options import Asked
from protgen.cli.reading import Models
from protgen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.evaluation.adherence import Evaluator
    from protgen.evaluation.likelihood import LikelihoodSettings
    from protgen.evaluation.reference import Reference
    from protgen.evaluation.refolding import Refolder
    from protgen.metrics.diversity import Clustering

ORACLES = "Oracles: designability, likelihood"


class TMChoice(StrEnum):
    """How all pairs of structures are compared."""

    quick = "quick"
    full = "full"
    foldseek = "foldseek"
    none = "none"


class ClusterLength(StrEnum):
    """The length of a pair that normalises TM."""

    longer = "longer"
    shorter = "shorter"


class LinkageChoice(StrEnum):
    """How clusters are made: greedy set cover, single or complete linkage."""

    cover = "cover"
    single = "single"
    complete = "complete"


def oracle(flag: str, text: str, *more: str, metavar: str | None = None, least: int | None = None) -> Any:
    """An option of the panel of oracles.

    Args:
        flag: such as `--refolds`.
        text: help.
        more: further names of the option.
        metavar: stands for its value in the help.
        least: smallest number.
    """
    return typer.Option(flag, *more, help=text, metavar=metavar, min=least, rich_help_panel=ORACLES)


@dataclass(frozen=True)
class ComparedWith:
    """What is measured in addition to conditions: comparisons with natives and between sets, further metrics."""

    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Store or folder of natives: novelty, control.", metavar="NAME|PATH"),
    ] = None
    tm: Annotated[TMChoice, typer.Option("--tm", help="What finds clusters.")] = TMChoice.quick
    cluster_by: Annotated[
        ClusterLength, typer.Option("--cluster-by", help="Length that normalises TM: longer asks both to agree.")
    ] = ClusterLength.longer
    linkage: Annotated[LinkageChoice, typer.Option("--linkage", help="Of clusters.")] = LinkageChoice.cover
    cluster_tm: Annotated[float, typer.Option("--cluster-tm", help="TM of one cluster.", metavar="TM")] = 0.5
    most_compared: Annotated[
        int, typer.Option("--most-compared", min=2, help="Cluster up to so many structures.", metavar="N")
    ] = 4000
    folds: Annotated[
        bool, typer.Option("--folds/--no-folds", help="Classify folds by the fold network, in sets of 20 or more.")
    ] = True
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A metric of yours; installed packages add theirs.", metavar="MODULE:CLASS"),
    ] = None
    top: Annotated[
        Path | None,
        typer.Option(
            "--top", help="Structure file with the atoms of the trajectories among the PATHs.", metavar="FILE"
        ),
    ] = None

    def clustering(self) -> "Clustering":
        """What makes a cluster.

        Raises:
            UsageError: if the threshold is no TM-score.
        """
        from protgen.metrics.diversity import Clustering

        return Clustering(self.cluster_by.value, self.linkage.value, self.cluster_tm)

    def natives(self, jobs: int) -> "Reference | None":
        """The reference set, if one is named."""
        from protgen.evaluation.reference import load_reference

        return load_reference(self.reference, jobs=jobs) if self.reference else None


def evaluators_of(asked: Asked) -> "Sequence[Evaluator]":
    """The conditions that every file is compared with, each once.

    Raises:
        UsageError: if one cannot be read, or is given twice.
    """
    if not asked.values and asked.file is None:
        return []
    from protgen.conditions.measure import evaluators

    found = evaluators(asked.conditions())
    names = [evaluator.name for evaluator in found]
    for name in names:
        if names.count(name) > 1:
            where = "" if asked.file is None else f"{asked.file}: "
            raise UsageError(f"{where}{name} is given twice, and the table has one column for it; give it once")
    return found


@dataclass(frozen=True)
class Reading:
    """What of each file is judged."""

    chain: Annotated[
        str, typer.Option("--chain", help="Judge this chain alone; otherwise all of a file.", metavar="CHAIN")
    ] = ""
    models: Annotated[Models, typer.Option("--models", help="The first model of a file, or each as a row.")] = (
        Models.FIRST
    )
    strict: Annotated[bool, typer.Option("--strict", help="Treat parser warnings as errors.")] = False


@dataclass(frozen=True)
class Output:
    """What is written and printed, and how the work is done."""

    residues: Annotated[bool, typer.Option("--per-residue", help="Write residues.csv, a row a residue.")] = False
    figures: Annotated[bool, typer.Option("--figures", help="Write the figures as PNG and SVG.")] = False
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=1000, help="Processes.")] = 1
    resume: Annotated[
        bool, typer.Option("--resume", help="Use rows of an earlier run in DIR: same file bytes, same settings.")
    ] = False


@dataclass(frozen=True)
class Designability:
    """Where refolds come from: a folder, tools, or nowhere."""

    refolds: Annotated[
        Path | None,
        oracle(
            "--refolds",
            "Refolded structures: design_0003.pdb, design_0003_*.pdb or design_0003/*.",
            metavar="DIR",
        ),
    ] = None
    structure_predictor: Annotated[
        str | None,
        oracle(
            "--structure-predictor",
            "Predicts structures: esmfold, trrosetta (relative), command:TEMPLATE, or module:Class.",
            "--folder",
            metavar="TOOL",
        ),
    ] = None
    inverse_folder: Annotated[
        str | None,
        oracle(
            "--inverse-folder",
            "Designs sequences: proteinmpnn, frame2seq, command:TEMPLATE, or module:Class. Without it those of the "
            "files are used.",
            metavar="TOOL",
        ),
    ] = None
    sequences: Annotated[int, oracle("--sequences", "For each structure.", least=1)] = 8
    refold_cache: Annotated[
        Path | None,
        oracle("--refold-cache", "Where sequences and refolds are kept (OUT/refolds).", metavar="DIR"),
    ] = None
    tool_timeout: Annotated[float, oracle("--tool-timeout", "Seconds for one run of a command.")] = 3600.0

    def source(self, out: Path, seed: int) -> "Path | Refolder | None":
        """The folder of refolds, or the tools that make them.

        Args:
            out: folder of the results.
            seed: of sequences.

        Raises:
            UsageError: if the options contradict one another, or a tool cannot be used.
        """
        predictor, designer = self.structure_predictor, self.inverse_folder
        if self.refolds is not None and (predictor is not None or designer is not None):
            raise UsageError("--refolds and --structure-predictor are two sources of refolds; give one of them")
        if designer is not None and predictor is None:
            raise UsageError(
                "--inverse-folder designs sequences, and nothing predicts their structures; add "
                "--structure-predictor, or give --refolds"
            )
        if self.refolds is not None:
            if not self.refolds.is_dir():
                raise UsageError(f"--refolds {self.refolds}: no such folder")
            return self.refolds
        return None if predictor is None else self._tools(predictor, out, seed)

    def _tools(self, predictor: str, out: Path, seed: int) -> "Refolder":
        from protgen.evaluation.refold_cache import RefoldCache
        from protgen.evaluation.refolding import Refolder, build_tool

        tool = build_tool("folding", predictor, timeout=self.tool_timeout)
        designer = self.inverse_folder
        writer = None if designer is None else build_tool("inverse_folding", designer, timeout=self.tool_timeout)
        cache = RefoldCache(self.refold_cache or out / "refolds")
        refolder = Refolder(tool, cache, writer, n=self.sequences, seed=seed)
        refolder.prepare()
        return refolder


@dataclass(frozen=True)
class LikelihoodModel:
    """The model that gives the likelihood of each structure, and the seed of all oracles."""

    likelihood: Annotated[
        str | None, oracle("--likelihood", "Model that gives nats per residue.", metavar="NAME|DIR")
    ] = None
    likelihood_conditions: Annotated[
        Path | None,
        oracle(
            "--likelihood-conditions",
            "YAML file of conditions given to that model; otherwise they are unknown.",
            metavar="FILE",
        ),
    ] = None
    likelihood_steps: Annotated[int | None, oracle("--likelihood-steps", "Of a probability flow.", least=1)] = None
    device: Annotated[str, oracle("--device", "Of the likelihood: auto, cpu, cuda, mps.")] = "auto"
    seed: Annotated[int, oracle("--seed", "Of sequences and of likelihoods.", least=0)] = 0

    def settings(self) -> "LikelihoodSettings | None":
        """The model opened, if one is named.

        Raises:
            UsageError: if its options are given without it.
        """
        if self.likelihood is None:
            if self.likelihood_conditions is not None or self.likelihood_steps is not None:
                raise UsageError("--likelihood-conditions and --likelihood-steps refer to --likelihood; name its model")
            return None
        from protgen.conditions.language import read_conditions
        from protgen.device import pick_device
        from protgen.evaluation.likelihood import open_likelihood

        asked = self.likelihood_conditions
        return open_likelihood(
            self.likelihood,
            given=[] if asked is None else list(read_conditions(asked)),
            seed=self.seed,
            steps=self.likelihood_steps,
            device=pick_device(self.device),
        )
