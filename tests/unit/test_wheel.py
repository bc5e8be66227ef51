"""A wheel holds all that the package reads at run time: it is built, unpacked elsewhere, and used there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from protgen.metrics import tm_library

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
USE = """
import importlib.util, sys
from pathlib import Path
import protgen
here = Path(protgen.__file__).parent
assert here == Path(sys.argv[1]) / "protgen", here
from protgen.cli.train_config import choices, config_folder
from protgen.evaluation.page_frame import _resource
from protgen.metrics.fold import fold_network
from protgen.metrics.reference_data import native_statistics, ramachandran_reference
from protgen.metrics.tm_native import engine
from protgen.models.released import released
assert config_folder() == here / "configs" and "egnn" in choices("encoder")
assert all(_resource(f"page.{kind}") for kind in ("css", "js"))
assert fold_network() and native_statistics() and len(ramachandran_reference().log_density) == 4
assert engine().startswith(sys.argv[3]), engine()
assert [model.name for model in released()] == sys.argv[2].split(",")
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    if not (ROOT / "configs").is_dir():
        pytest.skip("no checkout here to build from")
    return Path(next(builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))


def unpack(wheel: Path) -> Path:
    """Its files, in a folder beside it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    return wheel.parent / "unpacked"


def use(wheel: Path, engine: str, home: Path) -> subprocess.CompletedProcess:
    """What the unpacked wheel reads at run time, in a process whose home is an empty folder."""
    released = sorted(path.parent.name for path in (ROOT / "protgen" / "weights").glob("*/config.json"))
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(wheel)}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment.pop("PROTGEN_NATIVE", None)
    command = [sys.executable, "-c", USE, str(wheel), ",".join(released), engine]
    return subprocess.run(command, env=environment, cwd=wheel, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked; with the compiled search where there is a compiler."""
    return unpack(build_wheel(tmp_path_factory.mktemp("wheel")))


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """Code, page, tables, weights, the marker of types and the configurations."""
    wanted = [path.relative_to(ROOT) for path in (ROOT / "protgen").rglob("*") if path.is_file()]
    wanted = [path for path in wanted if "__pycache__" not in path.parts and path.suffix != ".so"]
    assert {".py", ".c", ".h", ".css", ".js", ".json", ".npz", ".safetensors", ".typed"} <= {p.suffix for p in wanted}
    assert not [str(path) for path in wanted if not (wheel / path).is_file()]
    configs = [path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")]
    assert configs
    assert not [str(path) for path in configs if not (wheel / "protgen" / path).is_file()]
    assert not list(wheel.rglob("*.pdb*"))  # no structures are shipped


def test_an_unpacked_wheel_finds_all_it_reads(wheel, tmp_path):
    """Tables, weights, compiled search, page and configurations are the wheel's; nothing is written into the home."""
    libraries = [path.name for path in wheel.rglob("*.so")]
    done = use(wheel, "compiled" if libraries else "numpy (not compiled", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_holds_one_library_and_says_for_which_platform(wheel):
    """One file serves every Python 3 of the platform; there is nothing else that is compiled."""
    try:
        tm_library._compiler()
    except tm_library.NoLibraryError:
        pytest.skip("no C compiler here")
    assert [path.name for path in wheel.rglob("*.so")] == [tm_library.library_name()]
    tags = next(wheel.glob("*.dist-info/WHEEL")).read_text().split("\n")
    (tag,) = [line.removeprefix("Tag: ") for line in tags if line.startswith("Tag: ")]
    assert tag.startswith("py3-none-")
    assert tag != "py3-none-any"
    assert "Root-Is-Purelib: false" in tags


@pytest.fixture(scope="module")
def bare_wheel(tmp_path_factory):
    """A wheel built where no compiler is found, unpacked."""
    folder = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CC", raising=False)
        patch.setenv("PATH", str(folder))
        built = build_wheel(folder)
    assert built.name.endswith("-py3-none-any.whl")
    return unpack(built)


def test_a_wheel_without_the_library_works_in_numpy(bare_wheel, tmp_path):
    """Built for want of a compiler it is pure Python, and what is missing is said by the search."""
    done = use(bare_wheel, "numpy (not compiled; with a C compiler at hand", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_wheel_may_be_built_without_the_library_by_choice(tmp_path, monkeypatch):
    """PROTGEN_NATIVE=0: the hook adds no file and leaves the wheel pure Python."""
    monkeypatch.setenv("PROTGEN_NATIVE", "0")
    monkeypatch.syspath_prepend(ROOT)
    hook = pytest.importorskip("hatch_build").NativeBuildHook(str(ROOT), {}, None, None, str(tmp_path), "wheel")
    found = {"force_include": {}, "pure_python": True}
    hook.initialize("standard", found)
    assert found == {"force_include": {}, "pure_python": True}


def test_a_wheel_to_be_published_is_not_built_without_the_library(tmp_path, monkeypatch):
    """PROTGEN_NATIVE=1: what cannot be compiled is an error, not a note."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PROTGEN_NATIVE", "1")
    with pytest.raises(Exception, match="no C compiler"):
        build_wheel(tmp_path)
