"""The mechanisms by which a condition can be met, and what a model offers of them.

    assembly       all copies of a symmetric assembly are made together (`generation/copies.py`)
    construction   it holds by the way a design is made: length, the structure it starts from, copies about an axis
    learned        features the network was trained on, with classifier-free guidance
    blueprint      secondary structure is drawn so that it holds, and given to the network
    projection     the predicted structure is made to meet it (`samplers/projection.py`)
    energy         gradient of its energy: on the predicted structure (`samplers/energy.py`), or on the latents of a
                   family that decodes a structure in one go (`families/latent_descent.py`)
    rank           several candidates for each design, of which the one that meets it best is kept

Generation takes the first that is possible, in this order; `--enforce NAME=MECHANISM` takes another.
"""

from dataclasses import dataclass

MECHANISMS = ("assembly", "construction", "learned", "blueprint", "projection", "energy", "rank")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do for conditions; a condition answers with the mechanisms it can use.

    Attributes:
        learned: names of the conditions the model was trained on.
        blueprints: whether blueprints of secondary structure are drawn for its designs.
        starts: whether its samples can start from a given structure.
        projections: whether its predicted structures can be changed between steps.
        assemblies: whether several chains can be made together.
        energies: whether gradients of an energy can act on its samples.
        folds: CATH codes of natives it has learned, or whose topologies it has; none where it knows nothing of CATH.
        drawn_folds: those whose topologies are drawn from for the request at hand.
    """

    learned: frozenset[str] = frozenset()
    blueprints: bool = False
    starts: bool = False
    projections: bool = False
    assemblies: bool = False
    energies: bool = False
    folds: frozenset[str] = frozenset()
    drawn_folds: frozenset[str] = frozenset()
