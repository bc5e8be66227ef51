"""Conditions: what a design is to be. They make features, energies, projections and measurements."""

from protgen.conditions.base import Adherence as Adherence
from protgen.conditions.base import Condition as Condition
from protgen.conditions.base import Conditions as Conditions
from protgen.conditions.base import EnergyCondition as EnergyCondition
from protgen.conditions.base import LearnedCondition as LearnedCondition
from protgen.conditions.clashes import Clashes as Clashes
from protgen.conditions.class_label import ClassLabel as ClassLabel
from protgen.conditions.contact_map import ContactMap as ContactMap
from protgen.conditions.contact_order import ContactOrder as ContactOrder
from protgen.conditions.contacts import Contacts as Contacts
from protgen.conditions.custom import Custom as Custom
from protgen.conditions.cyclic import Cyclic as Cyclic
from protgen.conditions.fold_class import FoldClass as FoldClass
from protgen.conditions.fractions import Fractions as Fractions
from protgen.conditions.keep_out import KeepOut as KeepOut
from protgen.conditions.length import Length as Length
from protgen.conditions.motif import Motif as Motif
from protgen.conditions.partial import Partial as Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration as RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure as SecondaryStructure
from protgen.conditions.shape import Shape as Shape
from protgen.conditions.symmetry import Symmetry as Symmetry
from protgen.conditions.termini_distance import TerminiDistance as TerminiDistance
