"""What a training takes over from other models: weights to begin from, a weaker model as a guide, how it is sampled."""

from dataclasses import replace
from typing import TYPE_CHECKING

from protgen.errors import ConfigError

if TYPE_CHECKING:
    from protgen.models.model import Model


def guided(model: "Model", guide: str) -> "Model":
    """A model with a trained one beside it that guides it.

    Args:
        model: the one that trains.
        guide: name or folder of the other; with `/guide` the one that guides that. Conditions of the model that it has
            not learned it does not hear.

    Raises:
        ConfigError: if there is no such model, or it has another space or other conditions.
    """
    from protgen.errors import CheckpointError
    from protgen.models.model import guide_of, with_guide
    from protgen.models.released import load
    from protgen.models.widening import with_conditions

    name, _, part = guide.rpartition("/")
    try:
        weak = guide_of(load(name)) if part == "guide" and name else load(guide)
        if set(weak.conditions.names) < set(model.conditions.names):
            weak = with_conditions(weak, model.config["conditions"])
        return with_guide(model, weak)
    except (CheckpointError, ConfigError) as error:
        raise ConfigError(f"guide={guide}: {error}") from error


def begin_from(start: "str | dict[str, str]", model: "Model") -> None:
    """Put the weights of other models into this one; a run that is resumed replaces them by its own.

    Conditions that the other model has not learned begin unheard.

    Args:
        start: a model by name or folder; or, for each part of this one (a prefix of its weights' names), a model and a
            part of it, as in {"second.encoder": "flow-small/encoder"}.
        model: the one that begins.

    Raises:
        ConfigError: if there is no such model, or its weights have other names or shapes.
    """
    from protgen.conditions.embedding import ConditionEmbedding
    from protgen.errors import CheckpointError
    from protgen.models.checksums import check_checksums
    from protgen.models.files import load_json, load_tensors
    from protgen.models.model import CONFIG, WEIGHTS, load_weights
    from protgen.models.released import find_model
    from protgen.models.renamed import current_tensors
    from protgen.models.widening import widened

    try:
        if isinstance(start, str):
            folder = find_model(start)
            check_checksums(folder)
            path = folder / WEIGHTS
            before = ConditionEmbedding(load_json(folder / CONFIG).get("conditions", []))
            load_weights(model.family, widened(current_tensors(load_tensors(path)), before, model), path)
            return
        for part, source in start.items():
            name, _, prefix = source.rpartition("/")
            folder = find_model(name)
            check_checksums(folder)
            path = folder / WEIGHTS
            tensors = load_tensors(path)
            found = {key[len(prefix) + 1 :]: x for key, x in tensors.items() if key.startswith(f"{prefix}.")}
            load_weights(model.family.get_submodule(part), found, path)
    except (CheckpointError, AttributeError) as error:
        raise ConfigError(f"start={start}: {error}; start=null begins with fresh weights") from error


def sampled_as(start: str, model: "Model") -> "Model":
    """A model that is sampled by default as the one that it began from, where both are of one family and space.

    Args:
        start: name or folder of the other.
        model: the one that began. What the other's settings say of a weaker model beside it counts if it has one too.
    """
    from protgen.generation.design import HELD, PULLED
    from protgen.models.files import load_json
    from protgen.models.model import CONFIG
    from protgen.models.released import find_model

    before = load_json(find_model(start) / CONFIG)
    if any(before[part]["name"] != model.config[part]["name"] for part in ("space", "family")):
        return model
    own = before.get("sampling", {})
    if model.guide is None and own.get("autoguidance", 1.0) != 1.0:
        # Its guidance was chosen beside the weaker model's, and is the default for a model alone.
        own = {key: value for key, value in own.items() if key not in ("autoguidance", "guidance", PULLED, HELD)}
    return replace(model, config=model.config | {"sampling": own}) if own else model
