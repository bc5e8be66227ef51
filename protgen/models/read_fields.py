"""Which fields of a point the networks of a model read, where its configuration does not say."""

from collections.abc import Mapping
from typing import cast

from protgen import registry
from protgen.arguments import shown
from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import Family, Role
from protgen.models.framed import needs_frames
from protgen.spaces.base import Space
from protgen.spaces.capabilities import grid_of
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.types import JSON

COORDINATES = "coordinates"  # of a network that reads them beside frames


def roles_of(config: JSON) -> Mapping[str, Role]:
    """The networks of the family beside its encoder."""
    return cast(type[Family], registry.find("families", config["family"]["name"])).roles


def with_fields(config: JSON, space: Space) -> JSON:
    """A configuration whose networks read the fields of the space, where these are lines and circles along a chain.

    Entries that say what they read are left as they are. What reads images needs more: `image_config` gives it.

    Args:
        config: of a model, its roles whole.
        space: of it.
    """
    manifolds = space.manifolds
    if grid_of(space) is not None or not all(isinstance(m, Euclidean | Torus) for m in manifolds.values()):
        return config
    widths = {name: int(manifold.dim) for name, manifold in manifolds.items()}
    circles = [name for name, manifold in manifolds.items() if isinstance(manifold, Torus)]
    roles = roles_of(config)
    whole = dict(config)
    for part in ("encoder", *(role for role, what in roles.items() if what.reads == "points")):
        if part in whole:
            own = registry.find("encoders", whole[part]["name"]).on_fields(widths, circles)
            whole[part] = dict(whole[part]) if own.keys() & whole[part].keys() else {**whole[part], **own}
    return whole


def with_coordinates(config: JSON, space: Space) -> JSON:
    """A configuration that says of each network of a role whether it reads coordinates beside frames.

    Networks of frames do over a space of other coordinates, in roles that ask for it (`Role.coordinates_beside`).
    `coordinates: false` in their entry keeps them from it.

    Args:
        config: of a model, its roles whole.
        space: of it.

    Raises:
        ConfigError: if a network is told to, and has no coordinates beside frames.
    """
    whole = dict(config)
    for role, what in roles_of(config).items():
        entry = whole.get(role) or config["encoder"]
        offered = what.coordinates_beside and needs_frames(space, encoder_class(entry["name"]))
        asked = entry.get(COORDINATES, offered)
        if not isinstance(asked, bool):
            raise ConfigError(f"{role}.{COORDINATES} is {shown(asked)}; give true or false")
        if asked and not offered:
            raise ConfigError(
                f"{role}.{COORDINATES} is true, and {entry['name']} reads none beside frames there; leave it out"
            )
        if offered:
            whole[role] = dict(entry) | {COORDINATES: asked}
        elif COORDINATES in entry:
            whole[role] = {key: value for key, value in entry.items() if key != COORDINATES}
    return whole


def encoder_class(name: str) -> type[Encoder]:
    """The class of an encoder."""
    return cast(type[Encoder], registry.find("encoders", name))
