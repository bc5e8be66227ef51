"""How large natives of a length are: percentiles of Rg over 2.2 L^0.38.

Of N_FITTED whole single chains of 40 to 512 residues, without breaks, at least half of whose residues are in helices
and strands (PDB, one per 90 % sequence cluster); one in twenty has twice the Rg or more, is a rod and left out. Short
natives are often one helix or a hairpin. The table is printed by `benchmarks/fit_native_size.py`.
"""

import math
from collections.abc import Sequence

from protgen.geometry.constants import RG_EXPONENT, RG_SCALE

N_FITTED = 3766
LENGTHS = (40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512)
PERCENTILES = (50, 75, 90, 93, 95, 96, 97, 98, 99)
RATIOS = (
    (1.174, 1.132, 1.094, 1.066, 1.043, 1.025, 1.014, 1.008, 1.007, 1.012, 1.021, 1.037),
    (1.474, 1.366, 1.271, 1.204, 1.153, 1.114, 1.091, 1.081, 1.083, 1.097, 1.124, 1.168),
    (1.812, 1.634, 1.484, 1.382, 1.306, 1.248, 1.217, 1.205, 1.213, 1.240, 1.286, 1.363),
    (1.960, 1.750, 1.574, 1.455, 1.367, 1.301, 1.265, 1.250, 1.258, 1.287, 1.338, 1.425),
    (2.087, 1.852, 1.655, 1.522, 1.423, 1.347, 1.305, 1.286, 1.290, 1.318, 1.368, 1.455),
    (2.129, 1.884, 1.682, 1.548, 1.452, 1.382, 1.347, 1.339, 1.358, 1.403, 1.477, 1.598),
    (2.181, 1.934, 1.730, 1.594, 1.497, 1.426, 1.392, 1.385, 1.406, 1.454, 1.531, 1.657),
    (2.181, 1.957, 1.778, 1.657, 1.569, 1.504, 1.472, 1.463, 1.481, 1.522, 1.589, 1.697),
    (2.181, 1.997, 1.873, 1.785, 1.717, 1.663, 1.631, 1.614, 1.614, 1.629, 1.659, 1.712),
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
