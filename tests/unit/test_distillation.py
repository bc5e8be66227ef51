"""Distillation against closed forms: steps solved for their prediction, ways of known teachers, and what is learned."""

import math
from dataclasses import replace

import pytest
import torch

from protgen.conditions.embedding import ConditionEmbedding
from protgen.errors import ConfigError
from protgen.families.base import IterativeFamily
from protgen.families.flow_matching import FlowMatching, FlowSettings
from protgen.samplers.base import Step, begin, time_grid
from protgen.samplers.euler import Euler
from protgen.samplers.jumps import aim_of
from protgen.samplers.schedules import Cosine, GeometricBrownian, Linear, Path
from protgen.spaces.backbone import Backbone
from protgen.training.distillation import Distillation, Teaching
from protgen.types import Conditioning, State
from tests.exact_denoisers import ExactGaussian, Towards, task
from tests.toy_families import Dense, make
from tests.toy_space import Circle, Line

LINE = Line()
NOTHING = ConditionEmbedding([])


class Normal(ExactGaussian):
    """N(0, 0.5^2), in the precision of networks."""

    def __init__(self, path: Path | None = None):
        super().__init__(path, 0.5, 0.0)

    def denoise(self, x_t, t, cond, x_pred=None):
        return super().denoise(x_t, t, cond).map(torch.Tensor.float)


class Exact(IterativeFamily):
    """A family whose denoiser is known in closed form."""

    def __init__(self, denoiser, space=LINE):
        super().__init__()
        self.exact, self.space, self.path = denoiser, space, denoiser.path
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def denoiser(self):
        return self.exact

    def loss(self, x_data, cond, rng):
        raise AssertionError("a student has another loss")


def points(space, count=5, length=7, seed=0) -> State:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.ones(count, length, dtype=torch.bool)
    return space.noise(mask, torch.randn(count, length, space.normals_per_position, generator=rng))


def y_of(count: int, known: float = 1.0, length: int = 1) -> Conditioning:
    return Conditioning(torch.zeros(count, length, 0), torch.full((count, 1), known))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [0.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("space", "path"),
    [(LINE, Path(Linear())), (LINE, Path(Cosine())), (Backbone(), Path(Linear())), (Circle(), Path(Linear()))],
    ids=["line", "quarter circle", "frames", "angles"],
)
def test_a_step_is_solved_for_the_prediction_that_it_was_taken_with(space, path, rate):
    x_t, x_pred = points(space), points(space, seed=1)
    for t, s in ((1.0, 0.9), (0.6, 0.5), (0.2, 0.1), (0.1, 0.0)):
        step = Step(t, s, path, space, task(5, length=7))
        x_s = Euler(rotation_rate=rate).advance(x_t, x_pred, step)
        aim = aim_of(path, space, x_t, x_s, t, s, rate)
        again = Euler(rotation_rate=rate).advance(x_t, aim, step)
        for name, manifold in space.manifolds.items():
            assert float(manifold.squared_error(again[name], x_s[name]).max()) < 1e-8
            # Half a turn has two shortest ways, and rounding chooses; none of these comes near it.
            assert float(manifold.squared_error(aim[name], x_pred[name]).max()) < 2e-4


def scale(t: float, std: float) -> float:
    """Standard deviation at t of a normal with that one at 0, on the straight path: how far the flow has scaled."""
    return math.sqrt((1 - t) ** 2 * std**2 + t**2)


def test_the_jumps_of_a_normal_are_those_of_its_flow():
    """x_s / x_t is the ratio of standard deviations, and the aim follows from it; 1000 steps of the teacher."""
    teaching = Teaching(steps=4, teacher_steps=1000)
    lesson = Distillation(Exact(Normal()), NOTHING, teaching)
    jumps = lesson.jumps(torch.ones(6, 1, dtype=torch.bool), y_of(6), rng())
    assert [(jump.t, jump.s) for jump in jumps] == time_grid(4, 1.0)
    for jump in jumps:
        ratio = scale(jump.s, 0.5) / scale(jump.t, 0.5)
        gain = (ratio - jump.s / jump.t) / (1 - jump.s / jump.t)
        torch.testing.assert_close(jump.aim["x"], gain * jump.x_t["x"], rtol=0.01, atol=0)


def test_aims_hold_the_teachers_guidance():
    """Certain of 2 with y and of 1 without it, weight 3: 1 + 3 (2 - 1) = 4. Away from 0.5 by a weight of 2: 7.5."""
    mask = torch.ones(3, 1, dtype=torch.bool)
    at = {value: State({"x": torch.full((3, 1, 2), value)}, mask) for value in (0.5, 1.0, 2.0)}

    class OneGlobal(ConditionEmbedding):
        def unknown(self, mask):
            return y_of(len(mask), 0.0)

    strong, weak = Exact(Towards(at[2.0], at[1.0])), Exact(Towards(at[0.5], at[0.5]))
    wide = {key: State({"x": x["x"].repeat(2, 1, 1)}, mask.repeat(2, 1)) for key, x in at.items()}
    guided = Exact(Towards(wide[2.0], wide[1.0]))
    for family, other, teaching, value in (
        (guided, None, Teaching(2, 4, guidance=3.0), 4.0),
        (strong, weak, Teaching(2, 4, autoguidance=2.0), 3.5),
    ):
        lesson = Distillation(family, OneGlobal([]), teaching, other)
        for jump in lesson.jumps(mask, y_of(3), rng()):
            torch.testing.assert_close(jump.aim["x"], torch.full((3, 1, 2), value), rtol=1e-5, atol=0)


def test_the_loss_is_the_squared_error_of_the_velocity():
    """A student that is certain of 3 where the teacher is of 1: 2^2 in both coordinates over t^2, a mean over jumps."""
    mask = torch.ones(4, 1, dtype=torch.bool)
    teacher = State({"x": torch.full((4, 1, 2), 1.0)}, mask)
    lesson = Distillation(Exact(Towards(teacher, teacher)), NOTHING, Teaching(2, 4))

    class Student(Towards):
        def denoise(self, x_t, t, cond, x_pred=None):
            assert (x_pred is None) == bool((t == 1).all())
            return x_t.with_fields(x=torch.full_like(x_t["x"], 3.0))

    losses = lesson(Exact(Student(teacher, teacher)), teacher, y_of(4), rng())
    # `reduce` is a mean over positions of what is summed over coordinates.
    expected = (8 / 1.0**2 + 8 / 0.5**2) / 2
    assert float(losses.total) == pytest.approx(expected, rel=1e-5)
    assert float(losses.terms["x"]) == pytest.approx(expected, rel=1e-5)


def test_a_student_learns_in_two_steps_what_its_teacher_does_in_many():
    """The flow of N(0, 0.5^2) halves the noise; two of Euler's steps with the exact denoiser leave 0.2 of it."""
    lesson = Distillation(Exact(Normal()), NOTHING, Teaching(2, 100))
    torch.manual_seed(0)
    student = FlowMatching(LINE, Dense(LINE), FlowSettings())
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)

    def nothing_known(count: int) -> Conditioning:
        return Conditioning(torch.zeros(count, 1, 0), torch.zeros(count, 2))

    x_data = points(LINE, 64, 1)
    for step in range(300):
        optimizer.zero_grad()
        lesson(student, x_data, nothing_known(64), rng(step)).total.backward()
        optimizer.step()
    given = replace(task(400, seed=1), cond=nothing_known(400))
    noise = begin(student.path, LINE, given)["x"]
    exact = Euler(2).sample(Normal(), LINE, replace(task(400, seed=1), cond=given.cond))["x"]
    torch.testing.assert_close(exact, 0.2 * noise, rtol=1e-4, atol=1e-5)
    found = student.sample(replace(task(400, seed=1), cond=given.cond), Euler(2))["x"]
    assert float((found - 0.5 * noise).square().mean().sqrt()) < 0.03


def test_what_cannot_be_distilled_is_refused():
    with pytest.raises(ConfigError, match="has none"):
        Distillation(make("vae", LINE), NOTHING, Teaching())
    brownian = Path(Linear(), GeometricBrownian())
    with pytest.raises(ConfigError, match="rotations or angles"):
        Distillation(Exact(Normal(brownian), Backbone()), NOTHING, Teaching())
    with pytest.raises(ConfigError, match="20 steps of the teacher are no multiple of the student's 8"):
        Teaching(8, 20)
    with pytest.raises(ConfigError, match="autoguidance needs"):
        Distillation(Exact(Normal()), NOTHING, Teaching(autoguidance=2.0))
