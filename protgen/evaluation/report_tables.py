"""The parts of a report's tables: numbers, cells with intervals, the table itself."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "–"


def table(head: str, body: Sequence[str]) -> str:
    """A table whose first column is names.

    Args:
        head: `<th>` of the other columns.
        body: rows.
    """
    rows = "".join(body)
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def cell(summary: Mapping[str, Any], percent: bool, kind: str = "") -> str:
    """A mean over its interval and how many values were used, as `<td>`.

    Args:
        summary: of the figure, as in `summary.json`; with a mean.
        percent: show percent.
        kind: CSS class of the cell.
    """
    ends = show(summary["ci_low"], percent), show(summary["ci_high"], percent)
    between = f"{ends[0]} to {ends[1]}, " if DASH not in ends else ""
    used = f"n {summary['n']}" + (f" of {summary['n_given']}" if summary["n_given"] != summary["n"] else "")
    return f'<td class="{kind}">{show(summary["mean"], percent)}<small>{between}{used}</small></td>'


def show(value: Any, percent: bool = False, unit: str = "") -> str:
    """A number as it is read: three significant digits, or a dash.

    Args:
        value: a number, or none.
        percent: show percent.
        unit: written behind it.
    """
    if value is None or not math.isfinite(value):
        return DASH
    number = 100 * value if percent else value
    if number == 0:
        return f"0{unit}"
    digits = 0 if abs(number) >= 1000 else 1 if abs(number) >= 10 else 2 if abs(number) >= 0.095 else 3
    return f"{number:.{digits}f}{unit}"
