"""The lock of an output folder: one owner, named to others, and taken over when its process has ended."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from protgen.errors import LockedError
from protgen.folder_lock import NAME, holders, locked, owner_of

HOLD = "import sys, pathlib, protgen.folder_lock as lock\nwith lock.locked(pathlib.Path(sys.argv[1]), 'a task'):\n"


def child(folder, then: str) -> subprocess.Popen:
    """A process that takes the lock, says so, and goes on."""
    code = HOLD + "    print('held', flush=True)\n    " + then
    started = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"held\n"
    return started


def change(folder, **values) -> None:
    """Change the owner in a lock file."""
    path = folder / NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_lock_is_held_by_one_and_goes_with_it(tmp_path):
    """The message names task, process, host, time and file; afterwards nothing is left."""
    with locked(tmp_path, "protgen sample"):
        owner = owner_of(tmp_path / NAME)
        assert owner is not None
        assert (owner.pid, owner.host, owner.task) == (os.getpid(), socket.gethostname(), "protgen sample")
        with pytest.raises(LockedError) as caught, locked(tmp_path, "another"):
            pass
        for word in ("protgen sample", f"process {os.getpid()} on {socket.gethostname()}", owner.since, NAME):
            assert word in str(caught.value)
        assert owner_of(tmp_path / NAME) == owner
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_running_process_holds_and_that_of_a_killed_one_is_taken_over(tmp_path):
    """While the process runs, and after `kill -9`."""
    other = child(tmp_path, "sys.stdin.read()")
    with pytest.raises(LockedError, match=f"a task, process {other.pid} "), locked(tmp_path, "mine"):
        pass
    other.kill()
    other.wait()
    assert (tmp_path / NAME).is_file()
    with locked(tmp_path, "mine"):
        owner = owner_of(tmp_path / NAME)
        assert owner is not None
        assert owner.pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_ended_and_waits_for_its_parent_holds_nothing(tmp_path):
    """A zombie."""
    other = child(tmp_path, "import os; os._exit(1)")
    deadline = time.monotonic() + 20
    while (tmp_path / NAME).is_file() and time.monotonic() < deadline:
        try:
            with locked(tmp_path, "mine"):
                break
        except LockedError:
            time.sleep(0.02)
    assert list(tmp_path.iterdir()) == []
    other.wait()


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({"started": "1"}, True),  # the number of the process belongs to another now
        ({"boot": "earlier"}, True),  # the machine began anew
        ({"host": "elsewhere"}, False),
        ({"machine": "another of that name"}, False),
        ({"space": "pid:[1]"}, False),  # a container of this machine
        ({"space": "pid:[1]", "pid": 2**22 + 5}, False),
    ],
)
def test_a_lock_is_taken_over_where_its_process_is_known_to_have_ended(tmp_path, values, taken):
    """On this machine; that of another machine or container is refused, and stays."""
    with locked(tmp_path, "first"):
        kept = (tmp_path / NAME).read_text()
    if values.keys() & {"boot", "machine", "started"} and not all(json.loads(kept)[k] for k in ("boot", "machine")):
        pytest.skip("this system does not say which machine it is")
    (tmp_path / NAME).write_text(kept)
    change(tmp_path, **values)
    if taken:
        with locked(tmp_path, "second"):
            pass
        assert not (tmp_path / NAME).exists()
        return
    with pytest.raises(LockedError, match="if that process is gone, remove"), locked(tmp_path, "second"):
        pass
    assert (tmp_path / NAME).exists()


def test_a_lock_that_cannot_be_read_is_refused(tmp_path):
    """It may be that of a release to come."""
    (tmp_path / NAME).write_text("{")
    with pytest.raises(LockedError, match="no lock that can be read"), locked(tmp_path, "mine"):
        pass


def test_of_many_who_find_an_ended_owner_one_takes_the_lock(tmp_path):
    """Ten at once, twenty times: one each time, and never another's lock removed."""
    with locked(tmp_path, "first"):
        kept = json.loads((tmp_path / NAME).read_text()) | {"pid": 2**22 + 5}
    for _ in range(20):
        (tmp_path / NAME).write_text(json.dumps(kept))
        start, tried, won = threading.Barrier(10), threading.Barrier(10), []

        def run(start=start, tried=tried, won=won) -> None:
            start.wait()
            try:
                with locked(tmp_path, "many"):
                    won.append(1)
                    tried.wait()
            except LockedError:
                tried.wait()

        threads = [threading.Thread(target=run) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert list(tmp_path.iterdir()) == []


def test_an_end_removes_no_lock_of_another(tmp_path):
    """Removed by hand and taken by another run meanwhile."""
    with locked(tmp_path, "mine"):
        change(tmp_path, token="another")
    assert (tmp_path / NAME).is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """Not an internal error."""
    with pytest.raises(LockedError, match="cannot be written to"), locked(tmp_path / "missing", "mine"):
        pass


def test_parts_without_a_common_index_are_held_together(tmp_path):
    """And no others: neither a part that overlaps, nor all of the folder, in either order."""
    with locked(tmp_path, "first", range(100)), locked(tmp_path, "second", range(100, 150)):
        for part in (range(99, 100), range(149, 200), range(1000), range(100), None):
            with pytest.raises(LockedError, match=r"in use by (first|second), process"), locked(tmp_path, "mine", part):
                pass
        assert sorted(owner.task for owner in holders(tmp_path)) == ["first", "second"]
        with locked(tmp_path, "third", range(150, 151)):
            assert len(holders(tmp_path)) == 3
    with locked(tmp_path, "all"), pytest.raises(LockedError, match="in use by all"), locked(tmp_path, "m", range(3)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_part_whose_process_was_killed_is_taken_over(tmp_path):
    """By another part that overlaps, and by a run of all."""
    for part in (range(5, 7), None):
        with locked(tmp_path, "killed", range(6, 9)):
            (lock,) = tmp_path.iterdir()
            content = json.loads(lock.read_text()) | {"pid": 2**22 + 5}
        lock.write_text(json.dumps(content))
        assert holders(tmp_path) == []
        with locked(tmp_path, "mine", part):
            assert [owner.task for owner in holders(tmp_path)] == ["mine"]
            assert not lock.exists()
    assert list(tmp_path.iterdir()) == []


def test_of_many_parts_that_overlap_one_is_held(tmp_path):
    """Ten at once, each with one index of its own and one that all have."""
    for _ in range(10):
        start, tried, won = threading.Barrier(10), threading.Barrier(10), []

        def run(first, start=start, tried=tried, won=won) -> None:
            start.wait()
            try:
                with locked(tmp_path, "many", range(first, 20)):
                    won.append(first)
                    tried.wait()
            except LockedError:
                tried.wait()

        threads = [threading.Thread(target=run, args=(first,)) for first in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert list(tmp_path.iterdir()) == []
