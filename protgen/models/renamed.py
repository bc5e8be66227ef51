"""Names of before 0.2: model folders that were written with them still load, for one release.

Released weights keep their files, so parameters keep their old names there; git would store every rewritten file again.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

PARAMETERS = {
    "embed_whole": "embed_global",
    "joints_estimate": "joints_x_pred",
    "log_spread": "log_std",
    "estimate": "x_pred",
    "whole": "globals",
}
KEYWORDS = {"posed": "frame_latents", "spread": "std", "layout": "blueprint", "cleanup": "relax"}
FRAMES = {"fields": {"trans": 3, "rots": 9}}  # what it read over torsions then, where the configuration did not say
OLD_BLUEPRINTS = "layouts.json"

T = TypeVar("T")


def current_tensors(tensors: Mapping[str, T]) -> dict[str, T]:
    """Weights, or what is known of them, by the names that parameters have today."""
    return {".".join(PARAMETERS.get(part, part) for part in name.split(".")): x for name, x in tensors.items()}


def current_config(config: Any) -> Any:
    """A model's configuration by the keywords that constructors have today."""
    config = current_keywords(config)
    space = config.get("space") if isinstance(config, Mapping) else None
    if not isinstance(space, Mapping) or space.get("name") != "torsions":
        return config
    config = {key: FRAMES | value if reads_frames(value) else value for key, value in config.items()}
    critic, family = config.get("critic"), config.get("family")
    if isinstance(family, Mapping) and family.get("name") == "gan":  # its critic read frames alone
        own = critic if isinstance(critic, Mapping) else config.get("encoder")
        if isinstance(own, Mapping) and "coordinates" not in own:
            config["critic"] = {**own, "coordinates": False}
    return config


def current_keywords(config: Any) -> Any:
    """A configuration, or a part of it, with keywords renamed."""
    if isinstance(config, Mapping):
        return {KEYWORDS.get(key, key): current_keywords(value) for key, value in config.items()}
    if isinstance(config, list):
        return [current_keywords(value) for value in config]
    return config


def reads_frames(entry: Any) -> bool:
    """Whether an entry is a transformer of before it read the fields of a space of lines and circles by itself."""
    return isinstance(entry, Mapping) and entry.get("name") == "transformer" and "fields" not in entry
