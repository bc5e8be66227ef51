"""A model: a family over an encoder and a space, with the conditions it has learned, and its folder on disk.

A checkpoint folder holds `config.json` (names and keywords, from which `build` makes the model),
`model.safetensors` (weights) and `checksums.json` (`protgen.models.checksums`). No pickle, no code.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Generator, Tensor, nn

from protgen import registry
from protgen.arguments import shown
from protgen.conditions.cath import Folds
from protgen.conditions.embedding import ConditionEmbedding
from protgen.encoders.base import Encoder
from protgen.errors import CheckpointError, ConfigError
from protgen.families.base import Family
from protgen.models.blueprints import FILE as BLUEPRINTS
from protgen.models.blueprints import BlueprintPrior, load_blueprints
from protgen.models.bounds import check_about, check_sizes, is_large, names_of_conditions
from protgen.models.checksums import (
    CONFIG,
    GUIDE_WEIGHTS,
    WEIGHTS,
    check_checksums,
    remove_checksums,
    write_checksums,
)
from protgen.models.files import is_finite, load_json, load_tensors, save_json, save_tensors
from protgen.models.fits import require_fit
from protgen.models.framed import coordinate_width, readable
from protgen.models.headers import check_fit
from protgen.models.read_fields import COORDINATES, with_coordinates, with_fields
from protgen.models.renamed import current_config, current_tensors
from protgen.models.topologies import FILE as TOPOLOGIES
from protgen.models.topologies import TopologyPrior, load_topologies
from protgen.spaces.base import Space
from protgen.tensor_header import read_header, type_name
from protgen.types import JSON, Batch, Losses

GUIDE_PARTS = ("encoder", "family")  # of a guide in the model's configuration; it has the model's space and conditions

Objective = Callable[[Family, Batch, Generator], Losses]  # a loss of a family on a batch


@dataclass(frozen=True)
class Model:
    """A family and the conditions it has learned.

    Attributes:
        family: the network and its loss.
        conditions: how y reaches the encoder.
        config: the JSON it was built from; `config["about"]` names its training data.
        blueprints: p(y | length) of its training data, None if it has none.
        topologies: the same with strand pairing, for a model that has learned it; None if it has none.
        guide: a weaker family of the same space and conditions, for autoguidance; None if it has none.
        objective: what its training descends in place of the family's own loss; None for that. It is of a training and
            not saved.
    """

    family: Family
    conditions: ConditionEmbedding
    config: JSON
    blueprints: BlueprintPrior | None = None
    topologies: TopologyPrior | None = None
    guide: Family | None = None
    objective: Objective | None = field(default=None, compare=False)

    def loss(self, batch: Batch, rng: Generator, dropout: Mapping[str, float] | None = None) -> Losses:
        """What its training descends.

        Args:
            batch: of data, or of what the objective reads.
            rng: generator on the CPU, the only source of randomness.
            dropout: fractions in which conditions are unknown, by name; the others have their own.
        """
        if self.objective is not None:
            return self.objective(self.family, batch, rng)
        cond = self.conditions.from_data(batch, rng, dropout)
        return self.family.loss(self.family.space.encode(batch), cond, rng)

    def __repr__(self) -> str:
        """One line: the names of its parts, its size, and the conditions it has learned."""
        family, encoder, space = (self.config.get(part, {}).get("name", "?") for part in ("family", "encoder", "space"))
        size = sum(weights.numel() for weights in self.family.parameters())
        learned = ", ".join(self.conditions.names) or "none"
        return f"<Model {family} over {space} with {encoder}: {size:,} parameters, conditions: {learned}>"

    @property
    def folds(self) -> frozenset[str]:
        """CATH codes it has learned, or of natives whose topologies it draws; none if it knows nothing of CATH."""
        learned = {code for part in self.conditions.parts if isinstance(part, Folds) for code in part.values}
        return frozenset(learned) | (self.topologies.folds if self.topologies is not None else frozenset())

    @property
    def trained_lengths(self) -> tuple[int, int] | None:
        """Shortest and longest chain it has seen, where the config says."""
        bounds = self.config.get("about", {}).get("lengths")
        return (int(bounds[0]), int(bounds[1])) if bounds else None


def build_model(config: JSON) -> Model:
    """Build a model from its configuration.

    Args:
        config: {"space": {"name", ...}, "encoder": {...}, "family": {...}, "conditions": [...]}; the keywords next to a
            name go to its constructor. A name may be `module:Class`. Conditions are names, or mappings for those that
            refer to a field of the data (see `protgen.conditions.embedding`). The roles of the family name further
            networks (see `networks`).

    Raises:
        ConfigError: if a name or keyword is unknown, a part is missing, or a size is beyond any model's.
    """
    check_sizes(config)
    parts = {}
    for part in ("space", "encoder", "family"):
        entry = config.get(part)
        if not isinstance(entry, Mapping) or "name" not in entry:
            raise ConfigError(f"model config has no {part} with a name; add {{'{part}': {{'name': ...}}}}")
        if not isinstance(entry["name"], str):
            raise ConfigError(f"{part}.name is {shown(entry['name'])}; give the name of one")
        parts[part] = {key: value for key, value in entry.items() if key != "name"}, entry["name"]
    config = with_whole_roles(config)
    conditions = ConditionEmbedding(names_of_conditions(config.get("conditions", []), "conditions"))
    keywords, name = parts["space"]
    space = registry.build("spaces", name, **keywords)
    config = with_coordinates(with_fields(config, space), space)
    name = config["encoder"]["name"]
    keywords = {key: value for key, value in config["encoder"].items() if key != "name"}
    cls = family_class(parts["family"][1])
    if cls.causal:
        keywords = keywords | causal_keywords(name, parts["family"][1])
    read = {"residue_dim": conditions.residue_dim, "global_dim": conditions.global_dim} | pair_width(name, conditions)
    encoder = registry.build("encoders", name, **read, **keywords)
    keywords, name = parts["family"]
    others = networks(config, conditions, space)
    reading = {role: others[role] for role, what in cls.roles.items() if what.reads == "points"}
    if not cls.reads_context:  # what is before a position has frames already
        encoder = readable(space, encoder)
        beside = {role: bool(config.get(role, {}).get(COORDINATES)) for role in reading}
        reading = {role: readable(space, network, beside[role]) for role, network in reading.items()}
    require_fit(space, {"encoder": encoder} | reading, name)
    widths = taken_widths(cls, conditions)
    family = registry.build("families", name, **(keywords | widths | others | reading), space=space, encoder=encoder)
    return Model(family, conditions, dict(config))


def family_class(name: str) -> type[Family]:
    """The class of a family.

    Raises:
        ConfigError: if there is none of that name.
    """
    return cast(type[Family], registry.find("families", name))


def causal_keywords(encoder: str, family: str) -> JSON:
    """What makes an encoder causal, for a family that needs it so.

    Raises:
        ConfigError: if the encoder cannot be causal.
    """
    cls = registry.find("encoders", encoder)
    if cls.causality == "never":
        able = [name for name, other in registry.classes("encoders").items() if other.causality != "never"]
        known = ", ".join(able)
        raise ConfigError(f"{family} needs an encoder that sees no later position; {encoder} does, choose from {known}")
    return {"causal": True} if cls.causality == "optional" else {}


def pair_width(encoder: str, conditions: ConditionEmbedding) -> dict[str, int]:
    """The width of y of pairs as a keyword of an encoder; none where the conditions have no such features.

    Raises:
        ConfigError: if they have and the encoder does not read them.
    """
    if not conditions.pair_dim:
        return {}
    # Only the refusal looks at all encoders: some import libraries that take seconds to load.
    if not reads_pairs(registry.find("encoders", encoder)):
        able = ", ".join(name for name, cls in registry.classes("encoders").items() if reads_pairs(cls))
        asked = ", ".join(part.name for part in conditions.parts if part.pair_dim)
        raise ConfigError(f"{encoder} does not read conditions of pairs ({asked}); choose from {able}")
    return {"asked_dim": conditions.pair_dim}


def reads_pairs(encoder: type) -> bool:
    """Whether an encoder takes y of pairs of residues."""
    return "asked_dim" in inspect.signature(encoder).parameters


def taken_widths(family: type[Family], conditions: ConditionEmbedding) -> dict[str, int]:
    """The widths of y that a family's constructor asks for, as one that reads y itself does."""
    widths = {"residue_dim": conditions.residue_dim, "global_dim": conditions.global_dim}
    parameters = inspect.signature(family).parameters
    return {key: value for key, value in widths.items() if key in parameters}


def networks(config: JSON, conditions: ConditionEmbedding, space: Space) -> dict[str, Encoder]:
    """The networks of a family's roles, in the order of the roles.

    Each is built as the configuration says under the name of its role. One that is missing there is like the encoder;
    one that reads latents is a plain transformer. `with_whole_roles` completes entries without a name to that.

    Args:
        config: of the model.
        conditions: whose widths the networks read.
        space: whose coordinates some read beside frames.
    """
    family = family_class(config["family"]["name"])
    latent_dim = family.latent_width(config["family"])
    found: dict[str, Encoder] = {}
    for role, what in family.roles.items():
        entry = config.get(role) or plain_role(config, role)
        keywords = {key: value for key, value in entry.items() if key not in ("name", COORDINATES)}
        residue_dim = conditions.residue_dim + (latent_dim if what.latents_beside else 0)
        residue_dim += coordinate_width(space) if entry.get(COORDINATES) else 0
        read = {"residue_dim": residue_dim, "global_dim": conditions.global_dim}
        if what.reads == "points":
            read |= pair_width(entry["name"], conditions)
        found[role] = registry.build("encoders", entry["name"], **read, **keywords)
    return found


def plain_role(config: JSON, role: str) -> JSON:
    """The entry of a network of a family's role that a configuration says nothing of.

    Args:
        config: of the model.
        role: of its family.
    """
    family = family_class(config["family"]["name"])
    latent_dim = family.latent_width(config["family"])
    if family.roles[role].reads == "latents" and latent_dim:
        return {"name": "transformer", "fields": {"latents": latent_dim}}
    return config["encoder"]


def with_whole_roles(config: JSON) -> JSON:
    """A configuration in which an entry of a role that names no network is whole: what it says, over the plain one.

    Args:
        config: of a model, with a family and an encoder.

    Raises:
        ConfigError: if there is no such family, or an entry is no mapping.
    """
    whole = dict(config)
    for role in family_class(config["family"]["name"]).roles:
        entry = config.get(role)
        if entry and not isinstance(entry, Mapping):
            raise ConfigError(f"{role} is {entry!r}; give it keywords of a network, as in {{'dim': 64}}")
        if entry and "name" not in entry:
            whole[role] = dict(plain_role(config, role)) | dict(entry)
    return whole


def save_model(model: Model, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a model folder; weights of two or more dimensions in `dtype`, the rest and buffers in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_checksums(folder)
    save_weights(model.family, folder / WEIGHTS, dtype)
    if model.guide is not None:
        save_weights(model.guide, folder / GUIDE_WEIGHTS, dtype)
    save_json(model.config, folder / CONFIG)
    if model.blueprints is not None:
        save_json(model.blueprints.to_json(), folder / BLUEPRINTS)
    if model.topologies is not None:
        save_json(model.topologies.to_json(), folder / TOPOLOGIES)
    write_checksums(folder)


def save_weights(family: Family, path: Path, dtype: torch.dtype) -> None:
    """Write the weights of a family, those of two or more dimensions in `dtype`."""
    state = family.state_dict()
    weights = {name for name, p in family.named_parameters() if p.ndim > 1}
    save_tensors({k: v.to(dtype) if k in weights else v.float() for k, v in state.items()}, path)


def load_weights(family: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a family or a part of one, in its own precision.

    Raises:
        CheckpointError: if names, shapes or types do not fit, or a value is not finite or not one of its type.
    """
    own = family.state_dict()
    check_fit(own, tensors, path)
    state = {}
    for name, value in current_tensors(tensors).items():
        kind = own[name].dtype
        state[name] = value.to(kind)
        if not is_finite(state[name] if kind.is_floating_point else value):  # 1e300 is none of float32
            raise CheckpointError(f"{path}: {name} holds values that are not finite; get or train it again")
        if not kind.is_floating_point and not torch.equal(state[name].to(value.dtype), value):
            raise CheckpointError(f"{path}: {name} holds values that are no {type_name(kind)}; get or train it again")
    family.load_state_dict(state)


def load_model(folder: Path) -> Model:
    """A model from its folder, in evaluation mode.

    Raises:
        CheckpointError: if a file is missing, damaged, or not the one that was written, or the two do not fit.
    """
    config = current_config(load_json(folder / CONFIG))
    check_checksums(folder)
    model = build_and_fill(config, folder, WEIGHTS)
    guide = build_and_fill(guide_config(config), folder, GUIDE_WEIGHTS).family if "guide" in config else None
    return replace(model, blueprints=load_blueprints(folder), topologies=load_topologies(folder), guide=guide)


def build_and_fill(config: JSON, folder: Path, weights: str) -> Model:
    """A model from its configuration and a file of weights.

    Args:
        config: of the model.
        folder: of both files.
        weights: name of the file.

    Raises:
        CheckpointError: if a file is missing or damaged, or the two do not fit.
    """
    path = folder / weights
    try:
        check_about(config)
        check_sizes(config)
        if is_large(config):
            with torch.device("meta"):  # shapes alone: a size of a strange file must not fill the memory
                shapes = build_model(config).family.state_dict()
            check_fit(shapes, read_header(path), path)
        model = build_model(config)
    except CheckpointError:
        raise
    except Exception as error:
        # Unknown names, and values of the wrong type or size, for which networks raise errors of their own.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{folder / CONFIG}: {reason}; get or train the model again") from error
    own = model.family.state_dict()
    load_weights(model.family, load_tensors(path, lambda held: check_fit(own, held, path)), path)
    model.family.eval()
    return model


def guide_config(config: JSON) -> JSON:
    """The configuration of a model's guide: its own encoder and family, the model's space and conditions.

    Raises:
        CheckpointError: if it has other parts.
    """
    own = config["guide"]
    if not isinstance(own, Mapping) or set(own) != set(GUIDE_PARTS):
        raise CheckpointError(f"{CONFIG}: guide must have {' and '.join(GUIDE_PARTS)}, and nothing else")
    return {key: value for key, value in config.items() if key != "guide"} | dict(own)


def guide_of(model: Model) -> Model:
    """The weaker model beside a model, as one of its own.

    Raises:
        CheckpointError: if there is none.
    """
    if model.guide is None:
        raise CheckpointError("the model has no guide; name a model that has one, or a weaker model itself")
    return Model(model.guide, model.conditions, guide_config(model.config))


def with_guide(model: Model, weak: Model) -> Model:
    """A model with a weaker one of the same space and conditions to guide it (`protgen.samplers.autoguidance`).

    Raises:
        ConfigError: if the two differ in space or conditions.
    """
    if points_of(model.config) != points_of(weak.config):
        raise ConfigError("the guide has another space than the model; train it with the same")
    if model.config.get("conditions") != weak.config.get("conditions"):
        raise ConfigError("the guide has other conditions than the model; train it with the same")
    parts = {part: weak.config[part] for part in GUIDE_PARTS}
    return replace(model, guide=weak.family, config=model.config | {"guide": parts})


def points_of(config: JSON) -> JSON:
    """What a configuration says of the points of its space; weights of losses (`bond_weight`) are of training alone."""
    return {key: value for key, value in config["space"].items() if not key.endswith("_weight")}
