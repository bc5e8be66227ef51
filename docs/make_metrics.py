"""Write docs/metrics.md from the definitions the metrics carry, so that the page cannot differ from the code.

python docs/make_metrics.py
"""

from pathlib import Path
from textwrap import fill

from protgen.evaluation import laptop_refold
from protgen.evaluation.comparison import INTERVAL as DIFFERENCES
from protgen.evaluation.designability import RULE, SEQUENCE_QUANTITIES
from protgen.evaluation.distributions import DEFINITIONS, FEWEST, INTERVALS
from protgen.evaluation.folds import DEFINITIONS as FOLDS
from protgen.evaluation.folds import FEWEST_EMBEDDED, FEWEST_SCORED
from protgen.evaluation.likelihood import DEFINITIONS as LIKELIHOOD
from protgen.evaluation.sets import CLUSTER, QUANTITIES
from protgen.evaluation.validity import structure_metrics
from protgen.metrics.base import INTERVAL
from protgen.metrics.distribution import FEWEST_A_COLUMN
from protgen.metrics.fold import LEVEL_NAMES, LEVELS, fold_network_card
from protgen.metrics.novelty import NOVEL, SHORTEST
from protgen.metrics.reference_data import soundness_reference
from protgen.metrics.self_consistency import MOTIF_QUANTITIES
from protgen.metrics.self_consistency import QUANTITIES as SELF_CONSISTENCY
from protgen.metrics.soundness import FAULTS

TABLE = "| column | unit | better | definition |\n|---|---|---|---|\n"

HEAD = """# Metric definitions

Made by `python docs/make_metrics.py` from the metrics themselves; `summary.json` of `protgen evaluate` carries the same
texts. Å and degrees; residues are those of the file, missing atoms are left out and never filled in.

""" + fill(
    "Every summary says how many values were used of how many structures were given, with an interval of the mean: "
    f"{INTERVAL}. Differences between sets (`comparison.csv`): {DIFFERENCES}. How often each kind covers the truth is "
    "tested by simulation.\n",
    120,
)

DESIGNABILITY = f"""
## Designability

With refolds from a folder (`--refolds`) or made by tools (`--structure-predictor`, `--inverse-folder`). The field's
protocol is 8 ProteinMPNN sequences for each backbone (temperature 0.1), folded by ESMFold. Residues of a design and
its refold correspond by their order, so both have the same number. pLDDT is read from the B-factors of the CA atoms;
where none exceeds 1 the scale is taken to be 0 to 1. A design without a usable refold has no value here and is left
out of every mean, with `n` of `n_given` next to it; `refold_message` says why. In `summary.json` each set has its
designable fraction, the refolds used of those given, of how many the best was taken, and F1 = 2 D V / (D + V) of
designability D and clusters per sample V (Genie 2), where every design has a verdict and was clustered.

Names in a folder: {RULE}.
Where two sets have designs of one name, the refolds of each are below a folder with the name of its set.

The motif columns are there if the record that `protgen sample` wrote next to a design names a motif.

{TABLE}"""

REFOLDS = f"""
## Laptop refold

With a relative judge as the structure predictor (`--structure-predictor trrosetta`, or `protgen run`). 48 ProteinMPNN
sequences of a design (temperature 0.3) are the alignment of trRosetta, and a descent over phi and psi makes a structure of
its distributions. The alignment comes from the design itself, and helices are judged laxly: compare with natives and
decoys at equal secondary structure. Nothing here is called designability, and no threshold of the field applies.

{TABLE}"""

LIKELIHOODS = """
## Likelihood

With `--likelihood MODEL`, of any model over backbones whose family has one. Every place that prints the number names
its kind: exact, upper bound (the family bounds log p from below) or estimate. Conditions are unknown to the model but
for the length, unless `--likelihood-conditions` gives them. Densities are with respect to the volume of the model's
space, which `summary.json` names: numbers of two models can be compared only if their spaces are the same, and a
density may exceed 1, so nats may be negative. The draws of an estimate depend on `--seed` and on the structure alone.
An estimate that follows a probability flow depends on the number of its steps too, which is printed next to it: compare
figures of one number of steps, and look at twice as many before trusting a difference.

"""


DISTRIBUTIONS = f"""
## Distributions

Of each set against the natives of `--reference` (`distribution` of a set in `summary.json`), length for length,
held-out natives where there are enough; and of each set against each that is named after it, which takes the natives'
place (`between`, needs no reference).
{INTERVALS[0].upper() + INTERVALS[1:]}.

A Fréchet distance means nothing without its features, and little without its number of structures: between two draws of
one distribution it falls as 1 / n. For natives of 60 to 200 residues it is near 115 / n on the descriptors and 164 / n
on the fold features (5.4 and 8.4 at 20 structures, 2.4 and 3.2 at 50, 0.23 and 0.33 at 500: `benchmarks/evaluation.py
--parts frechet`), and differs by up to half of that from draw to draw. So {FEWEST} structures are the least for the
descriptors and {FEWEST_EMBEDDED} for the fold features, a few hundred are better, sets of one size compare, and
`frechet_natives` and `frechet_fold_natives` stand next to each figure. Coordinate noise is seen from 0.3 Å on by the
descriptors and from 0.6 Å on by the fold features, which are trained to be insensitive to it.

"""


SETS = f"""
## Sets

With clusters (`--tm`) and a reference (`--reference`).

TM of a pair has two values, by either length. Clusters and mean TM are by the longer, so that both structures agree, as
foldseek with coverage of both asks for; `summary.json` has beside it what the shorter gives (`by_shorter`), by which
one short helix joins all that hold a helix. `--cluster-by`, `--linkage` (`cover`: greedy set cover; `single`; `complete`) and
`--cluster-tm` choose otherwise, and the clusters are named after them wherever they are printed.

Max TM is by the length of the structure, among references of any length from {SHORTEST:g} times its own on: shorter ones
cannot reach {NOVEL:g}. Two prefilters go before the full search. On nine structures against 6,528 training chains (four
natives of the validation split, four exact or noisy pieces of long chains, one design) they lost nothing of max TM against
the full search of every pair; with fewer kept (800 and 60) one of the nine lost 0.014. Of ten
natives of the validation split against 5,000 training chains of 40-512 residues one lost 0.026 and nine nothing, and 30
exact pieces of these chains all had a TM of 1.000 (`benchmarks/evaluation.py --parts novelty`); 100 natives took 4.1 CPU
seconds each, beside other work. A store holds crops of its longer
chains (`n_crops` says how many): a structure that is like a stretch across the end of a crop is found among whole
chains alone, so name the folder of chains that the store was built from as the reference of a model's training data.

"""


def folds() -> str:
    """The section on fold scores, up to its table."""
    card = fold_network_card()
    right = ", ".join(f"{LEVEL_NAMES[level]} {100 * card['validation'][level]['accuracy']:.0f} %" for level in LEVELS)
    return f"""
## Folds

As Geffner et al. 2025 (Proteina) define them, with a network of our own: `{card["name"]}` sees CA atoms alone, is
invariant to rigid motions and not to mirror images, and was made by `benchmarks/fit_fold_network.py` from
{card["fitted_to"]}. Topologies that are rare there are one class
for each architecture, so that the classes are a partition. On {card["validation"]["c"]["n"]} held-out domains, none of
a superfamily that it has seen, it is right for: {right}. Figures of another
network, those of papers included, are on another scale. Sets of {FEWEST_SCORED} structures or more are read (`folds` of
a set in `summary.json`), at most 500 of them; `--no-folds` leaves it out. Differences between sets are in
`comparison.csv` with the p-value of a permutation test, and with an interval where there are {FEWEST_A_COLUMN} structures
a class on either side.

"""


SCALES = """
`rama_favoured` is against contours of our own training natives, by construction 98 % of them. `molprobity_favoured` is
on the scale that papers quote, MolProbity's. Both judge a design without residue types (all glycine, alanine or UNK) as
general residues, not as glycine.
"""


def faults() -> str:
    """The limits of `soundness`, and how many natives are beyond them."""
    reference = soundness_reference()
    beyond = reference.beyond["train"]["alone"]
    lines = [
        f"| {fault.word} | `{fault.column}` | {'above' if fault.sign > 0 else 'below'} | "
        f"{reference.at(fault.column, 60):.3g} | {reference.at(fault.column, 100):.3g} | "
        f"{reference.at(fault.column, 200):.3g} | {100 * beyond[fault.column]:.1f} |\n"
        for fault in FAULTS
    ]
    return f"""
`faults` names what is beyond these limits, which depend on the length of the chain (here for 60, 100 and 200 residues).
They come from {beyond["n"]:,} whole training natives that stand on their own: globular (Rg at most 1.25 times the median
of their length), not held together by cysteines. At most 5 % of them are beyond each limit, and
{100 * beyond["any"]:.0f} % beyond one or another; natives that fold with partners are beyond them more often
(`benchmarks/fit_soundness.py`). `protgen sample` calls a design good if it has no fault, no break, no clash, no
left-handed helix, 90 % of its residues in favoured regions, and is what was asked for and what was drawn.

| fault | column | if | 60 | 100 | 200 | natives beyond, % |
|---|---|---|---|---|---|---|
{"".join(lines)}"""


def page() -> str:
    """The whole page."""
    parts = [HEAD + "\n"]
    for metric in structure_metrics():
        parts.append(f"\n## {metric.name}\n\n" + TABLE)
        for q in metric.quantities:
            definition = q.definition.replace("|", "\\|")
            parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {definition} |\n")
        parts.append({"soundness": faults(), "ramachandran_molprobity": SCALES}.get(metric.name, ""))
    parts.append(SETS + TABLE)
    for q in (CLUSTER, *QUANTITIES):
        parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {q.definition} |\n")
    parts.append(folds() + "| figure | definition |\n|---|---|\n")
    parts += [f"| `{name}` | {definition} |\n" for name, definition in FOLDS.items()]
    parts.append(DISTRIBUTIONS + "| figure | definition |\n|---|---|\n")
    parts += [f"| `{name}` | {definition} |\n" for name, definition in DEFINITIONS.items()]
    parts.append(DESIGNABILITY)
    for q in (*SELF_CONSISTENCY, *MOTIF_QUANTITIES):
        parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {q.definition} |\n")
    parts.append(REFOLDS)
    for q in (*laptop_refold.QUANTITIES, *SEQUENCE_QUANTITIES, *laptop_refold.MOTIF_QUANTITIES):
        parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {q.definition} |\n")
    parts.append(LIKELIHOODS + "| column | definition |\n|---|---|\n")
    for name, definition in LIKELIHOOD.items():
        escaped = definition.replace("|", "\\|")
        parts.append(f"| `{name}` | {escaped} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("metrics.md").write_text(page(), encoding="utf-8")
