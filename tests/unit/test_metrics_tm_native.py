"""The compiled TM-score search never gets in the way: whatever is missing, the scores come, and nothing is said."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protgen.metrics import tm_native
from protgen.metrics.tm import tm_score
from protgen.structure.ideal import ideal_helix

ASK = "from protgen.metrics.tm_native import engine; print(engine())"


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """Every test finds its search anew, and the next one too."""
    monkeypatch.delenv("PROTGEN_NATIVE", raising=False)
    tm_native._found.cache_clear()
    yield
    tm_native._found.cache_clear()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The source compiled once, for all tests."""
    try:
        flags = (*tm_native._FLAGS, *tm_native._processor_flags())
        return tm_native._compile(tm_native._sources(), flags, tmp_path_factory.mktemp("c"))
    except tm_native._Unavailable:
        pytest.skip("no C compiler here")


@pytest.fixture
def cache(library, tmp_path, monkeypatch):
    """An empty cache, and a compiler that takes no time: it puts the library where it is told to."""
    script = f'while [ "$1" != -o ]; do shift; done; cp {library} "$2"'
    monkeypatch.setenv("CC", write_compiler(tmp_path / "quick-cc", script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "protgen"


def write_compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def score() -> tuple[float, float]:
    trace = ideal_helix(20)[:, 1]
    return tm_score(trace, trace)


def test_compiled_once_and_kept(cache, monkeypatch):
    """The first use leaves one library in the cache and nothing else; the second loads it without a compiler."""
    assert tm_native.native_search() is not None
    (kept,) = cache.iterdir()
    assert tm_native.engine() == f"compiled ({kept})"
    tm_native._found.cache_clear()
    monkeypatch.setattr(tm_native, "_compile", None)
    assert tm_native.engine() == f"compiled ({kept})"


def test_damaged_library_is_compiled_anew(cache, library, tmp_path, monkeypatch):
    """Half a file in the cache is replaced."""
    tm_native.native_search()
    (name,) = (path.name for path in cache.iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    damaged = tmp_path / "other" / "protgen" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"\x7fELF, but no more")
    tm_native._found.cache_clear()
    assert tm_native.native_search() is not None
    assert damaged.read_bytes() == library.read_bytes()


def test_source_and_flags_name_the_library(cache, monkeypatch):
    """Other flags, another file: a changed source or machine never loads what was compiled for another."""
    tm_native.native_search()
    monkeypatch.setattr(tm_native, "_FLAGS", (*tm_native._FLAGS, "-DOTHER"))
    tm_native._found.cache_clear()
    tm_native.native_search()
    assert len(list(cache.iterdir())) == 2


def test_processes_at_once_share_a_cache(cache):
    """Three processes that start together all get the search, leave one library, and say nothing on stderr."""
    started = [subprocess.Popen([sys.executable, "-c", ASK], stdout=-1, stderr=-1, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300) for process in started]
    (kept,) = cache.iterdir()
    assert said == [(f"compiled ({kept})\n", "")] * 3


def test_no_cache_can_be_written(cache, tmp_path, monkeypatch):
    """A home that is a file, and a user without a home: compiled for the process alone, nothing left behind."""
    (tmp_path / "file").write_text("")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert score() == pytest.approx((1.0, 1.0), abs=1e-3)
    assert tm_native.engine() == "compiled (not kept)"
    assert list(scratch.iterdir()) == []

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    tm_native._found.cache_clear()
    assert tm_native.engine() == "compiled (not kept)"


def test_another_users_library_is_not_run(cache, tmp_path, monkeypatch):
    """Neither a link nor a file of somebody else's is loaded."""
    tm_native.native_search()
    (kept,) = cache.iterdir()
    assert tm_native._is_own(kept)
    (tmp_path / "link").symlink_to(kept)
    assert not tm_native._is_own(tmp_path / "link")
    monkeypatch.setattr(os, "geteuid", lambda: kept.stat().st_uid + 1)
    assert not tm_native._is_own(kept)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'broken assembler' >&2; exit 1", "broken assembler"),
        ("exit 0", "tm_search.so"),  # says it has compiled, and has not
        ("sleep 30", "took more than"),
    ],
)
def test_bad_compilers_cost_nothing(script, reason, tmp_path, monkeypatch, capfd, caplog):
    """One that fails, one that lies, one that hangs: numpy gives the scores, with one note for who asks for notes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", write_compiler(tmp_path / "cc", script))
    monkeypatch.setattr(tm_native, "_COMPILE_SECONDS", 0.3)
    with caplog.at_level(logging.DEBUG, logger="protgen.metrics.tm_native"):
        assert score() == score() == pytest.approx((1.0, 1.0), abs=1e-3)
    notes = [record for record in caplog.records if record.getMessage().startswith("TM-score search in numpy")]
    assert [record.levelno for record in notes] == [logging.DEBUG]
    assert reason in tm_native.engine()
    assert capfd.readouterr() == ("", "")


def test_no_compiler(tmp_path, monkeypatch):
    """Nothing on PATH: numpy, and the reason."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert score() == pytest.approx((1.0, 1.0), abs=1e-3)
    assert tm_native.engine() == "numpy (no C compiler)"


def test_numpy_by_choice(monkeypatch):
    """PROTGEN_NATIVE=0 is numpy, whatever there is."""
    monkeypatch.setenv("PROTGEN_NATIVE", "0")
    assert tm_native.native_search() is None
    assert tm_native.engine() == "numpy (PROTGEN_NATIVE is 0)"


def test_wrongly_compiled_is_not_used(cache, monkeypatch):
    """A library that scores a structure against itself below one is told from a good one."""
    monkeypatch.setattr(tm_native.NativeSearch, "__call__", lambda *_: np.array([0.7, 0.7, 40.0, 1.0]))
    assert tm_native.native_search() is None
    assert "against itself 0.700" in tm_native.engine()


def test_arithmetic_of_the_process_is_untouched(library):
    """Loading the library leaves subnormal numbers alone (gcc's -ffast-math would flush them to zero)."""
    code = (
        f"import ctypes, numpy as np; ctypes.CDLL({str(library)!r});"
        "print((np.array([1e-310]) * np.array([0.5]))[0] > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("True", "")
