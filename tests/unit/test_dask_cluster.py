"""Work on a Dask cluster of this machine: every result, the same store, and the death of a worker."""

import os
from pathlib import Path

import numpy as np
import pytest

import protgen
from protgen.dask_cluster import require_workers
from protgen.data.build import BuildOptions, build
from protgen.data.clusters import Clustering
from protgen.data.windows import Filters
from protgen.errors import ConfigError, UsageError
from protgen.parallel import run
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=60, max_coil=1.0, rg_percentile=100, validation_fraction=0.3)
OWN = Clustering(program="builtin")


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two worker processes."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: the extra `cluster`")
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
    ):
        yield cluster.scheduler_address


def square(x: int) -> int:
    return x * x


def square_or_die(x: int) -> int:
    if x == 5:
        os._exit(9)
    return x * x


def refuse(x: int) -> int:
    raise ZeroDivisionError(f"refused {x}")


def test_every_item_has_its_result(scheduler):
    outcomes = {o.index: o.result for o in run(square, list(range(70)), cluster=scheduler)}
    assert outcomes == {k: k * k for k in range(70)}
    assert list(run(square, [], cluster=scheduler)) == []


def test_exceptions_are_raised(scheduler):
    with pytest.raises(ZeroDivisionError, match="refused 3"):
        list(run(refuse, [3], cluster=scheduler))


def test_the_store_is_that_of_one_process(scheduler, tmp_path, monkeypatch):
    """Relative paths, a file that cannot be read: the same bytes, the reason in the same words."""
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for k in range(20):
        names = rng.choice(STANDARD, 24 + k)
        write_structure(Protein.from_backbone(ideal_helix(24 + k), residue_names=names), tmp_path / f"in/f{k:02d}.pdb")
    (tmp_path / "in" / "junk.pdb").write_text("junk")
    monkeypatch.chdir(tmp_path)
    build(Path("in"), Path("one"), LOOSE, BuildOptions(clustering=OWN))
    build(Path("in"), Path("two"), LOOSE, BuildOptions(clustering=OWN, cluster=scheduler))
    one, two = (
        {str(path.relative_to(name)): path.read_bytes() for path in Path(name).rglob("*.*") if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two
    assert b"in/junk.pdb" in one["manifest.json"]
    assert str(tmp_path).encode() not in one["manifest.json"]


def test_workers_that_do_not_fit_are_refused(scheduler, tmp_path):
    require_workers(scheduler, [tmp_path], {"protgen": protgen.__version__})
    with pytest.raises(UsageError, match=r"sees no .*/nowhere; use a file system that all share"):
        require_workers(scheduler, [tmp_path, tmp_path / "nowhere"], {"protgen": protgen.__version__})
    with pytest.raises(UsageError, match=r"has numpy .*, this is 99\.0; install one"):
        require_workers(scheduler, [tmp_path], {"protgen": protgen.__version__, "numpy": "99.0"})


def test_a_worker_that_dies_costs_its_own_item_alone(scheduler):
    """The last test: the item kills its worker each time it is tried, and Dask starts others."""
    outcomes = {o.index: o for o in run(square_or_die, list(range(12)), cluster=scheduler)}
    assert [k for k, o in sorted(outcomes.items()) if o.died] == [5]
    assert {k: o.result for k, o in outcomes.items() if not o.died} == {k: k * k for k in range(12) if k != 5}


def test_no_scheduler_and_no_dask_are_named(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed: the extra `cluster`")
    monkeypatch.setattr("protgen.dask_cluster._CONNECT_SECONDS", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        list(run(square, [1], cluster="tcp://127.0.0.1:9"))


def test_without_dask_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'protgen\[cluster\]'"):
        list(run(square, [1], cluster="tcp://127.0.0.1:9"))
