"""The TM-score search compiled from `native/tm_search.c`, where there is a C compiler; `None` where there is not.

The library is compiled once for a processor and kept in the user's cache. The numpy search of `tm.py` follows the same
plan and stands in where this is not to be had, some ten times slower. `PROTGEN_NATIVE=0` chooses it.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from protgen.metrics.tm_plan import SearchPlan

_SOURCE = "native/tm_search.c"
_FLAGS = ("-O3", "-ffast-math", "-shared", "-fPIC")
_COMPILE_SECONDS = 60.0


class _Plan(ctypes.Structure):
    """The C struct of the same name."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("pieces", ctypes.c_int32 * 2),
        ("kept", ctypes.c_int32 * 2),
        *((name, ctypes.c_int32) for name in ("stride_x", "stride_y", "tried", "thinning", "heat", "finalists")),
        *((name, ctypes.c_int32) for name in ("rounds", "final_steps", "n_gaps")),
        ("gaps", ctypes.c_float * 2),
        ("state_gap", ctypes.c_float),
    )


class NativeSearch:
    """The compiled search.

    Args:
        library: path of the shared library.
    """

    def __init__(self, library: Path) -> None:
        self._search = ctypes.CDLL(os.fspath(library)).tm_search
        pointer, number = ctypes.c_void_p, ctypes.c_float
        self._search.restype = ctypes.c_int
        self._search.argtypes = [
            *(pointer, ctypes.c_int, pointer, ctypes.c_int, pointer, pointer),
            *(number, number, number, number, ctypes.POINTER(_Plan), pointer),
        ]

    def __call__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        states: tuple[np.ndarray, np.ndarray],
        scales: tuple[float, float, float, float],
        plan: SearchPlan,
    ) -> np.ndarray:
        """Search one pair.

        Args:
            x: (3, la) float32 Å, contiguous; the shorter trace.
            y: (3, lb) float32 Å, contiguous.
            states: (la,) and (lb,) int8 secondary structures.
            scales: d0 of the search, reach, d0 of la, d0 of lb; Å.
            plan: how hard to try.

        Returns:
            TM by la, TM by lb, residues aligned.

        Raises:
            MemoryError: if there is no memory for the search.
        """
        result = np.zeros(3)
        arrays = [array.ctypes.data for array in (x, y, *states)]
        done = self._search(
            arrays[0], x.shape[1], arrays[1], y.shape[1], *arrays[2:], *scales, _to_struct(plan), result.ctypes.data
        )
        if not done:
            raise MemoryError("no memory for a TM-score search")
        return result


@cache
def _to_struct(plan: SearchPlan) -> _Plan:
    names = ("threads", "stride_x", "stride_y", "tried", "thinning", "heat", "finalists", "rounds", "final_steps")
    struct = _Plan(**{name: getattr(plan, name) for name in names})
    struct.pieces[:], struct.kept[:] = plan.pieces, plan.kept
    struct.n_gaps, struct.state_gap = len(plan.gaps), plan.state_gap
    struct.gaps[: len(plan.gaps)] = plan.gaps
    return struct


@cache
def native_search() -> NativeSearch | None:
    """The compiled search, compiled now if need be; None without a compiler, or where `PROTGEN_NATIVE` is 0."""
    if os.environ.get("PROTGEN_NATIVE") == "0" or os.name == "nt":
        return None
    source = resources.files("protgen.metrics").joinpath(_SOURCE).read_bytes()
    flags = (*_FLAGS, *_processor_flags())
    key = hashlib.sha256(source + repr((flags, platform.machine(), platform.system())).encode()).hexdigest()[:16]
    try:
        library = _cache_folder() / f"tm_search-{key}.so"
        if not library.exists() and not _compile(source, flags, library):
            return None
        return NativeSearch(library)
    except OSError:  # a cache that cannot be written or executed from
        return None


def _processor_flags() -> tuple[str, ...]:
    """Instructions this processor has, so that a cache on a shared disk serves unlike machines each with its own."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return ("-mavx2", "-mfma") if " avx2 " in known and " fma " in known else ()


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "protgen"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="protgen-"))


def _compile(source: bytes, flags: tuple[str, ...], library: Path) -> bool:
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return False
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        code, made = Path(folder) / "tm_search.c", Path(folder) / "tm_search.so"
        code.write_bytes(source)
        command = [compiler, *flags, "-o", os.fspath(made), os.fspath(code), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_COMPILE_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return False
        os.replace(made, library)  # whole or not at all, however many processes compile at once
    return True
