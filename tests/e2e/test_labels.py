"""A laboratory's own label column, from the index of its structures to the record of a design."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from protgen.conditions.label import Label
from protgen.data.dataset import collate
from protgen.data.store import Store
from protgen.models.model import load_model

pytestmark = pytest.mark.slow

NAMES = "conditions.names=[length,{name: label, field: ec_class},label:melting]"
TRAINING = ("experiment=flow_tiny", "train.steps=2", "train.log_every=1", "validation.samples=0",
            "machine.accelerator=cpu")  # fmt: skip


@pytest.fixture(scope="module")
def labelled(chains, tmp_path_factory):
    """The chains with an index: helices are EC class 3, hairpins 10, one is unknown; melting points in °C."""
    folder = tmp_path_factory.mktemp("labelled")
    files = sorted(path for path in chains.iterdir())
    with (folder / "index.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, ["file", "ec", "melting", "split", "fold"])
        table.writeheader()
        for number, path in enumerate(files):
            shutil.copy(path, folder)
            ec = "" if number == 0 else "3" if path.name.startswith("helix") else "10"
            melting = "" if number == 1 else 50 + 2 * number
            split = "validation" if number in (4, 9) else "train"
            table.writerow({"file": path.name, "ec": ec, "melting": melting, "split": split, "fold": "one"})
    return folder


@pytest.fixture(scope="module")
def store(labelled, tmp_path_factory):
    """A store of them with both columns as fields."""
    from protgen.cli.main import run

    out = tmp_path_factory.mktemp("labelled") / "store"
    assert run(["data", "build", str(labelled), "--out", str(out), "--min-length", "20", "--max-coil", "1",
                "--rg-percentile", "100", "--label", "ec=ec_class", "--quantity", "melting"]) == 0  # fmt: skip
    return out


@pytest.fixture(scope="module")
def model(store, tmp_path_factory):
    """A model folder, two steps old."""
    from protgen.cli.main import run

    folder = tmp_path_factory.mktemp("labelled") / "run"
    assert run(["train", *TRAINING, NAMES, f"data.store={store}", f"run={folder}"]) == 0
    return folder / "model"


def test_columns_of_the_index_are_fields_of_store_and_batch(cli, store, labelled):
    """Categories in reading order, numbers with mean and standard deviation of the training split."""
    opened = Store(store)
    assert opened.fields["ec_class"].values == ("3", "10")
    rows = list(csv.DictReader((labelled / "index.csv").open()))
    by_id = {row["file"].partition(".")[0]: row for row in rows}
    kept = [by_id[opened[i].id] for i in opened.indices("train")]
    train = [float(row["melting"]) for row in kept if row["melting"]]
    assert opened.fields["melting"].mean == pytest.approx(np.mean(train), rel=1e-6)
    assert opened.fields["melting"].std == pytest.approx(np.std(train), rel=1e-6)
    batch = collate([opened[i] for i in range(len(opened))])
    codes = {"": -1, "3": 0, "10": 1}
    for i in range(len(opened)):
        row = by_id[opened[i].id]
        assert int(batch["ec_class"][i]) == codes[row["ec"]]
        number = float(batch["melting"][i])
        assert np.isnan(number) if row["melting"] == "" else number == float(row["melting"])
        assert (batch["aatype"][i][batch.mask[i]] == 7).all()  # glycine, the eighth of ARNDCQEGHILKMFPSTWYV
    shown = cli("data", "info", store)
    assert "ec_class" in shown.out
    assert "2 categories: 3, 10" in shown.out


def test_a_label_is_learned_asked_for_and_in_the_record(cli, model, tmp_path):
    """Vocabulary and scale are in the checkpoint; what was asked is in the record; other values are refused."""
    config = json.loads((model / "config.json").read_text())
    assert config["conditions"][1] == {"name": "label", "field": "ec_class", "values": ["3", "10"]}
    assert config["conditions"][2]["name"] == "label"
    assert load_model(model).conditions.names == ("length", "label:ec_class", "label:melting")
    asked = ("sample", "--model", model, "--length", 20, "--steps", 2, "--no-relax")
    done = cli(*asked, "-n", 1, "--label", "ec_class=3", "--label", "melting=60", "--out", tmp_path / "designs")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "designs" / "design_0000.json").read_text())
    labels = [(c["field"], c["value"]) for c in record["requested"] if c["condition"] == "label"]
    assert labels == [("ec_class", "3"), ("melting", "60")]
    assert [entry["condition"] for entry in record["measured"]] == ["length"]  # no structure shows a label
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text("length: 20\nlabel: {field: ec_class, value: 3}\n")
    again = cli("sample", "--model", model, "--conditions", wanted, "-n", 1, "--steps", 2, "--out", tmp_path / "more")
    assert again.code == 0, again.err
    cli(*asked, "--label", "ec_class=4", "--out", tmp_path / "x").assert_failed(2, "ec_class=4", "known: 3, 10")
    cli(*asked, "--label", "ec_class", "--out", tmp_path / "x").assert_failed(2, "FIELD=VALUE")
    cli(*asked, "--label", "melting=hot", "--out", tmp_path / "x").assert_failed(2, "melting", "give a number")
    cli(*asked, "--label", "colour=red", "--out", tmp_path / "x").assert_failed(2, "label:colour", "learned it")
    twice = ("--label", "ec_class=3", "--label", "ec_class=10")
    cli(*asked, *twice, "--out", tmp_path / "x").assert_failed(2, "label:ec_class", "twice")
    assert not (tmp_path / "x").exists()


def test_the_features_of_data_are_those_of_asking_for_the_label(model, store):
    """With no dropout each example has the features of its own label; an unknown label, and dropout of 1, the token."""
    conditions = load_model(model).conditions
    opened = Store(store)
    batch = collate([opened[i] for i in range(len(opened))])
    rng = torch.Generator().manual_seed(0)
    never = conditions.dropouts({"ec_class": 0.0, "label:melting": 0.0})
    seen = conditions.from_data(batch, rng, never).globals
    values = {0: "3", 1: "10"}
    requests = []
    for code, number in zip(batch["ec_class"].tolist(), batch["melting"].tolist(), strict=True):
        known = [Label("ec_class", values[code])] if code >= 0 else []
        requests.append(known + ([] if np.isnan(number) else [Label("melting", number)]))
    assert torch.allclose(seen, conditions.from_requests(requests, batch.mask).globals, atol=1e-6)
    always = conditions.dropouts({"ec_class": 1.0, "melting": 1.0})
    assert torch.equal(conditions.from_data(batch, rng, always).globals, conditions.unknown(batch.mask).globals)
    drawn = torch.stack([conditions.from_data(batch, rng).globals[1, 3] for _ in range(400)])
    assert float(drawn.mean()) == pytest.approx(0.8, abs=4 * (0.16 / 400) ** 0.5)  # dropout 0.2, four standard errors


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("[length,class_label]", ("class_label", "has atoms, labels", "--label COLUMN=class_label")),
        ("[length,label:colour]", ("label:colour", "field colour", "ec_class")),
        ("[length,label:atoms]", ("label:atoms", "no label of chains")),
        ("[length,label]", ("label",)),
        ("[length,length]", ("length is named twice",)),
        ("[length,{name: length, field: atoms}]", ("length", "refers to no field")),
        ("[length,clashes]", ("clashes", "cannot be learned")),
        ("[length,7]", ('conditions.names is ["length", 7]; give a list of names',)),
    ],
)
def test_a_condition_without_its_field_is_told_before_training(cli, store, tmp_path, names, words):
    """One line with the condition, the field, and what the store has; no run folder is made."""
    arguments = ("train", *TRAINING, f"conditions.names={names}", f"data.store={store}", f"run={tmp_path / 'run'}")
    cli(*arguments).assert_failed(2, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.dropout.length=0.5", ("length", "always known")),
        ("train.dropout.lenght=0.5", ("did you mean 'length'",)),
        ("train.dropout.ec_class=1.5", ("ec_class", "from 0 to 1")),
        ("train.dropout=0.5", ("train.dropout", "by name")),
        ("conditions.dropout=0.5", ("no setting 'conditions.dropout'",)),
    ],
)
def test_a_wrong_dropout_is_one_line(cli, store, tmp_path, setting, words):
    arguments = ("train", *TRAINING, NAMES, setting, f"data.store={store}", f"run={tmp_path / 'run'}")
    cli(*arguments).assert_failed(2, *words)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--label", "colour"), ("index.csv", "'colour'", "file, ec, melting")),
        (("--label", "ec=atoms"), ("atoms", "another name")),
        (("--label", "ec=my label"), ("my label", "COLUMN=NAME")),
        (("--label", "ec", "--quantity", "melting=ec"), ("two labels are named ec",)),
        (("--quantity", "file"), ("file", "no number")),
    ],
)
def test_a_wrong_label_column_is_one_line(cli, labelled, tmp_path, option, words):
    arguments = ("data", "build", labelled, "--out", tmp_path / "store", "--min-length", 20, "--max-coil", 1)
    done = cli(*arguments, *option)
    assert done.code == 2
    assert len(done.errors) == 1
    for word in words:
        assert word in done.errors[0]
