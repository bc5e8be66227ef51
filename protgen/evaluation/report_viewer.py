"""The structures in the 3D view of a report: chosen ones first, then every other that was read, set by set."""

from typing import Any

from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.set_summary import ERROR
from protgen.evaluation.showcase import choose, describe
from protgen.evaluation.structure_view import drawn


def viewed(result: EvaluationResult) -> list[dict[str, Any]]:
    """Every structure of the view: its file, set, kind, a line about it, and its drawing."""
    chosen = choose(result.rows, result.sets)
    seen = {one.row for one in chosen}
    entries = [(one.row, one.kind, one.reason) for one in chosen]
    order = {name: place for place, name in enumerate(dict.fromkeys(result.sets))}
    rest = [k for k, row in enumerate(result.rows) if row["status"] != ERROR and k not in seen]
    entries += [(k, "", describe(result.rows[k])) for k in sorted(rest, key=lambda k: (order[result.sets[k]], k))]

    def about(k: int, kind: str, reason: str) -> dict[str, Any]:
        row = result.rows[k]
        own = {"file": str(row["file"]), "set": result.sets[k], "length": int(row["length"])}
        return {"kind": kind, "reason": reason, **own}

    proteins = ((result.proteins[k], about(k, kind, reason)) for k, kind, reason in entries)
    return drawn((protein, own) for protein, own in proteins if protein is not None)
