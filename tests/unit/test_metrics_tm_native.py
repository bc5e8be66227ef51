"""The compiled TM-score search: the same bits on every processor, and never in the way where it cannot be had."""

import ctypes
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protgen.metrics import tm_library, tm_native
from protgen.metrics.ca_states import ca_states
from protgen.metrics.tm import tm_score
from protgen.metrics.tm_plan import FULL, PREFILTERING, QUICK, Prefilter
from protgen.structure.ideal import ideal_helix

BUILD = "from pathlib import Path; from protgen.metrics.tm_library import build; print(build(Path({folder!r})))"


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """Every test finds its search anew, and the next one too."""
    monkeypatch.delenv("PROTGEN_NATIVE", raising=False)
    tm_native._found.cache_clear()
    yield
    tm_native._found.cache_clear()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library of these sources in a folder of its own: the one in place, or compiled once for all tests."""
    folder = tmp_path_factory.mktemp("c")
    in_place = tm_library.NATIVE / tm_library.library_name()
    if in_place.is_file():
        return Path(shutil.copy(in_place, folder))
    try:
        return tm_library.build(folder)
    except tm_library.NoLibraryError:
        pytest.skip("no C compiler here")


def write_compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def score() -> tuple[float, float]:
    trace = ideal_helix(20)[:, 1]
    return tm_score(trace, trace)


def walk(seed: int, length: int) -> np.ndarray:
    """(l, 3) Å: a compact random trace with steps of 3.8 Å."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(length, 3))
    steps[1:] += 1.2 * steps[:-1]
    trace = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    return trace - trace.mean(axis=0)


def searched(search: tm_native.NativeSearch) -> np.ndarray:
    """Scores of 45 pairs of 5 to 149 residues by three plans."""
    traces = [walk(seed, 5 + 16 * seed) for seed in range(10)]
    ready = [(np.ascontiguousarray(x.T.astype(np.float32)), ca_states(x.astype(np.float32))) for x in traces]
    plans = [(FULL, None), (QUICK, None), (FULL, Prefilter(PREFILTERING, 0.3))]
    return np.array(
        [
            search(x, y, (sx, sy), plan, prefilter)
            for k, (y, sy) in enumerate(ready)
            for x, sx in ready[:k]
            for plan, prefilter in plans
        ]
    )


def test_every_processor_gives_the_same_bits(library):
    """Baseline, AVX2 and AVX-512 agree to the bit; the library itself runs one of them."""
    level = ctypes.CDLL(str(library)).tm_level()
    names = list(tm_library.variants())[: level + 1]
    results = [searched(tm_native.NativeSearch(library, f"tm_search_{name}")) for name in names]
    results.append(searched(tm_native.NativeSearch(library)))
    assert np.ptp(results[0][:, 0]) > 0.3
    for other in results[1:]:
        assert other.tobytes() == results[0].tobytes()


def test_the_optimiser_changes_no_bit(library, tmp_path, monkeypatch):
    """Compiled with little optimisation, the scores are the same to the bit: no flag trades accuracy for speed."""
    monkeypatch.setattr(tm_library, "_FLAGS", ("-O1", *tm_library._FLAGS[1:]))
    plain = tm_library.build(tmp_path)
    assert plain.name != library.name  # flags are part of the name
    assert searched(tm_native.NativeSearch(plain)).tobytes() == searched(tm_native.NativeSearch(library)).tobytes()


def test_the_library_is_found_beside_its_sources(library, monkeypatch):
    """The one that belongs to these sources is loaded; older ones are not."""
    (library.parent / "tm_search-0000-linux-x86_64.so").write_bytes(b"")
    monkeypatch.setattr(tm_native, "NATIVE", library.parent)
    assert tm_native.engine() == f"compiled ({library.name})"
    assert score() == pytest.approx((1.0, 1.0), abs=1e-3)


def test_source_and_system_name_the_library(tmp_path, monkeypatch):
    """A changed source or another system never loads what was compiled for another."""
    for source in tm_library.NATIVE.glob("*.[ch]"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    name = tm_library.library_name()
    assert tm_library.library_name(tmp_path) == name
    monkeypatch.setattr(tm_library.platform, "machine", lambda: "riscv64")
    assert tm_library.library_name() != name
    monkeypatch.undo()
    with (tmp_path / "tm_score.h").open("a") as source:
        source.write("\n")
    assert tm_library.library_name(tmp_path) != name


def test_building_in_place_replaces_older_libraries(library, tmp_path, monkeypatch):
    """One library is left; where it is there already, no compiler is asked."""
    for source in tm_library.NATIVE.glob("*.[ch]"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "tm_search-0000-linux-x86_64.so").write_bytes(b"")
    script = f'while [ "$1" != -o ]; do shift; done; cp {library} "$2"'
    monkeypatch.setenv("CC", write_compiler(tmp_path / "quick-cc", script))
    monkeypatch.setattr(tm_library, "NATIVE", tmp_path)
    assert tm_library.build_in_place() == tmp_path / library.name
    assert [path.name for path in tmp_path.glob("*.so")] == [library.name]
    assert (tmp_path / library.name).stat().st_mode & 0o777 == 0o755
    monkeypatch.setattr(tm_library, "build", None)
    assert tm_library.build_in_place().read_bytes() == tm_library.sealed(library.read_bytes())


@pytest.mark.parametrize(("code", "found"), [(0, ["/usr/bin/cc"]), (2, None)])
def test_macos_is_asked_for_its_tools_first(code, found, monkeypatch):
    """xcode-select ends with 2 where the command line tools are missing: /usr/bin/cc would open a window."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(tm_library.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(tm_library.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        tm_library.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code, b"", b"")
    )
    if found is None:
        with pytest.raises(tm_library.NoLibraryError, match="no C compiler"):
            tm_library._compiler()
    else:
        assert tm_library._compiler() == found


def test_a_compiler_may_be_given_with_arguments(monkeypatch):
    """The program is looked for; the words after it are kept."""
    monkeypatch.setattr(tm_library.shutil, "which", lambda name: f"/opt/{name}")
    monkeypatch.setenv("CC", "ccache 'my cc' -m64")
    assert tm_library._compiler() == ["/opt/ccache", "my cc", "-m64"]


def test_processes_at_once_leave_one_library(library, tmp_path, monkeypatch):
    """Three processes that build together leave one whole library and nothing else."""
    script = f'while [ "$1" != -o ]; do shift; done; cp {library} "$2"'
    monkeypatch.setenv("CC", write_compiler(tmp_path / "quick-cc", script))
    folder = tmp_path / "made"
    folder.mkdir()
    command = [sys.executable, "-c", BUILD.format(folder=str(folder))]
    started = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300) for process in started]
    assert said == [(f"{folder / library.name}\n", "")] * 3
    (made,) = folder.iterdir()
    assert made.read_bytes() == tm_library.sealed(library.read_bytes())  # what the compiler gave, and its checksum


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'broken assembler' >&2; exit 1", "broken assembler"),
        ("exit 0", "No such file"),  # says it has compiled, and has not
        ("sleep 30", "took more than"),
    ],
)
def test_bad_compilers_are_told(script, reason, tmp_path, monkeypatch):
    """One that fails, one that lies, one that hangs: the reason in one line, and nothing is left."""
    monkeypatch.setenv("CC", write_compiler(tmp_path / "cc", script))
    monkeypatch.setattr(tm_library, "_COMPILE_SECONDS", 0.3)
    folder = tmp_path / "made"
    folder.mkdir()
    with pytest.raises(tm_library.NoLibraryError, match=reason):
        tm_library.build(folder)
    assert list(folder.iterdir()) == []


def test_no_compiler(tmp_path, monkeypatch):
    """Nothing on PATH."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(tm_library.NoLibraryError, match="no C compiler"):
        tm_library.build(tmp_path)


@pytest.mark.parametrize(("content", "reason"), [(None, "not compiled"), (b"\x7fELF, but no more", "tm_search-")])
def test_no_library_or_a_damaged_one_costs_nothing(content, reason, tmp_path, monkeypatch, capfd, caplog):
    """numpy gives the scores, with one note for who asks for notes; what to do is said where nothing is compiled."""
    if content is not None:
        (tmp_path / tm_library.library_name()).write_bytes(content)
    monkeypatch.setattr(tm_native, "NATIVE", tmp_path)
    with caplog.at_level(logging.DEBUG, logger="protgen.metrics.tm_native"):
        assert score() == score() == pytest.approx((1.0, 1.0), abs=1e-3)
    notes = [record for record in caplog.records if record.getMessage().startswith("TM-score search in numpy")]
    assert [record.levelno for record in notes] == [logging.DEBUG]
    assert reason in tm_native.engine()
    assert capfd.readouterr() == ("", "")


def test_numpy_by_choice(monkeypatch):
    """PROTGEN_NATIVE=0 is numpy, whatever there is."""
    monkeypatch.setenv("PROTGEN_NATIVE", "0")
    assert tm_native.native_search() is None
    assert tm_native.engine() == "numpy (PROTGEN_NATIVE is 0)"


def test_wrongly_compiled_is_not_used(library, monkeypatch):
    """A library that scores a structure against itself below one is distinguished from a good one."""
    monkeypatch.setattr(tm_native, "NATIVE", library.parent)
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


@pytest.mark.parametrize("engine", ["C", "numpy"])
@pytest.mark.parametrize("line", [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
def test_a_line_turned_by_half_a_turn_is_the_same_line(library, engine, line, monkeypatch):
    """CA on a line and at the opposite places: no axis of the half turn is named by the points, and TM is 1."""
    if engine == "C":
        monkeypatch.setattr(tm_native, "NATIVE", library.parent)
    else:
        monkeypatch.setenv("PROTGEN_NATIVE", "0")
    assert (tm_native.native_search() is None) == (engine == "numpy")
    trace = 3.8 * np.arange(30.0)[:, None] * np.array(line)
    assert tm_score(trace, -trace) == pytest.approx((1.0, 1.0), abs=1e-6)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
@pytest.mark.skipif(sys.platform == "darwin", reason="libraries carry signatures there")
def test_a_damaged_library_is_not_loaded(library, monkeypatch, tmp_path, damage):
    """Loading one that is cut would end the process by SIGBUS; numpy searches in its place, and says why."""
    path = Path(shutil.copy(library, tmp_path))
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "empty": b""}[damage])
    monkeypatch.setattr(tm_native, "NATIVE", tmp_path)
    monkeypatch.setattr(tm_native, "library_name", lambda: path.name)
    assert tm_native.native_search() is None
    assert "is damaged" in tm_native.engine()
    assert tm_library.is_whole(library)
