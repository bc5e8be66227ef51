"""What goes wrong in training: losses without meaning, damaged checkpoints, full disks, two runs in one folder."""

import errno
import json
import math
import os
import warnings

import numpy as np
import pytest
import torch
from test_training_batches import assert_same, batches, trained

from protgen import atomic
from protgen.errors import CheckpointError, ConfigError, DivergedError, LockedError, RecoveredWarning
from protgen.folder_lock import locked
from protgen.integrity import fingerprints, sealed
from protgen.models import files
from protgen.models.files import load_tensors, save_tensors
from protgen.training.checkpoint import best_averages, checkpoints, newest_checkpoint, save_checkpoint, snapshot
from protgen.training.curve import LossCurve, rows_until
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.guard import LossGuard
from protgen.training.settings import TrainSettings
from protgen.types import Batch


def cut(run, steps: int, **settings):
    """A run of six steps that is stopped after some of them, with a checkpoint at each."""
    asked = iter([False] * (steps - 1) + [True])
    return trained(batches(), run=run, settings=settings, should_stop=lambda: next(asked))


def step(loss: float, norm: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "loss_a": 2.0, "grad_norm": norm}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_once(value):
    """The loss or any part of it, named."""
    with pytest.raises(DivergedError, match=f"^loss is {value}$"):
        LossGuard().look(step(value))
    with pytest.raises(DivergedError, match=f"^loss a is {value}$"):
        LossGuard().look(step(1.0) | {"loss_a": value})


def test_steps_left_out_stop_a_run_at_the_tenth_in_a_row():
    """Nine, one that is taken, and nine more go on; the tenth of a row stops."""
    guard = LossGuard()
    for norm in [math.inf] * 9 + [1.0] + [math.nan] * 9:
        guard.look(step(1.0, norm))
        assert guard.suspicious == (norm != 1.0)
    with pytest.raises(DivergedError, match="10 steps in a row"):
        guard.look(step(1.0, math.inf))


def test_an_exploded_loss_is_a_thousand_times_one_and_the_median():
    """A median of 3 gives a bound of 4,000: at it a loss is usual, above it ten in a row stop the run."""
    guard = LossGuard()
    for loss in (-3.0, 1.0, 5.0, 3.0, 3.0):
        guard.look(step(loss))
    guard.look(step(-4000.0))
    assert not guard.suspicious
    for _ in range(9):
        guard.look(step(4000.1))
        assert guard.suspicious
    guard.look(step(4000.0))
    for _ in range(9):
        guard.look(step(-5000.0))
    with pytest.raises(DivergedError, match=r"the loss is -5e\+03.*usual size \(3\) for 10 steps"):
        guard.look(step(-5000.0))


def test_a_diverged_run_names_its_batch_and_keeps_its_checkpoint(tmp_path):
    """A pixel without a number in the fifth batch: four steps are kept, with their weights, and the batch is named."""
    source = batches()

    def spoilt(number: int) -> Batch:
        batch = source(number)
        if number != 4:
            return batch
        return Batch({**batch.arrays, "pixels": batch["pixels"].float() * math.nan}, batch.mask)

    with pytest.raises(DivergedError, match=r"^step 5: loss.* is nan, at batch 4; .*step_00000004 is kept"):
        trained(spoilt, run=tmp_path / "run")
    cut(tmp_path / "good", 4)
    held, expected = newest_checkpoint(tmp_path / "run"), newest_checkpoint(tmp_path / "good")
    assert_same(load_tensors(held / "weights.safetensors"), load_tensors(expected / "weights.safetensors"))
    about = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert (about["step"], about["batch"], about["items"]) == (5, 4, [])


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path):
    """Neither weights nor averages nor moments; the checkpoint before stays."""
    module = torch.nn.Linear(2, 1)
    ema, optimizer = ExponentialMovingAverage(module, 0.9), torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    counters = {"ema_updates": 0, "step": 1}
    first = save_checkpoint(tmp_path, counters, snapshot(module, ema, optimizer).items(), keep=1)
    for tensor, part in (
        (module.weight.data, "weights: weight"),
        (ema.shadow["bias"], "ema: bias"),
        (optimizer.state[module.weight]["exp_avg"], r"optimizer: weight\|exp_avg"),
    ):
        before = tensor.clone()
        tensor[..., 0] = math.inf
        with pytest.raises(DivergedError, match=part):
            save_checkpoint(tmp_path, counters | {"step": 2}, snapshot(module, ema, optimizer).items(), keep=1)
        tensor.copy_(before)
    assert checkpoints(tmp_path) == [first]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", math.inf), ("lr", -1e-3), ("lr", math.nan), ("muon_lr", 11.0), ("ema", 2.0), ("ema", 1.0),
        ("steps", 0), ("steps", -5), ("cooldown", 1.5), ("weight_decay", -0.1), ("clip", 0.0), ("keep", 0),
        ("warmup", -1), ("minutes", math.inf), ("log_every", 0), ("seed", 2**64),
    ],
)  # fmt: skip
def test_settings_outside_their_ranges_are_refused(name, value):
    """In one line that names the setting."""
    with pytest.raises(ConfigError, match=f"^train.{name} is .*; give a number"):
        TrainSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", "a", 'train.steps is "a"; give a whole number'),
        ("steps", None, "train.steps is null; give a whole number"),
        ("warmup", 2.5, "train.warmup is 2.5; give a whole number"),
        ("keep", True, "train.keep is true; give a whole number"),
        ("lr", [1e-3], "train.lr is .*; give a number"),
        ("dropout", 0.5, "train.dropout is 0.5; give numbers by name"),
    ],
)
def test_settings_that_are_no_numbers_are_refused(name, value, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        TrainSettings(**{name: value})
    assert TrainSettings(steps=np.int64(3), lr=np.float32(0.5), minutes=2, patience=None).steps == 3


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [("ema", 1.0, "from 0 to 0.999999999"), ("clip", 0.0, "that is at least 1e-12"), ("lr", 11.0, "from 0 to 10")],
)
def test_the_range_that_is_said_is_the_one_that_is_taken(name, value, range_):
    """Its ends are taken, as 1 of 'from 0 to 1' would not be."""
    with pytest.raises(ConfigError, match=f"^train.{name} is {value}; give a number {range_}$"):
        TrainSettings(**{name: value})
    assert TrainSettings(**{name: float(range_.split()[-1])}) is not None


def damage_by_cut(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return "weights.safetensors has"


def damage_by_flip(folder):
    path = folder / "ema.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    return "ema.safetensors has other bytes"


def damage_by_swap(folder):
    earlier = folder.with_name("step_00000003") / "optimizer.safetensors"
    (folder / "optimizer.safetensors").write_bytes(earlier.read_bytes())
    return "optimizer.safetensors has other bytes"


def damage_by_another_step(folder):
    state = folder / "state.json"
    state.write_text((folder.with_name("step_00000003") / "state.json").read_text())
    return "optimizer|weights|ema|step"


def damage_by_edit(folder):
    state = folder / "state.json"
    state.write_text(state.read_text().replace('"ema_updates": 4', '"ema_updates": 5'))
    return "other content"


def damage_by_loss(folder):
    (folder / "ema.safetensors").unlink()
    return "ema.safetensors is missing"


def damage_by_emptying(folder):
    (folder / "state.json").write_text("")
    return "not JSON"


def damage_of_old_kind(folder):
    """Not a number in a checkpoint that has no checksums."""
    path = folder / "weights.safetensors"
    tensors = load_tensors(path)
    next(iter(tensors.values())).view(-1)[0] = math.nan
    save_tensors(tensors, path)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({k: state[k] for k in ("step", "minutes", "ema_updates")}))
    return "not finite"


def damage_of_state(**values):
    """Values of the counters replaced (None: left out) under a seal made anew."""

    def damage(folder):
        path = folder / "state.json"
        state = json.loads(path.read_text()) | values
        path.write_text(json.dumps(sealed({key: x for key, x in state.items() if x is not None and key != "seal"})))
        return r"state\.json: (" + "|".join(values) + "|is of|does not|'more' is|best_step|waited)"

    return damage


def damage_of_tensors(part, change):
    """Tensors of a part changed under a checksum and a seal made anew."""

    def damage(folder):
        path = folder / f"{part}.safetensors"
        tensors = load_tensors(path)
        change(tensors)
        save_tensors(tensors, path)
        state = json.loads((folder / "state.json").read_text())
        state["files"] |= fingerprints(folder, [path.name])
        (folder / "state.json").write_text(json.dumps(sealed({k: x for k, x in state.items() if k != "seal"})))
        return part

    return damage


def each(key, change):
    """Change the tensors whose names end so."""

    def all_of(tensors):
        tensors.update({name: change(value) for name, value in tensors.items() if name.endswith(key)})

    return all_of


def damage_by_doubling(folder):
    """A name twice in the header of the averages."""
    path = folder / "ema.safetensors"
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    text = data[8:end].decode()
    name, entry = next(iter(json.loads(text).items()))
    header = ("{" + json.dumps({name: entry})[1:-1] + "," + text[1:]).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[end:])
    state = json.loads((folder / "state.json").read_text())
    state["files"] |= fingerprints(folder, [path.name])
    (folder / "state.json").write_text(json.dumps(sealed({k: x for k, x in state.items() if k != "seal"})))
    return "given twice"


SUMS = {"loss": (1.5).hex()}
STATES = {
    "no files": {"files": None}, "files of one": {"files": {"weights.safetensors": {"bytes": 1, "sha256": ""}}},
    "files of a list": {"files": []}, "many updates": {"ema_updates": 10**30}, "updates beyond": {"ema_updates": 5},
    "updates of a flag": {"ema_updates": True}, "no updates": {"ema_updates": None},
    "a step of 10**30": {"step": 10**30}, "a step as a number": {"step": 4.0}, "minutes of text": {"minutes": "1"},
    "minutes below 0": {"minutes": -1},
    "minutes of 1e308": {"minutes": 1e308}, "more": {"more": 1}, "averages of a list": {"averages": [1]},
    "averages of a number": {"averages": 3}, "averages of nothing": {"averages": {}},
    "sums of numbers": {"averages": {"sums": {"loss": 1.5}, "count": 1}},
    "sums of text": {"averages": {"sums": {"loss": "x"}, "count": 1}},
    "sums too large": {"averages": {"sums": {"loss": "0x1p99999"}, "count": 1}},
    "sums of a list": {"averages": {"sums": [], "count": 1}},
    "a name of two lines": {"averages": {"sums": {"a\nb": "0x1p0"}, "count": 1}},
    "a count of text": {"averages": {"sums": SUMS, "count": "1"}},
    "a count below 0": {"averages": {"sums": SUMS, "count": -1}},
    "no count": {"averages": {"sums": SUMS}}, "a count of nothing": {"averages": {"sums": SUMS, "count": 0}},
    "a count beyond": {"averages": {"sums": SUMS, "count": 5}},
    "stopping of a list": {"stopping": [1]},
    "stopping beyond": {"stopping": {"best": "0x1p0", "best_step": 9, "waited": 0}},
    "stopping of a list of steps": {"stopping": {"best": "0x1p0", "best_step": [1], "waited": 0}},
    "waited too long": {"stopping": {"best": "0x1p0", "best_step": 1, "waited": 10**30}},
}  # fmt: skip
TENSORS = {
    "NaN": ("ema", each("", lambda x: x * math.nan)),
    "float64 of 1e300": ("weights", each("", lambda x: torch.full_like(x, 1e300, dtype=torch.float64))),
    "whole numbers": ("weights", each("", lambda x: x.long())),
    "flags": ("ema", each("", lambda x: x.bool())),
    "half moments": ("optimizer", each("|exp_avg", lambda x: x.half())),
    "steps beyond": ("optimizer", each("|step", lambda x: x + 9)),
    "steps below": ("optimizer", each("|step", lambda x: x - 9)),
}


@pytest.mark.parametrize("name", STATES)
def test_strange_counters_are_passed_over_for_the_checkpoint_before(tmp_path, name):
    """Sealed anew, as who means harm would: the run goes on from the step before, and a warning says why."""
    assert_recovers(tmp_path, damage_of_state(**STATES[name]))


@pytest.mark.parametrize("name", [*TENSORS, "a name twice"])
def test_strange_tensors_are_passed_over_for_the_checkpoint_before(tmp_path, name):
    """The same of the tensors, under checksums made anew."""
    assert_recovers(tmp_path, damage_of_tensors(*TENSORS[name]) if name in TENSORS else damage_by_doubling)


def assert_recovers(run, damage):
    """A run of two steps whose second checkpoint is damaged goes on from the first."""
    cut(run, 4)
    reason = damage(run / "checkpoints" / "step_00000004")
    with pytest.warns(RecoveredWarning, match=rf"step_00000004.*({reason}).*going on from .*step_00000003$"):
        cut(run, 1)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("weights", lambda x: x.update(stranger=torch.zeros(2)), "stranger"),
        ("ema", lambda x: x.pop(min(x)), "does not fit"),
        ("weights", lambda x: x.update({min(x): torch.zeros(1, 2, 3)}), "does not fit"),
        ("optimizer", lambda x: x.update({"stranger|step": torch.tensor(1.0)}), r"moments stranger\|step"),
        ("optimizer", lambda x: x.update({f"{min(x)[: min(x).index('|')]}|exp_avg": torch.tensor(1.0)}), "exp_avg"),
        ("optimizer", lambda x: x.pop(next(name for name in x if name.endswith("|exp_avg_sq"))), "exp_avg_sq"),
        ("optimizer", each("|exp_avg", lambda x: x[None]), "exp_avg"),
    ],
)
def test_tensors_of_another_model_are_refused_before_they_are_mapped(tmp_path, monkeypatch, part, change, words):
    """An extra one, one that is missing, one of another shape, and moments that the optimizer does not have."""
    cut(tmp_path, 2)
    (newest,) = [path for path in checkpoints(tmp_path) if path.name == "step_00000002"]
    damage_of_tensors(part, change)(newest)
    mapped, load = [], files.load_file
    monkeypatch.setattr(files, "load_file", lambda path: mapped.append(path.name) or load(path))
    with pytest.raises(CheckpointError, match=rf"does not fit this model \(.*{words}|{words}.*use the run's own"):
        cut(tmp_path, 1)
    assert f"{part}.safetensors" not in mapped


def test_an_oversized_tensor_of_a_checkpoint_is_refused_before_it_is_read(tmp_path):
    """40 GB that are a hole on the disk: neither checksum nor mapping begins."""
    cut(tmp_path, 4)
    path = tmp_path / "checkpoints" / "step_00000004" / "weights.safetensors"
    os.truncate(path, 40_000_000_000)
    with pytest.warns(RecoveredWarning, match="weights.safetensors has 40,000,000,000 bytes"):
        cut(tmp_path, 1)


def test_the_best_averages_of_another_model_are_refused(tmp_path):
    """They would otherwise be loaded where a run ends."""
    module = torch.nn.Linear(2, 1)
    ema, optimizer = ExponentialMovingAverage(module, 0.9), torch.optim.AdamW(module.parameters())
    save_checkpoint(tmp_path, {"ema_updates": 0, "step": 1}, snapshot(module, ema, optimizer).items(), keep=1)
    assert_same(best_averages(tmp_path, 1, ema.shadow), ema.shadow)
    with pytest.raises(CheckpointError, match=r"does not fit this model \(weight\)"):
        best_averages(tmp_path, 1, torch.nn.Linear(3, 1).state_dict())


DAMAGES = [
    damage_by_cut, damage_by_flip, damage_by_swap, damage_by_another_step, damage_by_edit, damage_by_loss,
    damage_by_emptying, damage_of_old_kind,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, damage):
    """The warning names both, stray names are left alone, and the end is that of an unbroken run to the bit."""
    straight = trained(batches(), run=tmp_path / "straight")
    run = tmp_path / "run"
    cut(run, 4)
    folder = run / "checkpoints" / "step_00000004"
    reason = damage(folder)
    (run / "checkpoints" / "step_00000009.bak").mkdir()
    (run / "checkpoints" / "step_best").mkdir()
    (run / "checkpoints" / "step_00000099").write_text("a file")
    with pytest.warns(RecoveredWarning, match=rf"step_00000004.*({reason}).*going on from .*step_00000003$"):
        assert_same(straight, trained(batches(), run=run))
    assert (run / "losses.csv").read_bytes() == (tmp_path / "straight" / "losses.csv").read_bytes()
    assert (run / "checkpoints" / "step_00000099").is_file()


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path):
    """All damaged: nothing begins anew by itself."""
    cut(tmp_path, 4)
    for folder in checkpoints(tmp_path):
        damage_by_cut(folder)
    with pytest.raises(CheckpointError, match=r"step_00000004.*step_00000003.*no checkpoint before it"):
        trained(batches(), run=tmp_path)


def test_each_checkpoint_that_is_passed_over_is_named(tmp_path):
    """With its reason, and no advice about models: `protgen models` lists no checkpoint."""
    cut(tmp_path, 5, keep=3)
    for folder in checkpoints(tmp_path)[1:]:
        (folder / "state.json").write_text("{")
    with pytest.warns(RecoveredWarning) as caught:
        cut(tmp_path, 1)
    (line,) = [str(one.message) for one in caught if one.category is RecoveredWarning]
    parts = line.split("; ")
    assert ["step_00000005" in parts[0], "step_00000004" in parts[1], "step_00000003" in parts[2]] == [True] * 3
    assert parts[2].startswith("going on from ")
    assert "protgen models" not in line


def test_a_checkpoint_of_later_steps_goes_when_an_earlier_one_is_written(tmp_path):
    """Of steps 3 and 4, 4 is damaged: the run that goes on from 3 and is stopped at 4 again keeps 3 and its own 4."""
    cut(tmp_path, 5, keep=3)
    for number in (4, 5):
        damage_by_cut(tmp_path / "checkpoints" / f"step_{number:08d}")
    with pytest.warns(RecoveredWarning):
        cut(tmp_path, 1, keep=3)
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000003", "step_00000004"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecoveredWarning)
        cut(tmp_path, 1)


def test_averages_and_curve_go_on_across_an_interruption(tmp_path):
    """Logged every second step and cut at the third: the curve is the unbroken run's in every byte."""
    often = {"log_every": 2}
    straight = trained(batches(), run=tmp_path / "straight", settings=often)
    run = tmp_path / "cut"
    cut(run, 3, **often)
    rows = (run / "losses.csv").read_text()
    assert len(rows.splitlines()) == 2
    (run / "losses.csv").write_text(rows + rows.splitlines()[1].replace("2,", "4,", 1) + "\n5,0.1")
    assert_same(straight, trained(batches(), run=run, settings=often))
    assert (run / "losses.csv").read_bytes() == (tmp_path / "straight" / "losses.csv").read_bytes()


def test_a_curve_is_rolled_back_to_its_checkpoint(tmp_path):
    """Rows after step 20 and a row that was cut go; a file that is no table is begun anew with a warning."""
    path = tmp_path / "losses.csv"
    path.write_text("step,loss\n10,1.5\n20,1.25\n30,1\n,\n4")
    curve = LossCurve(tmp_path, 20)
    assert path.read_bytes() == b"step,loss\r\n10,1.5\r\n20,1.25\r\n"
    curve.add(30, {"loss": 0.5, "more": 2.0})
    assert path.read_bytes() == b"step,loss,more\r\n10,1.5,\r\n20,1.25,\r\n30,0.5,2\r\n"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.warns(RecoveredWarning, match=r"losses\.csv"):
        assert rows_until(path, 20) == []


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path, monkeypatch):
    """No room from the second checkpoint on."""
    source = batches()
    cut(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in newest_checkpoint(tmp_path).iterdir()}

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "sync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device\); .*step_00000002 is kept"):
        trained(source, run=tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in newest_checkpoint(tmp_path).iterdir()} == before
    assert_same(trained(source), trained(source, run=tmp_path))


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    """The second one names the first, and takes no step."""
    with locked(tmp_path, "protgen train"), pytest.raises(LockedError, match="in use by protgen train, process"):
        trained(batches(), run=tmp_path)
    assert not checkpoints(tmp_path)
    cut(tmp_path, 1)
    assert len(checkpoints(tmp_path)) == 1
