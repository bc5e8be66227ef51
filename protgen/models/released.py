"""The models that come with the package: folders under `protgen/weights`, or anywhere a user keeps one."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from protgen.errors import CheckpointError
from protgen.models.files import load_json
from protgen.models.model import CONFIG, WEIGHTS, Model, load_model
from protgen.registry import nearest

DEFAULT = "flow-small"
RUN_MODEL = "model"  # folder of the model in that of a run of `protgen train`


@dataclass(frozen=True)
class ReleasedModel:
    """A model at hand.

    Attributes:
        name: of its folder.
        folder: where it lies.
        n_bytes: of its weights.
        what: its family over its space, by their registry names.
        about: the facts of its config's `about` entry.
    """

    name: str
    folder: Path
    n_bytes: int
    what: str
    about: dict


def weights_folder() -> Path:
    """Where the package keeps its models."""
    return Path(str(resources.files("protgen") / "weights"))


def released() -> list[ReleasedModel]:
    """The models that come with the package, sorted by name."""
    found = []
    for config in sorted(weights_folder().glob(f"*/{CONFIG}")):
        weights = config.with_name(WEIGHTS)
        facts = load_json(config)
        what = f"{facts['family']['name']} over {facts['space']['name']}"
        size = weights.stat().st_size
        found.append(ReleasedModel(config.parent.name, config.parent, size, what, facts.get("about", {})))
    return found


def find_model(name: str) -> Path:
    """The folder of a model, given its name, its folder, or that of the run that trained it.

    Raises:
        CheckpointError: if there is none; the message suggests the nearest name.
    """
    for folder in (weights_folder() / name, Path(name), Path(name) / RUN_MODEL):
        if (folder / CONFIG).is_file() or (folder / WEIGHTS).is_file():
            return folder
    known = [model.name for model in released()]
    raise CheckpointError(
        f"no model {name!r}, by name, as a folder with {CONFIG} and {WEIGHTS}, or as a run with such a folder "
        f"{RUN_MODEL}/: {nearest(name, known)}"
    )


def load(name: str = DEFAULT) -> Model:
    """Load a model by name, folder or run, in evaluation mode."""
    return load_model(find_model(name))
