"""Write docs/metrics.md from the definitions the metrics carry, so that the page cannot differ from the code.

python docs/make_metrics.py
"""

from pathlib import Path

from protgen.evaluation.distributions import DEFINITIONS
from protgen.evaluation.sets import CLUSTER, QUANTITIES
from protgen.evaluation.validity import structure_metrics

TABLE = "| column | unit | better | definition |\n|---|---|---|---|\n"

HEAD = """# Metric definitions

Made by `python docs/make_metrics.py` from the metrics themselves; `summary.json` of `protgen evaluate` carries the same
texts. Å and degrees; residues are those of the file, missing atoms are left out and never filled in. Every summary says
how many values were used of how many structures were given, with a seeded bootstrap 95 % interval of the mean.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for metric in structure_metrics():
        parts.append(f"\n## {metric.name}\n\n" + TABLE)
        for q in metric.quantities:
            definition = q.definition.replace("|", "\\|")
            parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {definition} |\n")
    parts.append("\n## Sets\n\nWith clusters (`--tm`) and a reference (`--reference`).\n\n" + TABLE)
    for q in (CLUSTER, *QUANTITIES):
        parts.append(f"| `{q.name}` | {q.unit} | {q.better or ''} | {q.definition} |\n")
    parts.append("\n## Distributions\n\nOf each set against the natives of `--reference`, in `summary.json`.\n\n")
    parts.append("| figure | definition |\n|---|---|\n")
    parts += [f"| `{name}` | {definition} |\n" for name, definition in DEFINITIONS.items()]
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("metrics.md").write_text(page(), encoding="utf-8")
