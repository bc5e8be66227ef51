"""`protgen sample --cluster`: the designs and records of a run here, byte for byte, whatever becomes of a worker."""

import sys

import pytest

from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

HOW = ("--steps", 2, "--no-pictures", "--no-relax")


@pytest.fixture(scope="module")
def cluster():
    """Two workers of one thread each, in this process: a further process would import torch."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: the extra `cluster`")
    import dask

    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
        ) as made,
    ):
        yield made


def bytes_of(folder) -> dict[str, bytes]:
    """Every file of the designs; run.json has times."""
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file() and path.name != "run.json"}


def test_designs_and_records_are_those_of_a_run_here(cli, tiny_model, cluster, tmp_path, monkeypatch):
    """A motif of a relative path, candidates of which one is kept, trajectories: the same files of the same bytes."""
    monkeypatch.chdir(tmp_path)
    write_structure(Protein.from_backbone(ideal_helix(12)), tmp_path / "motif.pdb")
    request = ("sample", "--model", tiny_model, "--motif", "motif.pdb", "--contig", "2-4/A3-8/4", "-n", 2, "--seed", 3,
               "--candidates", 2, "--trajectory", "--keep-numbering", *HOW)  # fmt: skip
    for out, more in (("here", ()), ("there", ("--cluster", cluster.scheduler_address))):
        done = cli(*request, "--out", out, *more)
        assert done.code == 0, done.err
    here, there = bytes_of(tmp_path / "here"), bytes_of(tmp_path / "there")
    assert sorted(here) == sorted(there)
    assert len(here) == 3 * 2 + 1  # structure, record, trajectory, and fixed_positions.jsonl
    assert [name for name in here if here[name] != there[name]] == []


def test_the_designs_of_a_worker_that_goes_are_made_by_another(cli, tiny_model, cluster, tmp_path, monkeypatch):
    """One of two workers goes once the first design is written, and its connection with it, as by `kill -9`."""
    from protgen.cli.design_folder import DesignFolder

    add, gone = DesignFolder.add, []

    def add_and_close(self, design, record) -> None:
        add(self, design, record)
        if not gone:
            worker = cluster.workers[min(cluster.workers)]
            gone.append(worker.address)
            cluster.sync(worker.close, timeout=0, executor_wait=False)
            # The connection of a worker in this process may stay open, and then its results are waited for without end.
            cluster.sync(cluster.scheduler.remove_worker, worker.address, stimulus_id="test", expected=False)

    request = ("sample", "--model", tiny_model, "--length", 16, "-n", 4, *HOW)
    assert cli(*request, "--out", tmp_path / "here").code == 0
    monkeypatch.setattr(DesignFolder, "add", add_and_close)
    done = cli(*request, "--out", tmp_path / "there", "--cluster", cluster.scheduler_address)
    assert done.code == 0, done.err
    assert gone
    assert bytes_of(tmp_path / "here") == bytes_of(tmp_path / "there")


def test_a_design_that_kills_its_workers_is_named_and_the_others_are_kept(cli, tiny_model, tmp_path, monkeypatch):
    from protgen.generation import remote
    from protgen.parallel import Outcome

    def died_at_two(function, items, **_):
        return (Outcome(k, None if item == 2 else function(item), item == 2) for k, item in enumerate(items))

    monkeypatch.setattr(remote, "run", died_at_two)
    monkeypatch.setattr(remote, "require_workers", lambda *_: None)
    done = cli(
        "sample", "--model", tiny_model, "--length", 16, "-n", 4, *HOW, "--out", tmp_path, "--cluster", "tcp://x:1"
    )
    done.assert_failed(2, "each worker that made design 2 died (1 such designs)", "--resume")
    assert sorted(path.name for path in tmp_path.glob("design_*.pdb")) == [f"design_000{k}.pdb" for k in (0, 1, 3)]
    assert '"status": "failed"' in (tmp_path / "run.json").read_text()


def test_what_a_cluster_lacks_is_said_in_one_line(cli, tiny_model, tmp_path, monkeypatch):
    """No package, no scheduler, a device of which workers know nothing, another model of the same name."""
    from protgen.errors import CheckpointError
    from protgen.generation.job import prepare
    from protgen.generation.remote import make_one, order_of

    request = ("sample", "--model", tiny_model, "--length", 16, "-n", 2, *HOW, "--cluster", "tcp://127.0.0.1:9")
    monkeypatch.setattr("protgen.dask_cluster._CONNECT_SECONDS", 1)
    if "distributed" in sys.modules:
        cli(*request, "--out", tmp_path / "a").assert_failed(2, "no Dask scheduler answers", "tcp://HOST:PORT")
    monkeypatch.setitem(sys.modules, "distributed", None)
    cli(*request, "--out", tmp_path / "b").assert_failed(2, "pip install 'protgen[cluster]'")
    job = prepare(tiny_model, "L2H16L2")
    order = order_of(job, str(tiny_model), "key", 0)
    (tiny_model / "config.json").rename(tmp_path / "config.json")
    try:
        (tiny_model / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"of a worker is not that of this machine: config\.json has 2 bytes"):
            make_one(0, order)
    finally:
        (tmp_path / "config.json").rename(tiny_model / "config.json")
