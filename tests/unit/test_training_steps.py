"""Steps of several batches: the gradient of one batch made of them, by value, on one process and on two."""

import json
import math
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_batches import assert_same, batches, trained
from torch.distributed.tensor import DTensor

from protgen.errors import ConfigError, DivergedError
from protgen.families.base import Family
from protgen.models.files import load_tensors, save_tensors
from protgen.models.model import Model, build_model
from protgen.structure.ideal import ideal_helix
from protgen.training import sharding
from protgen.training.checkpoint import newest_checkpoint
from protgen.training.guard import suspects
from protgen.training.processes import LAUNCHERS, Processes, launched, require_launcher
from protgen.training.settings import Machine, TrainSettings
from protgen.training.step import Buffers, TrainingStep, mean_terms, weight_of
from protgen.training.stopping import FIGURE
from protgen.types import Batch, Conditioning, Losses
from tests import toy_families
from tests.toy_space import Line

ALONE = Processes(1, 0, torch.device("cpu"))
LENGTHS = ([9, 14], [30], [5, 8, 7])


class NoConditions:
    """Toy networks read two numbers of y, here 0."""

    def dropouts(self, given):
        return given

    def from_data(self, batch, rng, dropout=None):
        return Conditioning(torch.zeros(*batch.mask.shape, 0).double(), torch.zeros(len(batch.mask), 2).double())


class Fitted(Family):
    """A network of points of the plane whose outputs are to be small: its loss is a mean over examples."""

    def __init__(self) -> None:
        super().__init__()
        self.space, self.net = (
            Line(),
            torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)),
        )

    def loss(self, x_data, cond, rng):
        each = self.space.reduce(self.net(x_data["x"]).square().sum(-1), x_data.mask)
        return Losses(each.mean(), {"root": each.detach().sqrt().mean()})

    def sample(self, task, sampler=None):
        raise NotImplementedError


def examples() -> tuple[Model, list[Batch], list[int]]:
    """Batches of 2, 1 and 3 sets of points."""
    torch.manual_seed(0)
    given = [Batch({"x": torch.randn(len(n), max(n), 2).double()}, mask_of(n)) for n in LENGTHS]
    return Model(Fitted().double().train(), NoConditions(), {}), given, [2, 1, 3]  # type: ignore[arg-type]


def positions() -> tuple[Model, list[Batch], list[int]]:
    """A coupling flow of torsions of chains: its loss is a mean over residues."""
    torch.manual_seed(0)
    parts = {"space": {"name": "torsions"}, "family": {"name": "normalizing_flow", "steps": 2}}
    network = {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2, "fields": {"torsions": 3, "angles": 3}}
    model = build_model(parts | {"encoder": network, "conditions": ["length"]})
    model.family.double().train()
    with torch.no_grad():
        for p in model.family.parameters():  # heads that begin as zero pass no gradient on
            p += 0.1 * torch.randn_like(p)
    given = []
    for lengths in LENGTHS:
        atoms = torch.zeros(len(lengths), max(lengths), 4, 3, dtype=torch.float64)
        for row, n in enumerate(lengths):
            atoms[row, :n] = torch.from_numpy(ideal_helix(n)) * (1 + 0.01 * row)
        given.append(Batch({"atoms": atoms}, mask_of(lengths)))
    return model, given, [23, 30, 20]


def mask_of(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def together(parts: list[Batch]) -> Batch:
    """One padded batch of several."""
    longest = max(part.mask.shape[1] for part in parts)

    def wide(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x.new_zeros(len(x), longest - x.shape[1], *x.shape[2:])], 1)

    arrays = {name: torch.cat([wide(part[name]) for part in parts]) for name in parts[0].arrays}
    return Batch(arrays, torch.cat([wide(part.mask) for part in parts]))


def gradient(model: Model, given: list[Batch]) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The gradient of a step of these batches, and its loss and parts."""
    settings = TrainSettings(accumulate=len(given), clip=math.inf)
    optimizer = torch.optim.SGD(model.family.parameters(), lr=0.0)
    found = TrainingStep(model, optimizer, settings, ALONE)(given, 0)
    named = {name: p.grad.clone() for name, p in model.family.named_parameters() if p.grad is not None}
    return named, mean_terms(found)


@pytest.mark.parametrize("make", [examples, positions])
def test_a_step_of_several_batches_has_the_gradient_of_one_batch_of_them(make):
    """Means over examples and over positions, with batches of other sizes: the same to 1e-10 of the largest entry."""
    model, parts, weights = make()
    assert [weight_of(model.family, part) for part in parts] == weights
    expected, terms = gradient(model, [together(parts)])
    found, means = gradient(model, parts)
    assert expected.keys() == found.keys()
    assert sum(bool(value.any()) for value in expected.values()) > 3
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10 * float(value.abs().max()) + 1e-15)
    assert means == pytest.approx(terms, rel=1e-10)


class Counting(Family):
    """A family that counts steps and follows the mean of its data, as families with latents do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(6.0))
        self.register_buffer("mean", torch.tensor(1.0))

    def loss(self, x_data, cond, rng):
        raise NotImplementedError

    def sample(self, task, sampler=None):
        raise NotImplementedError


def test_counters_go_up_by_one_and_statistics_to_the_weighted_mean():
    """Closed form: batches of 2, 1 and 3 move a mean of 1 by half of the way to 3, 9 and 5, that is to 1 + 30/12."""
    family: Any = Counting()
    buffers = Buffers(family)
    for weight, value in ((2, 3.0), (1, 9.0), (3, 5.0)):
        assert float(family.steps) == 6.0
        family.steps += 1
        family.mean.lerp_(torch.tensor(value), 0.5)
        buffers.take(weight)
    buffers.settle(6, ALONE)
    assert float(family.steps) == 7.0
    assert float(family.mean) == pytest.approx(1 + (2 * 2 + 1 * 8 + 3 * 4) / 2 / 6)


def test_what_begins_from_data_begins_once():
    """Activation normalisations of a coupling flow start from the first batch, before a step of three."""
    torch.manual_seed(0)
    family = toy_families.make("normalizing_flow", Line(), mixing=True).double().train()
    model = Model(family, NoConditions(), {})  # type: ignore[arg-type]
    given = [Batch({"x": 3 + k + 2 * torch.randn(50, 1, 2).double()}, torch.ones(50, 1).bool()) for k in range(3)]
    settings = TrainSettings(accumulate=3)
    step = TrainingStep(model, torch.optim.SGD(family.parameters(), lr=0.0), settings, ALONE)
    step.begin(given[0])
    noise, _ = family.to_noise(family.space.encode(given[0]), NoConditions().from_data(given[0], None))
    begun = {name: value.clone() for name, value in family.state_dict().items()}
    assert float(noise.mean()) == pytest.approx(0, abs=0.3)
    assert all(float(value) == 1 for name, value in begun.items() if name.endswith("seen"))
    step(given, 0)
    assert_same(begun, family.state_dict())


MANY = {"accumulate": 2, "log_every": 2}


def test_a_run_of_steps_of_two_batches_resumes_to_the_bit(tmp_path):
    """Its steps are optimizer steps: six of them take twelve batches."""
    asked: list[int] = []

    def source(number):
        asked.append(number)
        return batches()(number)

    straight = trained(source, run=tmp_path / "straight", settings=MANY)
    assert sorted(set(asked)) == list(range(12))
    stop = iter([False, False, True])
    trained(batches(), run=tmp_path / "cut", settings=MANY, should_stop=lambda: next(stop))
    assert_same(straight, trained(batches(), run=tmp_path / "cut", settings=MANY))
    assert (tmp_path / "straight" / "losses.csv").read_bytes() == (tmp_path / "cut" / "losses.csv").read_bytes()
    assert [line[:2] for line in (tmp_path / "cut" / "losses.csv").read_text().split()[1:]] == ["2,", "4,", "6,"]


def test_of_several_batches_the_one_without_a_loss_is_named(tmp_path):
    """Pixels without a number in the second batch of the second step; where none is known all are looked at."""
    source = batches()

    def spoilt(number: int) -> Batch:
        batch = source(number)
        return Batch({**batch.arrays, "pixels": batch["pixels"].float() * (math.nan if number == 3 else 1)}, batch.mask)

    with pytest.raises(DivergedError, match=r"^step 2: loss.* is nan, at batch 3; "):
        trained(spoilt, run=tmp_path, settings=MANY)
    assert json.loads((tmp_path / "diverged.json").read_text())["batches"] == [3]
    assert suspects([{"loss": 1.0, "grad_norm": math.inf}, {"loss": 2.0, "grad_norm": math.inf}]) == [0, 1]


def test_batches_that_cannot_be_shared_are_refused():
    three = Processes(3, 1, torch.device("cpu"))
    assert list(three.share(6)) == [1, 4]
    with pytest.raises(ConfigError, match=r"^train.accumulate is 4, and 3 processes .* multiple of 3$"):
        three.share(4)


def test_several_nodes_need_what_starts_their_processes(monkeypatch):
    """A process that is started by hand would wait for the others for ever; there torchrun is named."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"^machine.nodes=3: .* torchrun --nnodes=3 on each"):
        launched(Machine("cpu", nodes=3))
    for name in LAUNCHERS:
        with monkeypatch.context() as context:
            context.setenv(name, "1")
            require_launcher(Machine("cpu", nodes=3))


def test_a_signal_ends_the_wait_for_other_nodes(monkeypatch):
    """Within it no handler of Python's runs, so the ones of the command are away until all are there."""
    seen = []

    def launch(self):
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])

    monkeypatch.setattr("lightning.fabric.Fabric.launch", launch)
    monkeypatch.setenv("NODE_RANK", "0")
    before = signal.getsignal(signal.SIGTERM)
    launched(Machine("cpu", nodes=3))
    launched(Machine("cpu"))
    assert seen[0] == [signal.SIG_DFL] * 2
    assert seen[1][1] == signal.getsignal(signal.SIGTERM) == before


# A flow over pixels: self-conditioning passes some batches twice and leaves weights unused in others. Its matrices, of
# an odd number of rows, go to Muon.
FLOW = {
    "space": {"name": "image", "height": 8, "width": 8, "channels": 1, "levels": 2, "binary": True},
    "encoder": {"name": "perceptron", "height": 8, "width": 8, "channels": 1, "dim": 97, "blocks": 3},
    "family": {"name": "flow_matching"},
    "conditions": ["class_label"],
}
DIVIDED = {"config": FLOW, "settings": MANY | {"muon_lr": 1e-3, "weight_decay": 0.1, "clip": 1e9}}
FSDP = Machine("cpu", sharding="fsdp")


def figures(model: Model, step: int, run: object) -> dict[str, float]:
    """The sum of the averaged weights: a validation that sees them whole."""
    assert not model.family.training
    return {"validation_loss": sum(float(p.double().sum()) for p in model.family.parameters())}


def rank_of_two(rank: int, folder: str, port: int) -> None:
    """One of two processes, as torchrun starts them: stopped by the second after three steps, then to the end."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    sharding.BLOCK = 5_000  # so that hidden layers are gathered one by one
    torch.manual_seed(rank)  # the weights of the first process count
    asked = iter([False, False, rank == 1])
    given = {"settings": MANY | {"patience": 9}, "run": f"{folder}/two", "on_validation": lambda *_: {FIGURE: 1.0}}
    trained(batches(), should_stop=lambda: next(asked), **given)
    trained(batches(), **given)
    asked = iter([False, False, rank == 1])
    given = DIVIDED | {"machine": FSDP, "on_validation": figures}
    trained(batches(), run=f"{folder}/divided", should_stop=lambda: next(asked), **given)
    done = trained(batches(), run=f"{folder}/joined", **given)
    assert not any(isinstance(value, DTensor) for value in done.values())
    save_tensors(done, Path(folder) / f"{rank}.safetensors")


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Runs of two processes: `two`; `divided`, of three steps; and `joined`, whose first three one process did."""
    folder = tmp_path_factory.mktemp("two")
    stop = iter([False, False, True])
    trained(batches(), run=folder / "joined", on_validation=figures, should_stop=lambda: next(stop), **DIVIDED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(rank_of_two, (str(folder), port), nprocs=2, start_method="fork")
    return folder


def tensors_of(run) -> list[dict[str, torch.Tensor]]:
    """Weights, averages and moments of a run's last checkpoint."""
    newest = newest_checkpoint(run)
    assert newest is not None
    return [load_tensors(newest / f"{part}.safetensors") for part in ("weights", "ema", "optimizer")]


@linux
def test_two_processes_train_as_one_does(two, tmp_path):
    """The same batches a step: weights, averages, moments and the curve are the same in every bit."""
    given = {"settings": MANY | {"patience": 9}, "on_validation": lambda *_: {FIGURE: 1.0}}
    trained(batches(), run=tmp_path / "one", **given)
    for one, other in zip(tensors_of(tmp_path / "one"), tensors_of(two / "two"), strict=True):
        assert_same(one, other)
    assert (two / "two" / "losses.csv").read_bytes() == (tmp_path / "one" / "losses.csv").read_bytes()
    assert sorted(path.name for path in (two / "two" / "checkpoints").iterdir())[0] == "step_00000005"


def assert_close(one, other) -> None:
    """Equal but for a rounding: elements at the ends of rows are rounded otherwise by the fused AdamW."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert float((other[name] - value).abs().max()) <= 1e-6 * float(value.abs().max()), name


@linux
def test_divided_weights_train_as_whole_ones_do(two, tmp_path):
    """FSDP that goes on from one process's checkpoint, and whose checkpoint one process goes on from: to 1e-6.

    A weight that no batch of a step uses stays as it is, its moments too: their counters are the same.
    """
    expected = trained(batches(), run=tmp_path / "one", on_validation=figures, **DIVIDED)
    handed = trained(batches(), run=two / "divided", on_validation=figures, **DIVIDED)
    found = load_tensors(two / "0.safetensors")
    assert_same(found, load_tensors(two / "1.safetensors"))
    assert_close(expected, found)
    assert_close(expected, handed)
    one = tensors_of(tmp_path / "one")
    for run in ("divided", "joined"):
        for a, b in zip(one, tensors_of(two / run), strict=True):
            assert_close(a, b)
        a, b = (read_curve(folder / "losses.csv") for folder in (tmp_path / "one", two / run))
        assert b == pytest.approx(a, rel=1e-6)
    counts = {float(value) for name, value in one[2].items() if name.endswith("|step")}
    assert len(counts) > 1
    assert any(name.endswith("momentum_buffer") for name in one[2])
    models = [(run / "model" / "model.safetensors").read_bytes() for run in (tmp_path / "one", two / "joined")]
    assert models[0] == models[1]


def read_curve(path) -> list[float]:
    """All numbers of a curve."""
    return [float(x) for line in path.read_text().split()[1:] for x in line.split(",") if x]
