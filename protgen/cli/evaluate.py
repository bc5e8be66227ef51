"""`protgen evaluate`: judge any folder of structures, ours or another generator's."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import escape, progress, say_error, stdout, table, warn
from protgen.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from protgen.conditions.measure import ConditionEvaluator
    from protgen.evaluation.refolding import Refolder
    from protgen.evaluation.runner import EvaluationResult

# What the table shows, in this order; everything else is in the files. (name, heading, percent?)
SHOWN = (
    ("length", "length", False),
    ("chain_breaks", "chain breaks", False),
    ("peptide_valid", "peptide bonds valid %", True),
    ("n_clashes", "clashes", False),
    ("rama_favoured", "Ramachandran favoured %", True),
    ("left_handed_helices", "left-handed helices", False),
    ("helix", "helix %", True),
    ("strand", "strand %", True),
    ("coil", "coil %", True),
    ("rg", "Rg Å", False),
    ("rg_ratio", "Rg / 2.2 L^0.38", False),
)


class TMChoice(StrEnum):
    """How all pairs of structures are compared."""

    quick = "quick"
    full = "full"
    foldseek = "foldseek"
    none = "none"


ORACLES = "Oracles: designability, likelihood"
MOST_NAMED = 20  # failed files named on the screen; all of them are in structures.csv


def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders of structures, each a set; or files.", metavar="PATH...")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.", metavar="DIR")],
    conditions: Annotated[
        Path | None,
        typer.Option("--conditions", help="YAML file of conditions to hold every file against.", metavar="FILE"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Store or folder of natives: novelty, control.", metavar="NAME|PATH"),
    ] = None,
    tm: Annotated[TMChoice, typer.Option("--tm", help="What finds clusters.")] = TMChoice.quick,
    most_compared: Annotated[
        int, typer.Option("--most-compared", min=2, help="Cluster up to so many structures.", metavar="N")
    ] = 4000,
    folds: Annotated[
        bool, typer.Option("--folds/--no-folds", help="Read folds by the fold network, in sets of 20 or more.")
    ] = True,
    residues: Annotated[bool, typer.Option("--per-residue", help="Write residues.csv, a row a residue.")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Write the figures as PNG and SVG.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A reader's warning counts as a failure.")] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A metric of yours beside those of installed packages.", metavar="MODULE:CLASS"),
    ] = None,
    refolds: Annotated[
        Path | None,
        typer.Option(
            "--refolds",
            help="Refolded structures: design_0003.pdb, design_0003_*.pdb or design_0003/*.",
            metavar="DIR",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            "--structure-predictor",
            "--folder",
            help="Folds sequences: esmfold, command:TEMPLATE, or module:Class.",
            metavar="TOOL",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    inverse_folder: Annotated[
        str | None,
        typer.Option(
            "--inverse-folder",
            help="Writes sequences: command:TEMPLATE, or module:Class. Without it those of the files are folded.",
            metavar="TOOL",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    sequences: Annotated[
        int, typer.Option("--sequences", min=1, help="For each structure.", rich_help_panel=ORACLES)
    ] = 8,
    refold_cache: Annotated[
        Path | None,
        typer.Option(
            "--refold-cache",
            help="Where sequences and refolds are kept (OUT/refolds).",
            metavar="DIR",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    tool_timeout: Annotated[
        float, typer.Option("--tool-timeout", help="Seconds for one run of a command.", rich_help_panel=ORACLES)
    ] = 3600.0,
    likelihood: Annotated[
        str | None,
        typer.Option(
            "--likelihood",
            help="Model that tells nats per residue.",
            metavar="NAME|DIR",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    likelihood_conditions: Annotated[
        Path | None,
        typer.Option(
            "--likelihood-conditions",
            help="YAML file of conditions that model is told; otherwise they are unknown.",
            metavar="FILE",
            rich_help_panel=ORACLES,
        ),
    ] = None,
    likelihood_steps: Annotated[
        int | None,
        typer.Option("--likelihood-steps", min=1, help="Of a probability flow.", rich_help_panel=ORACLES),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Of the likelihood: auto, cpu, cuda, mps.", rich_help_panel=ORACLES)
    ] = "auto",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of sequences and of likelihoods.", rich_help_panel=ORACLES)
    ] = 0,
) -> None:
    """Measure structures: validity, secondary structure, compactness, clusters, novelty; several sets side by side.

    With --refolds or --folder designability, with --likelihood how likely a model finds them.

    Exits with 3 if some files could not be read and 4 if none could; each is named.
    """
    from protgen.evaluation.reference import load_reference
    from protgen.evaluation.runner import Settings
    from protgen.evaluation.runner import evaluate as run

    source = refold_source(
        refolds, folder, inverse_folder, refold_cache or out / "refolds", sequences, tool_timeout, seed
    )
    evaluator = None
    if likelihood is not None:
        from protgen.conditions.language import read_conditions
        from protgen.evaluation.likelihood import open_likelihood
        from protgen.generation.job import pick_device

        given = [] if likelihood_conditions is None else list(read_conditions(likelihood_conditions))
        evaluator = open_likelihood(
            likelihood, given=given, seed=seed, steps=likelihood_steps, device=pick_device(device)
        )
    elif likelihood_conditions is not None or likelihood_steps is not None:
        raise UsageError("--likelihood-conditions and --likelihood-steps refer to --likelihood; name its model")
    asked = [] if conditions is None else compared_with(conditions)
    natives = load_reference(reference, jobs=jobs) if reference else None
    settings = Settings(
        conditions=tuple(asked),
        reference=natives,
        refolds=source,
        likelihood=evaluator,
        tm=tm.value,
        most_compared=most_compared,
        folds=folds,
        residues=residues,
        strict=strict,
        jobs=jobs,
        metrics=tuple(metric or ()),
    )
    with progress("evaluating") as show:
        result = run([str(path) for path in paths], out, settings=settings, progress=show)
    console = stdout()
    used = result.n - result.n_failed
    if used:
        console.print(summary_table(result))
        if asked:
            console.print(adherence_table(result, [evaluator.name for evaluator in asked]))
        if len(result.content["sets"]) > 1 or result.compared or natives:
            console.print(set_table(result))
        if source is not None:
            console.print(designability_table(result))
            warn_of_missing(result)
        if evaluator is not None:
            say_likelihood(result)
    console.print(f"{used} of {result.n} structures used.", markup=False)
    if used and "not_clustered" in result.content:
        console.print(f"{result.content['not_clustered'].capitalize()}.", markup=False, soft_wrap=True)
    files = [f"{result.csv} (a row a file)", str(result.json)]
    if used and report:
        from protgen.evaluation.report import write_report

        files.append(str(write_report(result, out, natives)))
    if used and figures:
        from protgen.evaluation.figures import write_figures

        files.append(f"{write_figures(result, out, natives)} (figures)")
    console.print("Files: " + ", ".join(files), markup=False, soft_wrap=True)
    failed = [row for row in result.rows if row["status"] == "error"]
    for row in failed[:MOST_NAMED]:
        message = str(row["message"])
        say_error(message if str(row["file"]) in message else f"{row['file']}: {message}")
    if len(failed) > MOST_NAMED:
        say_error(f"and {len(failed) - MOST_NAMED} more; see {result.csv}")
    raise typer.Exit(result.exit_code)


def refold_source(
    refolds: Path | None,
    folder: str | None,
    inverse_folder: str | None,
    cache: Path,
    sequences: int,
    timeout: float,
    seed: int,
) -> "Path | Refolder | None":
    """Where refolds come from: a folder, tools, or nowhere.

    Raises:
        UsageError: if the options contradict one another, or a tool cannot be used.
    """
    if refolds is not None and (folder is not None or inverse_folder is not None):
        raise UsageError("--refolds and --folder are two sources of refolds; give one of them")
    if inverse_folder is not None and folder is None:
        raise UsageError("--inverse-folder writes sequences, and nothing folds them; add --folder, or give --refolds")
    if refolds is not None:
        if not refolds.is_dir():
            raise UsageError(f"--refolds {refolds}: no such folder")
        return refolds
    if folder is None:
        return None
    from protgen.evaluation.refold_cache import RefoldCache
    from protgen.evaluation.refolding import Refolder, build_tool

    tool = build_tool("folding", folder, timeout=timeout)
    writer = None if inverse_folder is None else build_tool("inverse_folding", inverse_folder, timeout=timeout)
    refolder = Refolder(tool, RefoldCache(cache), writer, n=sequences, seed=seed)
    refolder.prepare()
    return refolder


def compared_with(path: Path) -> "list[ConditionEvaluator]":
    """The measuring faces of a file's conditions, each once."""
    from protgen.conditions.language import read_conditions
    from protgen.conditions.measure import evaluators

    found = evaluators(read_conditions(path))
    names = [evaluator.name for evaluator in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: {name} is given twice, and the table has one column for it; give it once")
    return found


def adherence_table(result: "EvaluationResult", names: list[str]) -> "Table":
    """For each condition, in how many structures it is met, and the mean difference from what was asked."""
    shown = table("<condition", "met %", "95 % interval", "mean difference", "n")
    for name in names:
        met, off = result.summaries[f"{name}_satisfied"], result.summaries[f"{name}_difference"]
        ends = [show_number(100 * end) for end in (met.ci_low, met.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        shown.add_row(name, show_number(100 * met.mean), interval, show_number(off.mean), str(met.n))
    return shown


def designability_table(result: "EvaluationResult") -> "Table":
    """One row a set: how many of how many are designable, and what the refolds say."""
    shown = table("<set", "designable %", "n", "scRMSD", "scTM", "pLDDT", "best of", "refolds", "F1")
    shown.columns[0].min_width = 12
    for name, content in result.content["sets"].items():
        found, metrics = content["designability"], content["metrics"]
        counts = found["best_of"] or ["-"]
        shown.add_row(
            escape(name),
            show_number(100 * found["designable_fraction"]),
            f"{found['n']} of {found['n_given']}",
            *(show_number(metrics[key]["mean"]) for key in ("sc_rmsd", "sc_tm", "sc_plddt")),
            "-".join(str(count) for count in dict.fromkeys(counts)),
            f"{found['refolds_used']} of {found['refolds_given']}",
            show_number(math.nan if found["f1"] is None else found["f1"]),
        )
    return shown


def warn_of_missing(result: "EvaluationResult") -> None:
    """What is missing of the refolds, in a line each: the numbers above are not of these."""
    about = result.content["designability"]
    if about.get("n_unassigned"):
        n, first = about["n_unassigned"], about["unassigned"][0]
        warn(f"{n} refolds belong to no design by their names, the first is {first}")
    told = [row for row in result.rows if row.get("refold_message")]
    if told:
        warn(
            f"{len(told)} structures lack refolds or use but some (refold_message in {result.csv.name}); "
            f"the first is {told[0]['file']}: {told[0]['refold_message']}"
        )


def say_likelihood(result: "EvaluationResult") -> None:
    """One line a set: nats and bits per residue, what kind of number, and how many it is of."""
    console, about = stdout(), result.content["likelihood"]
    for name, content in result.content["sets"].items():
        found = content["likelihood"]
        console.print(
            f"{name}: {show_number(found['nats_per_residue'])} nats, {show_number(found['bits_per_residue'])} bits per "
            f"residue ({about['of_minus_log_p'] or 'none judged'}; {about['model']}; {found['n']} of "
            f"{found['n_given']}), density with respect to {about['volume']}.",
            markup=False,
            soft_wrap=True,
        )
    failed = [row for row in result.rows if row.get("likelihood_message") and "nats_per_residue" not in row]
    if failed:
        warn(f"{len(failed)} structures have no likelihood; {failed[0]['file']}: {failed[0]['likelihood_message']}")


def set_table(result: "EvaluationResult") -> "Table":
    """One row a set: counts, clusters, novelty and the main figures."""
    shown = table("<set", "n", "failed", "clusters", "per n", "mean TM", "max TM", "novel %", "Rama. %")
    shown.columns[0].min_width = 12
    for name, content in result.content["sets"].items():
        diversity, novelty = content.get("diversity", {}), content.get("novelty", {})
        favoured = content["metrics"]["rama_favoured"]["mean"]
        numbers = [
            diversity.get("clusters_per_sample", math.nan),
            diversity.get("mean_pairwise_tm", math.nan),
            novelty.get("mean_max_tm", math.nan),
            100 * novelty.get("novel_fraction", math.nan),
            100 * favoured,
        ]
        clusters = str(diversity.get("clusters", "-"))
        counts = str(content["n"]), str(content["n_failed"])
        shown.add_row(escape(name), *counts, clusters, *(show_number(value) for value in numbers))
    return shown


def summary_table(result: "EvaluationResult") -> "Table":
    """Mean, 95 % interval, median and number of values of the main figures."""
    shown = table("<figure", "mean", "95 % interval", "median", "n")
    for name, heading, is_fraction in SHOWN:
        summary = result.summaries.get(name)
        if summary is None:
            continue
        scale = 100 if is_fraction else 1
        ends = [show_number(scale * end) for end in (summary.ci_low, summary.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        mean, median = show_number(scale * summary.mean), show_number(scale * summary.median)
        shown.add_row(heading, mean, interval, median, str(summary.n))
    return shown


def show_number(value: float) -> str:
    """Two decimals below 10, one above; a dash where there is no number."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
