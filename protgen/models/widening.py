"""Weights of a model for one that has learned further conditions: what reads these begins at zero.

A layer that reads y has columns for it before those for anything else. Where conditions are added, the columns of the
old ones move to their new places, and the new ones are zero: the model then does what it did, until it is trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from protgen.conditions.embedding import ConditionEmbedding
from protgen.encoders.base import Encoder
from protgen.models.model import Model, build_model, load_weights


@dataclass(frozen=True)
class Columns:
    """Where the columns of old conditions are among those of the new.

    Attributes:
        places: of each old column.
        width: of all.
    """

    places: tuple[int, ...]
    width: int

    @property
    def added(self) -> int:
        """How many are new."""
        return self.width - len(self.places)

    def followed_by(self, other: "Columns") -> "Columns":
        """These columns, and others after them."""
        return Columns((*self.places, *(self.width + place for place in other.places)), self.width + other.width)


def columns_of(before: ConditionEmbedding, now: ConditionEmbedding, kind: str) -> Columns | None:
    """The columns of one kind of features; None if an old condition is missing among the new, or has another width.

    Args:
        before: the conditions that weights have been trained with.
        now: those they are for.
        kind: "residue_dim" or "global_dim".
    """
    starts, width = {}, 0
    for part in now.parts:
        starts[part.name] = width, getattr(part, kind)
        width += getattr(part, kind)
    places: list[int] = []
    for part in before.parts:
        start, size = starts.get(part.name, (0, -1))
        if size != getattr(part, kind):
            return None
        places += range(start, start + size)
    return Columns(tuple(places), width)


def widened(tensors: Mapping[str, Tensor], before: ConditionEmbedding, model: Model) -> dict[str, Tensor]:
    """Weights with columns of zeros for conditions that were not there when they were trained.

    Weights that begin as zero, such as those of what is asked of pairs, add nothing yet: they may be missing.

    Args:
        tensors: the weights by name.
        before: the conditions they have been trained with.
        model: that they are for, fresh. Weights that do not fit it for another reason stay as they are.
    """
    residue = columns_of(before, model.conditions, "residue_dim")
    whole = columns_of(before, model.conditions, "global_dim")
    own = model.family.state_dict()
    found = {name: x for name, x in own.items() if x.is_floating_point() and not x.any()} | dict(tensors)
    if residue is None or whole is None:
        return found
    encoders = tuple(f"{name}." for name, part in model.family.named_modules() if isinstance(part, Encoder))
    for name, given in tensors.items():
        if name not in own or given.ndim != 2 or len(given) != len(own[name]):
            continue
        # Encoders read residues and the whole by a layer each, a family's own layers both side by side.
        layouts = (residue, whole) if name.startswith(encoders) else (residue.followed_by(whole),)
        more = own[name].shape[1] - given.shape[1]
        fitting = [layout for layout in layouts if layout.added == more > 0]
        if len(fitting) == 1:
            found[name] = with_columns(given, fitting[0])
    return found


def with_columns(given: Tensor, columns: Columns) -> Tensor:
    """A weight (o, i) with columns of zeros among its first ones."""
    known = len(columns.places)
    first = torch.zeros(len(given), columns.width, dtype=given.dtype)
    first[:, list(columns.places)] = given[:, :known]
    return torch.cat([first, given[:, known:]], dim=1)


def with_conditions(model: Model, conditions: list) -> Model:
    """A model that is given further conditions, and does not hear them yet.

    Args:
        model: any; its own conditions are among the new ones.
        conditions: as a config has them.

    Raises:
        CheckpointError: if its weights do not fit.
    """
    wider = build_model(model.config | {"conditions": conditions})
    load_weights(wider.family, widened(model.family.state_dict(), model.conditions, wider), Path("model"))
    wider.family.eval()
    return replace(wider, blueprints=model.blueprints, topologies=model.topologies)
