"""Training on any source of batches: the same weights by each road, exact resume, and what is refused."""

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from protgen.data.image_files import load_images
from protgen.data.images import ImageBatches, binarise
from protgen.errors import ConfigError, DataError, UsageError
from protgen.models.model import build_model
from protgen.training.batches import Ahead, IterableBatches, source_of
from protgen.training.loop import train
from protgen.training.schedule import Budget, learning_rate
from protgen.training.settings import Machine, TrainSettings
from protgen.types import Batch

CPU = Machine("cpu")
CONFIG = {
    "space": {"name": "image", "height": 8, "width": 8, "channels": 1, "levels": 2, "binary": True},
    "encoder": {"name": "perceptron", "height": 8, "width": 8, "channels": 1, "scalar_dim": 1, "dim": 16},
    "family": {"name": "vae", "latent_dim": 4, "pool": True, "warmup": 0},
    "conditions": ["class_label"],
}
SETTINGS = TrainSettings(steps=6, warmup=1, bf16=False, log_every=1, validate_every=100, checkpoint_minutes=0)


def batches(size: int = 50) -> ImageBatches:
    """Digits, binarised anew each time."""
    images = load_images("digits").of("train")
    return ImageBatches(images, size, 3, lambda batch, rng: binarise(batch, images.levels, rng))


def trained(source, config=None, **keywords):
    """Weights after training a model of one seed on a source."""
    torch.manual_seed(0)
    keywords = {"machine": CPU} | keywords
    model = train(build_model(config or CONFIG), source, replace(SETTINGS, **keywords.pop("settings", {})), **keywords)
    return model.family.state_dict()


def assert_same(a, b) -> None:
    """Equal in every bit."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def test_reading_ahead_gives_each_step_its_batches_and_reads_none_beyond_the_run():
    """One step ahead of what is asked for, by one thread; the same as without, also after a leap."""
    read, threads = [], set()

    def batches_of(step: int) -> list[int]:
        read.append(step)
        threads.add(threading.current_thread().name)
        return [step, -step]

    with Ahead(batches_of, 4, on=True) as ahead:
        assert ahead(0) == [0, 0]
        assert [ahead(step) for step in (1, 2, 3)] == [[1, -1], [2, -2], [3, -3]]
    assert read == [0, 1, 2, 3]
    assert len(threads) == 2  # this one for the first step, and the reader
    with Ahead(batches_of, 10, on=True) as ahead:
        assert ahead(2) == [2, -2]
        assert ahead(7) == [7, -7]  # not the step that was read ahead
    read.clear()
    with Ahead(batches_of, 4, on=False) as ahead:
        assert ahead(0) == [0, 0]
    assert read == [0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_with_batches_read_ahead_gives_the_same_bytes(monkeypatch, accumulate):
    """As on a GPU, from a function and from an iterable that is read in order."""
    source = batches()
    listed = [source(i) for i in range(5)]
    settings = {"accumulate": accumulate}
    plain = [trained(given, settings=settings) for given in (source, listed)]
    monkeypatch.setattr("protgen.training.loop.Ahead", lambda read, steps, on: Ahead(read, steps, True))
    for given, weights in zip((source, listed), plain, strict=True):
        assert_same(trained(given, settings=settings), weights)


def test_an_error_in_reading_ahead_is_raised_at_its_step():
    """Not at the step before, during which it happens, nor when the run ends before that step."""

    def batches_of(step: int) -> list[int]:
        if step == 2:
            raise DataError("no item")
        return [step]

    with Ahead(batches_of, 5, on=True) as ahead:
        assert ahead(0) == [0]
        assert ahead(1) == [1]
        with pytest.raises(DataError, match="no item"):
            ahead(2)
    with Ahead(batches_of, 5, on=True) as ahead:
        assert ahead(1) == [1]


def test_minutes_on_a_gpu_are_minutes_by_the_clock(monkeypatch):
    """A minute asleep counts there, and not on a CPU."""
    now = {"process_time": 7.0, "monotonic": 1000.0}
    monkeypatch.setattr(time, "process_time", lambda: now["process_time"])
    monkeypatch.setattr(time, "monotonic", lambda: now["monotonic"])
    cpu, gpu = Budget(10, 2, 5.0, spent=2.5), Budget(10, 2, 5.0, spent=2.5, device="cuda")
    now["monotonic"] += 60
    assert cpu.spent() == 2.5
    assert gpu.spent() == 3.5
    now["process_time"] += 30
    assert cpu.spent() == 3.0
    assert gpu.progress(0) == 0.7
    now["monotonic"] += 90
    assert gpu.is_spent()
    assert not cpu.is_spent()


def test_a_function_a_list_and_a_generator_train_alike():
    """The list is shorter than the run and begun again; the function gives what the list gives then."""
    source = batches()
    listed = [source(i) for i in range(4)]
    by_list = trained(listed)
    assert_same(by_list, trained(lambda step: listed[step % 4]))
    assert_same(by_list, trained(listed[i % 4] for i in range(6)))


def test_resuming_is_exact_whatever_the_source(tmp_path):
    """Six steps at once, and three and three from the run folder: the same weights, by function and by list."""
    source = batches()
    straight = trained(source, run=tmp_path / "straight")
    for name, given in (("function", source), ("list", [source(i) for i in range(6)])):
        asked = iter([False, False, True])
        trained(given, run=tmp_path / name, should_stop=lambda asked=asked: next(asked))
        assert max(p.name for p in (tmp_path / name / "checkpoints").iterdir()) == "step_00000003"
        assert_same(straight, trained(given, run=tmp_path / name))


def test_batches_of_images_depend_on_seed_and_step_alone():
    """Asked for in any order; pixels are drawn anew in the next epoch."""
    source = batches(400)
    seen = [source(step) for step in range(8)]
    for step in (7, 0, 3):
        assert torch.equal(batches(400)(step)["pixels"], seen[step]["pixels"])
    first, again = (torch.cat([seen[k]["class_label"] for k in epoch]) for epoch in ((0, 1, 2), (3, 4, 5)))
    assert len(first) == len(again)
    assert not torch.equal(first, again)


def test_an_iterable_passes_over_what_is_not_asked_for():
    """Of two processes each takes every second batch."""
    numbered = [Batch({"n": torch.tensor([i])}, torch.ones(1, 1, dtype=torch.bool)) for i in range(5)]
    source = IterableBatches(numbered)
    assert [int(source(i)["n"]) for i in (1, 3, 5, 7)] == [1, 3, 0, 2]


def test_sources_that_give_too_little_are_one_line():
    """An iterator that ends, an empty list, a number, batches without a field that is needed."""
    source = batches()
    with pytest.raises(DataError, match="no more batches after 3"):
        trained(source(i) for i in range(3))
    with pytest.raises(DataError, match="no more batches after 0"):
        trained([])
    with pytest.raises(UsageError, match="cannot take batches from a int"):
        source_of(7, SETTINGS)  # type: ignore[arg-type]
    nameless = Batch({"pixels": source(0)["pixels"]}, source(0).mask)
    with pytest.raises(ConfigError, match=r"class_label needs the field class_label.*it has pixels"):
        trained([nameless])
    with pytest.raises(DataError, match="no field 'pixels'; it has class_label"):
        trained([Batch({"class_label": source(0)["class_label"]}, source(0).mask)])


def test_nothing_is_left_behind_without_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    trained(batches(), on_progress=told.append, on_validation=lambda model, step, run: {"run": float(run is None)})
    assert [p.step for p in told] == [1, 2, 3, 4, 5, 6]
    assert not list(tmp_path.iterdir())


def test_dropout_changes_what_is_known_and_nothing_else():
    """At its own value it gives the same weights in every bit; at another it does not."""
    own = trained(batches())
    assert_same(own, trained(batches(), settings={"dropout": {"class_label": 0.2}}))
    other = trained(batches(), settings={"dropout": {"class_label": 0.9}})
    assert any(not torch.equal(own[name], other[name]) for name in own)


def test_minutes_end_a_run_and_rule_the_learning_rate():
    """A run of 10^9 steps ends after 0.02 minutes, near the smallest rate and validated."""
    told, seen = [], []
    settings = {"steps": 10**9, "minutes": 0.02, "validate_every": 10**9}
    trained(batches(), settings=settings, on_progress=told.append, on_validation=lambda m, s, r: seen.append(s) or {})
    assert told[-1].losses["lr"] < 0.2 * SETTINGS.lr
    assert seen == [told[-1].step]
    budget = Budget(10, 2, 5.0, spent=2.5)
    assert budget.progress(0) == pytest.approx(0.5, abs=0.01)
    assert not budget.is_spent()


def test_the_learning_rate_is_a_warm_up_and_half_a_cosine():
    """Closed form at the ends and half way."""
    budget = Budget(1000, 100, None)
    rates = [learning_rate(2.0, step, 100, budget.progress(step)) for step in range(1000)]
    np.testing.assert_allclose(rates[:100], 2.0 * np.arange(1, 101) / 100)
    assert rates[100] == 2.0
    assert rates[550] == pytest.approx(2.0 * (0.02 + 0.98 / 2))
    assert rates[999] == pytest.approx(2.0 * 0.02, rel=1e-3)
    assert all(a >= b for a, b in itertools.pairwise(rates[100:]))


def test_a_rate_that_cools_down_late_stays_at_its_peak_until_then():
    """Closed form: of 900 steps after the warm-up the last 180 are half a cosine."""
    budget = Budget(1000, 100, None)
    rates = [learning_rate(2.0, step, 100, budget.progress(step), cooldown=0.2) for step in range(1000)]
    assert rates[100:821] == [2.0] * 721
    assert rates[910] == pytest.approx(2.0 * (0.02 + 0.98 / 2))
    assert rates[999] == pytest.approx(2.0 * 0.02, rel=1e-2)


def test_the_former_name_of_the_batch_size_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match="max_pairs_per_batch"):
        settings = TrainSettings(pairs=7)
    assert settings.max_pairs_per_batch == 7
    assert replace(settings, steps=3).max_pairs_per_batch == 7


def test_a_dropout_is_the_fraction_that_is_unknown():
    """Of 4,000 draws, within four standard errors."""
    batch = batches()(0)
    conditions = build_model(CONFIG).conditions
    rng = Generator().manual_seed(0)
    for rate in (0.2, 0.7):
        dropout = conditions.dropouts({"class_label": rate})
        flags = torch.cat([conditions.from_data(batch, rng, dropout).globals[:, -1] for _ in range(80)])
        assert float(1 - flags.mean()) == pytest.approx(rate, abs=4 * (rate * (1 - rate) / len(flags)) ** 0.5)
