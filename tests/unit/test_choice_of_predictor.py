"""Who folds in `protgen run` where nobody is named: what is on the disk, and what a design or an earlier run allows."""

import json

import pytest

from protgen.cli.run import RankingOptions
from protgen.errors import UsageError
from protgen.folding.best_installed import best_installed
from protgen.folding.esmfold import ESMFold
from protgen.folding.trrosetta import TrRosetta

NAME = "models--facebook--esmfold_v1"


@pytest.fixture
def transformers(monkeypatch):
    """The package seems to be installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder as the hub's client lays it out, with a checkpoint that was fetched in whole."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    blobs, snapshot = tmp_path / NAME / "blobs", tmp_path / NAME / "snapshots" / "75a3841e"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "pytorch_model.bin"):
        (blobs / name).write_bytes(b"{}")
        (snapshot / name).symlink_to(blobs / name)
    return tmp_path


def installed(monkeypatch, *, esmfold: bool, trrosetta: bool) -> None:
    def prepare(self):
        if not trrosetta:
            raise UsageError("trrosetta: not installed")

    monkeypatch.setattr(ESMFold, "at_hand", lambda self: esmfold)
    monkeypatch.setattr(TrRosetta, "prepare", prepare)
    monkeypatch.setattr(ESMFold, "prepare", lambda self: None)


def test_a_checkpoint_on_the_disk_is_at_hand(cache, transformers):
    assert ESMFold().at_hand()
    assert not ESMFold("facebook/esmfold_v0").at_hand()


@pytest.mark.parametrize("missing", ["config.json", "pytorch_model.bin"])
def test_a_checkpoint_that_was_fetched_in_part_is_not(cache, transformers, missing):
    """The link is there, and what it leads to is not."""
    (cache / NAME / "blobs" / missing).unlink()
    assert not ESMFold().at_hand()


def test_a_checkpoint_without_the_package_is_not(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not ESMFold().at_hand()


def test_a_folder_of_weights_and_the_places_of_the_cache(cache, transformers, tmp_path, monkeypatch):
    """A folder by its name; and the cache below HF_HOME, XDG_CACHE_HOME and the home folder, in this order."""
    (folder,) = (cache / NAME / "snapshots").iterdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert ESMFold(str(folder)).at_hand()
    assert not ESMFold().at_hand()
    monkeypatch.delenv("HF_HUB_CACHE")
    for variable in ("HF_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        if variable == "HOME":
            monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "HOME")
    places = {"HF_HOME": "HF_HOME/hub", "XDG_CACHE_HOME": "XDG_CACHE_HOME/huggingface/hub",
              "HOME": "HOME/.cache/huggingface/hub"}  # fmt: skip
    for variable, place in places.items():
        (tmp_path / place).mkdir(parents=True)
        assert not ESMFold().at_hand()
        (tmp_path / place / NAME).symlink_to(cache / NAME)
        assert ESMFold().at_hand()
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    ("esmfold", "trrosetta", "found"),
    [(True, True, "esmfold"), (True, False, "esmfold"), (False, True, "trrosetta"), (False, False, None)],
)
def test_the_best_that_needs_no_download(monkeypatch, esmfold, trrosetta, found):
    installed(monkeypatch, esmfold=esmfold, trrosetta=trrosetta)
    assert best_installed() == found
    tool = RankingOptions().predictor(None, 1)
    assert (tool and tool.name) == found


def test_none_is_said_before_anything_is_made(monkeypatch, capsys):
    installed(monkeypatch, esmfold=False, trrosetta=False)
    assert RankingOptions().predictor(None, 1) is None
    assert "no structure predictor is installed: no refolds" in capsys.readouterr().err
    assert RankingOptions(structure_predictor="none").predictor(None, 1) is None
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match="trrosetta: not installed, or --structure-predictor none"):
        RankingOptions(structure_predictor="trrosetta").predictor(None, 1)


def test_a_run_is_finished_by_the_predictor_that_began_it(tmp_path, monkeypatch):
    """Else refolds of two judges would be compared. What another tool left, or nobody can read, decides nothing."""
    installed(monkeypatch, esmfold=True, trrosetta=True)
    marker = tmp_path / "refolds.json"
    assert RankingOptions().predictor(tmp_path, 1).name == "esmfold"
    for text, name in (
        (json.dumps({"folder": {"name": "trrosetta"}}), "trrosetta"),
        (json.dumps({"folder": {"name": "aligner"}}), "esmfold"),
        (json.dumps({"folder": "trrosetta"}), "esmfold"),
        ("{", "esmfold"),
    ):
        marker.write_text(text)
        assert RankingOptions().predictor(tmp_path, 1).name == name


@pytest.mark.parametrize("name", ["esmfold", "trrosetta"])
def test_several_chains_are_not_folded_by_those_that_fold_one(monkeypatch, capsys, name):
    installed(monkeypatch, esmfold=True, trrosetta=True)
    assert RankingOptions(structure_predictor=name).predictor(None, 1).name == name
    assert capsys.readouterr().err == ""
    assert RankingOptions(structure_predictor=name).predictor(None, 3) is None
    said = " ".join(capsys.readouterr().err.split())
    assert f"{name} folds single chains, and designs will have 3: no refolds" in said
    assert "ranked by hbond_score" in said
