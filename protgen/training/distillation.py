"""Distillation: a network learns to make in few steps, without guidance, what a model makes in many steps with it.

The student has the architecture of its teacher and begins from its weights. For each batch the teacher samples, with its
guidance, from noise to data at the y of the batch; of the data themselves nothing else is used. Its way is cut into as
many jumps as the student is to have steps, and the student learns the prediction of x_data with which each step of
Euler ends where the teacher's way does (`protgen.samplers.jumps`). It reads the aim of the jump before as
self-conditioning, as it will read its own prediction.

The loss is the squared error of the velocity, that of the prediction times (d log(alpha / sigma) / dt alpha)^2, which is
1 / t^2 on the straight path, in each field in units of its scale, and the auxiliary losses of the space with the aim
in place of the data.

References:
    Meng et al. 2023, On Distillation of Guided Diffusion Models, section 3.1 (a student of the guided prediction).
    Salimans and Ho 2022, Progressive Distillation for Fast Sampling of Diffusion Models, section 3.
    Luhman and Luhman 2021, Knowledge Distillation in Iterative Generative Models (along the teacher's own samples).
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from protgen.conditions.embedding import ConditionEmbedding
from protgen.errors import ConfigError
from protgen.families.base import Family, IterativeFamily
from protgen.samplers.autoguidance import AutoGuidance
from protgen.samplers.base import Denoiser, Guidance, SamplingTask, time_grid
from protgen.samplers.euler import Euler
from protgen.samplers.jumps import Jump, Witness, jumps_along, require_jumps, rows_of, stacked
from protgen.spaces.capabilities import auxiliary_losses
from protgen.types import Conditioning, Losses, State


@dataclass(frozen=True)
class Teaching:
    """How a teacher samples, and in how many steps its student is to.

    Attributes:
        steps: of the student.
        teacher_steps: of the teacher, a multiple of these.
        temperature: of both.
        guidance: weight of the teacher's classifier-free guidance; 1 for none.
        guidance_interval: times between which that acts.
        autoguidance: weight of the teacher's autoguidance; 1 for none.

    Raises:
        ConfigError: if the teacher's steps are no multiple of the student's.
    """

    steps: int = 10
    teacher_steps: int = 20
    temperature: float = 1.0
    guidance: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    autoguidance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.teacher_steps % self.steps:
            raise ConfigError(
                f"distil: {self.teacher_steps} steps of the teacher are no multiple of the student's {self.steps}; "
                "give distil.teacher_steps"
            )


class Distillation:
    """The loss of a student, in place of its family's own.

    Args:
        teacher: the family that is learned from; its weights are left as they are.
        conditions: of both.
        teaching: how the teacher samples.
        weak: the weaker family that guides the teacher; None where nothing does.

    Raises:
        ConfigError: if the family has no steps, or steps that cannot be solved for their prediction; or a weak family
            is missing.
    """

    def __init__(
        self, teacher: Family, conditions: ConditionEmbedding, teaching: Teaching, weak: Family | None = None
    ) -> None:
        if not isinstance(teacher, IterativeFamily) or not isinstance(weak, IterativeFamily | None):
            raise ConfigError(
                f"distillation makes steps fewer, and {type(teacher).__name__} has none; distil a model of flow_matching"
            )
        if weak is None and teaching.autoguidance != 1:
            raise ConfigError("distil: autoguidance needs a model with a weaker one to guide it")
        require_jumps(teacher.path, teacher.space)
        self.teacher = teacher.requires_grad_(False).eval()
        self.weak = None if weak is None else weak.requires_grad_(False).eval()
        self.conditions, self.teaching = conditions, teaching

    def __call__(self, family: Family, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """The loss of a student on the y of a batch.

        Args:
            family: the student.
            x_data: points of the batch, of which only the mask is read.
            cond: their y.
            rng: generator on the CPU.
        """
        assert isinstance(family, IterativeFamily)
        jumps = self.jumps(x_data.mask, cond, rng)
        aims = [jump.aim for jump in jumps]
        # The first step of a sampler has no prediction before it; each other one reads that of the step before.
        parts = [(jumps[:1], None), *([(jumps[1:], stacked(aims[:-1]))] if len(jumps) > 1 else [])]
        total: dict[str, Tensor] = {}
        for own, guess in parts:
            x_t, t, aim = rows_of(own)
            prediction = family.denoiser().denoise(x_t, t, repeated(cond, len(own)), guess)
            for name, term in self.terms(family, prediction, aim, t).items():
                total[name] = total.get(name, 0.0) + term.sum() / (len(x_data.mask) * len(jumps))
        loss = torch.stack(list(total.values())).sum()
        return Losses(loss, {name: term.detach() for name, term in total.items()})

    def terms(self, family: IterativeFamily, prediction: State, aim: State, t: Tensor) -> dict[str, Tensor]:
        """(b,) weighted squared error of each field, and the auxiliary losses of the space.

        Args:
            family: the student.
            prediction: of x_data.
            aim: what it is to be.
            t: (b,) times.
        """
        space, weight = family.space, family.path.flat.data_rate(t).square()
        scales = space.scale(aim.mask)
        found = {
            name: weight
            * space.reduce(manifold.squared_error(prediction[name], aim[name]), aim.mask)
            / scales[name].square()
            for name, manifold in space.manifolds.items()
        }
        return found | auxiliary_losses(space, prediction, aim, family.path.seen(t))

    @torch.no_grad()
    def jumps(self, mask: Tensor, cond: Conditioning, rng: Generator) -> list[Jump]:
        """The student's steps along the ways of the teacher, from noise to data.

        Args:
            mask: (b, l) real positions.
            cond: y.
            rng: generator on the CPU.
        """
        teaching, teacher = self.teaching, self.teacher.to(mask.device)
        free = replace(self.conditions.unknown(mask), chains=cond.chains)
        seeds = torch.randint(2**62, (len(mask),), generator=rng).tolist()
        witnesses: list[Witness] = []

        def watch(denoiser: Denoiser) -> Denoiser:
            witnesses.append(Witness(self.autoguided(denoiser)))
            return witnesses[-1]

        task = SamplingTask(
            mask,
            cond,
            [Generator().manual_seed(seed) for seed in seeds],
            temperature=teaching.temperature,
            guidance=Guidance(free, teaching.guidance, teaching.guidance_interval),
            guides=[watch],
        )
        sampler = Euler(teaching.teacher_steps)
        end = teacher.sample(task, sampler)
        stride = teaching.teacher_steps // teaching.steps
        points = [*witnesses[0].points[::stride], end]
        times = [t for t, _ in time_grid(teaching.steps, sampler.spacing)] + [0.0]
        return jumps_along(teacher.path, teacher.space, points, times, sampler.rotation_rate)

    def autoguided(self, denoiser: Denoiser) -> Denoiser:
        """The teacher's denoiser, led away from the weaker one."""
        if self.weak is None or self.teaching.autoguidance == 1:
            return denoiser
        weak = self.weak.to(next(self.teacher.parameters()).device)
        return AutoGuidance(denoiser, self.teacher.space, weak.denoiser(), self.teaching.autoguidance)


def repeated(cond: Conditioning, count: int) -> Conditioning:
    """y of the same batch, count times one after the other."""
    return cond.rows(lambda x: torch.cat([x] * count))
