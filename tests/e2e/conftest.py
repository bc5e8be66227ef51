"""The command line in this process, and the smallest model and store that are real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

TINY = {
    "space": {"name": "backbone"},
    "encoder": {
        "name": "frame_attention",
        "dim": 32,
        "pair_dim": 8,
        "blocks": 2,
        "heads": 2,
        "refresh": 1,
    },
    "family": {"name": "flow_matching"},
    "conditions": ["length", "secondary_structure", "fractions"],
    "about": {"lengths": [10, 60]},
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights: its designs are random, by the same code path as those of a trained one."""
    from protgen.models.model import build_model, save_model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(build_model(TINY), folder)
    return folder


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve ideal chains, one file each."""
    folder = tmp_path_factory.mktemp("chains")
    for n in range(40, 46):
        write_structure(Protein.from_backbone(ideal_helix(n)), folder / f"helix{n}.pdb")
        write_structure(Protein.from_backbone(ideal_hairpin(2 * (n // 2) - 16)), folder / f"hairpin{n}.cif")
    return folder


@pytest.fixture(scope="session")
def tiny_store(chains: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of those chains."""
    from protgen.data.build import build
    from protgen.data.windows import Filters

    folder = tmp_path_factory.mktemp("store") / "store"
    build(chains, folder, Filters(min_length=20, max_coil=1.0, rg_percentile=100, validation_fraction=0.3))
    return folder


class Finished:
    """What a command left: its exit code, its output, and the lines of error it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.errors = [line for line in err.splitlines() if line.startswith("error:")]

    def assert_failed(self, code: int, *words: str) -> None:
        """One line of error with those words, no traceback, and the exit code."""
        assert self.code == code, self.err
        assert len(self.errors) == 1, self.err
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        assert self.err.splitlines()[-1] == self.errors[0]
        for word in words:
            assert word in self.errors[0]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Runs `protgen ...` in this process, on a terminal of 80 columns that is none."""
    from protgen.cli.main import run

    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Finished:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call
