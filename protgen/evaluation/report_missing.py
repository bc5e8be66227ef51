"""The dashes of a report's tables, with their reasons."""

import html

from protgen.evaluation.reasons import notes
from protgen.evaluation.report_tables import DASH


class Missing:
    """The dashes of a table: each has its reason for a tip, and the table a list of them below it."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, str]] = []

    def dash(self, what: str, why: str, kind: str = "") -> str:
        """A dash, as `<td>`.

        Args:
            what: is missing.
            why: it is.
            kind: CSS class of the cell.
        """
        self.reasons.append((what, why))
        style = f' class="{kind}"' if kind else ""
        return f'<td{style} title="{html.escape(why, quote=True)}">{DASH}</td>'

    def listed(self) -> str:
        """The reasons, a line each; empty if nothing is missing."""
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in notes(self.reasons))
        return f'<ul class="missing">{lines}</ul>' if lines else ""
