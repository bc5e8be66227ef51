"""Validation loss, early stopping, the cost that is said before, and loggers."""

import csv
import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_training_batches import CONFIG, CPU, SETTINGS, assert_same, batches, trained

from protgen.errors import CheckpointError, ConfigError, RecoveredWarning, UsageError
from protgen.models.model import build_model
from protgen.training.checkpoint import PARTS, checkpoints
from protgen.training.cost import Cost, estimate_cost
from protgen.training.loop import train
from protgen.training.settings import Machine, TrainSettings
from protgen.training.stopping import EarlyStopping
from protgen.training.validation import mean_losses
from protgen.types import Batch

LOSSES = [5.0, 3.0, 3.5, 2.8, 2.75, math.nan]  # at steps 1 to 6


def validated(model, step, run):
    return {"validation_loss": LOSSES[step - 1]}


def patient(patience: int, **more: Any) -> dict[str, Any]:
    """A run of six steps, validated at each; the loss must fall by more than 0.1."""
    return {
        "validate_every": 1,
        "patience": patience,
        "min_improvement": 0.1,
        "keep": 1,
        "checkpoint_minutes": 60,
    } | more


def ended(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())["ended"]


def averages(run: Path, steps: int):
    """The averages of a run of so many steps."""
    asked = iter([False] * (steps - 1) + [True])
    return trained(batches(), run=run, should_stop=lambda: next(asked))


def test_patience_counts_validations_without_the_least_improvement():
    """By hand: 2.75 is below the best, 2.8, by less than 0.1; what is not finite or not trusted is no improvement."""
    stopping = EarlyStopping(TrainSettings(patience=2, min_improvement=0.1))
    found = [(stopping.look(i, {"validation_loss": x}), stopping.best, stopping.waited, stopping.is_over)
             for i, x in enumerate(LOSSES, 1)]  # fmt: skip
    assert found == [
        (True, 5.0, 0, False), (True, 3.0, 0, False), (False, 3.0, 1, False),
        (True, 2.8, 0, False), (False, 2.8, 1, False), (False, 2.8, 2, True),
    ]  # fmt: skip
    assert not stopping.look(7, {"validation_loss": 0.0}, trusted=False)
    again = EarlyStopping(TrainSettings(patience=4), stopping.to_json())
    assert (again.best, again.best_step, again.waited, again.is_over) == (2.8, 4, 3, False)
    with pytest.raises(ConfigError, match=r"train.patience needs a validation loss"):
        stopping.look(8, {"other": 1.0})
    with pytest.raises(CheckpointError, match="no state of early stopping"):
        EarlyStopping(TrainSettings(), {"best": "0x"})
    assert not EarlyStopping(TrainSettings()).look(1, {})
    with pytest.raises(ConfigError, match="give on_validation"):
        trained(batches(), settings=patient(1))


def test_a_run_that_no_longer_improves_ends_and_gives_its_best_step(tmp_path):
    """Best at step 2, ended at step 3: the model is the average of step 2, its checkpoint is kept, it is said."""
    run = tmp_path / "run"
    best = trained(batches(), run=run, settings=patient(1), on_validation=validated)
    assert_same(best, averages(tmp_path / "two", 2))
    assert [path.name for path in checkpoints(run)] == ["step_00000002", "step_00000003"]
    assert ended(run) == {"step": 3, "reason": "patience", "best_step": 2, "best_validation_loss": 3.0}
    rows = list(csv.DictReader((run / "losses.csv").open()))
    assert [row["validation_loss"] for row in rows if row["validation_loss"]] == ["5", "3", "3.5"]
    assert_same(best, trained(batches(), run=run, settings=patient(1), on_validation=validated))  # does no step
    assert_same(best, trained(batches(), settings=patient(1), on_validation=validated))  # without a folder
    whole = trained(batches(), run=run, settings=patient(2), on_validation=validated)  # more patience goes on
    assert_same(whole, averages(tmp_path / "four", 4))
    assert ended(run) == {"step": 6, "reason": "steps", "best_step": 4, "best_validation_loss": 2.8}


def test_an_interrupted_run_keeps_its_count(tmp_path):
    """Stopped after every step, and gone on with each time: the end of the unbroken run, to the bit."""
    straight = trained(batches(), run=tmp_path / "straight", settings=patient(2), on_validation=validated)
    run = tmp_path / "cut"
    for _ in range(6):
        cut = trained(batches(), run=run, settings=patient(2), on_validation=validated, should_stop=lambda: True)
    assert_same(straight, cut)
    assert ended(run) == ended(tmp_path / "straight")
    assert (run / "losses.csv").read_bytes() == (tmp_path / "straight" / "losses.csv").read_bytes()
    assert [path.name for path in checkpoints(run)] == ["step_00000004", "step_00000006"]
    (run / "checkpoints" / "step_00000004" / "ema.safetensors").write_bytes(b"")
    with pytest.warns(RecoveredWarning, match=r"step_00000004.*the model is that of the last step"):
        trained(batches(), run=run, settings=patient(2), on_validation=validated)


def test_the_validation_loss_is_that_of_one_batch_of_all():
    """Of digits in batches of 30 and 10 by an autoregressive model, whose loss draws nothing: as of 40 at once."""
    torch.manual_seed(0)
    network = {"name": "pixelcnn", "height": 8, "width": 8, "channels": 1, "dim": 8, "blocks": 1}
    model = build_model(CONFIG | {"family": {"name": "autoregressive"}, "encoder": network, "conditions": []})
    model.family.eval()
    whole = batches(40)(0)
    parts = (slice(30), slice(30, 40))
    cut = [Batch({k: v[rows] for k, v in whole.arrays.items()}, whole.mask[rows]) for rows in parts]
    one, two = mean_losses(model, [whole], 0), mean_losses(model, cut, 0)
    assert one == pytest.approx(two, rel=1e-6)
    assert mean_losses(model, cut, 0) == two


def test_the_cost_is_that_of_the_run_and_changes_nothing(tmp_path):
    """A clock that ticks once a look; bytes as the files of the checkpoint have; weights as without it."""
    straight = trained(batches(), run=tmp_path)
    torch.manual_seed(0)
    model = build_model(CONFIG)
    before = torch.get_rng_state()
    settings = TrainSettings(**{**SETTINGS.__dict__, "steps": 500, "keep": 3})
    cost = estimate_cost(model, batches(), settings, machine=CPU, clock=itertools.count().__next__)
    assert torch.equal(torch.get_rng_state(), before)
    assert (cost.steps, cost.seconds, cost.hours) == (500, 1.0, 500 / 3600)
    size = 0
    for part in PARTS:
        path = checkpoints(tmp_path)[-1] / f"{part}.safetensors"
        size += path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
    assert (cost.checkpoint, cost.disk) == (size, 4 * size)
    assert cost.memory is None or cost.memory > 5e7
    assert_same(straight, train(model, batches(), SETTINGS, machine=CPU).family.state_dict())
    many = TrainSettings(**{**settings.__dict__, "accumulate": 24, "minutes": 90.0})
    three, tick = Machine("cpu", 3), itertools.count().__next__
    shared = estimate_cost(model, batches(), many, run=tmp_path, machine=three, clock=tick)
    assert (shared.steps, shared.seconds) == (494, 2.0)  # 8 batches a process, reckoned from 4
    assert shared.hours == pytest.approx(494 * 2 / 3600)
    words = Cost(15_500, 0.4932, 2.1236, 1_934_000_000, 43_000_000, 129_000_000).in_words()
    assert words == (
        "Cost: about 2.1 h (15,500 steps of 0.493 s; validations come on top), 1.93 GB of memory, "
        "129 MB of checkpoints (43.0 MB each)"
    )


class FakeWandb:
    """What of wandb is called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def init(self, **given):
        self.calls.append(given)
        ran = SimpleNamespace(id=given["id"] or "abc", step=4 if given["id"] else 0)
        ran.log = lambda values, step: self.calls.append((step, values["loss"]))
        ran.finish = lambda exit_code: self.calls.append(exit_code)
        return ran


class FakeMlflow:
    """What of mlflow is called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.points: dict[str, list[int]] = {}
        self.run = ""

    def set_experiment(self, name):
        self.calls.append(name)

    def start_run(self, run_name=None, run_id=None):
        self.run = run_id or "xyz"
        self.calls.append((run_name, run_id))

    def active_run(self):
        return SimpleNamespace(info=SimpleNamespace(run_id=self.run))

    def log_params(self, params):
        self.calls.append(params["settings.lr"])

    def log_metrics(self, values, step):
        for name in values:
            self.points.setdefault(name, []).append(step)

    def end_run(self, status):
        self.calls.append(status)

    def MlflowClient(self):
        history = lambda run, name: [SimpleNamespace(step=step) for step in self.points.get(name, [])]  # noqa: E731
        return SimpleNamespace(get_metric_history=history)


def test_loggers_take_each_step_once_and_go_on_in_the_same_place(tmp_path, monkeypatch):
    """Three steps, of which the checkpoint holds two, then to the end: steps 1 to 6 in one run of each logger."""
    wandb, mlflow = FakeWandb(), FakeMlflow()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    run, given = tmp_path / "run", {"loggers": ("wandb", "mlflow")}
    told = iter([None, None, None])
    with pytest.raises(StopIteration):  # after three steps are logged, an error
        trained(batches(), run=run, settings=given, on_progress=lambda _: next(told))
    assert [call[0] for call in wandb.calls[1:-1]] == [1, 2, 3, 4]
    assert wandb.calls[-1] == 1
    trained(batches(), run=run, settings=given)
    opened = [call for call in wandb.calls if isinstance(call, dict)]
    assert [(call["project"], call["name"], call["id"], call["resume"]) for call in opened] == [
        ("protgen", "run", None, "allow"), ("protgen", "run", "abc", "allow"),
    ]  # fmt: skip
    assert opened[0]["config"]["settings"]["lr"] == SETTINGS.lr
    assert wandb.calls[-1] == 0
    assert mlflow.calls == ["protgen", ("run", None), str(SETTINGS.lr), "FAILED", (None, "xyz"), "FINISHED"]
    assert mlflow.points["loss"] == [1, 2, 3, 4, 5, 6]
    assert json.loads((run / "loggers.json").read_text()) == {"wandb": "abc", "mlflow": "xyz"}


def test_mlflow_itself_keeps_the_curve_of_a_run_that_was_stopped(tmp_path, monkeypatch):
    """The real one, where it is installed: each step once, with the values of `losses.csv`."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which needs no database
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    run, given, told = tmp_path / "run", {"loggers": ("mlflow",)}, iter([None, None, None])
    try:
        with pytest.raises(StopIteration):
            trained(batches(), run=run, settings=given, on_progress=lambda _: next(told))
        trained(batches(), run=run, settings=given)
        identity = json.loads((run / "loggers.json").read_text())["mlflow"]
        client = mlflow.MlflowClient()
        points = {point.step: point.value for point in client.get_metric_history(identity, "loss")}
        assert len(client.get_metric_history(identity, "loss")) == 6
        assert client.get_run(identity).info.status == "FINISHED"
    finally:
        mlflow.set_tracking_uri(before)
    with (run / "losses.csv").open(newline="") as file:
        rows = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert points == pytest.approx(rows, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [("wandb", r"logger=wandb needs wandb, not installed here: pip install 'protgen\[wandb\]'"),
     ("mlflw", "no logger 'mlflw': did you mean 'mlflow'")],
)  # fmt: skip
def test_a_logger_that_is_not_there_is_one_line(tmp_path, monkeypatch, name, words):
    """Before anything is written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=words):
        trained(batches(), run=tmp_path / "run", settings={"loggers": (name,)})
    assert not list(tmp_path.iterdir())
