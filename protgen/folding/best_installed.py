"""The structure predictor that is taken where none is named."""

from protgen.errors import UsageError
from protgen.folding.esmfold import ESMFold
from protgen.folding.trrosetta import TrRosetta

BEST = "auto"
CHOICES = (ESMFold.name, TrRosetta.name)


def best_installed() -> str | None:
    """ESMFold where its weights are on the disk (none are fetched), else trRosetta where it is installed, else None."""
    if ESMFold().at_hand():
        return ESMFold.name
    try:
        TrRosetta().prepare()
    except UsageError:
        return None
    return TrRosetta.name
