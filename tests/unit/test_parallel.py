"""Order, results and the death of a worker."""

import os
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from protgen import parallel
from protgen.errors import UsageError
from protgen.parallel import run


def square(x: int) -> int:
    return x * x


def square_or_die(x: int) -> int:
    if x == 5:
        os._exit(9)
    return x * x


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_has_its_result(jobs):
    """Results carry the index of their item, whatever order they come in."""
    outcomes = {o.index: o.result for o in run(square, list(range(40)), jobs=jobs)}
    assert outcomes == {i: i * i for i in range(40)}


def test_a_worker_that_dies_between_two_looks_loses_nothing(monkeypatch):
    """The pool refuses the third piece of work: the two in flight are done again, one by one, and then the rest."""
    real, made = parallel._pool, []

    class Broken:
        """A pool whose worker dies before it has done anything, which shows at the third submission."""

        def __init__(self):
            self.futures = []

        def submit(self, function, *given):
            if len(self.futures) == 2:
                for future in self.futures:
                    future.set_exception(BrokenProcessPool())
                raise BrokenProcessPool
            self.futures.append(Future())
            return self.futures[-1]

        def shutdown(self, **how):
            """Nothing to end."""

    monkeypatch.setattr(parallel, "_pool", lambda *given: real(*given) if made else made.append(Broken()) or made[0])
    found = {o.index: o.result for o in run(square, [1, 2, 4, 5, 6, 8], jobs=2)}
    assert found == {0: 1, 1: 4, 2: 16, 3: 25, 4: 36, 5: 64}


def test_a_dead_worker_costs_its_own_item_alone():
    """One item kills its process: it alone is lost, and named."""
    outcomes = {o.index: o for o in run(square_or_die, list(range(12)), jobs=2)}
    assert sorted(outcomes) == list(range(12))
    assert [i for i, o in outcomes.items() if o.died] == [5]
    assert all(o.result == i * i for i, o in outcomes.items() if not o.died)


def test_jobs_must_be_positive():
    """Zero jobs is a mistake of the user."""
    with pytest.raises(UsageError, match="jobs"):
        run(square, [1], jobs=0)


def test_exceptions_are_raised():
    """A bug in the function is not hidden."""
    with pytest.raises(TypeError):
        list(run(square, ["a", "b"], jobs=1))


def wait_long(folder: str) -> None:
    """Leave the numbers of this process and of the one that started it, and work for a minute."""
    Path(folder, f"{os.getpid()} {os.getppid()}").touch()
    time.sleep(60)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_workers_end_with_a_killed_parent(tmp_path):
    """`kill -9` of the parent: both workers and their server are gone within seconds, in the middle of their work."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from protgen.parallel import run\nfrom test_parallel import wait_long\n"
        f"if __name__ == '__main__':\n    list(run(wait_long, [{str(tmp_path)!r}] * 2, jobs=2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    (tmp_path / "found").mkdir()
    script.write_text(code.replace(repr(str(tmp_path)), repr(str(tmp_path / "found"))))
    parent = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "found").iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = [path.name.split() for path in (tmp_path / "found").iterdir()]
    assert len(started) == 2
    workers = {int(pid) for pair in started for pid in pair} - {parent.pid}
    assert len(workers) == (3 if sys.platform == "linux" else 2)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def is_running(pid: int) -> bool:
    """Whether a process is there and not only waiting for its parent to ask."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
