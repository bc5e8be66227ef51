"""One run at a time in an output folder: a lock with its owner, which a second run reads and names.

The lock is a small file, `.protgen.lock`: host, process, since when, and what for. It appears whole or not at all, by
a hard link, which local and network file systems make atomically. A lock whose process on this machine has ended, be
it by `kill -9` or a power cut, is taken over; that of another machine cannot be looked at and stays until that run
ends or someone removes the file.

A run that makes a part of what a folder is to hold locks that part, `.protgen.lock.100-199`: parts without a common
index may be made at the same time. Each makes its lock first and looks for others then, so that of two that exclude
each other at least one sees the other.
"""

import contextlib
import json
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from protgen.documents import read_json
from protgen.errors import DocumentError, LockedError

NAME = ".protgen.lock"
_PART = re.compile(re.escape(NAME) + r"\.(\d{1,9})-(\d{1,9})", re.ASCII)
_TRIES = 20
_PAUSE = 0.05  # s between looks at a lock that cannot be read: its maker may just be writing it


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        host: name of the machine.
        pid: number of the process.
        started: when the process began, in ticks since the machine did; "" where the system does not say. A number that
            another process has got since is known by it.
        machine, boot: which machine, and which start of it; "" where the system does not say.
        space: of process numbers; a container has its own.
        since: local time.
        task: what it does, for messages.
        token: of this lock.
    """

    host: str
    pid: int
    started: str
    machine: str
    boot: str
    space: str
    since: str
    task: str
    token: str

    def in_words(self) -> str:
        """For messages."""
        return f"{self.task}, process {self.pid} on {self.host} since {self.since}"

    def has_ended(self) -> bool:
        """Whether its process was on this machine and is no more; False where that cannot be known."""
        here = _owner_here("")
        if (self.host, self.machine) != (here.host, here.machine):
            return False
        if self.boot != here.boot:
            return bool(self.machine and self.boot and here.boot)  # the machine began anew
        return self.space == here.space and (not _is_running(self.pid) or self.started != _started(self.pid))


@contextmanager
def locked(folder: Path, task: str, part: range | None = None) -> Iterator[None]:
    """Hold the lock of an output folder.

    Args:
        folder: the folder; it must exist.
        task: what is done there, such as "protgen train".
        part: the indices that are made, where others of the folder may be made at the same time; None for all of it.

    Raises:
        LockedError: if another run has it, or a part of it; the message names its host, its process, and since when.
    """
    own = _owner_here(task)
    path = folder / (NAME if part is None else f"{NAME}.{part[0]}-{part[-1]}")
    with _one_at_a_time(folder):
        _take(path, own)
        try:
            for other in lock_files(folder):
                if other != path and _meet(part, _part_of(other)):
                    _clear(other)
        except LockedError:
            path.unlink(missing_ok=True)
            raise
    try:
        yield
    finally:
        if owner_of(path) == own:
            path.unlink(missing_ok=True)


def lock_files(folder: Path) -> list[Path]:
    """The locks of a folder and of parts of it."""
    return [path for path in sorted(folder.glob(f"{NAME}*")) if path.name == NAME or _part_of(path) is not None]


def holders(folder: Path) -> list[Owner]:
    """Who uses a folder or a part of it now, as far as can be known from here."""
    owners = [owner_of(path) for path in lock_files(folder)]
    return [owner for owner in owners if owner is not None and not owner.has_ended()]


def _part_of(path: Path) -> range | None:
    """The indices that a lock is of; None for all."""
    match = _PART.fullmatch(path.name)
    part = range(int(match[1]), int(match[2]) + 1) if match else None
    return part or None


def _meet(one: range | None, other: range | None) -> bool:
    """Whether two parts have an index in common."""
    return one is None or other is None or (one[0] <= other[-1] and other[0] <= one[-1])


def owner_of(path: Path) -> Owner | None:
    """The owner a lock file names; None if there is no such file, or it cannot be read."""
    try:
        plain = read_json(path, 10_000)
        return Owner(**{name: kind(plain[name]) for name, kind in Owner.__annotations__.items()})
    except (DocumentError, KeyError, TypeError, ValueError):
        return None


def _take(path: Path, own: Owner) -> None:
    """Make the lock file, in place of one whose process has ended."""
    for _ in range(_TRIES):
        if _make(path, own):
            return
        _clear(path)
    raise LockedError(f"{path.parent}: other runs take and leave its lock all the time; choose another folder")


def _clear(path: Path) -> None:
    """Remove a lock whose process has ended; raise LockedError where that cannot be known, or it has not."""
    for _ in range(_TRIES):
        owner = owner_of(path)
        if owner is None and not path.is_symlink() and not path.exists():
            return
        if owner is None:
            time.sleep(_PAUSE)
        elif owner.has_ended():
            path.unlink(missing_ok=True)
            return
        else:
            raise LockedError(
                f"{path.parent}: in use by {owner.in_words()}; wait for it or choose another folder "
                f"(if that process is gone, remove {path})"
            )
    raise LockedError(f"{path}: is no lock that can be read; if no run uses the folder, remove it")


def _make(path: Path, own: Owner) -> bool:
    """Make the lock file whole; False if there is one."""
    temporary = path.with_name(f".{own.token}.tmp")
    content = json.dumps(asdict(own)).encode()
    try:
        temporary.write_bytes(content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except PermissionError as error:
        if not os.access(path.parent, os.W_OK):
            raise LockedError(f"{path.parent}: cannot be written to ({error.strerror})") from None
        return _make_without_links(path, content)
    except OSError as error:
        if not temporary.is_file() or temporary.stat().st_size < len(content):
            raise LockedError(f"{path.parent}: cannot be written to ({error.strerror})") from None
        return _make_without_links(path, content)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _make_without_links(path: Path, content: bytes) -> bool:
    """The same on a file system without hard links, such as that of memory cards."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process of this machine at a time look for ended owners: two would each remove the other's lock."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # not POSIX
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _owner_here(task: str) -> Owner:
    """This process as the owner of a new lock."""
    pid = os.getpid()
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return Owner(
        host=socket.gethostname(),
        pid=pid,
        started=_started(pid),
        machine=_line("/etc/machine-id"),
        boot=_line("/proc/sys/kernel/random/boot_id"),
        space=space,
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        task=task,
        token=uuid.uuid4().hex,
    )


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # asking there would end the process: os.kill knows no signal 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return _state(pid) not in ("Z", "X")  # a zombie holds nothing any more


def _state(pid: int) -> str:
    return (_stat(pid) or [""])[0]


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    """Fields of Linux's /proc/PID/stat after the name, which may hold blanks and brackets; state first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
