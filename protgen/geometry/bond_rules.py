"""What DSSP calls a hydrogen bond of the backbone and a bridge (Kabsch and Sander 1983). No array library is needed."""

N_H = 1.0  # Å, as DSSP has it
COULOMB = 0.42 * 0.20 * 332.0  # kcal/mol Å, partial charges of C=O and N-H, same source
BONDED = -0.5  # kcal/mol: bonds are stronger than this, same source
NEAR = 9.0  # Å: CA atoms of bonded residues are no further apart (DSSP's own cut-off)
LEAST_APART = 3  # residues between those of a bridge, so that a bridge is no turn
