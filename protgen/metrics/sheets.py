"""Hydrogen bonds of the backbone, and sheets: strands with two partners, and the hand of crossovers.

References: Kabsch and Sander 1983, Biopolymers 22, 2577 (bonds, bridges); Richardson 1976, PNAS 73, 2619 (crossovers).
"""

from typing import TypeVar

import numpy as np

from protgen.metrics.base import Metric, Quantity, Summary, summarise
from protgen.structure.protein import Protein
from protgen.structure.sheets import LEAST_BETWEEN, sheets_of

# Of natives and designs those that come back in a refold have more bonds and fewer loops. The edges of sheets leave
# every second N-H open: with 0.3 for strand besides, the ten best of 80 have as much strand as all have.
REGULAR, STRANDS = 0.5, 0.3

Share = TypeVar("Share", float, np.ndarray)


def hbond_score(bonded: Share, helix: Share, strand: Share) -> Share:
    """Regular structure that is bonded: the figure that designs are ranked by where nothing refolds them.

    Args:
        bonded: share of residues whose N-H is bonded.
        helix, strand: shares of residues that are so.

    Examples:
        >>> hbond_score(0.6, 0.4, 0.2)
        0.96
    """
    return bonded + REGULAR * (helix + strand) + STRANDS * strand


def share_right_handed(right: int, crossovers: int) -> Summary:
    """The share of right-handed ones among all crossovers of a set, with the Wilson interval of that share.

    Args:
        right: how many are right-handed.
        crossovers: how many there are.

    Examples:
        >>> summary = share_right_handed(19, 20)
        >>> summary.mean, summary.n
        (0.95, 20)
    """
    return summarise(np.arange(crossovers) < right)


class SheetFigures(Metric):
    """Bonded amides, residues of strands with two partners, and right-handed crossovers.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> SheetFigures().measure(Protein.from_backbone(ideal_helix(20)))["bonded"]
        0.8
    """

    name = "sheets"
    requires = ("backbone",)
    of_parts = ("two_partners", "right_handed_crossovers")
    quantities = (
        Quantity(
            "bonded",
            "fraction",
            "higher",
            "residues whose N-H is bonded (DSSP energy below -0.5 kcal/mol); natives 0.62",
        ),
        Quantity(
            "hbond_score",
            "",
            "higher",
            f"bonded + {REGULAR} x share of helix + {REGULAR + STRANDS} x share of strand: regular structure that is "
            "bonded, helices and sheets alike",
        ),
        Quantity(
            "two_partners",
            "fraction",
            "higher",
            "residues of strands (>= 3 E by DSSP) that have bridges to two others; natives 0.29, none without strands",
        ),
        Quantity(
            "crossovers",
            "count",
            None,
            f"two parallel strands of a sheet, one after the other along the chain, with {LEAST_BETWEEN} residues or "
            "more between them that lie to one side of the sheet",
        ),
        Quantity(
            "right_handed_crossovers",
            "fraction",
            "higher",
            "crossovers that go round to the right (strands up and the connection in front: from left to right); "
            "natives 0.95, none without crossovers; a set has the share of all its crossovers too",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every quantity of one protein; NaN where no residue is whole."""
        found = sheets_of(sample)
        return {
            "bonded": found.bonded,
            "hbond_score": hbond_score(found.bonded, found.helix, found.strand),
            "two_partners": found.two_partners,
            "crossovers": float(found.crossovers) if np.isfinite(found.bonded) else np.nan,
            "right_handed_crossovers": found.right_handed / found.crossovers if found.crossovers else np.nan,
        }
