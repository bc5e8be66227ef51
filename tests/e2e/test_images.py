"""Images by the command line: train by name, draw, measure; and what says no in one line."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image as Picture

from protgen.models.model import load_model

SHORT = (
    "train.steps=3",
    "train.validate_every=3",
    "train.log_every=1",
    "machine.accelerator=cpu",
    "validation.steps=2",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A VAE of three steps on digits."""
    from protgen.cli.main import run

    folder = tmp_path_factory.mktemp("images") / "vae"
    assert run(["train", "data=digits", "family=vae", f"run={folder}", "encoder.dim=32", *SHORT]) == 0
    return folder


def test_a_run_of_digits_leaves_a_model_curves_and_pictures(trained):
    config = json.loads((trained / "model" / "config.json").read_text())
    assert config["space"] == {
        "name": "image", "height": 8, "width": 8, "channels": 1, "levels": 17, "binary": False
    }  # fmt: skip
    assert config["about"] == {"images": "digits", "binarise": "none", "n_train": 1297}
    assert config["family"] == {"name": "vae", "latent_dim": 32, "pool": True, "warmup": 200}
    header = (trained / "losses.csv").read_text().splitlines()[0].split(",")
    assert {"loss", "validation_loss", "validation_kl"} <= set(header)
    with Picture.open(trained / "pictures" / "step_00000003.png") as picture:
        assert picture.size == (8 * 9 * 8, 9 * 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        ("family=gan",),
        ("family=normalizing_flow-glow",),
        ("family=diffusion", "encoder=perceptron", "encoder.dim=16", "conditions.names=[]"),
        ("family=classical",),
        ("family=vae", "data.binarise=dynamic"),
        ("family=autoencoder", "data.binarise=static"),
    ],
)
def test_other_families_train_too(cli, tmp_path, choice):
    run = tmp_path / "run"
    small = () if "encoder=perceptron" in choice else ("encoder.dim=16",)
    done = cli("train", "space=image", "data=digits", f"run={run}", "data.batch=20", *small, *choice, *SHORT)
    assert done.code == 0, done.err
    model = load_model(run / "model")
    assert model.conditions.names == (() if "conditions.names=[]" in choice else ("class_label",))
    assert model.config["space"]["levels"] == (2 if any("binarise" in c for c in choice) else 17)


def test_images_from_files(cli, tmp_path):
    """Fashion-MNIST's four files by name; missing files and folders are one line."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 8)):
        for kind, values in (
            ("images-idx3-ubyte", rng.integers(0, 256, (count, 8, 12))),
            ("labels-idx1-ubyte", rng.integers(0, 10, count)),
        ):
            sizes = b"".join(int(n).to_bytes(4, "big") for n in values.shape)
            raw = bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()
            (tmp_path / f"{part}-{kind}.gz").write_bytes(gzip.compress(raw))
    run = tmp_path / "run"
    arguments = ("train", "data=fashion", "family=vae", f"run={run}", "encoder.dim=16", "data.batch=10", *SHORT)
    cli(*arguments).assert_failed(2, "data.folder=DIR")
    cli(*arguments, f"data.folder={tmp_path / 'no'}").assert_failed(2, "no such")
    cli(*arguments, f"data.folder={tmp_path}").assert_failed(2, "holds 30 pictures, of which 10,000 are held out")
    assert not run.exists()


def test_pictures_are_drawn_on_a_grid(cli, trained, tmp_path):
    done = cli("sample-images", "--model", trained, "--out", tmp_path / "a.png", "-n", 20, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["labels"] == [i % 10 for i in range(20)]
    with Picture.open(tmp_path / "a.png") as picture:
        assert picture.size == (90 * 6, 18 * 6)
    refused = ("sample-images", "--model", trained, "--out", tmp_path / "b.png")
    cli(*refused, "--steps", 5).assert_failed(2, "takes no sampler")
    cli(*refused, "--free", "--label", 3).assert_failed(2, "--free")
    cli("sample-images", "--model", trained, "--out", tmp_path / "b.jpg").assert_failed(2, ".png")
    cli("sample-images", "--model", "flow-small", "--out", tmp_path / "b.png").assert_failed(2, "model of images")
    assert not (tmp_path / "b.png").exists()


def test_likelihoods_of_structures_name_the_command_for_pictures(cli, trained, chains, tmp_path):
    arguments = ("evaluate", chains, "--likelihood", trained / "model", "--out", tmp_path / "x")
    cli(*arguments).assert_failed(2, "image", "protgen evaluate-images")


def test_sample_names_the_command_for_pictures(cli, trained, tmp_path):
    cli("sample", "--model", trained / "model", "--length", 20, "--out", tmp_path / "x").assert_failed(
        2, "Image", "protgen sample-images"
    )


@pytest.mark.slow
def test_a_model_of_images_is_measured(cli, trained, tmp_path):
    """Bounds at two numbers of importance samples, the floor beside the samples, and both pictures."""
    done = cli("evaluate-images", "--model", trained, "--out", tmp_path / "ev", "--samples", 70, "--asked", 20,
               "--test", 30, "--importance", "1,3", "--classifier-steps", 3)  # fmt: skip
    assert done.code == 0, done.err
    assert "bits/dim" in done.out
    assert "floor" in done.out
    report = json.loads((tmp_path / "ev" / "report.json").read_text())
    assert report["likelihood"]["k = 3"]["nats"] <= report["likelihood"]["k = 1"]["nats"]
    assert report["likelihood"]["k = 1"]["kind"] == "lower_bound"
    assert report["samples"]["training images against the reference"]["n"] == 70
    assert report["samples"]["one go"]["n"] == 70
    assert report["samples"]["feature_net"] == "cnn64-digits-seed0-steps3"
    assert 0 <= report["samples"]["class asked is class seen"] <= 1
    for name in ("samples", "reconstructions"):
        assert (tmp_path / "ev" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    cli("evaluate-images", "--model", trained, "--data", "mnist", "--out", tmp_path / "e").assert_failed(2, "folder")
    cli("evaluate-images", "--model", trained, "--importance", "x", "--out", tmp_path / "e").assert_failed(2, "1,50")


def test_another_size_of_batches_is_said_where_a_run_goes_on(cli, tmp_path):
    """As another learning rate is."""
    arguments = ("train", "data=digits", "family=vae", f"run={tmp_path / 'run'}", "encoder.dim=16", *SHORT)
    assert cli(*arguments, "data.batch=20").code == 0
    again = cli(*arguments, "data.batch=10", "train.lr=1e-3", "train.steps=4")
    assert again.code == 0, again.err
    assert "that run had data.batch 20 and now it is 10; it goes on with the new value" in again.err
    assert "that run had lr" in again.err or "that run had steps" in again.err
    same = cli(*arguments, "data.batch=10", "train.lr=1e-3", "train.steps=5")
    assert "data.batch" not in same.err


def test_an_autoencoder_is_told_what_it_can_do(cli, tmp_path, monkeypatch):
    """Each command of the hint works; the samples that it has not are not named."""
    monkeypatch.chdir(tmp_path)
    done = cli("train", "data=digits", "family=autoencoder", "run=run", "encoder.dim=16", *SHORT)
    assert done.code == 0, done.err
    assert "sample-images" not in done.out
    hints = [line.partition("protgen ")[2].split() for line in done.out.splitlines() if "protgen " in line]
    assert [hint[0] for hint in hints] == ["reconstruct", "encode"]
    assert [cli(*hint).code for hint in hints] == [0, 0]
    cli("sample-images", "--model", "run", "--out", "a.png").assert_failed(2, "has no samples")


def test_what_a_model_has_not_is_refused_before_it_is_measured(cli, trained, tmp_path):
    out = ("--out", tmp_path / "ev")
    cli("evaluate-images", "--model", trained, "--steps", 4, *out).assert_failed(2, "takes no sampler and no steps")
    cli("evaluate-images", "--model", trained, "--data", "mnist", *out).assert_failed(2, "--folder DIR")
    cli("evaluate-images", "--model", trained, "--folder", tmp_path, *out).assert_failed(2, "--folder", "digits")
    assert not (tmp_path / "ev").exists()


@pytest.mark.parametrize(
    "choice", [("family=vae", "decoder.dim=24"), ("family=gan", "encoder.dim=16", "critic.dim=24")]
)
def test_a_keyword_of_a_second_network_changes_a_copy_of_the_encoder(cli, tmp_path, choice):
    """What is saved holds the whole entry, and the same network comes of it."""
    run, role = tmp_path / "run", choice[-1].partition(".")[0]
    done = cli("train", "data=digits", f"run={run}", "data.batch=20", *choice, *SHORT)
    assert done.code == 0, done.err
    model = load_model(run / "model")
    assert model.config[role] == model.config["encoder"] | {"dim": 24}
    assert (model.config["encoder"].get("dim"), model.config[role]["dim"]) != (24, 24)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("space=image", "family=vae"), ("data=digits",)),
        (("data=digits", "family=vae", "guide=runs/weak"), ("guide=runs/weak", "leave it out")),
        (("data=digits", "family=vae", "data.folder=x"), ("data.folder is x", "scikit-learn")),
        (("data=digits", "family=vae", "conditions=fold_class"), ("fold_class", "conditions=class_label")),
        (("data=digits", "family=vae", "conditions.names=[label:ec]"), ("label", "conditions=class_label")),
        (("data=digits", "family=vae", "conditions.names=class_label"), ("conditions.names", "give a list of names")),
        (("data=digits", "family=vae", "train.dropout.x=0.1", "conditions.names=[]"), ("known: none",)),
        (("data=digits", "family=vae", "family.beta=abc"), ('beta of vae is "abc"; give a number',)),
        (("data=digits", "family=vae", "encoder.dim=-4"), ("dim of perceptron is -4; give a whole number",)),
        (("data=digits", "family=gan", "encoder.dim=0"), ("dim of unet is 0; give a whole number, at least 1",)),
        (("data=digits", "family=gan", "encoder.multipliers=x"), ('multipliers of unet is "x"; give a list',)),
        (("data=digits", "family=vae", "critic.dim=8"), ("critic.dim=8: vae has no critic", "encoder, decoder")),
        (("data=digits", "space=torsions"), ("space=image",)),
        (("data=digits", "experiment=flow_tiny"), ("experiment=flow_tiny",)),
        (("data=digits", "family=vaee"), ("did you mean 'vae'",)),
        (("data=digits", "family=vae", "train.max_pairs_per_batch=5"), ("data.batch",)),
        (("data=digits", "family=vae", "data.binarise=some"), ("none, static, dynamic",)),
        (("data=digits", "family=vae", "data.batch=5000"), ("do not fill a batch",)),
        (("data=digits", "family=vae", "data.bathc=5"), ("did you mean 'batch'",)),
        (("data=digits", "family=vae", "space.height=14"), ("space.height is 14",)),
        (("data=digits", "family=vae", "encoder=egnn"), ("reads no images",)),
        (("data=digits", "family=vae", "train.dropout.class_labl=0.1"), ("class_labl",)),
    ],
)
def test_a_wrong_configuration_is_one_line(cli, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    cli("train", *arguments, *SHORT).assert_failed(2, *words)
    assert not list(tmp_path.iterdir())
