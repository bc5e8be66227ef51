"""Puts the features of learned conditions side by side: the `Conditioning` that encoders read."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from protgen import registry
from protgen.conditions.base import Condition, LearnedCondition
from protgen.errors import ConfigError
from protgen.types import Batch, Conditioning


class ConditionEmbedding:
    """The learned conditions of a model, in a fixed order.

    Args:
        names: registry names of learned conditions.

    Raises:
        ConfigError: if one of them cannot be learned.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.classes: list[type[LearnedCondition]] = []
        for name in names:
            cls = registry.find("conditions", name)
            if not issubclass(cls, LearnedCondition):
                raise ConfigError(f"condition {name!r} cannot be learned; enforce it at sampling instead")
            self.classes.append(cls)
        self.residue_dim = sum(cls.residue_dim for cls in self.classes)
        self.whole_dim = sum(cls.whole_dim for cls in self.classes)
        self.pair_dim = sum(cls.pair_dim for cls in self.classes)

    def from_data(self, batch: Batch, rng: Generator) -> Conditioning:
        """Conditions of real examples, with dropout."""
        return self.join([cls.from_data(batch, rng) for cls in self.classes], batch.mask)

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Nothing known but the length."""
        return self.join([cls.unknown(mask) for cls in self.classes], mask)

    def from_requests(self, requests: Sequence[Sequence[Condition]], mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Conditions as requested, one list for each design; those not asked for are unknown.

        Raises:
            ConfigError: if a design asks for a condition this model has not learned.
        """
        blocks = [cls.unknown(mask) for cls in self.classes]
        for row, request in enumerate(requests):
            for condition in self.require_learned(request):
                column = self.names.index(condition.name)
                features = condition.features(mask[row][mask[row]]).to(mask.device)
                if features.ndim == 3:
                    blocks[column][row, : len(features), : len(features)] = features
                elif features.ndim == 2:
                    blocks[column][row, : len(features)] = features
                else:
                    blocks[column][row] = features
        return self.join(blocks, mask)

    def require_learned(self, request: Sequence[Condition]) -> list[LearnedCondition]:
        """The conditions of a request, all of which the model must have learned.

        Raises:
            ConfigError: naming the first it has not.
        """
        learned = []
        for condition in request:
            if condition.name not in self.names or not isinstance(condition, LearnedCondition):
                known = ", ".join(self.names)
                raise ConfigError(f"this model has not learned {condition.name!r}; it has learned: {known}")
            learned.append(condition)
        return learned

    def join(self, blocks: Sequence[Tensor], mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Features of residues, of whole structures and of pairs, each concatenated in order."""
        residue = [block for block in blocks if block.ndim == 3]
        whole = [block for block in blocks if block.ndim == 2]
        empty_residue = torch.zeros(*mask.shape, 0, device=mask.device)
        empty_whole = torch.zeros(len(mask), 0, device=mask.device)
        pair = [block for block in blocks if block.ndim == 4]
        joined = torch.cat(pair, -1) if pair else None
        return Conditioning(torch.cat([*residue, empty_residue], -1), torch.cat([*whole, empty_whole], -1), joined)
