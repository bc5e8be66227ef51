"""The same store whatever happened on the way: several processes, a kill, a damaged file of the unfinished build."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protgen.data import spill
from protgen.data.build import BuildOptions, build
from protgen.data.windows import Filters
from protgen.errors import DataError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=60, max_coil=1.0, rg_percentile=100, validation_fraction=0.3)
N = 14

KILLED = """
import os, signal, sys
from pathlib import Path
from protgen.data import spill
from protgen.data.build import build
from protgen.data.windows import Filters

spill.SEGMENT = 3

def progress(done, total, name):
    if done == 8:
        os.kill(os.getpid(), signal.SIGKILL)

build(Path(sys.argv[1]), Path(sys.argv[2]), Filters(20, 60, 1.0, 100, validation_fraction=0.3), progress=progress)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Files of one and of two chains, one of them twice, one that cannot be read."""
    folder = tmp_path_factory.mktemp("in")
    rng = np.random.default_rng(0)
    for k in range(N - 2):
        n, two = 24 + k, k % 3 == 0
        xyz = np.concatenate([ideal_helix(n), ideal_helix(n - 2) + 40.0]) if two else ideal_helix(n)
        xyz = xyz + 0.03 * rng.standard_normal(xyz.shape)
        chains = np.repeat(["A", "B"], [n, len(xyz) - n])
        names = rng.choice(STANDARD, len(xyz))
        write_structure(Protein.from_backbone(xyz, chain_ids=chains, residue_names=names), folder / f"f{k:02d}.pdb")
    (folder / "copy.pdb").write_bytes((folder / "f05.pdb").read_bytes())
    (folder / "junk.pdb").write_text("junk")
    return folder


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory) -> dict[str, bytes]:
    """The store made at once by one process; nothing of the build is left beside it."""
    out = tmp_path_factory.mktemp("store")
    counts = build(source, out, LOOSE)
    assert (counts["read"], counts["kept"], counts["unreadable"]) == (N, 16, 1)
    found = content(out)
    assert sorted(path.rpartition("/")[2] for path in found) == sorted(
        ["manifest.json", "offsets.npy", "atoms.npy", "labels.npy", "numbers.npy", "aatype.npy"]
    )
    return found


@pytest.mark.parametrize("jobs", [2, 4])
def test_the_store_does_not_depend_on_the_number_of_processes(jobs, source, expected, tmp_path):
    build(source, tmp_path / "store", LOOSE, BuildOptions(jobs=jobs))
    assert content(tmp_path / "store") == expected


def test_a_build_that_was_killed_goes_on(source, expected, tmp_path):
    """SIGKILL after eight files with segments of three: six of them are not read again."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(Path(spill.__file__).parents[2])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "store" / "manifest.json").exists()
    seen = []
    build(source, tmp_path / "store", LOOSE, progress=lambda done, total, name: seen.append((done, total)))
    assert seen == [(k, N) for k in range(7, N + 1)]
    assert content(tmp_path / "store") == expected


@pytest.mark.parametrize("at", [1, 5, N])
def test_what_was_read_before_an_interruption_is_kept(at, source, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "SEGMENT", 4)

    def interrupt(done, total, name):
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "store", LOOSE, progress=interrupt)
    seen = []
    build(source, tmp_path / "store", LOOSE, progress=lambda done, total, name: seen.append(done))
    assert seen == list(range(at + 1, N + 1))
    assert content(tmp_path / "store") == expected


def test_damage_and_another_request_are_read_again(source, expected, tmp_path, monkeypatch):
    """A flipped byte in a segment costs its own sources; other filters, or a file that has changed, cost all."""
    monkeypatch.setattr(spill, "SEGMENT", 5)
    out = tmp_path / "store"

    def interrupted():
        def interrupt(done, total, name):
            if done == N:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build(source, out, LOOSE, progress=interrupt)

    interrupted()
    segment = sorted((out / spill.FOLDER).glob("*.npz"))[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 16
    segment.write_bytes(data)
    seen = []
    build(source, out, LOOSE, progress=lambda done, total, name: seen.append(done))
    assert seen == list(range(N - 4, N + 1))
    assert content(out) == expected
    interrupted()
    seen.clear()
    other = Filters(min_length=30, max_length=60, max_coil=1.0, rg_percentile=100, validation_fraction=0.3)
    build(source, out, other, progress=lambda done, total, name: seen.append(done))
    assert seen == list(range(1, N + 1))


def test_a_build_that_fails_leaves_nothing_but_the_old_store(source, expected, tmp_path):
    build(source, tmp_path / "store", LOOSE)
    with pytest.raises(DataError, match="no structure passed the filters"):
        build(source, tmp_path / "store", Filters(min_length=59, max_length=60))
    assert content(tmp_path / "store") == expected
