"""The configuration of `protgen train`: composed by Hydra, checked once, and turned into plain values.

Nothing behind this file knows of Hydra. Overrides are checked against the signatures they end up in, so that
a typing error is one line with the nearest name and never a silent default.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from protgen.arguments import shown
from protgen.cli.console import warn
from protgen.cli.image_config import KEYS, ImageData, image_overrides, read_image_data
from protgen.cli.train_choices import PARTS, role_choices, with_choices
from protgen.cli.train_plugins import network_roles, offered, other_choice, part_of, require_roles
from protgen.cli.train_values import checked
from protgen.documents import number_in
from protgen.errors import ConfigError, UsageError
from protgen.models.bounds import MOST as LARGEST
from protgen.models.bounds import names_of_conditions
from protgen.registry import nearest
from protgen.training.settings import MOST, PROCESSES, Machine, TrainSettings, check_ranges, renamed
from protgen.types import JSON

WHOLE = ("run", "start", "guide", "logger")  # settings with no keywords of their own
_CAST = re.compile(r"\b(int|float)\s*\(")  # Hydra's functions, which make numbers of words in quotes too
_BETWEEN = re.compile(r"[\s,:=()\[\]{}]+")
# Of the training of a student, where others are not given: its teacher's weights are annealed, and soon learned from.
OF_STUDENTS = {"steps": 3_000, "lr": 1.5e-4, "warmup": 50, "weight_decay": 0.0, "ema": 0.995, "validate_every": 500}


@dataclass(frozen=True)
class ValidationSettings:
    """What happens at a validation.

    Attributes:
        max_pairs_per_batch: most residue pairs of a batch of the validation split.
        batches: number of batches, always the same.
        samples: backbones generated and drawn, 0 for none.
        length: residues of a sample.
        steps: sampler steps.
    """

    max_pairs_per_batch: int = 100_000
    batches: int = 8
    samples: int = 8
    length: int = 80
    steps: int = 50

    def __post_init__(self) -> None:
        counts = {
            "max_pairs_per_batch": (1, MOST),
            "batches": (1, MOST),
            "samples": (0, LARGEST),
            "steps": (1, LARGEST),
        }
        check_ranges(self, counts | {"length": (3, LARGEST)}, "validation")


@dataclass(frozen=True)
class MachineSettings:
    """Where to train: as `training.settings.Machine` says, and the threads of the CPU (None: torch's choice)."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    sharding: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, {"devices": PROCESSES, "nodes": PROCESSES, "threads": PROCESSES}, "machine")
        Machine(sharding=self.sharding)  # raises for one that there is not

    @property
    def machine(self) -> Machine:
        """What training takes of them."""
        return Machine(self.accelerator, self.devices, self.nodes, self.sharding)


@dataclass(frozen=True)
class DistilSettings:
    """What a student learns from (`protgen.training.distillation`).

    Attributes:
        model: the teacher, by name or folder; None trains a model on data as usual.
        steps: of the student.
        teacher_steps: of the teacher, a multiple of these; None for its own, or the next multiple.
        ways: of the teacher from noise to data, made before the first step and read in each epoch.
        guidance, autoguidance, temperature: of the teacher; None as its config asks for.
    """

    model: str | None = None
    steps: int = 10
    teacher_steps: int | None = None
    ways: int = 2_000
    guidance: float | None = None
    autoguidance: float | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, {"steps": (1, LARGEST), "teacher_steps": (1, LARGEST), "ways": (1, 1_000_000)}, "distil")
        check_ranges(self, {"guidance": (0, 100), "autoguidance": (0, 100), "temperature": (0, 10)}, "distil")


@dataclass(frozen=True)
class TrainConfig:
    """A checked configuration.

    Attributes:
        model: what `build_model` takes; conditions that refer to a field of the data are as the user wrote them.
        store, run: folders of the data and of the run; no store where the data are images.
        start: model, by name or folder, whose weights a new run begins from, or parts of models for parts of this one
            (see `protgen.cli.train_start.begin_from`); None for fresh ones.
        settings, validation, machine: as their classes say.
        guide: folder or name of a weaker model that goes with this one, for autoguidance; None for none.
        images: the data, where they are images.
        given: the overrides of its parts, as typed, for messages.
        distil: the teacher of a student, where there is one; `model` is then its own, and `start` where none is given.
    """

    model: JSON
    store: Path | None
    run: Path
    start: str | dict[str, str] | None
    settings: TrainSettings
    validation: ValidationSettings
    machine: MachineSettings
    guide: str | None = None
    images: ImageData | None = None
    distil: DistilSettings = DistilSettings()
    given: tuple[str, ...] = ()


def config_folder() -> Path:
    """The Hydra groups: inside an installed package, next to it in a source checkout.

    Raises:
        ConfigError: if they are in neither place.
    """
    package = Path(str(resources.files("protgen")))
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"{package / 'configs'}: no configurations here; install protgen again")


def choices(group: str) -> list[str]:
    """Names of the configurations of a group."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def load_config(overrides: Sequence[str]) -> TrainConfig:
    """Compose and check a configuration.

    Args:
        overrides: as on the command line, `experiment=flow_small train.steps=1000`.

    Raises:
        UsageError: if an argument is no override, or asks for a sweep.
        ConfigError: for an unknown name or keyword, a missing value, or one of the wrong kind.
    """
    rest, networks = role_choices(overrides)
    own, chosen = image_overrides(rest)
    own = [prepared(override) for override in own]
    raw = with_choices(compose([*own, *chosen]), own, networks, compose)
    check_keys(raw)
    distil = checked(DistilSettings, raw["distil"], "distil")
    model = {part: raw[part] for part in (*PARTS, *network_roles()) if part in raw}
    model |= {"conditions": names_of_conditions(raw["conditions"].get("names", []), "conditions.names")}
    typed = [override for override in overrides if part_of(override) in (*PARTS, *network_roles())]
    if distil.model is not None:
        model = taught(distil.model, overrides)
        given = {override.lstrip("+").partition("=")[0] for override in overrides}
        raw["train"] |= {key: value for key, value in OF_STUDENTS.items() if f"train.{key}" not in given}
    else:
        require_roles(model["family"].get("name"), typed)
    return TrainConfig(
        model=model,
        store=None if "images" in raw["data"] else Path(word(raw["data"]["store"], "data.store")),
        run=Path(word(raw["run"], "run")),
        start=distil.model if raw.get("start") is None else read_start(raw["start"]),
        settings=checked(TrainSettings, with_new_names(raw["train"], "train") | loggers_of(raw), "train"),
        validation=checked(ValidationSettings, with_new_names(raw["validation"], "validation"), "validation"),
        machine=checked(MachineSettings, raw["machine"], "machine"),
        guide=None if raw.get("guide") is None else word(raw["guide"], "guide"),
        images=read_image_data(raw["data"]) if "images" in raw["data"] else None,
        distil=distil,
        given=tuple(typed),
    )


def taught(teacher: str, overrides: Sequence[str]) -> JSON:
    """The parts of a student, which are those of its teacher.

    Args:
        teacher: name or folder of a model.
        overrides: of the command line.

    Raises:
        ConfigError: if there is no such model, or parts of another network are asked for beside it.
    """
    from protgen.errors import CheckpointError
    from protgen.models.files import load_json
    from protgen.models.model import CONFIG
    from protgen.models.released import find_model
    from protgen.models.renamed import current_config

    own = (*PARTS, *network_roles(), "conditions", "guide", "experiment")
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key.partition(".")[0] in own:
            raise ConfigError(f"{override}: distil.model={teacher} brings its own network and weights; leave it out")
    try:
        config = current_config(load_json(find_model(teacher) / CONFIG))
    except CheckpointError as error:
        raise ConfigError(f"distil.model={teacher}: {error}") from error
    return {key: value for key, value in config.items() if key in (*PARTS, *network_roles(), "conditions")}


def check_keys(raw: Mapping[str, Any]) -> None:
    """Check the sections of a configuration, and the keys of those that become no settings object.

    Raises:
        ConfigError: for an unknown one, or if `data.store` is missing.
    """
    known = [*PARTS, *network_roles(), "conditions", "data", "train", "validation", "machine", "distil", *WHOLE]
    for key in raw:
        if key not in known:
            raise ConfigError(f"no setting {key!r}: {nearest(str(key), known)}")
    data: list[str] = [*KEYS] if "images" in raw["data"] else ["store"]
    for section, keys in (("data", data), ("conditions", ["names"])):
        for key in raw[section]:
            if key not in keys:
                raise ConfigError(f"no setting '{section}.{key}': {nearest(str(key), keys)}")
    if "images" not in raw["data"] and not raw["data"].get("store"):
        raise ConfigError("data.store is not set; add data.store=FOLDER, made by `protgen data build`")


def with_new_names(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section with settings under their names of today, and a warning for each former name."""
    if "pairs" in values:
        warn(f"{section}.pairs is now {section}.max_pairs_per_batch; the old name goes with the next release")
    return renamed(values)


def loggers_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The setting of `logger=NAME` or `logger=[NAME,NAME]`; nothing where it is not given."""
    value = raw.get("logger")
    return {} if value is None else {"loggers": value if isinstance(value, list) else [value]}


def read_start(value: Any) -> str | dict[str, str] | None:
    """Where weights come from: nowhere, one model, or a part of a model for each part of this one."""
    if isinstance(value, dict):
        return {str(part): word(source, f"start.{part}") for part, source in value.items()}
    return None if value is None else word(value, "start")


def word(value: Any, key: str) -> str:
    """A name or a folder; a number is one too.

    Raises:
        ConfigError: if it is nothing, true or false, or several: a folder named None is what nobody means.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{key} is {shown(value)}; give a name or a folder")
    return str(value)


def prepared(override: str) -> str:
    """An override as Hydra takes it: dotted keys may be new, since signatures are checked later.

    Raises:
        UsageError: if it is not `key=value`.
        ConfigError: if it chooses from a group that does not exist, or a name the group does not have; or as
            `require_plain_numbers`.
    """
    key, equals, value = override.partition("=")
    if not equals or not key or key.startswith("-"):
        raise UsageError(f"cannot read {override!r}: give key=value, as in experiment=flow_small train.steps=1000")
    require_plain_numbers(override)
    key = key.lstrip("+")
    groups = sorted(path.name for path in config_folder().iterdir() if path.is_dir())
    if key in groups:
        if "," in value:
            raise UsageError(f"{key} has several values ({value}); add -m to train one after another")
        if value not in choices(key):
            chosen = other_choice(key, value)
            if chosen is None:
                raise ConfigError(f"no {key} named {value!r}: {nearest(value, [*choices(key), *offered(key)])}")
            return f"{key}={chosen}"
        return f"{key}={value}"
    top = key.partition(".")[0]
    known = [*groups, *network_roles(), "validation", "machine", "distil", *WHOLE]
    if top not in known or (top == key and key not in WHOLE) or top == "experiment":
        raise ConfigError(f"no setting {key!r}: {nearest(key, known)}")
    return f"++{key}={value}"


def require_plain_numbers(override: str) -> None:
    """Refuse what Python or Hydra take for a number, and we do not: `1_0`, digits of other scripts, nan and inf.

    Raises:
        ConfigError: with that number. In quotes, as `run="'2024_01'"`, it is a word and none.
    """
    value = override.partition("=")[2]
    inner = value.replace("'", "").replace('"', "") if _CAST.search(value) else value
    for text in _BETWEEN.split(inner):
        try:
            float(text)
        except ValueError:  # a word, which the setting takes or refuses
            continue
        try:
            number_in(text)
        except ValueError:
            shown = override if len(override) <= 80 else f"{override[:77]}..."
            raise ConfigError(
                f"{shown}: {text[:40]} is no number in decimal digits; a word of this form goes in quotes, \"'...'\""
            ) from None


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The composed configuration as plain values.

    Raises:
        ConfigError: with the first line of what Hydra says.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(config_folder().absolute()), version_base="1.3"):
            composed = hydra_compose("train", overrides=list(overrides))
        raw = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"configuration: {str(error).splitlines()[0]}") from error
    assert isinstance(raw, dict)
    for section in raw.values():
        if isinstance(section, dict):
            section.update({key: None for key, value in section.items() if value == "???"})
    return {str(key): value for key, value in raw.items() if key != "experiment"}
