"""The TM-score search compiled from `native/`; `None` where there is no library of it.

The library lies next to the sources: the wheel carries it, and `tm_library.py` builds it. It saves time and nothing
else. Whatever is wrong with it is a note at level DEBUG, and the numpy search of `tm.py` takes its place: the same
search, fifty to eighty times slower. `PROTGEN_NATIVE=0` chooses numpy outright; `protgen doctor` says which is in use.
"""

import ctypes
import logging
import os
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np

from protgen.metrics.tm_library import NATIVE, is_whole, library_name
from protgen.metrics.tm_plan import QUICK, Prefilter, SearchPlan

_BUILD = "python -m protgen.metrics.tm_library"
_LOG = logging.getLogger(__name__)


class _Plan(ctypes.Structure):
    """The C struct of the same name."""

    _fields_ = tuple((field.name, ctypes.c_int32) for field in fields(SearchPlan))


class NativeSearch:
    """The compiled search.

    Args:
        library: path of the shared library.
        function: which of its searches: `tm_search` takes the one of this processor.
    """

    def __init__(self, library: Path, function: str = "tm_search") -> None:
        self._search = getattr(ctypes.CDLL(os.fspath(library)), function)
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
    """The compiled search; None where there is none, or `PROTGEN_NATIVE` is 0."""
    return _found()[0]


def engine() -> str:
    """Which search is in use, for people: "compiled", or "numpy" and why."""
    return _found()[1]


@cache
def _found() -> tuple[NativeSearch | None, str]:
    if os.environ.get("PROTGEN_NATIVE") == "0":
        return None, "numpy (PROTGEN_NATIVE is 0)"
    try:
        library = NATIVE / library_name()
        if not library.is_file():
            raise _UnavailableError(f"not compiled; with a C compiler at hand, `{_BUILD}` compiles it")
        if not is_whole(library):
            raise _UnavailableError(f"{library.name} is damaged; `{_BUILD}` compiles it anew")
        search = NativeSearch(library)
        _check(search)
    except Exception as error:  # the compiled search only saves time, so nothing on the way to it may stop the work
        _LOG.debug("TM-score search in numpy: %s", error)
        return None, f"numpy ({' '.join(str(error).split())})"
    return search, f"compiled ({library.name})"


class _UnavailableError(Exception):
    """Why there is no compiled search."""


def _check(search: NativeSearch) -> None:
    """A coil laid on itself scores one; whatever does not say so has been compiled wrongly.

    Raises:
        _UnavailableError: if it scores anything else.
    """
    at = np.arange(40)
    coil = np.stack([2.3 * np.cos(1.745 * at), 2.3 * np.sin(1.745 * at), 1.5 * at]).astype(np.float32)
    states = np.zeros(len(at), np.int8)
    found = search(coil, coil, (states, states), QUICK)
    if not np.allclose(found, [1.0, 1.0, len(at), 1.0], atol=1e-3):
        raise _UnavailableError(f"the compiled search scores a structure against itself {found[0]:.3f}")
