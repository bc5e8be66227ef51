"""One run divided over machines: `sample --shard` and `--indices`, `status`, and `evaluate` of several folders."""

import csv
import json
import shutil

import pytest

from protgen.folder_lock import locked
from protgen.structure.ideal import ideal_hairpin
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

N = 7
SAMPLE = ("--length", "12-20", "--steps", 2, "--no-relax", "--blueprint", "free", "--seed", 5, "-n", N)
SHARDS = ((0, 1), (2, 3), (4, 6))  # of seven designs, in three


@pytest.fixture(scope="module")
def request_of(tiny_model):
    return ("sample", "--model", tiny_model, *SAMPLE, "--no-pictures")


@pytest.fixture(scope="module")
def whole(request_of, tmp_path_factory):
    """The run made at once."""
    from protgen.cli.main import run

    out = tmp_path_factory.mktemp("whole") / "run"
    assert run([str(word) for word in (*request_of, "--out", out)]) == 0
    return out


@pytest.fixture(scope="module")
def shards(request_of, tmp_path_factory):
    """The same run in three folders."""
    from protgen.cli.main import run

    home = tmp_path_factory.mktemp("shards")
    for k in (1, 2, 3):
        assert run([str(word) for word in (*request_of, "--shard", f"{k}/3", "--out", home / f"part{k}")]) == 0
    return [home / f"part{k}" for k in (1, 2, 3)]


def designs(*folders):
    """Name and bytes of every file of a design."""
    return {path.name: path.read_bytes() for folder in folders for path in folder.glob("design_*")}


def test_three_shards_are_the_whole_run_byte_for_byte(whole, shards):
    """Structures and records; each folder has the designs of its part, and a record that names the part."""
    assert designs(*shards) == designs(whole)
    assert len(designs(whole)) == 2 * N
    for k, (folder, (first, last)) in enumerate(zip(shards, SHARDS, strict=True), start=1):
        assert sorted(folder.glob("*.pdb")) == [folder / f"design_{i:04d}.pdb" for i in range(first, last + 1)]
        (record,) = folder.glob("run*.json")
        assert record.name == f"run_{first:04d}-{last:04d}.json"
        run = json.loads(record.read_text())
        assert run["part"] == {"first": first, "last": last, "asked": f"--shard {k}/3"}
        assert (run["n"], run["n_done"], run["status"]) == (N, last - first + 1, "done")
        assert run["request"] == json.loads((whole / "run.json").read_text())["request"]


def test_parts_share_a_folder_and_the_whole_run_is_finished_there(cli, request_of, whole, tmp_path):
    """A shard, then indices beside it, both with pictures; `--resume` makes what no part made, and ranks them all."""
    request = (*request_of[:-1], "--out", tmp_path)
    assert cli(*request, "--shard", "2/3").code == 0
    done = cli(*request, "--indices", "4-5")
    assert done.code == 0, done.err
    assert "run_0004-0005.json" in done.out
    pictures = [f"designs_{part}.{suffix}" for part in ("0002-0003", "0004-0005") for suffix in ("html", "png")]
    assert sorted(path.name for path in tmp_path.glob("designs*")) == pictures
    cli(*request, "--indices", "5-6").assert_failed(2, "holds 2 files of an earlier run", "--resume")
    cli(*request).assert_failed(2, "--resume")
    last = cli(*request, "--resume", "--best", 2, "--rank-by", "ca_ca_deviation", "--json")
    assert last.code == 0, last.err
    assert json.loads(last.out)["n_done"] == N
    assert designs(tmp_path) == designs(whole)
    run = json.loads((tmp_path / "run.json").read_text())
    assert ("part" not in run, run["n_done"], run["status"]) == (True, N, "done")
    assert cli(*request, "--overwrite", "--seed", 6).code == 0
    assert not list(tmp_path.glob("run_*")) + list(tmp_path.glob("designs_*"))


def test_a_part_joins_no_other_run(cli, request_of, tmp_path):
    """The message names what differs, nothing is left behind, and the first run is as it was."""
    request = (*request_of, "--out", tmp_path)
    assert cli(*request, "--shard", "1/3").code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    cli(*request, "--shard", "2/3", "--seed", 6).assert_failed(2, "that run had seed 5 and now it is 6")
    cli(*request, "--shard", "1/3", "--seed", 6, "--resume").assert_failed(2, "that run had seed 5 and now it is 6")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_part_resumes_its_own_designs(cli, request_of, whole, shards, tmp_path):
    """A damaged design of another part is left to that part."""
    for folder in shards[:2]:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for index in (1, 3):
        (tmp_path / f"design_000{index}.pdb").write_bytes(b"")
    done = cli(*request_of, "--out", tmp_path, "--shard", "2/3", "--resume")
    assert done.code == 0, done.err
    assert "design_0003: design_0003.pdb has 0 bytes" in done.err
    assert (tmp_path / "design_0003.pdb").read_bytes() == (whole / "design_0003.pdb").read_bytes()
    assert (tmp_path / "design_0001.pdb").read_bytes() == b""


def test_places_of_motifs_are_those_of_the_whole_run_once_it_is_finished(cli, tiny_model, tmp_path):
    """Each part has a file of its own; `--resume` without a part writes that of all."""
    write_structure(Protein.from_backbone(ideal_hairpin(8)), tmp_path / "motif.pdb")
    motif = ("--motif", tmp_path / "motif.pdb", "--contig", "4-6/A3-6/4", "--steps", 2, "--no-relax", "-n", 4)
    request = ("sample", "--model", tiny_model, *motif, "--no-pictures")
    assert cli(*request, "--out", tmp_path / "whole").code == 0
    for k in (1, 2):
        assert cli(*request, "--out", tmp_path / "parts", "--shard", f"{k}/2").code == 0
        assert (tmp_path / "parts" / f"fixed_positions_000{2 * k - 2}-000{2 * k - 1}.jsonl").is_file()
    assert cli(*request, "--out", tmp_path / "parts", "--resume").code == 0
    name = "fixed_positions.jsonl"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(json.loads((tmp_path / "whole" / name).read_text())) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shard", "0/3"), ("--shard 0/3", "K from 1 to N")),
        (("--shard", "4/3"), ("--shard 4/3", "K from 1 to N")),
        (("--shard", "1/\u0663"), ("write K/N",)),
        (("--shard", "1/8"), ("--shard 1/8 of -n 7", "7 parts at most")),
        (("--indices", "5-7"), ("--indices 5-7 of -n 7", "0 to 6", "-n 8")),
        (("--indices", "5-3"), ("empty",)),
        (("--indices", "1_0"), ("write A-B",)),
        (("--indices", "1-2", "--shard", "1/2"), ("give one of them",)),
        (("--shard", "1/2", "--best", 1), ("--best", "--shard 1/2", "--resume")),
        (("--indices", "3", "--overwrite"), ("--overwrite", "--indices 3")),
    ],
)
def test_what_cannot_work_with_a_part_is_refused(cli, request_of, tmp_path, arguments, words):
    cli(*request_of, "--out", tmp_path / "o", *arguments).assert_failed(2, *words)
    assert not (tmp_path / "o").exists()


def test_status_counts_over_folders(cli, shards, tmp_path):
    """Made, missing, damaged, in two folders, and in use; a design that is damaged in one folder and whole in another
    is made."""
    a, b, c = (shutil.copytree(folder, tmp_path / folder.name) for folder in shards)
    (b / "design_0002.pdb").write_bytes(b"")
    (c / "design_0004.json").unlink()
    shutil.copy(a / "design_0001.pdb", c)
    shutil.copy(a / "design_0001.json", c)
    with locked(a, "protgen sample --shard 1/3", range(2)):
        done = cli("status", a, b, c, "--json")
        words = cli("status", a, b, c)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["n"], found["n_made"], found["complete"]) == (N, 5, False)
    assert (found["missing"], found["in_several_folders"], found["unlike"]) == ([4], [1], [])
    assert "design_0002.pdb has 0 bytes" in found["damaged"]["design_0002"]
    folders = {one["folder"].rsplit("/", 1)[-1]: one for one in found["folders"]}
    assert [folders[name]["state"] for name in ("part1", "part2", "part3")] == ["running", "incomplete", "incomplete"]
    assert "protgen sample --shard 1/3, process" in folders["part1"]["in_use_by"][0]
    assert (folders["part2"]["damaged"], folders["part3"]["missing"]) == ([2], [4])
    assert "5 of 7 designs made, 2 to be made." in words.out
    assert "Missing: 4." in words.out
    assert "design_0002 in" in words.err
    shutil.copy(shards[1] / "design_0002.pdb", b)
    shutil.copy(shards[2] / "design_0004.json", c)
    assert json.loads(cli("status", a, b, c, "--json").out)["complete"]
    assert json.loads(cli("status", a, c, "--json").out)["missing"] == [2, 3]


def test_status_of_a_run_that_was_killed(cli, whole, tmp_path):
    """Its record says "running", and nobody has its lock."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "design_0006.json").unlink()
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"done"', '"running"'))
    found = json.loads(cli("status", tmp_path, "--json").out)
    assert (found["folders"][0]["state"], found["missing"]) == ("killed", [6])


def test_status_refuses_other_runs_and_other_folders(cli, request_of, shards, tmp_path):
    """By name, in one line."""
    other = tmp_path / "other"
    assert cli(*request_of, "--seed", 6, "--indices", 0, "--out", other).code == 0
    cli("status", shards[0], other).assert_failed(2, str(other), str(shards[0]), "their seed differs")
    cli("status", tmp_path / "none").assert_failed(2, "no such folder")
    cli("status", tmp_path).assert_failed(2, "holds no run")
    (other / "run_0000-0000.json").write_text('{"request": {}, "n": 1e3}')
    cli("status", other).assert_failed(2, "run_0000-0000.json", "damaged")


def test_evaluate_takes_parts_of_one_run_as_one_set(cli, whole, shards, tmp_path):
    """The same table but for the set's name; two whole runs side by side stay two sets."""
    other = shutil.copytree(whole, tmp_path / "again")
    for name, folders in (("whole", [whole]), ("parts", shards), ("both", [whole, other, *shards])):
        done = cli("evaluate", *folders, "--out", tmp_path / name, "--no-report", "--tm", "quick", "--json")
        assert done.code == 0, done.err

    def table(name):
        with (tmp_path / name / "structures.csv").open(newline="") as lines:
            return list(csv.DictReader(lines))

    parts, at_once = table("parts"), table("whole")
    assert {row.pop("set") for row in parts} == {"part1"}
    assert {row.pop("set") for row in at_once} == {"run"}
    assert parts == at_once
    assert list(json.loads((tmp_path / "both" / "summary.json").read_text())["sets"]) == ["run", "again", "part1"]


def test_evaluate_refuses_a_design_that_two_parts_hold(cli, shards, tmp_path):
    a, b = (shutil.copytree(folder, tmp_path / folder.name) for folder in shards[:2])
    shutil.copy(a / "design_0001.pdb", b)
    cli("evaluate", a, b, "--out", tmp_path / "o").assert_failed(2, "design_0001 is in", str(a), str(b))
