"""Every dash of the tables of folds, distributions, designability and differences has its reason."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from protgen.cli.evaluate_tables import missing_notes
from protgen.evaluation import reasons
from protgen.evaluation.report_oracles import designability_section, likelihood_section
from protgen.evaluation.report_sets import differences_table, distributions_table, folds_section
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.settings import Settings
from protgen.metrics.fold import class_names

NOTHING = {"n": 0, "n_given": 3, "mean": None, "median": None, "ci_low": None, "ci_high": None}
REFOLDED = {"n": 2, "n_given": 2, "mean": 1.5, "median": 1.5, "ci_low": 1.0, "ci_high": 2.0}
METRICS = ("designable", "sc_rmsd", "sc_tm", "sc_plddt")


def result(n=0, clustered=False, **content):
    """An evaluation of one set of three structures, of which n have a refold."""
    found = {"n": n, "n_given": 3, "designable_fraction": None, "mean_sc_rmsd": None, "best_of": None, "f1": None}
    found |= {"refolds_used": n, "refolds_given": n}
    if n:
        found |= {"designable_fraction": 0.5, "mean_sc_rmsd": 1.5, "best_of": [1, 1]}
    whole = {"designability": found, "metrics": dict.fromkeys(METRICS, REFOLDED if n else NOTHING)}
    whole |= {"n": 3, "n_failed": 0} | ({"diversity": {"n": 3, "mean_pairwise_tm": 0.5}} if clustered else {})
    about = {"refolds": "there", "n_unassigned": 0, "relative": False}
    everything = {"sets": {"ours": whole}, "designability": about, **content}
    return EvaluationResult([], {}, 3, 0, Path("structures.csv"), Path("summary.json"), content=everything)


def listed(text):
    """The dashes of a table by the tip of each, and the lines below it."""
    return re.findall(r'title="([^"]*)">–</td>', text), re.findall(r"<li>-  (.*?)</li>", text)


@pytest.mark.parametrize(
    ("entry", "figure", "why"),
    [
        ({"n": 19}, "mmd", "20 structures of like length are needed on either side, and there are 19"),
        ({"n": 20}, "mmd", "20 structures of 8 residues with CA are needed on either side"),
        ({"n": 49, "frechet": 1.0}, "frechet_fold", "50 structures that the fold network can read"),
        ({"n": 49, "frechet": 1.0}, "frechet_fold_corrected", "50 structures that the fold network can read"),
        ({"n": 60, "frechet": 1.0}, "frechet_natives", "20 further natives of these lengths"),
        ({"n": 60, "frechet": 1.0}, "frechet_fold_natives", "50 further natives of these lengths"),
        ({"n": 89, "frechet": 1.0}, "frechet_corrected", "90 structures are needed on either side, 5 a column, of 89"),
        ({"n": 90, "frechet": 1.0, "frechet_fold": 1.0}, "frechet_fold_corrected", "160 structures are needed on"),
        ({"n": 60, "frechet": 1.0, "js_fold_t": 0.1}, "js_fold_t_corrected", f"{5 * len(class_names('t'))} structures"),
    ],
)
def test_distances(entry, figure, why):
    """The reason names what is needed: 20, 50, or five a column (18 descriptors, 32 features, the classes)."""
    assert reasons.why_no_distance(entry, figure).startswith(why)


def test_distributions_of_a_small_set():
    """Every dash of the small set has a tip, and the list below names set and figures once."""
    entries = {"many": {"n": 24, "n_given": 24, "frechet": 2.0, "mmd": 0.001}, "few": {"n": 3, "n_given": 3}}
    definitions = {figure: "" for figure in ("n", "frechet", "frechet_corrected", "mmd")}
    tips, lines = listed(distributions_table(entries, definitions))
    why = "20 structures of like length are needed on either side, and there are 3"
    assert tips == [why, why]
    assert lines == [f"Fréchet, descriptors of few, MMD² × 1000 of few: {why}."]


def test_folds_of_a_small_set():
    """Twenty structures for a score, five a class for the corrected one."""
    score = dict.fromkeys((f"fold_score_{level}" for level in "cat"), 1.5)
    levels = {level: {"accuracy": 0.8, "n": 100} for level in "cat"}
    content = {
        "fold_network": {"name": "net", "validation": levels},
        "fold_definitions": {f"fold_score_{level}{end}": "" for level in "cat" for end in ("", "_corrected")},
        "sets": {
            "few": {"folds": {"n": 0, "n_given": 7}},
            "some": {"folds": {"n": 20, "n_given": 20, **score, "fold_score_c_corrected": 1.2}},
        },
    }
    tips, lines = listed(folds_section(content, None)[1])
    why = "20 structures of 8 residues with CA are needed, of 7"
    assert tips == [why] * 4
    assert lines[0].endswith(f": {why}.")
    assert "fold score, class, corrected of few" in lines[0]
    classes = len(class_names("a"))
    found = reasons.why_no_fold_score(content["sets"]["some"]["folds"], "fold_score_a_corrected")
    assert found == f"{5 * classes} structures are needed, 5 a class, and 20 were read"


def test_designability():
    """Without refolds, with some, and without clusters; on the page and in the terminal the same reasons."""
    tips, lines = listed(designability_section(result())[1])
    assert tips == ["no structure has a refold"] * 4
    assert lines == [
        "designable of ours, mean scRMSD of ours, F1 of designability and diversity of ours, best of ours: "
        "no structure has a refold."
    ]
    assert listed(designability_section(result(2))[1])[0] == ["it is of all structures, and 1 have no refold"]
    assert reasons.why_no_f1(result(3), "ours") == "clusters were not asked for (--tm)"
    assert reasons.why_no_f1(result(3, clustered=True), "ours") == "it is of all structures, and some have no cluster"
    settings = Settings(refolds=Path("there"), tm="none")
    assert missing_notes(result(), settings) == [
        "-  designable, scRMSD, scTM, F1: no structure has a refold.",
        "-  pLDDT: no refold says its pLDDT.",
    ]
    assert missing_notes(result(2), settings) == ["-  F1: it is of all structures, and 1 have no refold."]
    assert missing_notes(result(), replace(settings, refolds=None)) == []


def test_relative_judge_and_likelihood():
    """The sections of the laptop refold and of the likelihood share the list."""
    found = result()
    found.content["designability"]["relative"] = True
    found.content["sets"]["ours"]["designability"] |= {"mean_refold_tm": None, "mean_refold_rmsd": None, "below_3": 0.0}
    found.content["sets"]["ours"]["likelihood"] = {"n": 0, "n_given": 3, "nats_per_residue": None}
    found.content["sets"]["ours"]["likelihood"]["bits_per_residue"] = None
    found.content["likelihood"] = {
        "given": "nothing",
        "of_minus_log_p": None,
        "model": "m",
        "volume": "v",
        "kind": None,
    }
    assert listed(designability_section(found)[1])[0] == ["no structure has a refold"] * 2
    why = "no structure has a likelihood; structures.csv says why"
    assert listed(likelihood_section(found)[1])[0] == [why, why]
    assert "-  sequence score: the refolds have no scores of their sequences." in missing_notes(
        found, Settings(refolds=Path("there"), tm="none")
    )


def test_differences():
    """Sets that share no length: the matched difference of a figure and of a fold score."""
    row = {"first": "a", "second": "b", "n_first": 5, "n_second": 6, "p_value": 0.5, "difference": 1.0}
    rows = [row | {"metric": metric} for metric in ("rg", "fold_score_c")]
    tips, lines = listed(differences_table(rows, {"rg": ("Rg", False), "fold_score_c": ("fold score, class", False)}))
    whys = [
        "no 20 residues of length have structures of both sets",
        "20 structures of like length are needed in either set",
    ]
    assert tips == whys
    assert lines == [f"Rg, matched: {whys[0]}.", f"fold score, matched: {whys[1]}."]


def test_condition_that_cannot_be_measured():
    """The column with the reason is named."""
    found = result()
    assert reasons.why_missing(found, "ours", "length_difference") == (
        "it could not be measured; length_got in structures.csv says why"
    )
