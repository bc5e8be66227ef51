"""Ideal backbone geometry, in Å and radians.

Bond lengths and angles: R. A. Engh and R. Huber, International Tables for Crystallography F (2001), table 18.3.2.3.
"""

import math

N_CA = 1.458
CA_C = 1.525
C_N = 1.329
C_O = 1.231
CA_CA = 3.80  # trans peptide
N_CA_C = math.radians(111.0)
CA_C_N = math.radians(117.2)
C_N_CA = math.radians(121.7)
CA_C_O = math.radians(120.1)

# Sigmas of the same source, used as widths of penalties.
C_N_SIGMA = 0.014
CA_C_N_SIGMA = math.radians(2.2)
C_N_CA_SIGMA = math.radians(2.5)

# Distances across the peptide bond that fix those two angles (law of cosines).
CA_N_NEXT = math.sqrt(CA_C**2 + C_N**2 - 2 * CA_C * C_N * math.cos(CA_C_N))
C_CA_NEXT = math.sqrt(C_N**2 + N_CA**2 - 2 * C_N * N_CA * math.cos(C_N_CA))
