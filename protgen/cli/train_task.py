"""What `protgen train` trains on what, be it structures or images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protgen.models.model import Model
    from protgen.training.batches import Batches
    from protgen.training.validation import Evaluator
    from protgen.types import Batch


@dataclass(frozen=True)
class TrainTask:
    """What is trained on what.

    Attributes:
        model: freshly built.
        batches: of the training split.
        validation: what happens at a validation.
        count: how many there are of what, in words.
        next_lines: what to do with the trained model.
        examples: a training example by its number, a batch of one, whose y a teacher is asked for.
        held_out: the same of the validation split; None where there is none.
        evaluator: a further look at the model at a validation, beside its loss.
    """

    model: "Model"
    batches: "Batches"
    validation: "Callable[[Model, int, Path | None], Mapping[str, float]]"
    count: str
    next_lines: tuple[str, ...]
    examples: "Callable[[int], Batch]"
    held_out: "Callable[[int], Batch] | None"
    evaluator: "Evaluator | None"
