"""A student that learns its teacher's designs in few steps, from the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from protgen.cli.train_config import load_config
from protgen.cli.train_distil import asked_of
from protgen.data.dataset import collate
from protgen.data.store import Item
from protgen.errors import ConfigError
from protgen.generation.design import settings_for
from protgen.models.model import load_model
from protgen.structure.ideal import ideal_helix

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(tiny_store, tmp_path):
    return (
        "train", f"data.store={tiny_store}", f"run={tmp_path / 'run'}", "train.steps=2", "train.warmup=0",
        "train.max_pairs_per_batch=4000", "validation.samples=0", "validation.batches=1", "train.bf16=false",
        "machine.accelerator=cpu", "distil.ways=6", "distil.steps=2", "distil.teacher_steps=4",
    )  # fmt: skip


def test_a_student_begins_as_its_teacher_and_says_how_it_is_sampled(cli, arguments, tiny_model, tmp_path):
    done = cli(*arguments, f"distil.model={tiny_model}", "train.lr=1e-12", "distil.guidance=3")
    assert done.code == 0, done.err
    folder = tmp_path / "run" / "model"
    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, folder))
    assert before.keys() == after.keys()
    assert all((after[name] - value).abs().max() < 1e-5 for name, value in before.items())
    student = load_model(folder)
    settings = settings_for(student)
    assert (settings.steps, settings.guidance, settings.autoguidance, settings.temperature) == (2, 1.0, 1.0, 0.8)
    taught = student.config["about"]["teacher"]
    assert (taught["steps"], taught["guidance"], taught["guidance_interval"]) == (4, 3.0, [0.25, 1.0])
    done = cli("sample", "--model", folder, "--length", "40", "--out", tmp_path / "designs")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "designs" / "run.json").read_text())["request"]["settings"]["steps"] == 2


def test_a_student_may_begin_from_another_student_and_learn_from_its_teacher(cli, arguments, tiny_model, tmp_path):
    """In fewer steps; the ways are its teacher's, and so are what it says of it."""
    taught = f"distil.model={tiny_model}"
    assert cli(*arguments, taught, "train.lr=1e-2", "distil.steps=4").code == 0
    first = tmp_path / "run" / "model"
    fewer = (*arguments, taught, f"start={first}", f"run={tmp_path / 'fewer'}", "train.lr=1e-12")
    done = cli(*fewer)
    assert done.code == 0, done.err
    teacher, before, after = (
        load_file(path / "model.safetensors") for path in (tiny_model, first, tmp_path / "fewer" / "model")
    )
    assert all((after[name] - value).abs().max() < 1e-5 for name, value in before.items())
    assert any((after[name] - value).abs().max() > 1e-3 for name, value in teacher.items())
    student = load_model(tmp_path / "fewer" / "model").config
    assert (student["sampling"]["steps"], student["about"]["teacher"]["model"]) == (2, str(tiny_model))
    cli(*fewer[:-1], "start=flow-small").assert_failed(2, "start=flow-small")


def test_a_student_learns_at_a_low_rate_unless_another_is_given(tiny_store, tiny_model):
    plain = (f"data.store={tiny_store}", f"distil.model={tiny_model}")
    assert (load_config(plain).settings.lr, load_config(plain).settings.steps) == (1.5e-4, 3_000)
    given = load_config((*plain, "train.lr=2e-3", "+train.steps=7")).settings
    assert (given.lr, given.steps, given.warmup) == (2e-3, 7, 50)


def test_a_dry_run_says_what_the_ways_cost(cli, arguments, tiny_model, tmp_path):
    done = cli(*arguments, f"distil.model={tiny_model}", "--dry-run")
    assert done.code == 0, done.err
    assert "Ways: about" in done.err
    assert "Cost: about" in done.out
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_student_goes_on_to_the_bit(cli, arguments, tiny_model, tmp_path):
    """Two steps at once, and one and one more."""
    one = [word for word in arguments if not word.startswith(("run=", "train.steps"))]
    taught = f"distil.model={tiny_model}"
    for run, counts in (("straight", (2,)), ("cut", (1, 2))):
        for count in counts:
            done = cli(*one, taught, f"run={tmp_path / run}", f"train.steps={count}", "train.cooldown=0")
            assert done.code == 0, done.err
    straight, cut = (
        load_file(tmp_path / run / "checkpoints" / "step_00000002" / "weights.safetensors")
        for run in ("straight", "cut")
    )
    assert all((cut[name] == value).all() for name, value in straight.items())


def test_a_model_of_pictures_is_distilled(cli, tmp_path):
    plain = (
        "train", "data=digits", "data.batch=16", "train.warmup=0", "validation.samples=0", "validation.batches=1",
        "machine.accelerator=cpu", "train.steps=1",
    )  # fmt: skip
    teacher = tmp_path / "teacher"
    small = ("encoder.dim=16", "family=flow_matching", f"run={teacher}")
    done = cli(*plain, *small)
    assert done.code == 0, done.err
    done = cli(
        *plain, f"run={tmp_path / 'student'}", f"distil.model={teacher / 'model'}", "distil.steps=1",
        "distil.teacher_steps=2", "distil.guidance=2", "distil.ways=5",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert load_model(tmp_path / "student" / "model").config["about"]["teacher"]["guidance"] == 2


def test_items_of_several_chains_are_refused(tiny_model, tiny_store):
    """Ways keep no chains, so that a student would take the gap between two for a bond."""
    config = load_config((f"data.store={tiny_store}", f"distil.model={tiny_model}"))
    own = {"chain_index": np.repeat([0, 1], 6).astype(np.uint8)}
    ideal = ideal_helix(12).astype(np.float32)
    item = Item("two", ideal, np.zeros(12, np.uint8), np.arange(12, dtype=np.int32), "train", "1", residue=own)
    with pytest.raises(ConfigError, match="several chains"):
        asked_of(load_model(tiny_model), collate([item]), config, 0)
    single = asked_of(load_model(tiny_model), collate([replace(item, residue={})]), config, 0)
    assert single.mask.sum() == 12


def test_what_does_not_go_with_a_teacher_is_one_line(cli, arguments, tiny_model):
    taught = f"distil.model={tiny_model}"
    for extra, words in (
        ((taught, "encoder.dim=48"), ("encoder.dim=48", "leave it out")),
        ((taught, "experiment=flow_tiny"), ("experiment=flow_tiny", "leave it out")),
        ((taught, "distil.teacher_steps=5"), ("no multiple", "teacher_steps")),
        ((taught, "distil.autoguidance=2"), ("autoguidance needs",)),
        ((taught, "machine.sharding=fsdp"), ("machine.sharding",)),
        ((taught, "distil.stepps=3"), ("distil.stepps", "steps")),
        (("distil.model=vae-small",), ("vae-small", "flow_matching")),
        (("distil.model=flow-smal",), ("flow-small",)),
    ):
        cli(*arguments, *extra).assert_failed(2, *words)
