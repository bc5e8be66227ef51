"""Ideal backbone geometry and the limits that follow from it, in Å and radians. No array library is needed.

Bond lengths and angles: R. A. Engh and R. Huber, International Tables for Crystallography F (2001), table 18.3.2.3.
"""

import math

N_CA = 1.458
CA_C = 1.525
C_N = 1.329
C_O = 1.231
EXTENDED_RISE = 3.649  # CA to CA along a chain with phi = psi = omega = 180 degrees; no chain is longer
CA_CA = 3.80  # trans peptide; FrameDiff's 3.802 rounded
CA_CA_CIS = 2.96  # cis peptide, nearly always before proline
N_CA_C = math.radians(111.0)
CA_C_N = math.radians(117.2)
C_N_CA = math.radians(121.7)
CA_C_O = math.radians(120.1)
# CB from the cross product of CA - N and C - CA, and these two: tetrahedral geometry with a CA-CB bond of 1.53 Å, as in
# ProteinMPNN (Dauparas et al., Science 378:49, 2022).
VIRTUAL_CB = (-0.58273431, 0.56802827, -0.54067466)

# Sigmas of the same source, used as widths of penalties.
CA_C_N_SIGMA = math.radians(2.2)
C_N_CA_SIGMA = math.radians(2.5)

# Distances across the peptide bond that fix those two angles (law of cosines).
CA_N_NEXT = math.sqrt(CA_C**2 + C_N**2 - 2 * CA_C * C_N * math.cos(CA_C_N))
C_CA_NEXT = math.sqrt(C_N**2 + N_CA**2 - 2 * C_N * N_CA * math.cos(C_N_CA))

# A chain break: CA-CA is neither that of a trans peptide nor that of a cis peptide.
CHAIN_BREAK_TOLERANCE = 0.75  # about CA_CA; RFdiffusion3's rule (Butcher et al. 2025)
CIS_TOLERANCE = 0.25  # about CA_CA_CIS; the 367 cis peptides of 1,000 natives have 2.74 to 3.05
PEPTIDE_BOND_LIMIT = 2.0  # C-N; beyond it there is no peptide bond

# Radius of gyration of a globular protein, RG_SCALE L^RG_EXPONENT: Skolnick, Kolinski and Ortiz, J. Mol. Biol. 265,
# 217 (1997).
RG_SCALE = 2.2
RG_EXPONENT = 0.38
