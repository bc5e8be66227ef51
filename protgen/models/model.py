"""A model: a family over an encoder and a space, with the conditions it has learned, and its folder on disk.

A checkpoint folder holds `config.json` (names and keywords, from which `build` makes the model) and
`model.safetensors` (weights). No pickle, no code.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from protgen import registry
from protgen.conditions.embedding import ConditionEmbedding
from protgen.encoders.base import Encoder
from protgen.errors import CheckpointError, ConfigError
from protgen.families.base import Family
from protgen.models.files import load_json, load_tensors, save_json, save_tensors
from protgen.models.fits import require_fit
from protgen.models.layouts import FILE as LAYOUTS
from protgen.models.layouts import LayoutPrior, load_layouts
from protgen.models.topologies import FILE as TOPOLOGIES
from protgen.models.topologies import TopologyPrior, load_topologies
from protgen.types import JSON

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class Model:
    """A family and the conditions it has learned.

    Attributes:
        family: the network and its loss.
        conditions: how y reaches the encoder.
        config: the JSON it was built from; `config["about"]` tells what it was trained on.
        layouts: p(y | length) of its training data, None if it has none.
        topologies: the same with strand pairing, for a model that has learned it; None if it has none.
    """

    family: Family
    conditions: ConditionEmbedding
    config: JSON
    layouts: LayoutPrior | None = None
    topologies: TopologyPrior | None = None

    @property
    def trained_lengths(self) -> tuple[int, int] | None:
        """Shortest and longest chain it has seen, where the config says."""
        bounds = self.config.get("about", {}).get("lengths")
        return (int(bounds[0]), int(bounds[1])) if bounds else None


def build_model(config: JSON) -> Model:
    """Build a model from its configuration.

    Args:
        config: {"space": {"name", ...}, "encoder": {...}, "family": {...}, "conditions": [names]}; the keywords beside
            a name go to its constructor. "decoder", "critic" and "prior" name further networks (see `networks`).

    Raises:
        ConfigError: if a name or keyword is unknown, or a part is missing.
    """
    parts = {}
    for part in ("space", "encoder", "family"):
        entry = config.get(part)
        if not isinstance(entry, Mapping) or "name" not in entry:
            raise ConfigError(f"model config has no {part} with a name; add {{'{part}': {{'name': ...}}}}")
        parts[part] = {key: value for key, value in entry.items() if key != "name"}, entry["name"]
    conditions = ConditionEmbedding(config.get("conditions", []))
    keywords, name = parts["space"]
    space = registry.build("spaces", name, **keywords)
    keywords, name = parts["encoder"]
    if registry.find("families", parts["family"][1]).causal:
        keywords = keywords | causal_keywords(name, parts["family"][1])
    read = {"residue_dim": conditions.residue_dim, "whole_dim": conditions.whole_dim} | asked_of_pairs(name, conditions)
    encoder = registry.build("encoders", name, **read, **keywords)
    keywords, name = parts["family"]
    others = networks(config, conditions)
    reading = {part: network for part, network in others.items() if part != "prior" and isinstance(network, Encoder)}
    require_fit(space, {"encoder": encoder} | reading, name)
    family = registry.build("families", name, **(keywords | others), space=space, encoder=encoder)
    return Model(family, conditions, dict(config))


def causal_keywords(encoder: str, family: str) -> JSON:
    """What makes an encoder causal, for a family that needs it so.

    Raises:
        ConfigError: if the encoder always looks both ways.
    """
    able = [
        name
        for name in registry.names("encoders")
        if "causal" in inspect.signature(registry.find("encoders", name)).parameters
    ]
    if encoder not in able:
        known = ", ".join(able)
        raise ConfigError(f"{family} needs an encoder that sees no later position; {encoder} does, choose from {known}")
    return {"causal": True}


def asked_of_pairs(encoder: str, conditions: ConditionEmbedding) -> JSON:
    """The width of y of pairs as a keyword of an encoder; none where the conditions have no such features.

    Raises:
        ConfigError: if they have and the encoder does not read them.
    """
    if not conditions.pair_dim:
        return {}
    able = [
        name
        for name in registry.names("encoders")
        if "asked_dim" in inspect.signature(registry.find("encoders", name)).parameters
    ]
    if encoder not in able:
        asked = ", ".join(cls.name for cls in conditions.classes if cls.pair_dim)
        raise ConfigError(f"{encoder} does not read conditions of pairs ({asked}); choose from {', '.join(able)}")
    return {"asked_dim": conditions.pair_dim}


def networks(config: JSON, conditions: ConditionEmbedding) -> dict[str, Encoder | int]:
    """What a family's constructor asks for beside space and encoder, told by the names of its parameters.

    `decoder` reads latents of each position beside y; `critic` reads points of the space as the encoder does; `prior`
    reads latents as its space. Each is built as the config says under that name; a decoder or critic that is missing
    there is like the encoder, a prior a plain transformer (or, of posed latents, like the encoder). `residue_dim` and
    `whole_dim` are the widths of y, for a family that reads y itself.
    """
    family = config["family"]
    parameters = inspect.signature(registry.find("families", family["name"])).parameters
    widths = {"residue_dim": conditions.residue_dim, "whole_dim": conditions.whole_dim}
    found: dict[str, Encoder | int] = {key: value for key, value in widths.items() if key in parameters}
    latent_dim = 0
    if "latent_dim" in parameters:
        latent_dim = family.get("latent_dim", parameters["latent_dim"].default)
    plain = {"name": "transformer", "fields": {"latents": latent_dim}}
    if family.get("posed"):  # latents are points of the space, which a prior like the encoder reads
        latent_dim, plain = 0, config["encoder"]
    extra = {"decoder": latent_dim, "critic": 0, "prior": 0}
    for role in extra.keys() & parameters.keys():
        entry = config.get(role) or (plain if role == "prior" else config["encoder"])
        keywords = {key: value for key, value in entry.items() if key != "name"}
        read = widths | {"residue_dim": conditions.residue_dim + extra[role]}
        read |= asked_of_pairs(entry["name"], conditions) if role != "prior" else {}
        found[role] = registry.build("encoders", entry["name"], **read, **keywords)
    return found


def save_model(model: Model, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a model folder; weights of two or more dimensions in `dtype`, the rest and buffers in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    state = model.family.state_dict()
    weights = {name for name, p in model.family.named_parameters() if p.ndim > 1}
    save_tensors({k: v.to(dtype) if k in weights else v.float() for k, v in state.items()}, folder / WEIGHTS)
    save_json(model.config, folder / CONFIG)
    if model.layouts is not None:
        save_json(model.layouts.to_json(), folder / LAYOUTS)
    if model.topologies is not None:
        save_json(model.topologies.to_json(), folder / TOPOLOGIES)


def load_weights(family: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a family or a part of one, in its own precision.

    Raises:
        CheckpointError: if names or shapes do not fit.
    """
    own = family.state_dict()
    for name in own.keys() | tensors.keys():
        if name not in own or name not in tensors:
            where = "config" if name in tensors else "file"
            raise CheckpointError(
                f"{path}: {name} is missing in the {where}; config.json and weights do not belong together"
            )
        if own[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensors[name].shape)}, config.json asks for {tuple(own[name].shape)}"
            )
        if not torch.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite; get or train it again")
    family.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


def load_model(folder: Path) -> Model:
    """A model from its folder, in evaluation mode.

    Raises:
        CheckpointError: if a file is missing or damaged, or the two do not fit.
    """
    config = load_json(folder / CONFIG)
    try:
        model = build_model(config)
    except (ConfigError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        # Beside unknown names: values of the wrong type or size, of which networks complain in their own words.
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder / CONFIG}: {reason}; get or train the model again") from error
    load_weights(model.family, load_tensors(folder / WEIGHTS), folder / WEIGHTS)
    model.family.eval()
    return replace(model, layouts=load_layouts(folder), topologies=load_topologies(folder))
