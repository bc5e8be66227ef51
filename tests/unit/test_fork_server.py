"""Workers that are copies of a server: what they inherit, what they must not, and that the server leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers start anew elsewhere")

LOOK = """
import os, random, sys, time
import numpy

def look(item):
    time.sleep(0.1)  # so that each of two workers takes an item
    return {
        "parent": os.getppid(),
        "folder": os.getcwd(),
        "path": sys.path,
        "environment": dict(os.environ),
        "random": [random.random(), numpy.random.rand()],
    }
"""
SCRIPT = """
import json, os, random, sys
from multiprocessing import forkserver
import numpy
from protgen.parallel import run
from looking import look

def pools(count):
    for _ in range(count):
        found = [o.result for o in run(look, [1, 2], jobs=2)]
    return found

def of(pid, what):
    return len(os.listdir(f"/proc/{pid}/{what}"))

if __name__ == "__main__":
    random.seed(0), numpy.random.seed(0)
    first, server = pools(1), forkserver._forkserver._forkserver_pid
    before = [of(os.getpid(), "fd"), of(server, "fd")]
    again = pools(3)
    after = [of(os.getpid(), "fd"), of(server, "fd")]
    os.makedirs("other"), os.chdir("other")
    os.environ["COLUMNS"] = "33"
    moved = pools(1)
    os.environ["OMP_NUM_THREADS"] = "7"
    anew = pools(1)
    print(json.dumps({
        "here": os.getpid(), "server": server, "threads": of(server, "task"), "before": before, "after": after,
        "first": first, "again": again, "moved": moved, "anew": anew, "folder": os.getcwd(), "path": sys.path,
        "environment": dict(os.environ),
    }))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What workers of a script of its own found; its working folder holds modules with the names of others."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "looking.py").write_text(LOOK)
    script = folder / "elsewhere" / "script.py"
    script.write_text(SCRIPT)
    for name in ("numpy", "random", "looking"):
        (folder / f"{name}.py").write_text("raise SystemExit('a module of the working folder was imported')\n")
    done = python(script, folder, OMP_NUM_THREADS="1")
    assert done.stderr == ""
    return json.loads(done.stdout)


def python(script: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds protgen, in a working folder."""
    given = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    line = [sys.executable, str(script)]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=given, timeout=120, check=False)


def test_workers_are_forked_from_one_server_of_one_thread(found):
    """Every worker is a child of the server until the environment differs; the server has one thread."""
    for name in ("first", "again", "moved"):
        assert {worker["parent"] for worker in found[name]} == {found["server"]}
    assert {worker["parent"] for worker in found["anew"]} == {found["here"]}
    assert found["threads"] == 1


def test_pools_leave_no_descriptors(found):
    """Three pools more leave as many open descriptors; one of a worker that is just ending may be there."""
    for before, after in zip(found["before"], found["after"], strict=True):
        assert after <= before + 1


def test_workers_have_the_environment_folder_and_path_of_the_parent(found):
    """Also what the parent changed after the server had started."""
    for name in ("first", "again", "moved", "anew"):
        for worker in found[name]:
            differs = set(found["environment"].items()) ^ set(worker["environment"].items())
            later = {"moved": {"OMP_NUM_THREADS"}, "anew": set()}.get(name, {"OMP_NUM_THREADS", "COLUMNS"})
            assert {key for key, _ in differs} <= later
            assert worker["path"] == found["path"]
            assert (worker["folder"] == found["folder"]) == (name in ("moved", "anew"))
    assert {worker["environment"]["COLUMNS"] for worker in found["moved"]} == {"33"}
    assert {worker["environment"]["OMP_NUM_THREADS"] for worker in found["anew"]} == {"7"}


def test_workers_do_not_share_their_chance(found):
    """Python's and numpy's global generators differ between workers, as those of new processes do."""
    for k in range(2):
        assert len({worker["random"][k] for name in ("first", "again", "anew") for worker in found[name]}) == 6


def test_a_temporary_folder_with_a_long_path_is_no_trouble(tmp_path):
    """No socket fits there, so workers start anew."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom protgen.parallel import run\n"
        "if __name__ == '__main__':\n    print(sorted(o.result for o in run(math.sqrt, [4, 9], jobs=2)))\n"
    )
    done = python(script, tmp_path, TMPDIR=str(folder))
    assert (done.stdout, done.stderr) == ("[2.0, 3.0]\n", "")
