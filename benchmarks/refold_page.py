"""Write docs/refolds.md, the table of `refold.py`, and of `ranking.py` beside it.

python benchmarks/refold_page.py --out docs/refolds.md
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from folding import ENOUGH_STRAND

from protgen.atomic import write_text
from protgen.evaluation.laptop_refold import NEAR
from protgen.metrics.base import summarise

RESULTS = Path(__file__).parent / "results"
GROUPS = ("all", "strand >= 10 %", "of these compact")
RANKED = ("natives", "flow-pairing", "flow-small", "vae-small", "diffusion-small")
NAMES = {"natives": "**natives**", "other_generators": "other generators"}
HEAD = """# Do designs come back in a refold?

For each backbone ProteinMPNN writes 48 sequences, trRosetta reads them as an alignment, and a backbone is folded from
what it predicts (`protgen.folding.trrosetta`). Refold TM and RMSD compare that with the backbone. It is a relative
judge and no designability: its alignment comes from the backbone itself, and backbones of helices alone come back
easily. So natives stand beside, two kinds of decoys that are made of them (loops with the torsions of other loops; 10
degrees of noise on each torsion), and those with strand by themselves. Means and shares with 95 % intervals; lengths
60-100, default settings, seed 0, no selection. The ProteinMPNN score is of 8 sequences at T = 0.1, nats a residue.

`python benchmarks/refold.py STORE -n 100 --designs NAME=FOLDER ... --out benchmarks/results/refold.json`, with STORE
by `protgen data build CHAINS --max-length 128` and each folder by `protgen sample --model NAME --length 60-100`; this
page by `python benchmarks/refold_page.py`.
"""
OTHERS = """
Other generators: ten binders of RFdiffusion without their targets, four motif scaffolds of Scaffold-Lab's
demonstration and one of Genie 2's, of 58 to 90 residues: examples that their authors published, most of them helices,
and no comparison.
"""
SINGLE = """
## One sequence alone

The weaker mode of the judge folds the best of the 8 sequences by itself (`--single`, 28 natives and their decoys):

| set | n | TM by 48 sequences | TM by one | within 3 Å by one | CPU s a backbone |
|---|---|---|---|---|---|
"""
RANKING = """
## What tells which come back?

`python benchmarks/ranking.py benchmarks/results/refold.json`: the probability that a backbone that comes back within
3 Å has the better value of one that does not (AUC; 0.5 tells nothing), among all and among those with 10 % strand or
more, and what the ten best of eighty come to, with their strand.

| set | figure | AUC | with strand | ten best: within 3 Å | refold TM | strand |
|---|---|---|---|---|---|---|
"""
AFTER = """
`hbond_score` is the share of residues whose N-H is bonded + 0.5 of that of helix + 0.8 of that of strand. The weights
were chosen on these natives and designs of `flow-pairing`, so that the ten best have as much strand as all have. Of
sets of fewer than eighty the ten best of all are kept. Natives gain by it as designs do: in part it names what this
judge finds easy. ProteinMPNN's score says nothing of natives and of what the flows make, and something of `vae-small`
and `diffusion-small`, of which few come back. So `protgen sample --best` ranks by `hbond_score`.
"""

BEST = """
## The ten best of eighty

`protgen sample --length 60-100 -n 80 --best 10`, by `flow-pairing` and `hbond_score`, of seeds that chose nothing
(`benchmarks/results/refold_best.json`):

| set | within 3 Å | refold TM | with 10 % strand or more, within 3 Å | helix, strand |
|---|---|---|---|---|
"""


def best_rows(sets: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """A line a seed, and one of all."""
    every = [row for own in sets.values() for row in own]
    for name, own in [*sets.items(), (f"all {len(sets)}", every)]:
        near = np.array([row["refold_rmsd"] < NEAR for row in own])
        strand = np.array([row["strand"] >= ENOUGH_STRAND for row in own])
        tm, helix, sheet = (sum(row[key] for row in own) / len(own) for key in ("refold_tm", "helix", "strand"))
        share = f"{near.sum()} of {len(own)}"
        if own is every:
            share += f" ({interval(asdict(summarise(near)), percent=True)})"
        kept = f"{(near & strand).sum()} of {strand.sum()}"
        yield f"| {name} | {share} | {tm:.2f} | {kept} | {100 * helix:.0f}, {100 * sheet:.0f} % |"


def interval(value: dict[str, Any] | None, percent: bool = False, digits: int = 2) -> str:
    """A mean with its interval."""
    if value is None:
        return ""
    if math.isnan(value["ci_low"]):  # of one backbone
        return f"{100 * value['mean']:.0f} %" if percent else f"{value['mean']:.{digits}f}"
    if percent:
        return f"{100 * value['mean']:.0f} % [{100 * value['ci_low']:.0f}, {100 * value['ci_high']:.0f}]"
    return f"{value['mean']:.{digits}f} [{value['ci_low']:.{digits}f}, {value['ci_high']:.{digits}f}]"


def rows(sets: dict[str, Any]) -> Iterator[str]:
    """A line a set."""
    yield (
        "| set | n | refold TM | within 3 Å | n with strand | refold TM | within 3 Å | compact, with strand: TM | "
        "ProteinMPNN score | bonded N-H | helix, strand |"
    )
    yield "|" + "---|" * 11
    for name, groups in sets.items():
        every, strand, compact = (groups.get(group) for group in GROUPS)
        cells = [NAMES.get(name, f"`{name}`" if "-" in name else name), str(every["refold_tm"]["n"])]
        cells += [interval(every["refold_tm"]), interval(every["refold_rmsd < 3 Å"], percent=True)]
        if strand:
            cells += [str(strand["refold_tm"]["n"]), interval(strand["refold_tm"])]
            cells += [interval(strand["refold_rmsd < 3 Å"], percent=True)]
        else:
            cells += ["0", "", ""]
        cells += [interval(compact["refold_tm"]) if compact else "", interval(every["mpnn_score"])]
        cells += [interval(every["bonded"])]
        cells += [f"{100 * every['helix']['mean']:.0f}, {100 * every['strand']['mean']:.0f} %"]
        yield "| " + " | ".join(cells) + " |"


def ranking_rows(sets: dict[str, Any]) -> Iterator[str]:
    """A line a figure, of the sets that have AUCs."""
    for name in RANKED:
        about = sets.get(name)
        if about is None:
            continue
        share, tm, strand = about["within 3 Å"], about["refold TM"], about["strand"]
        yield f"| {name}, all {about['n']} | | | | {100 * share:.0f} % | {tm:.2f} | {100 * strand:.0f} % |"
        for figure, row in about["figures"].items():
            best = row["of the best"]
            cells = [f"{value:.2f}" if value is not None else "" for value in (row["AUC"], row["with strand"])]
            cells += [f"{100 * best['within 3 Å']:.0f} %", f"{best['refold TM']:.2f}", f"{100 * best['strand']:.0f} %"]
            yield f"| | {figure} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = json.loads((RESULTS / "refold.json").read_text())
    text = HEAD + "\n" + "\n".join(rows(found["sets"])) + "\n"
    if "other_generators" in found["sets"]:
        text += OTHERS
    apart = found["AUC, natives against"]
    decoys = [name for name in apart if name in ("loops drawn anew", "10 degrees of noise")]
    told = ", ".join(f"{name} {apart[name]['refold_tm']:.2f}" for name in decoys)
    text += f"\nNatives are told from decoys by refold TM with an AUC of: {told}.\n"
    single = RESULTS / "refold_single.json"
    if single.is_file():
        text += SINGLE
        for name, groups in json.loads(single.read_text())["sets"].items():
            own = groups["all"]
            text += (
                f"| {name} | {own['refold_tm']['n']} | {interval(own['refold_tm'])} | {interval(own['single_tm'])} | "
                f"{interval(own['single_rmsd < 3 Å'], percent=True)} | {own['cpu_s']['mean']:.1f} |\n"
            )
    ranking = RESULTS / "ranking.json"
    if ranking.is_file():
        text += RANKING + "\n".join(ranking_rows(json.loads(ranking.read_text())["sets"])) + "\n" + AFTER
    best = RESULTS / "refold_best.json"
    if best.is_file():
        text += BEST + "\n".join(best_rows(json.loads(best.read_text())["rows"])) + "\n"
    write_text(options.out, text)


if __name__ == "__main__":
    main()
