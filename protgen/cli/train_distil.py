"""`protgen train distil.model=MODEL`: a model becomes the student of another."""

from dataclasses import replace
from typing import TYPE_CHECKING

from protgen.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from protgen.cli.train_config import TrainConfig
    from protgen.models.model import Model
    from protgen.training.distillation import Teaching

PULLED = "pulled"


def student(config: "TrainConfig", model: "Model") -> "Model":
    """A model that learns from the one that `distil.model` names, whose weights it has.

    It is sampled as its teacher is, in its own steps and without guidance; what its teacher draws blueprints from, it
    draws them from.

    Args:
        config: of the training.
        model: the student before its first step.

    Raises:
        ConfigError: if the teacher cannot be distilled, or steps do not fit.
    """
    from protgen.models.released import load
    from protgen.training.distillation import Distillation

    name = config.distil.model
    assert name is not None
    if config.machine.sharding is not None:
        raise ConfigError("distil.model: the teacher's weights are not divided; leave out machine.sharding")
    try:
        teacher = load(name)
        teaching = teaching_of(config, teacher)
        objective = Distillation(teacher.family, teacher.conditions, teaching, teacher.guide)
    except (CheckpointError, ConfigError) as error:
        raise ConfigError(f"distil.model={name}: {error}") from error
    own = teacher.config.get("sampling", {})
    alone = {"guidance": 1.0, "autoguidance": 1.0}
    sampling = {**own, "temperature": teaching.temperature, "steps": teaching.steps, **alone}
    if PULLED in own:
        sampling[PULLED] = {**own[PULLED], **alone}
    about = {
        "teacher": {
            "model": name,
            "steps": teaching.teacher_steps,
            "guidance": teaching.guidance,
            "guidance_interval": list(teaching.guidance_interval),
            "autoguidance": teaching.autoguidance,
        }
    }
    return replace(
        model,
        objective=objective,
        config=model.config | {"sampling": sampling, "about": model.config.get("about", {}) | about},
        blueprints=teacher.blueprints,
        topologies=teacher.topologies,
    )


def teaching_of(config: "TrainConfig", teacher: "Model") -> "Teaching":
    """How a teacher samples: as is asked, then as its config asks for, then by the defaults of designs or of pictures.

    Args:
        config: of the training.
        teacher: the model.
    """
    from protgen.generation.design import settings_for
    from protgen.models.image_samples import ImageSampling
    from protgen.samplers.euler import Euler
    from protgen.spaces.image import Image
    from protgen.training.distillation import Teaching

    asked = config.distil
    if isinstance(teacher.family.space, Image):
        plain = ImageSampling()
        own = Teaching(1, Euler().steps, plain.temperature, plain.guidance)
    else:
        s = settings_for(teacher)
        own = Teaching(1, s.steps, s.temperature, s.guidance, s.guidance_interval, s.autoguidance)
    many = asked.teacher_steps
    return Teaching(
        asked.steps,
        asked.steps * max(1, -(-own.teacher_steps // asked.steps)) if many is None else many,
        own.temperature if asked.temperature is None else asked.temperature,
        own.guidance if asked.guidance is None else asked.guidance,
        own.guidance_interval,
        own.autoguidance if asked.autoguidance is None else asked.autoguidance,
    )
