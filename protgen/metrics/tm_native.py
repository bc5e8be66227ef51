"""The TM-score search compiled from `native/`, where there is a C compiler; `None` where there is not.

The library is compiled once for a source, compiler flags and kind of machine, and kept in the user's cache
($XDG_CACHE_HOME/protgen or ~/.cache/protgen). It saves time and nothing else: whatever goes wrong on the way to it is a
note at level DEBUG, and the numpy search of `tm.py` stands in, which does the same.
`PROTGEN_NATIVE=0` chooses numpy outright; `protgen doctor` says which is in use.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
from dataclasses import fields
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from protgen.metrics.tm_plan import QUICK, Prefilter, SearchPlan

_SOURCES = ("tm_search.c", "tm_starts.h", "tm_score.h", "tm_align.h", "tm_lanes.h")  # in native/, the first to compile
# The parts of -ffast-math that let sums be vectorised. Not the whole: linking with it makes gcc set the flush-to-zero
# mode of the process that loads the library (GCC bug 55522), and numpy's and torch's results would change with it.
_MATHS = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math")
_FLAGS = ("-O3", *_MATHS, "-ffinite-math-only", "-shared", "-fPIC")
_COMPILE_SECONDS = 60.0
_LOG = logging.getLogger(__name__)


class _Plan(ctypes.Structure):
    """The C struct of the same name."""

    _fields_ = tuple((field.name, ctypes.c_int32) for field in fields(SearchPlan))


class NativeSearch:
    """The compiled search.

    Args:
        library: path of the shared library.
    """

    def __init__(self, library: Path) -> None:
        self._search = ctypes.CDLL(os.fspath(library)).tm_search
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._search.restype = ctypes.c_int
        plan = ctypes.POINTER(_Plan)
        traces = (pointer, number, pointer, number, pointer, pointer)
        self._search.argtypes = [*traces, plan, ctypes.c_double, plan, pointer]

    def __call__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        states: tuple[np.ndarray, np.ndarray],
        plan: SearchPlan,
        prefilter: Prefilter | None = None,
    ) -> np.ndarray:
        """Search one pair.

        Args:
            x: (3, la) float32 Å, contiguous; the shorter trace.
            y: (3, lb) float32 Å, contiguous.
            states: (la,) and (lb,) int8 secondary structures.
            plan: how hard to try.
            prefilter: a lesser search that comes first, and decides the pairs that score below its bound.

        Returns:
            TM by la, TM by lb, residues aligned, and 1 if the pair got the whole plan.

        Raises:
            MemoryError: if there is no memory for the search.
        """
        result = np.zeros(4)
        at_x, at_y, *at_states = (array.ctypes.data for array in (x, y, *states))
        first, low = (None, 0.0) if prefilter is None else (_to_struct(prefilter.plan), prefilter.low)
        traces = (at_x, x.shape[1], at_y, y.shape[1], *at_states)
        done = self._search(*traces, first, low, _to_struct(plan), result.ctypes.data)
        if not done:
            raise MemoryError("no memory for a TM-score search")
        return result


@cache
def _to_struct(plan: SearchPlan) -> _Plan:
    return _Plan(*(int(getattr(plan, field.name)) for field in fields(plan)))


def native_search() -> NativeSearch | None:
    """The compiled search, compiled now if need be; None where it cannot be had, or `PROTGEN_NATIVE` is 0."""
    return _found()[0]


def engine() -> str:
    """Which search is in use, for people: "compiled", or "numpy" and why."""
    return _found()[1]


@cache
def _found() -> tuple[NativeSearch | None, str]:
    if os.environ.get("PROTGEN_NATIVE") == "0":
        return None, "numpy (PROTGEN_NATIVE is 0)"
    try:
        search, where = _obtain()
        _check(search)
    except Exception as error:  # the compiled search only saves time, so nothing on the way to it may stop the work
        _LOG.debug("TM-score search in numpy: %s", error)
        return None, f"numpy ({' '.join(str(error).split())})"
    return search, f"compiled ({where})"


def _obtain() -> tuple[NativeSearch, str]:
    """The search from the cache, or compiled: into the cache if that can be written, else for this process alone."""
    if os.name != "posix":
        raise _Unavailable("the compiled search needs Linux or macOS")
    sources = _sources()
    flags = (*_FLAGS, *_processor_flags())
    kind = repr((flags, platform.machine(), platform.system(), platform.libc_ver()))
    digest = hashlib.sha256(b"".join(sources.values()) + kind.encode()).hexdigest()
    name = f"tm_search-{digest[:16]}.so"
    folder = _cache_folder()
    if folder is not None and _is_own(folder / name):
        try:
            return NativeSearch(folder / name), str(folder / name)
        except (OSError, AttributeError) as error:  # damaged: compiled anew
            _LOG.debug("%s: %s", folder / name, error)
    with TemporaryDirectory(prefix="protgen-", ignore_cleanup_errors=True) as scratch:
        made = _compile(sources, flags, Path(scratch))
        if folder is None or not _keep(made, folder / name):
            return NativeSearch(made), "not kept"  # stays loaded when its file is gone
    return NativeSearch(folder / name), str(folder / name)


def _sources() -> dict[str, bytes]:
    """The files of the search by name."""
    folder = resources.files("protgen.metrics").joinpath("native")
    return {name: folder.joinpath(name).read_bytes() for name in _SOURCES}


class _Unavailable(Exception):
    """Why there is no compiled search."""


def _check(search: NativeSearch) -> None:
    """A coil laid on itself scores one; whatever does not say so has been compiled wrongly.

    Raises:
        _Unavailable: if it scores anything else.
    """
    at = np.arange(40)
    coil = np.stack([2.3 * np.cos(1.745 * at), 2.3 * np.sin(1.745 * at), 1.5 * at]).astype(np.float32)
    states = np.zeros(len(at), np.int8)
    found = search(coil, coil, (states, states), QUICK)
    if not np.allclose(found, [1.0, 1.0, len(at), 1.0], atol=1e-3):
        raise _Unavailable(f"the compiled search scores a structure against itself {found[0]:.3f}")


def _processor_flags() -> tuple[str, ...]:
    """Instructions this processor has, so that a cache on a shared disk serves unlike machines each with its own."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    if " avx2 " not in known or " fma " not in known:
        return ()
    # Eight lanes all the same: what helps, by a tenth, are the masks and the number of registers.
    wide = ("avx512f", "avx512vl", "avx512bw", "avx512dq")
    more = [f"-m{name}" for name in wide] if all(f" {name} " in known for name in wide) else []
    return ("-mavx2", "-mfma", *more)


def _cache_folder() -> Path | None:
    """The user's cache of compiled code; None where there is none that can be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "protgen"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _is_own(library: Path) -> bool:
    """Whether a file is there and is this user's: nobody else's code is run."""
    try:
        found = library.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _compiler() -> str:
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found is None:
            continue
        # without the command line tools, macOS's /usr/bin/cc asks on the screen whether to install them
        if platform.system() == "Darwin" and found.startswith("/usr/bin/"):
            tools = subprocess.run(["/usr/bin/xcode-select", "-p"], capture_output=True, check=False)
            if tools.returncode != 0:
                continue
        return found
    raise _Unavailable("no C compiler")


def _compile(sources: dict[str, bytes], flags: tuple[str, ...], folder: Path) -> Path:
    """Compile into a folder.

    Raises:
        _Unavailable: if there is no compiler, or it fails or takes longer than a minute.
    """
    for name, source in sources.items():
        (folder / name).write_bytes(source)
    made = folder / "tm_search.so"
    command = [_compiler(), *flags, "-o", os.fspath(made), os.fspath(folder / _SOURCES[0]), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMPILE_SECONDS)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
        raise _Unavailable(f"{command[0]} failed: {said[0][:200]}") from None
    except subprocess.TimeoutExpired:
        raise _Unavailable(f"{command[0]} took more than {_COMPILE_SECONDS:.0f} s") from None
    return made


def _keep(made: Path, library: Path) -> bool:
    """Put a library into the cache, whole or not at all, however many processes do so at once."""
    temporary = library.with_name(f".{library.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        shutil.copyfile(made, temporary)
        temporary.chmod(0o700)
        os.replace(temporary, library)
    except OSError as error:
        _LOG.debug("%s: not kept: %s", library, error)
        temporary.unlink(missing_ok=True)
        return False
    return True
