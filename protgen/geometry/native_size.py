"""How large natives of a length are: percentiles of Rg over 2.2 L^0.38.

Of N_FITTED whole single chains of 40 to 512 residues, without breaks, at least half of whose residues are in helices
and strands (PDB, one per 90 % sequence cluster). Short natives are often one helix or a hairpin: one in twenty of 40
residues has twice the Rg of a globule. The table is printed by `benchmarks/fit_native_size.py`.
"""

import math
from collections.abc import Sequence

from protgen.geometry.constants import RG_EXPONENT, RG_SCALE

N_FITTED = 1459
LENGTHS = (40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512)
PERCENTILES = (50, 75, 90, 93, 95, 96, 97, 98, 99)
RATIOS = (
    (1.183, 1.140, 1.099, 1.068, 1.043, 1.022, 1.007, 0.998, 0.992, 0.992, 0.997, 1.007),
    (1.438, 1.337, 1.247, 1.184, 1.135, 1.095, 1.072, 1.059, 1.058, 1.067, 1.087, 1.123),
    (1.896, 1.672, 1.487, 1.363, 1.271, 1.203, 1.165, 1.150, 1.157, 1.186, 1.237, 1.324),
    (1.977, 1.753, 1.565, 1.436, 1.340, 1.264, 1.221, 1.198, 1.196, 1.215, 1.254, 1.324),
    (2.009, 1.792, 1.609, 1.485, 1.393, 1.323, 1.284, 1.267, 1.272, 1.298, 1.346, 1.429),
    (2.009, 1.796, 1.637, 1.526, 1.442, 1.376, 1.337, 1.316, 1.314, 1.331, 1.366, 1.429),
    (2.009, 1.803, 1.662, 1.563, 1.487, 1.426, 1.389, 1.369, 1.365, 1.378, 1.407, 1.459),
    (2.009, 1.873, 1.753, 1.664, 1.591, 1.527, 1.483, 1.451, 1.429, 1.420, 1.421, 1.459),
    (2.113, 1.987, 1.868, 1.778, 1.703, 1.634, 1.584, 1.545, 1.513, 1.493, 1.483, 1.482),
)  # a row a percentile, a column a length


def native_radius(length: int, percentile: float) -> float:
    """The Rg that a percentage of natives of a length do not exceed, Å.

    Interpolated in log L and in the percentile; beyond the table's ends those of its ends, and infinite for 100.

    Args:
        length: residues.
        percentile: 50 to 100.

    Examples:
        >>> round(native_radius(100, 50) / (2.2 * 100**0.38), 3)
        1.043
    """
    if percentile >= 100:
        return math.inf
    place = min(max(math.log(length), math.log(LENGTHS[0])), math.log(LENGTHS[-1]))
    columns = [_interpolated(place, [math.log(own) for own in LENGTHS], row) for row in RATIOS]
    return _interpolated(percentile, PERCENTILES, columns) * RG_SCALE * length**RG_EXPONENT


def _interpolated(x: float, places: Sequence[float], values: Sequence[float]) -> float:
    """A value between rising places, linearly; that of an end beyond it."""
    if x <= places[0]:
        return values[0]
    for k in range(1, len(places)):
        if x <= places[k]:
            part = (x - places[k - 1]) / (places[k] - places[k - 1])
            return values[k - 1] + part * (values[k] - values[k - 1])
    return values[-1]
