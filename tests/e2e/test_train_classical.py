"""A classical model of proteins by the command line: fitted to fold descriptors, and no structures of it."""

from protgen.families.classical import Classical
from protgen.models.model import load_model


def test_a_classical_model_is_trained_and_gives_no_structures(cli, tiny_store, tmp_path):
    """The store has two classes, helices and hairpins. Sampling and structure likelihoods are refused."""
    run = tmp_path / "run"
    done = cli("train", "family=classical", f"data.store={tiny_store}", f"run={run}", "train.steps=4",
               "train.pairs=1000000", "train.bf16=false", "family.model=naive_bayes",
               "machine.accelerator=cpu")  # fmt: skip
    assert done.code == 0, done.err
    assert "protgen sample" not in done.out
    model = load_model(run / "model")
    assert isinstance(model.family, Classical)
    assert 1 <= int(model.family.known) <= 2
    asked = ("--model", run / "model", "--length", 40)
    for refused in (cli("sample", *asked, "-n", 1, "--out", tmp_path / "designs"), cli("check", *asked)):
        refused.assert_failed(2, "Descriptors", "no structure can be made", "choose a model")
    assert not (tmp_path / "designs").exists()


def test_other_conditions_have_too_many_classes(cli, tiny_store, tmp_path):
    cli("train", "family=classical", "conditions=secondary_structure", f"data.store={tiny_store}", "family.classes=2",
        f"run={tmp_path / 'run'}", "train.steps=3", "machine.accelerator=cpu").assert_failed(2, "classes")  # fmt: skip
