"""A wheel holds all that the package reads at run time: it is built, unpacked elsewhere, and used there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE = """
import importlib.util, sys
from pathlib import Path
import protgen
here = Path(protgen.__file__).parent
assert here == Path(sys.argv[1]) / "protgen", here
from protgen.cli.train_config import choices, config_folder
from protgen.evaluation.report import _resource
from protgen.metrics.fold import fold_network
from protgen.metrics.reference_data import native_statistics, ramachandran_reference
from protgen.metrics.tm_native import _sources
from protgen.models.released import released
assert config_folder() == here / "configs" and "egnn" in choices("encoder")
assert all(_resource(f"page.{kind}") for kind in ("css", "js"))
assert fold_network() and native_statistics() and len(ramachandran_reference().log_density) == 4
assert all(_sources().values())
assert [model.name for model in released()] == sys.argv[2].split(",")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    if not (ROOT / "configs").is_dir():
        pytest.skip("no checkout here to build from")
    folder = tmp_path_factory.mktemp("wheel")
    built = next(builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """Code, C sources, page, tables, weights, the marker of types and the configurations."""
    wanted = [path.relative_to(ROOT) for path in (ROOT / "protgen").rglob("*") if path.is_file()]
    wanted = [path for path in wanted if "__pycache__" not in path.parts]
    assert {".py", ".c", ".h", ".css", ".js", ".json", ".npz", ".safetensors", ".typed"} <= {p.suffix for p in wanted}
    assert not [str(path) for path in wanted if not (wheel / path).is_file()]
    configs = [path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")]
    assert configs
    assert not [str(path) for path in configs if not (wheel / "protgen" / path).is_file()]
    assert not list(wheel.rglob("*.pdb*"))  # no structures are shipped


def test_an_unpacked_wheel_finds_all_it_reads(wheel):
    """Tables, weights, C sources, page and configurations are read from the wheel and not from the checkout."""
    released = sorted(path.parent.name for path in (ROOT / "protgen" / "weights").glob("*/config.json"))
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", USE, str(wheel), ",".join(released)]
    done = subprocess.run(command, env=environment, cwd=wheel, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
