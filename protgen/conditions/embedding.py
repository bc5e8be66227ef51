"""Puts the features of learned conditions side by side: the `Conditioning` that encoders read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen import registry
from protgen.conditions.base import Condition, ConditionFeatures, FieldCondition, LearnedCondition
from protgen.data.dataset import has_parts
from protgen.data.fields import CHAIN_INDEX, Field, missing_fields
from protgen.errors import ConfigError
from protgen.types import JSON, Batch, Conditioning

Entry = str | Mapping[str, object]


class DeclaredFeatures(ConditionFeatures):
    """The features that a condition's class declares.

    Args:
        cls: the class.
    """

    def __init__(self, cls: type[LearnedCondition]) -> None:
        self.cls = cls
        self.name, self.requires, self.dropout = cls.name, cls.requires, cls.dropout
        self.residue_dim, self.global_dim, self.pair_dim = cls.residue_dim, cls.global_dim, cls.pair_dim

    def from_data(self, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Those of the class."""
        return self.cls.from_data(batch, rng) if dropout is None else self.cls.from_data(batch, rng, dropout)

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Those of the class."""
        return self.cls.unknown(mask)

    def of(self, condition: Condition, mask: Bool[Tensor, " l"]) -> Float[Tensor, "..."]:
        """Those of the request itself."""
        assert isinstance(condition, self.cls)
        return condition.features(mask)


class ConditionEmbedding:
    """The learned conditions of a model, in a fixed order.

    Args:
        entries: of a model's config: names of conditions or `module:Class`, and mappings of those that refer to a
            field of the data.

    Attributes:
        names: under which the model knows its conditions: `length`, `label:ec_class`.

    Raises:
        ConfigError: if one of them cannot be learned, or two have one name.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.parts = [features_of(entry) for entry in entries]
        self.names = tuple(part.name for part in self.parts)
        for name in self.names:
            if self.names.count(name) > 1:
                raise ConfigError(f"condition {name} is named twice; name it once")
        self.residue_dim = sum(part.residue_dim for part in self.parts)
        self.global_dim = sum(part.global_dim for part in self.parts)
        self.pair_dim = sum(part.pair_dim for part in self.parts)

    def from_data(self, batch: Batch, rng: Generator, dropout: Mapping[str, float] | None = None) -> Conditioning:
        """Conditions of real examples, each unknown in a random fraction of them, and their chains.

        Args:
            batch: the examples.
            rng: the random stream of this step.
            dropout: the fractions of some conditions by name; the others have their own.
        """
        rates = dropout or {}
        cond = self.join([part.from_data(batch, rng, rates.get(part.name)) for part in self.parts], batch.mask)
        return replace(cond, chains=batch[CHAIN_INDEX.name].long()) if has_parts(batch) else cond

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Nothing known but the length."""
        return self.join([part.unknown(mask) for part in self.parts], mask)

    def from_requests(self, requests: Sequence[Sequence[Condition]], mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Conditions as requested, one list for each design; those not asked for are unknown.

        Raises:
            ConfigError: if a design asks for a condition this model has not learned.
            UsageError: if the model has learned the condition, but not the value that is asked for.
        """
        blocks = [part.unknown(mask) for part in self.parts]
        for row, request in enumerate(requests):
            for condition in request:
                column = self.column(condition)
                features = self.parts[column].of(condition, mask[row][mask[row]]).to(mask.device)
                if features.ndim == 3:
                    blocks[column][row, : len(features), : len(features)] = features
                elif features.ndim == 2:
                    blocks[column][row, : len(features)] = features
                else:
                    blocks[column][row] = features
        return self.join(blocks, mask)

    def column(self, condition: Condition) -> int:
        """The place of a condition among those of the model.

        Raises:
            ConfigError: if the model has not learned it.
        """
        if condition.learned_name not in self.names:
            known = f"it has learned: {', '.join(self.names)}" if self.names else "it has learned no conditions"
            raise ConfigError(f"this model has not learned {condition.learned_name!r}; {known}")
        return self.names.index(condition.learned_name)

    def require_learned(self, request: Sequence[Condition]) -> None:
        """Check that the model has learned all conditions of a request.

        Raises:
            ConfigError: naming the first it has not.
            UsageError: naming the first whose value it has not.
        """
        for condition in request:
            column = self.column(condition)
            if isinstance(condition, FieldCondition):
                self.parts[column].of(condition, torch.ones(1, dtype=torch.bool))

    def require_fields(self, fields: Collection[str], where: str) -> None:
        """Check that data have the fields that the conditions are learned from.

        Args:
            fields: names of the fields of the data.
            where: what has them, for the message.

        Raises:
            ConfigError: naming the condition, the missing field, and what there is.
        """
        for part in self.parts:
            for name in missing_fields(part.requires, fields):
                raise lacks(part.name, name, fields, where)

    def of_one_chain(self) -> list[str]:
        """Names of the conditions that say nothing of what has several chains: they count along one."""
        return [p.name for p in self.parts if isinstance(p, DeclaredFeatures) and not p.cls.several_chains]

    def dropouts(self, asked: Mapping[str, float]) -> dict[str, float]:
        """Dropout by the names of this model's conditions; `label:ec_class` is `ec_class` for short.

        Raises:
            ConfigError: if there is no such condition, its dropout cannot be set, or it is no fraction.
        """
        found = {}
        for name, rate in asked.items():
            part = next((p for p in self.parts if name in (p.name, p.name.partition(":")[2])), None)
            if part is None:
                raise ConfigError(f"dropout of {name!r}: {registry.nearest(name, list(self.names))}")
            if part.dropout is None:
                raise ConfigError(f"dropout of {name}: this condition is always known; leave it out")
            if not 0 <= rate <= 1:
                raise ConfigError(f"dropout of {name} is {rate}; give a fraction from 0 to 1")
            found[part.name] = float(rate)
        return found

    def join(self, blocks: Sequence[Tensor], mask: Bool[Tensor, "b l"]) -> Conditioning:
        """Features of residues, of whole structures and of pairs, each concatenated in order."""
        residue = [block for block in blocks if block.ndim == 3]
        globals = [block for block in blocks if block.ndim == 2]
        empty_residue = torch.zeros(*mask.shape, 0, device=mask.device)
        empty_global = torch.zeros(len(mask), 0, device=mask.device)
        pair = [block for block in blocks if block.ndim == 4]
        joined = torch.cat(pair, -1) if pair else None
        return Conditioning(torch.cat([*residue, empty_residue], -1), torch.cat([*globals, empty_global], -1), joined)


def features_of(entry: Entry) -> ConditionFeatures:
    """The features of an entry of a model's `conditions`.

    Raises:
        ConfigError: if the condition does not exist or cannot be learned, or the entry is incomplete.
    """
    plain = plain_entry(entry)
    cls = registry.find("conditions", plain["name"])
    if issubclass(cls, FieldCondition):
        return cls.features_of(plain)
    if len(plain) > 1:
        raise ConfigError(f"condition {plain['name']!r} refers to no field of the data; give its name alone")
    if not issubclass(cls, LearnedCondition):
        raise ConfigError(f"condition {plain['name']!r} cannot be learned; enforce it at sampling instead")
    return DeclaredFeatures(cls)


def plain_entry(entry: Entry) -> JSON:
    """An entry as a mapping: `length` as {name: length}, `label:ec_class` as {name: label, field: ec_class}.

    Raises:
        ConfigError: if it is neither text nor a mapping with a name.
    """
    if isinstance(entry, Mapping):
        plain = {str(key): value for key, value in entry.items()}
    elif isinstance(entry, str):
        name, colon, field = entry.partition(":")
        own = colon and name in registry.names("conditions")  # else a class by its module: `package.module:Class`
        plain = {"name": name, "field": field} if own else {"name": entry}
    else:
        plain = {}
    if not isinstance(plain.get("name"), str):
        raise ConfigError(f"condition {entry!r}: write a name, label:FIELD, or {{name: label, field: FIELD}}")
    return plain


def with_fields(entries: Sequence[Entry], fields: Mapping[str, Field], where: str) -> list[Entry]:
    """Entries as a model's config holds them: those that refer to a field with its vocabulary or scale.

    Args:
        entries: as a user writes them.
        fields: of the data.
        where: what has the fields, for messages.

    Raises:
        ConfigError: if a condition does not exist, or refers to a field that is missing or of the wrong kind.
    """
    found: list[Entry] = []
    for entry in entries:
        plain = plain_entry(entry)
        cls = registry.find("conditions", plain["name"])
        if issubclass(cls, FieldCondition) and plain.keys() <= {"name", "field"}:
            name = str(plain.get("field", cls.default_field))
            if name not in fields:
                known_as = plain["name"] if name == cls.default_field else f"{plain['name']}:{name}"
                raise lacks(known_as, name, fields, where, cls.build_option)
            found.append(cls.settings_of(fields[name]))
        else:
            found.append(plain["name"] if plain.keys() == {"name"} else plain)
    return found


def lacks(
    condition: str,
    field: str,
    fields: Collection[str],
    where: str,
    option: str = FieldCondition.build_option,
) -> ConfigError:
    """The error of a condition whose field the data do not have.

    Args:
        condition: its name.
        field: the field that is missing.
        fields: those that there are.
        where: what has them.
        option: of `protgen data build`, which makes the field.
    """
    return ConfigError(
        f"condition {condition} needs the field {field}, which {where} does not have (it has {', '.join(fields)}); "
        f"leave it out, or build a store with {option.format(field=field)}"
    )
