"""A fold by its CATH code: a class, an architecture or a topology, such as 3, 3.40 or 3.40.50.

`protgen data build --topologies` makes the field that a model learns it from by `conditions.names=[length,cath]`. A
model that has topologies of natives (`protgen.models.topologies`) draws secondary structure and strand pairing of
members, whether it has learned the fold or not.

References:
    Orengo et al. 1997, CATH, Structure 5. Geffner et al. 2025, Proteina, ICLR, section 3.2, for levels that are left
    out one after another in training.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, ConditionFeatures, FieldCondition
from protgen.conditions.flags import Flag
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.mechanisms import Capabilities
from protgen.data.fields import CATH, Field
from protgen.data.folds import LEVELS, fold_nodes
from protgen.errors import ConfigError, UsageError
from protgen.metrics.fold import MIN_LENGTH, at_level, class_names, read_folds
from protgen.types import JSON, Batch

DROPOUT = 0.25  # of each level, where those above it are known: 42 % of labelled examples have all three, 25 % none
CODE = re.compile(r"[1-4](\.[1-9][0-9]{1,3}(\.[1-9][0-9]{0,4})?)?", re.ASCII)
OTHER_CLASS = {"1": "beta", "2": "alpha"}  # fold classes by DSSP that natives of a CATH class do not have


@dataclass(frozen=True)
class Cath(FieldCondition):
    """A fold by its CATH code of one to three levels: class, architecture, topology (Orengo et al. 1997).

    It is met where the fold network gives the code the highest probability of its level.

    Args:
        code: 3, 3.40 or 3.40.50.
        level_weights: weight of guidance at each level of the code; 1 each by default.

    Raises:
        UsageError: if it is no such code, or a weight is negative or not finite, or one is missing.

    Examples:
        >>> Cath.parse("3.40.50").nodes
        ['3', '3.40', '3.40.50']
    """

    code: str
    level_weights: tuple[float, ...] = ()

    name: ClassVar[str] = "cath"
    default_field: ClassVar[str] = CATH
    build_option: ClassVar[str] = "--topologies"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--cath", "Fold by its CATH code, one to three levels, as in 3.40.50.", metavar="C[.A[.T]]"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Mainly beta."""
        return {"code": "2"}

    def __post_init__(self) -> None:
        if not isinstance(self.code, str):
            raise UsageError(f"cath {self.code!r}: is no text; give a code such as '3.40'")
        if not CODE.fullmatch(self.code):
            raise UsageError(f"cath {self.code[:40]!r}: {why_not(self.code)}")
        given = self.level_weights
        for weight in given:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise UsageError(f"cath {self.code}: level weight {weight!r}; give numbers that are not negative")
        if given and len(given) != len(self.nodes):
            raise UsageError(
                f"cath {self.code}: {len(given)} level weights; give {len(self.nodes)}, one for each level of the code"
            )

    @classmethod
    def parse(cls, text: str) -> "Cath":
        """The code.

        Raises:
            UsageError: if it is none.
        """
        return cls(text.strip())

    @property
    def nodes(self) -> list[str]:
        """The code and those above it, from the class down."""
        return fold_nodes(self.code)

    @property
    def guided(self) -> float:
        """The weight of the class."""
        return self.level_weights[0] if self.level_weights else 1.0

    def coarser(self) -> list[tuple[Condition, float]]:
        """The code without its lower levels, where their weight is another than that of the level above.

        With guidance w and weights a, b, c of the levels, a prediction moves by a (w - 1) of what the class changes,
        b (w - 1) of what the architecture changes besides, and c (w - 1) of what the topology does.
        """
        steps = zip(self.nodes, self.level_weights, self.level_weights[1:], strict=False)
        return [(Cath(node), lower - upper) for node, upper, lower in steps if lower != upper]

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """Topologies of members can be drawn, where the model has some.

        Raises:
            UsageError: if the model knows CATH codes, but no native of this one.
        """
        self.require_known(model.folds)
        return super().mechanisms(model) | ({"blueprint"} if self.code in model.drawn_folds else set())

    def require_known(self, folds: Collection[str]) -> None:
        """Check that a model that knows CATH codes knows this one.

        Args:
            folds: those of natives it has learned, or whose topologies it has; none if it knows nothing of CATH.

        Raises:
            UsageError: with the nearest it has, if not.
        """
        if folds and self.code not in folds:
            raise UsageError(f"cath {self.code}: the model has no natives of it; {nearest_fold(self.code, folds)}")

    def conflicts_with(self, other: Condition) -> str | None:
        """A fold class by DSSP that natives of the CATH class do not have."""
        if isinstance(other, FoldClass) and OTHER_CLASS.get(self.code[0]) == other.fold:
            return f"cath {self.code} conflicts with fold_class {other.fold}; change one of them"
        return None

    def cautions(self, lengths: Sequence[int]) -> list[str]:
        """A line where the fold network does not tell the code from others."""
        measured = measured_as(self.code)
        if measured == self.code:
            return []
        return [
            f"cath {self.code}: the fold network knows it as {measured}, with other rare ones; adherence is to these"
        ]

    def describe(self) -> str:
        """The code and its levels in words."""
        words = f"{self.code} ({LEVELS[len(self.nodes) - 1]})"
        return words + (f", weights {', '.join(f'{w:g}' for w in self.level_weights)}" if self.level_weights else "")

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the most probable class of the fold network at the level of the code.

        The difference is that of the two probabilities, 0 where the code is the most probable.

        Raises:
            UsageError: for fewer than eight residues, which have no fold.
        """
        level = LEVELS[len(self.nodes) - 1][0]
        row = at_level(read_folds([structure]).probabilities, level)[0]
        if not math.isfinite(row[0]):
            raise UsageError(f"cath {self.code}: fewer than {MIN_LENGTH} residues have no fold")
        names = class_names(level)
        asked, best = names.index(measured_as(self.code)), int(row.argmax())
        got = f"{names[best]} ({row[best]:.2f})"
        if best != asked:
            got += f", {names[asked]} ({row[asked]:.2f})"
        return Adherence(self.name, self.code, got, float(row[best] - row[asked]), best == asked, 0.0)

    @classmethod
    def settings_of(cls, field: Field) -> JSON:
        """The codes that are categories of a store.

        Raises:
            ConfigError: for a field of another kind.
        """
        if field.per != "chain" or field.shape != (len(LEVELS),) or field.values is None:
            raise ConfigError(f"condition cath: the field {field.name} has no CATH codes; build it with --topologies")
        return {"name": cls.name, "field": field.name, "values": list(field.values)}

    @classmethod
    def features_of(cls, settings: JSON) -> ConditionFeatures:
        """The features for the codes of a model's config.

        Raises:
            ConfigError: if it has none.
        """
        if settings.keys() != {"name", "field", "values"}:
            raise ConfigError("condition cath has no codes; training takes them from the store")
        return Folds(str(settings["field"]), tuple(str(code) for code in settings["values"]))


class Folds(ConditionFeatures):
    """A column for each code of a store that enough training items have, at the three levels.

    An example has the columns of its class, architecture and topology, a request those of its levels. Levels that are
    not known, or too rare to be a category, are zero.

    Args:
        field: name of the field.
        values: the codes, in the order of the store.
    """

    name = Cath.name
    dropout = DROPOUT

    def __init__(self, field: str, values: tuple[str, ...]) -> None:
        self.field, self.values = field, values
        self.requires, self.global_dim = (field,), len(values)

    def from_data(self, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Columns of the levels that are known; each is left out in a fraction of examples, and those below it too."""
        codes = batch[self.field].long()
        if bool((codes >= len(self.values)).any()):
            raise ConfigError(f"cath: the data have code {int(codes.max())} of {len(self.values)} categories")
        kept = torch.rand(codes.shape, generator=rng) >= (DROPOUT if dropout is None else dropout)
        known = kept.long().cumprod(dim=1).bool().to(codes.device) & (codes >= 0)
        columns = torch.nn.functional.one_hot(codes.clamp(min=0), len(self.values)).float()
        return (columns * known[..., None]).sum(dim=1)

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Zeros."""
        return torch.zeros(len(mask), self.global_dim, device=mask.device)

    def of(self, condition: Condition, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """Columns of the levels of the code that are categories.

        Raises:
            UsageError: if not even its class is one.
        """
        assert isinstance(condition, Cath)
        if condition.nodes[0] not in self.values:
            raise UsageError(f"cath {condition.code}: the model has not learned it; {nearest_fold('', self.values)}")
        return torch.tensor([float(value in condition.nodes) for value in self.values])


def why_not(code: str) -> str:
    """Why a text is no CATH code of one to three levels, and what to write."""
    parts = code.split(".")
    if len(parts) == 4 and CODE.fullmatch(".".join(parts[:3])):
        return f"a superfamily is too fine; ask for its topology, {'.'.join(parts[:3])}"
    if len(parts) == 2 and re.fullmatch(r"[1-4]\.[1-9]", code):
        return f"no architecture has one digit; write {code}0 (in YAML with quotes, '{code}0')"
    return "give class (1 to 4), architecture and topology, as in 3, 3.40 or 3.40.50"


def nearest_fold(code: str, known: Collection[str]) -> str:
    """What to ask for in place of a code: the lowest level above it that is known, else the classes."""
    above = [node for node in fold_nodes(code) if node in known]
    if above:
        return f"the nearest that it has is {above[-1]}"
    return f"it has {', '.join(sorted(node for node in known if '.' not in node))}"


def measured_as(code: str) -> str:
    """The class of the fold network that a code is measured by: itself, or the rest of the lowest level above it."""
    nodes = fold_nodes(code)
    names = class_names(LEVELS[len(nodes) - 1][0])
    options = [code, *(f"{node}.*" for node in reversed(nodes[:-1]))]
    return next(name for name in options if name in names)
