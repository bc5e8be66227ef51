"""Training from a configuration: what a run leaves, exact resume, and what a wrong configuration says."""

import json
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from protgen.cli.interruption import Interrupted, deferred, interruptible
from protgen.cli.train import prepare_model
from protgen.cli.train_config import choices, compose, config_folder, load_config
from protgen.cli.train_start import sampled_as
from protgen.data.dataset import collate
from protgen.data.store import Store
from protgen.families.base import ClosedFormFamily
from protgen.generation.design import settings_for
from protgen.models.model import build_model, load_model, with_guide
from protgen.training.loop import train
from protgen.training.settings import Machine, TrainSettings
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.slow

SETTINGS = TrainSettings(
    steps=6, max_pairs_per_batch=4000, warmup=2, bf16=False, checkpoint_minutes=0, log_every=1, validate_every=100
)


CPU = Machine("cpu")


class Stop(Exception):
    """Raised by a callback in place of a power cut."""


def weights(run, step=6):
    """Weights and averages of a checkpoint."""
    folder = run / "checkpoints" / f"step_{step:08d}"
    return {name: load_file(folder / f"{name}.safetensors") for name in ("weights", "ema", "optimizer")}


def test_an_interrupted_run_resumes_to_the_bit(tiny_store, tmp_path):
    """Six steps at once, and three, a crash, and three more from other initial weights: the same in every bit."""
    store = Store(tiny_store)
    torch.manual_seed(1)
    train(build_model(TINY), store, SETTINGS, run=tmp_path / "straight", machine=CPU)

    def stop(progress):
        if progress.step == 4:  # before its checkpoint is written
            raise Stop

    torch.manual_seed(1)
    with pytest.raises(Stop):
        train(build_model(TINY), store, SETTINGS, run=tmp_path / "cut", machine=CPU, on_progress=stop)
    assert (tmp_path / "cut" / "checkpoints" / "step_00000003").is_dir()
    torch.manual_seed(2)
    train(build_model(TINY), store, SETTINGS, run=tmp_path / "cut", machine=CPU)
    straight, cut = weights(tmp_path / "straight"), weights(tmp_path / "cut")
    for part, tensors in straight.items():
        assert tensors.keys() == cut[part].keys()
        for name, value in tensors.items():
            assert torch.equal(value, cut[part][name]), f"{part} {name}"


def test_train_leaves_a_run_that_sample_can_use(cli, tiny_store, tmp_path):
    """Losses fall into a CSV, samples into a picture, the model into a folder; the same command again does no step."""
    run = tmp_path / "run"
    arguments = ("train", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={run}", "train.steps=2",
                 "train.log_every=1", "validation.samples=1", "validation.length=20", "validation.steps=2",
                 "machine.accelerator=cpu")  # fmt: skip
    done = cli(*arguments)
    assert done.code == 0, done.err
    header = (run / "losses.csv").read_text().splitlines()[0].split(",")
    assert {"step", "loss", "validation_loss", "sample_helix"} <= set(header)
    assert (run / "pictures" / "step_00000002.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["about"]["lengths"][0] >= 20
    written = (run / "checkpoints" / "step_00000002" / "weights.safetensors").stat().st_mtime_ns
    assert cli(*arguments).code == 0
    assert (run / "checkpoints" / "step_00000002" / "weights.safetensors").stat().st_mtime_ns == written
    cli(*arguments, "encoder.dim=48").assert_failed(2, "cannot resume", "dim")
    sampled = cli("sample", "--model", run / "model", "--length", 20, "-n", 1, "--steps", 2, "--no-relax",
                  "--out", tmp_path / "designs")  # fmt: skip
    assert sampled.code == 0, sampled.err


def test_the_cost_is_said_first_and_how_a_run_ended_last(cli, tiny_store, tmp_path):
    """A dry run says it and writes nothing; a run of little patience names its best step."""
    run = tmp_path / "run"
    arguments = ("train", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={run}", "train.steps=4",
                 "train.max_pairs_per_batch=4000", "validation.samples=0", "machine.accelerator=cpu",
                 "train.patience=1", "train.min_improvement=1e6", "train.validate_every=1")  # fmt: skip
    dry = cli(*arguments, "--dry-run")
    assert dry.code == 0, dry.err
    assert "Cost: about" in dry.out
    assert "(4 steps of" in dry.out
    assert not run.exists()
    cli("train", "-m", *arguments[1:], "--dry-run").assert_failed(2, "--dry-run takes one training")
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert "Stopped at step 2: no improvement in 1 validations; the model is that of step 1" in done.out


def test_an_autoencoder_of_structures_trains_and_is_told_what_it_can_do(cli, tiny_store, tmp_path):
    """It has no samples: none are drawn at its validations, and no command that draws them is named."""
    given = ("space=torsions", "family=vae", "family.beta=0", "encoder=egnn", "encoder.dim=16", "encoder.blocks=1")
    small = ("train.steps=2", "train.validate_every=2", "machine.accelerator=cpu", "train.max_pairs_per_batch=4000")
    done = cli("train", *given, *small, f"data.store={tiny_store}", f"run={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert "Next:  protgen reconstruct DIR --model" in done.out
    assert "protgen sample" not in done.out


def test_a_sweep_trains_every_combination_in_its_own_folder(cli, tiny_store, tmp_path):
    """Two values of two keys: four runs, named after what differs, and a table of them."""
    run = tmp_path / "sweep"
    done = cli("train", "-m", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={run}", "train.steps=1",
               "validation.samples=0", "machine.accelerator=cpu", "family.min_t=0.1,0.2",
               "encoder.dim=16,24")  # fmt: skip
    assert done.code == 0, done.err
    names = sorted(path.name for path in run.iterdir())
    assert names == sorted(f"family.min_t={t},encoder.dim={d}" for t in (0.1, 0.2) for d in (16, 24))
    for name in names:
        assert (run / name / "model" / "model.safetensors").is_file()
    assert done.out.count("done") == 4


def test_a_stop_between_steps_keeps_every_step_done(tiny_store, tmp_path):
    """Asked to stop after two of six steps, a run leaves a checkpoint of step 2 and a model."""
    asked = iter([False, True])
    settings = replace(SETTINGS, checkpoint_minutes=60.0)
    model = build_model(TINY)
    train(model, Store(tiny_store), settings, run=tmp_path, machine=CPU, should_stop=lambda: next(asked))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000002"]
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_the_first_signal_is_noted_and_the_second_interrupts():
    """Training asks `stop` between steps; who cannot wait presses Ctrl-C again."""
    with interruptible(), deferred() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert stop.exit_code == 143
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_parts_of_a_model_begin_from_parts_of_others(tiny_store, tiny_model):
    """Decoder and prior of a latent model begin from the encoder of a flow; its own encoder begins afresh."""
    flow = load_file(tiny_model / "model.safetensors")
    start = {"first.decoder": f"{tiny_model}/encoder", "second.encoder": f"{tiny_model}/encoder"}
    network = [f"encoder.{key}={value}" for key, value in TINY["encoder"].items() if key != "name"]
    config = load_config(
        ["family=latent", "family.frame_latents=true", f"encoder={TINY['encoder']['name']}", *network,
         f"data.store={tiny_store}", "start={" + ", ".join(f"{part}: {source}" for part, source in start.items()) + "}"]
    )  # fmt: skip
    assert config.start == start
    weights = prepare_model(config, Store(tiny_store)).family.state_dict()
    for part in ("first.decoder", "second.encoder"):
        for name in (key for key in flow if key.startswith("encoder.")):
            assert torch.equal(weights[f"{part}{name.removeprefix('encoder')}"], flow[name].float())
    name = "encoder.blocks.0.attention.qkv.weight"
    assert not torch.equal(weights[f"first.{name}"], flow[name].float())


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_what_an_experiment_sets_holds(experiment):
    """Whatever it sets, over what the configuration it joins says."""
    own = OmegaConf.to_container(OmegaConf.load(config_folder() / "experiment" / f"{experiment}.yaml"))
    assert isinstance(own, dict)
    found = compose([f"experiment={experiment}"])

    def hold(asked, got, path):
        for key, value in asked.items():
            if isinstance(value, dict):
                hold(value, got[key], f"{path}.{key}")
            else:
                assert got[key] == value, f"{path}.{key}"

    hold({key: value for key, value in own.items() if key != "defaults"}, found, experiment)


def test_new_diffusion_has_the_schedule_that_learns_rotations_and_the_released_one_its_own():
    found = {name: compose([name])["family"] for name in ("family=diffusion", "experiment=diffusion_small")}
    kinds = {name: (family["brownian"], family["weighting"]) for name, family in found.items()}
    assert kinds == {"family=diffusion": ("linear", "velocity"), "experiment=diffusion_small": ("geometric", "simple")}


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes_builds_and_steps(experiment, tiny_store, tmp_path):
    """Each configuration that comes with the package is a model whose loss has a finite gradient on a batch."""
    config = load_config([f"experiment={experiment}", f"data.store={tiny_store}", f"run={tmp_path}"])
    model = build_model(config.model)
    assert sum(p.numel() for p in model.family.parameters()) > 1000
    batch = collate([Store(tiny_store)[0]])
    rng = torch.Generator().manual_seed(0)
    losses = model.family.loss(model.family.space.encode(batch), model.conditions.from_data(batch, rng), rng)
    if isinstance(model.family, ClosedFormFamily):  # nothing to descend
        assert torch.isfinite(losses.total)
        return
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.family.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in model.family.parameters())


def test_a_run_begins_from_another_model(cli, tiny_store, tiny_model, tmp_path):
    """With a learning rate of nearly nothing the weights stay those it began from."""
    arguments = (
        "train", "experiment=flow_tiny", f"data.store={tiny_store}", "train.steps=1", "train.lr=1e-12",
        "train.warmup=0", "validation.samples=0", "machine.accelerator=cpu", f"run={tmp_path / 'run'}",
    )  # fmt: skip
    done = cli(*arguments, f"start={tiny_model}")
    assert done.code == 0, done.err
    before = load_file(tiny_model / "model.safetensors")
    after = load_file(tmp_path / "run" / "checkpoints" / "step_00000001" / "weights.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.allclose(after[name], value.float(), atol=1e-5), name
    # A run that is done gets a guide without another step: its own model, which then stands beside its weights.
    model = tmp_path / "run" / "model"
    done = cli(*arguments, f"guide={model}")
    assert done.code == 0, done.err
    assert (model / "guide.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert load_model(model).guide is not None
    cli(*arguments, f"guide={tiny_model}").assert_failed(2, "guide=", "another space")
    other = f"run={tmp_path / 'other'}"
    cli(*arguments[:-1], other, "encoder.dim=48", f"start={tiny_model}").assert_failed(2, "start=", "start=null")
    cli(*arguments[:-1], other, "start=flow-smal").assert_failed(2, "flow-small")
    cli(*arguments[:-1], other, "start={encoder: flow-smal/encoder}").assert_failed(2, "flow-small")
    cli(*arguments[:-1], other, f"start={{nothing: {tiny_model}/encoder}}").assert_failed(2, "nothing", "start=null")


def test_what_begins_from_a_model_is_sampled_like_it(tiny_model, tmp_path):
    """Steps and temperature as the other has them; its guidance too, where that is not of a guide that is missing."""
    model, config = load_model(tiny_model), json.loads((tiny_model / "config.json").read_text())
    shutil.copytree(tiny_model, tmp_path / "other")
    for own, expected in (
        ({"steps": 12, "guidance": 1.5}, {"steps": 12, "guidance": 1.5}),
        ({"steps": 12, "guidance": 1.0, "autoguidance": 2.0, "pulled": {"steps": 80}}, {"steps": 12}),
    ):
        (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"sampling": own}))
        assert sampled_as(str(tmp_path / "other"), model).config["sampling"] == expected
    assert settings_for(sampled_as(str(tmp_path / "other"), model)).steps == 12
    guided = with_guide(model, model)
    assert sampled_as(str(tmp_path / "other"), guided).config["sampling"] == own
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"family": {"name": "vae"}, "sampling": own}))
    assert sampled_as(str(tmp_path / "other"), model) is model


@pytest.mark.parametrize(("family", "role", "encoder"), [("vae", "decoder", "egnn"), ("gan", "critic", "egnn")])
def test_a_keyword_of_a_second_network_changes_a_copy_of_the_encoder(tiny_store, family, role, encoder):
    """Over torsions, whose encoders of frames are placed by the chain."""
    from protgen.cli.train import prepared_task

    small = [f"encoder={encoder}", "encoder.dim=16", "encoder.blocks=1", f"{role}.dim=32"]
    given = [f"data.store={tiny_store}", "space=torsions", f"family={family}", *small]
    config = prepared_task(load_config(given)).model.config
    own = {"coordinates": True} if role == "critic" else {}  # torsions are read beside frames
    assert config[role] == config["encoder"] | {"dim": 32} | own
    assert config["encoder"]["dim"] == 16


def test_a_part_that_replaces_one_of_an_experiment_has_its_own_keywords(tiny_store):
    """Those of the experiment were for another class; what is typed stands, and the other parts are as they were."""
    given = ["experiment=flow_small", f"data.store={tiny_store}"]
    own = load_config(given).model
    assert own["encoder"]["name"] == "frame_attention"
    assert {"pair_dim", "heads"} <= own["encoder"].keys()
    egnn = load_config([f"data.store={tiny_store}", "encoder=egnn"]).model["encoder"]
    swapped = load_config([*given, "encoder=egnn"]).model
    assert swapped == own | {"encoder": egnn}
    assert load_config([*given, "encoder=egnn", "encoder.blocks=2"]).model["encoder"] == egnn | {"blocks": 2}
    assert load_config([*given, "encoder=frame_attention"]).model == own
    diffusion = load_config([f"data.store={tiny_store}", "family=diffusion"]).model["family"]
    assert load_config([*given, "family=diffusion"]).model == own | {"family": diffusion}
    flow = load_config([*given, "family=normalizing_flow", "encoder=transformer"]).model  # which brings its space
    assert flow["space"] == {"name": "torsions", "cis": False}
    assert build_model(flow).config["family"]["name"] == "normalizing_flow"


def test_a_second_network_is_chosen_by_name(tiny_store):
    """In place of that of the experiment, with its keywords where it is the same; digits take networks of images."""
    given = ["experiment=gan_torsions", f"data.store={tiny_store}"]
    own = load_config(given).model
    assert own["critic"] == {"name": "egnn", "dim": 48, "blocks": 2, "neighbours": 8}
    assert load_config([*given, "critic=egnn", "critic.dim=32"]).model["critic"] == own["critic"] | {"dim": 32}
    other = load_config([*given, "critic=transformer", "critic.blocks=3"]).model
    assert other == own | {"critic": {"name": "transformer", "blocks": 3}}
    digits = load_config(["data=digits", "family=vae", "decoder=transformer", "decoder.dim=32"]).model
    assert digits["decoder"] == {"name": "transformer", "dim": 32}


def test_overrides_reach_their_place(tiny_store):
    """Values given on the command line, also keywords no file lists."""
    config = load_config(
        ["experiment=flow_small", f"data.store={tiny_store}", "train.steps=7", "train.lr=2e-4", "encoder.expansion=2"]
    )
    assert config.settings.steps == 7
    assert config.settings.lr == pytest.approx(2e-4)
    assert config.model["encoder"]["expansion"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("experiment=",)),
        (("-m", "experiment=flow_tiny"), ("-m", "commas")),
        (("-m",), ("experiment=",)),
        (("-m", "experiment=flow_tiny", "data.store=STORE", "train.lr=1e-3,(("), ("sweep",)),
        (("-m", "experiment=flow_tiny", "data.store=STORE", "encoder=egnnn,gvp"), ("egnnn",)),
        (("experiment=flow_tiny", "data.store=STORE", "encoder=egnn,gvp"), ("add -m",)),
        (("experiment=flow_tny",), ("did you mean 'flow_tiny'",)),
        (("experiment=flow_tiny",), ("data.store",)),
        (("experiment=flow_tiny", "data.store=nowhere"), ("nowhere", "not a complete store")),
        (("flow_tiny",), ("flow_tiny", "key=value")),
        (("exprmnt=flow_tiny",), ("did you mean 'experiment'",)),
        (("experiment=flow_tiny", "data.store=STORE", "encoder.dmi=8"), ("did you mean 'dim'",)),
        (("experiment=flow_tiny", "data.store=STORE", "encoder=egnnn"), ("egnnn",)),
        (("experiment=flow_tiny", "data.store=STORE", "encoder.heads=two"), ("heads", '"two"; give a whole number')),
        (("experiment=flow_tiny", "data.store=STORE", "encoder.name=null"), ("encoder.name is null",)),
        (("experiment=flow_tiny", "data.store=STORE", "space.noise_scale=1e300"), ("space.noise_scale", "at most")),
        (("experiment=flow_tiny", "data.store=STORE", "space.noise_scale=-1"), ("noise_scale -1", "positive width")),
        (("experiment=flow_tiny", "data.store=STORE", "family.self_conditioning=x"), ("self_conditioning", '"x"')),
        (("experiment=flow_tiny", "data.store=STORE", "family.min_t=-5"), ("min_t -5",)),
        (("experiment=flow_tiny", "data.store=STORE", "conditions.names=5"), ("conditions.names is 5", "a list")),
        (("experiment=flow_tiny", "data.store=STORE", "conditions.names=null"), ("conditions.names is null", "a list")),
        (("experiment=flow_tiny", "data.store=STORE", "conditions.names=true"), ("conditions.names is true", "a list")),
        (("experiment=flow_tiny", "data.store=STORE", "run=null"), ("run is null",)),
        (("experiment=flow_tiny", "data.store=STORE", "guide=[a]"), ("guide is",)),
        (("experiment=flow_tiny", "data.store=STORE", "machine.threads=100000"), ("machine.threads", "1 to 1024")),
        (("experiment=flow_tiny", "data.store=STORE", "machine.devices=100000"), ("machine.devices", "1 to 1024")),
        (("experiment=flow_tiny", "data.store=STORE", "machine.nodes=3"), ("machine.nodes=3", "torchrun --nnodes=3")),
        (("experiment=flow_tiny", "data.store=STORE", "machine.nodes=3", "--dry-run"), ("torchrun --nnodes=3",)),
        (("experiment=flow_tiny", "data.store=STORE", "validation.length=100000000"), ("validation.length", "65536")),
        (("experiment=flow_tiny", "data.store=STORE", "distil.ways=1000000000"), ("distil.ways", "1000000")),
        (
            ("experiment=flow_tiny", "data.store=STORE", "encoder.heads=0"),
            ("heads of frame_attention is 0; give a whole number, at least 1",),
        ),
        (("experiment=flow_tiny", "data.store=STORE", "decoder.dim=8"), ("has no decoder", "its networks: encoder")),
        (("experiment=flow_tiny", "data.store=STORE", "decoder=egnn"), ("has no decoder", "its networks: encoder")),
        (("family=vae", "data.store=STORE", "decoder=egnnn"), ("no encoder named 'egnnn'", "did you mean 'egnn'")),
        (("experiment=flow_tiny", "data.store=STORE", "train.stpes=8"), ("did you mean 'steps'",)),
        (("experiment=flow_tiny", "data.store=STORE", "train.steps=many"), ("train.steps", "many")),
        (("experiment=flow_tiny", "data.store=STORE", "train.log_every=0"), ("train.log_every",)),
        (("experiment=flow_tiny", "data.store=STORE", "train.bf16=7"), ("train.bf16",)),
        (("experiment=flow_tiny", "data.store=STORE", "train.accumulate=1001"), ("train.accumulate", "1 to 1000")),
        (("experiment=flow_tiny", "data.store=STORE", "logger=wand"), ("did you mean 'wandb'",)),
        (("experiment=flow_tiny", "data.store=STORE", "logger=7"), ("train.loggers", "words")),
        (("experiment=flow_tiny", "data.sotre=x"), ("did you mean 'store'",)),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_2(cli, tiny_store, tmp_path, monkeypatch, arguments, words):
    """The line suggests the nearest name, and no run folder is made."""
    monkeypatch.chdir(tmp_path)
    given = [argument.replace("STORE", str(tiny_store)) for argument in arguments]
    cli("train", *given).assert_failed(2, *words)
    assert not list(tmp_path.iterdir())
