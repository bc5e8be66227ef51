"""What is asked of a run, and what comes out of it."""

from dataclasses import dataclass

from protgen.conditions.base import Condition
from protgen.structure.protein import Protein


@dataclass(frozen=True)
class SampleSettings:
    """How to sample; what to sample is said by conditions.

    Attributes:
        steps: sampler steps.
        temperature: scale of all noise; 1 is the learned distribution, below 1 trades diversity for quality.
        guidance: weight w of classifier-free guidance, x_free + w (x_asked - x_free); 1 is plain conditioning.
        sampler: registry name.
        cleanup: whether to mend peptide geometry and clashes of the final frames.
        layout: "auto" draws a secondary-structure layout from the model's own p(y | length) where none is asked for;
            "free" leaves it to the network.
        batch_size: most designs at a time; changes nothing but memory and speed.
        device: "auto", "cpu", "cuda", ...
    """

    steps: int = 80
    temperature: float = 0.8
    guidance: float = 2.0
    sampler: str = "euler"
    cleanup: bool = True
    layout: str = "auto"
    batch_size: int = 8
    device: str = "auto"


@dataclass(frozen=True)
class Design:
    """One generated backbone.

    Attributes:
        index: i of sample i.
        protein: the backbone; residue names are placeholders (GLY).
        raw: the same before clean-up.
        asked: conditions of the user.
        drawn: conditions drawn from the model's p(y), where the user left them open.
        seed: of the run; (seed, index) gives this design again.
    """

    index: int
    protein: Protein
    raw: Protein
    asked: tuple[Condition, ...]
    drawn: tuple[Condition, ...]
    seed: int
