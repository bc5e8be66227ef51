"""What commands do where files are damaged, folders are in use, or names are hostile."""

import csv
import json
import os
import shutil
import sys

import pytest

from protgen.documents import json_lines, read_json
from protgen.folder_lock import locked

SAMPLE = ("--length", 12, "-n", 3, "--steps", 2, "--no-relax", "--seed", 5)
WRITER = ("--inverse-folder", "tests.unit.test_sequence_design:Writer")  # needs no further package


@pytest.fixture(scope="module")
def designs(tiny_model, tmp_path_factory):
    """A finished run of three designs."""
    from protgen.cli.main import run

    out = tmp_path_factory.mktemp("designs") / "run"
    assert run([str(word) for word in ("sample", "--model", tiny_model, *SAMPLE, "--trajectory", "--out", out)]) == 0
    return out


def cut(folder):
    path = folder / "design_0001.pdb"
    path.write_bytes(path.read_bytes()[:-2])


def empty(folder):
    (folder / "design_0001.pdb").write_bytes(b"")


def swap(folder):
    shutil.copy(folder / "design_0002.pdb", folder / "design_0001.pdb")


def edit(folder):
    path = folder / "design_0001.json"
    path.write_text(path.read_text().replace('"candidate": 0', '"candidate": 1'))


def cut_record(folder):
    path = folder / "design_0001.json"
    path.write_text(path.read_text()[:40])


def swap_record(folder):
    shutil.copy(folder / "design_0002.json", folder / "design_0001.json")


def lose_trajectory(folder):
    (folder / "design_0001.xtc").unlink()


@pytest.mark.parametrize("damage", [cut, empty, swap, edit, cut_record, swap_record, lose_trajectory])
def test_resume_makes_a_damaged_design_anew(cli, designs, tiny_model, tmp_path, damage):
    """It is named, the run is again what it was in every byte of its structures, and stray names are left alone."""
    out = tmp_path / "run"
    shutil.copytree(designs, out)
    damage(out)
    for stray in ("design_0001.pdb.bak", "notes.txt", "design_x.json"):
        (out / stray).write_text("mine")
    done = cli("sample", "--model", tiny_model, *SAMPLE, "--trajectory", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert "design_0001" in done.err
    assert "made anew" in done.err
    for name in (f"design_000{k}.{suffix}" for k in range(3) for suffix in ("pdb", "xtc", "json")):
        assert (out / name).read_bytes() == (designs / name).read_bytes(), name
    assert (out / "design_0001.pdb.bak").read_text() == "mine"


def test_resume_of_a_whole_run_makes_nothing(cli, designs, tiny_model, tmp_path):
    """Nothing is named and no file is touched."""
    out = tmp_path / "run"
    shutil.copytree(designs, out)
    before = (out / "design_0001.pdb").stat().st_mtime_ns
    done = cli("sample", "--model", tiny_model, *SAMPLE, "--trajectory", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert "all 3 designs are there already" in done.err
    assert "made anew" not in done.err
    assert (out / "design_0001.pdb").stat().st_mtime_ns == before


def test_a_record_says_size_and_checksum_of_its_files(designs):
    """As `sha256sum` would."""
    import hashlib

    record = json.loads((designs / "design_0002.json").read_text())
    for name in ("design_0002.pdb", "design_0002.xtc"):
        data = (designs / name).read_bytes()
        assert record["files"][name] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("command", ["sample", "evaluate", "data", "design-sequences", "run", "train"])
def test_a_folder_in_use_is_refused_by_name(cli, chains, tiny_model, tiny_store, designs, tmp_path, command):
    """Every command that fills a folder, before anything of it changes."""
    given = {
        "sample": ("sample", "--model", tiny_model, *SAMPLE, "--out", tmp_path),
        "evaluate": ("evaluate", designs, "--out", tmp_path),
        "data": ("data", "build", chains, "--out", tmp_path, "--min-length", 20),
        "design-sequences": ("design-sequences", designs, *WRITER, "--out", tmp_path),
        "run": ("run", "--model", tiny_model, *SAMPLE, *WRITER, "--structure-predictor", "none", "--out", tmp_path),
        "train": ("train", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={tmp_path}", "train.steps=1",
                  "validation.samples=0", "machine.accelerator=cpu"),
    }[command]  # fmt: skip
    with locked(tmp_path, "the first run"):
        before = sorted(path.name for path in tmp_path.iterdir())
        cli(*given).assert_failed(2, "in use by the first run, process")
        assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_names_that_are_no_files_have_a_row_each(cli, designs, tmp_path):
    """A link to nothing, a pipe and a folder of such names beside one design: four rows, exit 3, and no waiting."""
    folder = tmp_path / "set"
    folder.mkdir()
    shutil.copy(designs / "design_0000.pdb", folder / "a.pdb")
    os.mkfifo(folder / "pipe.pdb")
    (folder / "link.cif").symlink_to(folder / "nothing.cif")
    (folder / "folder.pdb").mkdir()
    done = cli("evaluate", folder, "--out", tmp_path / "out", "--no-report")
    assert done.code == 3, done.err
    with (tmp_path / "out" / "structures.csv").open() as lines:
        rows = {row["file"]: row for row in csv.DictReader(lines)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.pdb": rows["a.pdb"]["status"], "pipe.pdb": "error", "link.cif": "error", "folder.pdb": "error"
    }  # fmt: skip
    assert rows["a.pdb"]["status"] != "error"
    assert "is not a file" in rows["pipe.pdb"]["message"]
    assert "no such file" in rows["link.cif"]["message"]


def test_a_name_cannot_become_html_or_a_formula(cli, designs, tmp_path):
    """The page's data are still JSON, no name is markup, and the table has no formula."""
    folder = tmp_path / "<img src=x>"
    folder.mkdir()
    names = ("<!--<script>.pdb", "=cmd|x.pdb", "-2+3.pdb", "a&b'\".pdb")
    for name in names:
        shutil.copy(designs / "design_0000.pdb", folder / name)
    done = cli("evaluate", folder, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    page = (tmp_path / "out" / "report.html").read_text()
    data = page.split('id="data">', 1)[1].split("</script>", 1)[0]
    assert "<" not in data
    assert {one["file"] for one in json.loads(data)["structures"]} >= {"<!--<script>.pdb"}
    body = page.split('id="data">', 1)[0]
    assert "<!--<script>" not in body
    assert "<img src=x>" not in body
    with (tmp_path / "out" / "structures.csv").open(newline="") as lines:
        files = sorted(row["file"] for row in csv.DictReader(lines))
    assert files == sorted(["<!--<script>.pdb", "'=cmd|x.pdb", "'-2+3.pdb", "a&b'\".pdb"])


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such names")
def test_names_that_are_no_utf8_are_escaped_and_lose_nothing(cli, designs, tiny_model, chains, tmp_path):
    """In the table, the page, the summary and a manifest; what is written can be read, and each run is resumed."""
    folder = tmp_path / os.fsdecode(b"set\xfe")
    folder.mkdir()
    shutil.copy(chains / "helix40.pdb", folder / os.fsdecode(b"\xff\xfe.pdb"))
    shutil.copy(chains / "helix41.pdb", folder / "b.pdb")
    for more in ((), ("--resume",)):
        done = cli("evaluate", folder, "--out", tmp_path / "out", *more)
        assert done.code == 0, done.err
        with (tmp_path / "out" / "structures.csv").open(encoding="utf-8") as lines:
            rows = {row["file"]: row for row in csv.DictReader(lines)}
        assert {name: row["set"] for name, row in rows.items()} == {"\\xff\\xfe.pdb": "set\\xfe", "b.pdb": "set\\xfe"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert {one["file"] for one in data["structures"]} == {"\\xff\\xfe.pdb", "b.pdb"}
    kept = [row["place"][0] for row in list(json_lines(tmp_path / "out" / "rows.jsonl"))[1:]]
    assert sorted(kept) == ["\\xff\\xfe.pdb", "b.pdb"]

    built = cli("data", "build", folder, "--out", tmp_path / "store", "--max-coil", 1, "--min-length", 20)
    assert built.code == 0, built.err
    manifest = read_json(tmp_path / "store" / "manifest.json")
    assert sorted(entry["id"] for entry in manifest["kept"]) == ["\\xff\\xfe", "b"]
    assert cli("data", "info", tmp_path / "store").code == 0

    out = tmp_path / os.fsdecode(b"os\xff")
    for more in ((), ("--resume",)):
        done = cli("sample", "--model", tiny_model, *SAMPLE, "--out", out, *more)
        assert done.code == 0, done.err
    assert sorted(path.name for path in out.glob("*.pdb")) == [f"design_000{k}.pdb" for k in range(3)]
