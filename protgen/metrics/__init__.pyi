"""Metrics: numbers measured on one structure, each with its definition."""

from protgen.metrics.base import Metric as Metric
from protgen.metrics.base import Quantity as Quantity
from protgen.metrics.base import Summary as Summary
from protgen.metrics.bonds import Bonds as Bonds
from protgen.metrics.cb_deviation import CbDeviation as CbDeviation
from protgen.metrics.chirality import Chirality as Chirality
from protgen.metrics.clashes import Clashes as Clashes
from protgen.metrics.clashscore import Clashscore as Clashscore
from protgen.metrics.compactness import Compactness as Compactness
from protgen.metrics.ramachandran import Ramachandran as Ramachandran
from protgen.metrics.ramachandran_molprobity import RamachandranMolprobity as RamachandranMolprobity
from protgen.metrics.secondary_structure import SecondaryStructure as SecondaryStructure
from protgen.metrics.sheets import SheetFigures as SheetFigures
from protgen.metrics.soundness import Soundness as Soundness
