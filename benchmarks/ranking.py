"""Which figures of a backbone tell whether it refolds? AUCs, and what the ten best of eighty by each come to.

    python benchmarks/ranking.py benchmarks/results/refold.json --out benchmarks/results/ranking.json
        [--seed 0]

Reads the rows of `refold.py`: natives and designs with their laptop refold. A backbone refolds if its RMSD is below
3 Å. AUCs are the probability that a backbone that refolds has the better value of one that does not, within all and
within those with strand (>= 10 %) and without. Then 80 backbones are drawn of a set 2,000 times (all, where it has no
more), the ten best by a figure are kept, and the means of their refold and of their strand are reported beside those
of the set: an order that takes helices alone is no gain. Natives are beside: whatever is gained among them is what
this judge finds easy, and not what folds. The weights of `hbond_score` were chosen on these natives and designs of
`flow-pairing`, so that the ten best have as much strand as all; `results/refold_best.json` has the ten best of seeds
that chose nothing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from folding import ENOUGH_STRAND

from protgen.atomic import write_text
from protgen.evaluation.laptop_refold import NEAR
from protgen.metrics.sheets import hbond_score

POOL, KEPT, DRAWS = 80, 10, 2_000
LEAST = 20  # backbones of a set

Columns = dict[str, np.ndarray]


def figures_of(rows: Columns) -> Columns:
    """Figures, the higher the better, by name."""
    return {
        "hbond_score": hbond_score(rows["bonded"], rows["helix"], rows["strand"]),
        "bonded": rows["bonded"],
        "ProteinMPNN score": -rows["mpnn_score"],
        "helix and strand": rows["helix"] + rows["strand"],
        "Rg / natives'": -rows["rg_ratio"],
        "shorter": -rows["length"],
        "refold TM, the judge itself": rows["refold_tm"],
    }


def auc(values: np.ndarray, good: np.ndarray) -> float | None:
    """The probability that a good one has a higher value than another; ties count half."""
    if good.all() or not good.any():
        return None
    apart = values[good][:, None] - values[~good][None]
    return round(float((apart > 0).mean() + 0.5 * (apart == 0).mean()), 3)


def report(rows: Columns, seed: int) -> dict[str, Any]:
    """AUCs and the ten best of eighty, by each figure."""
    good, strand = rows["refold_rmsd"] < NEAR, rows["strand"] >= ENOUGH_STRAND
    rng = np.random.default_rng(seed)
    pools = [rng.permutation(len(good))[:POOL] for _ in range(DRAWS)]
    table: dict[str, Any] = {}
    for name, values in figures_of(rows).items():
        best = [pool[np.argsort(-values[pool], kind="stable")[:KEPT]] for pool in pools]
        table[name] = {
            "AUC": auc(values, good),
            "with strand": auc(values[strand], good[strand]),
            "without": auc(values[~strand], good[~strand]),
            "of the best": {
                "within 3 Å": round(float(np.mean([good[k].mean() for k in best])), 3),
                "refold TM": round(float(np.mean([rows["refold_tm"][k].mean() for k in best])), 3),
                "strand": round(float(np.mean([rows["strand"][k].mean() for k in best])), 3),
                "helix": round(float(np.mean([rows["helix"][k].mean() for k in best])), 3),
            },
        }
    return {
        "n": len(good),
        "within 3 Å": round(float(good.mean()), 3),
        "refold TM": round(float(rows["refold_tm"].mean()), 3),
        "strand": round(float(rows["strand"].mean()), 3),
        "figures": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("refolds", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sets = json.loads(options.refolds.read_text())["rows"]
    command = "python benchmarks/ranking.py benchmarks/results/refold.json"
    result: dict[str, Any] = {"command": command, "sets": {}}
    for name, rows in sets.items():
        if len(rows) >= LEAST:
            keys = [key for key in rows[0] if key != "name"]
            columns = {key: np.array([row[key] for row in rows], dtype=float) for key in keys}
            result["sets"][name] = report(columns, options.seed)
            print(name, json.dumps(result["sets"][name], ensure_ascii=False))
    write_text(options.out, json.dumps({**result, "seed": options.seed}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
