"""Generate protein structures under property constraints, evaluate them, and train on your own."""

from protgen import conditions as conditions
from protgen import encoders as encoders
from protgen import families as families
from protgen import metrics as metrics
from protgen import samplers as samplers
from protgen import spaces as spaces
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
from protgen.errors import ProtgenError as ProtgenError
from protgen.evaluation.runner import EvaluationSettings as EvaluationSettings
from protgen.evaluation.runner import evaluate as evaluate
from protgen.generation.design import Design as Design
from protgen.generation.design import SampleSettings as SampleSettings
from protgen.generation.generate import generate as generate
from protgen.models.model import Model as Model
from protgen.models.released import load as load
from protgen.structure.adapters import from_biopython as from_biopython
from protgen.structure.adapters import from_mdtraj as from_mdtraj
from protgen.structure.adapters import to_biopython as to_biopython
from protgen.structure.adapters import to_mdtraj as to_mdtraj
from protgen.structure.protein import Protein as Protein
from protgen.structure.reader import read_models as read_models
from protgen.structure.reader import read_structure as read_structure
from protgen.structure.writer import write_structure as write_structure
from protgen.training.loop import train as train

__version__: str
__all__: list[str]
