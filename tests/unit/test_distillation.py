"""Distillation against closed forms: steps solved for their prediction, ways of known teachers, and what is learned."""

import math
import time
from dataclasses import replace

import pytest
import torch

from protgen.conditions.embedding import ConditionEmbedding
from protgen.errors import ConfigError
from protgen.families.base import IterativeFamily
from protgen.families.flow_matching import FlowMatching, FlowSettings
from protgen.models.model import build_model
from protgen.samplers.base import Step, begin
from protgen.samplers.brownian import GeometricBrownian
from protgen.samplers.euler import Euler
from protgen.samplers.jumps import aim_of
from protgen.samplers.schedules import Cosine, Linear, Path
from protgen.spaces.backbone import Backbone
from protgen.spaces.base import Space
from protgen.training.distillation import distillation_loss
from protgen.training.ways import Asked, Teacher, Teaching, WayBatches, make_ways, path_of
from protgen.types import Batch, Conditioning, State
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

    def __init__(self, denoiser, space: Space = LINE):
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


def batches_of(folder, teacher: Teacher, count: int, length: int = 1, known: float = 1.0, width: int = 1) -> WayBatches:
    """Batches of all jumps of the ways of a teacher, each way once in a batch."""

    def asked(number: int) -> Asked:
        y = Conditioning(torch.zeros(1, length, 0), torch.full((1, width), known))
        return Asked(y, torch.ones(1, length, dtype=torch.bool))

    make_ways(folder, teacher, asked, count, 0, {})
    return WayBatches(folder, range(count), teacher.family, 10**6, 0)


def test_the_jumps_of_a_normal_are_those_of_its_flow(tmp_path):
    """x_s / x_t is the ratio of standard deviations, and the aim follows from it; 1000 steps of the teacher."""
    teacher = Teacher(Exact(Normal()), NOTHING, Teaching(steps=4, teacher_steps=1000))
    batch = batches_of(tmp_path, teacher, 8)(0)
    assert sorted(batch["t"].tolist()) == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]
    for row, t in enumerate(batch["t"].tolist()):
        ratio = scale(t - 0.25, 0.5) / scale(t, 0.5)
        gain = (ratio - (t - 0.25) / t) / (1 - (t - 0.25) / t)
        torch.testing.assert_close(batch["aim_x"][row], gain * batch["x_x"][row], rtol=0.01, atol=0)
        assert bool(batch["first"][row]) == (t == 1)


def test_a_guess_is_the_aim_of_the_jump_before(tmp_path):
    """It lies on the way as well: from x_t by the ratio of one step back, and its aim."""
    teacher = Teacher(Exact(Normal()), NOTHING, Teaching(steps=4, teacher_steps=1000))
    batch = batches_of(tmp_path, teacher, 8)(0)
    for row, t in enumerate(batch["t"].tolist()):
        if t < 1:
            before = t + 0.25
            start = batch["x_x"][row] * scale(before, 0.5) / scale(t, 0.5)
            gain = (scale(t, 0.5) / scale(before, 0.5) - t / before) / (1 - t / before)
            torch.testing.assert_close(batch["guess_x"][row], gain * start, rtol=0.01, atol=0)


def test_ways_depend_on_their_number_alone_and_are_made_once(tmp_path):
    teacher = Teacher(Exact(Normal()), NOTHING, Teaching(2, 4))
    batches_of(tmp_path / "few", teacher, 2)
    batches_of(tmp_path / "many", teacher, 5)
    for number in range(2):
        assert path_of(tmp_path / "few", number).read_bytes() == path_of(tmp_path / "many", number).read_bytes()
    times = [path_of(tmp_path / "many", number).stat().st_mtime_ns for number in range(5)]
    batches_of(tmp_path / "many", teacher, 5)
    assert times == [path_of(tmp_path / "many", number).stat().st_mtime_ns for number in range(5)]
    with pytest.raises(ConfigError, match="made otherwise"):
        batches_of(tmp_path / "many", Teacher(Exact(Normal()), NOTHING, Teaching(2, 6)), 5)


def test_y_is_read_by_one_thread_at_a_time(tmp_path):
    """What gives it may keep a place of its own, as batches of images do."""
    inside, most, before = [], [], torch.get_num_threads()

    def asked(number: int) -> Asked:
        inside.append(number)
        time.sleep(0.01)
        most.append(len(inside))
        inside.remove(number)
        return Asked(y_of(1), torch.ones(1, 1, dtype=torch.bool))

    torch.set_num_threads(3)
    try:
        make_ways(tmp_path, Teacher(Exact(Normal()), NOTHING, Teaching(2, 4)), asked, 9, 0, {})
    finally:
        torch.set_num_threads(before)
    assert most == [1] * 9


def test_aims_hold_the_teachers_guidance(tmp_path):
    """Certain of 2 with y and of 1 without it, weight 3: 1 + 3 (2 - 1) = 4. Away from 0.5 by a weight of 2: 3.5."""
    mask = torch.ones(1, 1, dtype=torch.bool)
    at = {value: State({"x": torch.full((1, 1, 2), value)}, mask) for value in (0.5, 1.0, 2.0)}

    class OneGlobal(ConditionEmbedding):
        def unknown(self, mask):
            return Conditioning(torch.zeros(*mask.shape, 0), torch.zeros(len(mask), 1))

    strong, weak = Exact(Towards(at[2.0], at[1.0])), Exact(Towards(at[0.5], at[0.5]))
    wide = {key: State({"x": x["x"].repeat(2, 1, 1)}, mask.repeat(2, 1)) for key, x in at.items()}
    guided = Exact(Towards(wide[2.0], wide[1.0]))
    for family, other, teaching, value in (
        (guided, None, Teaching(2, 4, guidance=3.0), 4.0),
        (strong, weak, Teaching(2, 4, autoguidance=2.0), 3.5),
    ):
        batch = batches_of(tmp_path / str(value), Teacher(family, OneGlobal([]), teaching, other), 3)(0)
        torch.testing.assert_close(batch["aim_x"], torch.full((3, 1, 2), value), rtol=1e-5, atol=0)


def test_the_loss_is_the_squared_error_of_the_velocity(tmp_path):
    """A student that is certain of 3 where the teacher is of 1: 2^2 in both coordinates over t^2, a mean over jumps."""
    mask = torch.ones(1, 1, dtype=torch.bool)
    certain = State({"x": torch.full((1, 1, 2), 1.0)}, mask)
    teacher = Teacher(Exact(Towards(certain, certain)), NOTHING, Teaching(2, 4))
    batch = batches_of(tmp_path, teacher, 4)(0)

    class Student(Normal):
        def denoise(self, x_t, t, cond, x_pred=None):
            assert bool((t == 1).all()) if x_pred is None else bool((t == 0.5).all())
            return x_t.with_fields(x=torch.full_like(x_t["x"], 3.0))

    losses = distillation_loss(Exact(Student()), batch, torch.Generator())
    expected = (8 / 1.0**2 + 8 / 0.5**2) / 2
    assert float(losses.total) == pytest.approx(expected, rel=1e-5)
    assert float(losses.terms["x"]) == pytest.approx(expected, rel=1e-5)


def test_chains_of_several_lengths_share_a_batch(tmp_path):
    """What is not real adds nothing to the loss: it is the mean of that of each jump alone."""
    rng = torch.Generator()
    model = build_model(
        {
            "space": {"name": "backbone"},
            "encoder": {"name": "frame_transformer", "dim": 16, "blocks": 1, "heads": 2, "modulation": 4},
            "family": {"name": "flow_matching"},
            "conditions": ["length", "secondary_structure"],
        }
    )
    teacher = Teacher(model.family, model.conditions, Teaching(2, 4))

    def asked(number: int) -> Asked:
        mask = torch.ones(1, 8 + 3 * number, dtype=torch.bool)
        return Asked(model.conditions.unknown(mask), mask)

    make_ways(tmp_path, teacher, asked, 3, 0, {})
    batch = WayBatches(tmp_path, range(3), teacher.family, 10**6, 0)(0)
    assert sorted(batch.mask.sum(1).tolist()) == [8, 11, 14]
    together = distillation_loss(model.family, batch, rng).total
    alone = []
    for row in range(3):
        length = int(batch.mask[row].sum())
        own = {
            name: x[row : row + 1, :length] if x.ndim > 1 and name != "y_globals" else x[row : row + 1]
            for name, x in batch.arrays.items()
        }
        alone.append(distillation_loss(model.family, Batch(own, batch.mask[row : row + 1, :length]), rng).total)
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-4, atol=1e-5)


def test_a_student_learns_in_two_steps_what_its_teacher_does_in_many(tmp_path):
    """The flow of N(0, 0.5^2) halves the noise; two of Euler's steps with the exact denoiser leave 0.2 of it."""
    batches = batches_of(tmp_path, Teacher(Exact(Normal()), NOTHING, Teaching(2, 100)), 200, known=0.0, width=2)
    torch.manual_seed(0)
    student = FlowMatching(LINE, Dense(LINE), FlowSettings())
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for step in range(300):
        optimizer.zero_grad()
        distillation_loss(student, batches(step), torch.Generator()).total.backward()
        optimizer.step()

    def given():
        return replace(task(400, seed=1), cond=Conditioning(torch.zeros(400, 1, 0), torch.zeros(400, 2)))

    noise = begin(student.path, LINE, given())["x"]
    exact = Euler(2).sample(Normal(), LINE, given())["x"]
    torch.testing.assert_close(exact, 0.2 * noise, rtol=1e-4, atol=1e-5)
    found = student.sample(given(), Euler(2))["x"]
    assert float((found - 0.5 * noise).square().mean().sqrt()) < 0.05


def test_what_cannot_be_distilled_is_refused():
    with pytest.raises(ConfigError, match="has none"):
        Teacher(make("vae", LINE), NOTHING, Teaching())
    brownian = Path(Linear(), GeometricBrownian())
    with pytest.raises(ConfigError, match="rotations or angles"):
        Teacher(Exact(Normal(brownian), Backbone()), NOTHING, Teaching())
    with pytest.raises(ConfigError, match="20 steps of the teacher are no multiple of the student's 8"):
        Teaching(8, 20)
    with pytest.raises(ConfigError, match="autoguidance needs"):
        Teacher(Exact(Normal()), NOTHING, Teaching(autoguidance=2.0))
