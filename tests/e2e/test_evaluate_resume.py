"""An evaluation that is interrupted or killed keeps every row it has written, and `--resume` goes on from them."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from protgen.documents import json_lines
from protgen.evaluation import runner
from protgen.evaluation.row_log import ROWS, RowLog
from protgen.integrity import sealed

KILLED = (
    "import os, signal, sys\n"
    "from protgen.cli.main import run\n"
    "from protgen.evaluation.row_log import RowLog\n"
    "add = RowLog.add\n"
    "def die(self, place, kept):\n"
    "    add(self, place, kept)\n"
    "    if sum(1 for _ in self.path.open()) > 3:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
    "RowLog.add = die\n"
    "run(sys.argv[1:])\n"
)


@pytest.fixture(scope="module")
def files(chains, tmp_path_factory):
    """Five structures, and one file that cannot be read."""
    folder = tmp_path_factory.mktemp("files") / "set"
    folder.mkdir()
    for path in sorted(chains.iterdir())[:5]:
        shutil.copy(path, folder)
    (folder / "broken.pdb").write_text("ATOM\n")
    return folder


@pytest.fixture(scope="module")
def straight(files, tmp_path_factory):
    """The results of an evaluation at once."""
    from protgen.cli.main import run

    out = tmp_path_factory.mktemp("straight") / "out"
    assert run(["evaluate", str(files), "--out", str(out), "--no-report", "--tm", "none"]) == 3
    return out


@pytest.fixture
def measured(monkeypatch):
    """The labels of the files that are measured, as they are."""
    labels, real = [], runner.evaluate_file

    def counted(labelled, **more):
        labels.append(labelled[0])
        return real(labelled, **more)

    monkeypatch.setattr(runner, "evaluate_file", counted)
    return labels


def evaluated(cli, files, out, *more):
    done = cli("evaluate", files, "--out", out, "--no-report", "--tm", "none", *more)
    assert done.code == 3, done.err


def rows_of(out):
    """The labels in the file of rows."""
    return [line["place"][0] for line in json_lines(out / ROWS) if "place" in line]


def same(one, other):
    """Whether table and summary are the same to the byte."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("structures.csv", "summary.json"))


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(cli, files, straight, tmp_path, monkeypatch, measured):
    """After a signal at the third row; then only the other files are measured, and those that could not be read."""
    real = RowLog.add

    def add(self, place, kept):
        real(self, place, kept)
        if len(rows_of(tmp_path)) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RowLog, "add", add)
        done = cli("evaluate", files, "--out", tmp_path, "--no-report", "--tm", "none")
    done.assert_failed(143, "rows of finished files are in", "--resume")
    first = rows_of(tmp_path)
    assert first == measured == ["broken.pdb", "hairpin40.cif", "hairpin41.cif"]
    measured.clear()
    evaluated(cli, files, tmp_path, "--resume")
    assert measured == ["broken.pdb", "hairpin42.cif", "hairpin43.cif", "hairpin44.cif"]
    assert same(tmp_path, straight)
    assert sorted(rows_of(tmp_path)) == sorted(path.name for path in files.iterdir())
    measured.clear()
    evaluated(cli, files, tmp_path)
    assert len(measured) == 6, "without --resume everything is measured"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_evaluation_keeps_its_rows(cli, files, straight, tmp_path, measured):
    arguments = ("evaluate", files, "--out", tmp_path, "--no-report", "--tm", "none")
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(rows_of(tmp_path)) == 3
    evaluated(cli, files, tmp_path, "--resume")
    assert len(measured) == 4
    assert same(tmp_path, straight)


def test_a_row_is_used_for_the_same_bytes_and_settings_alone(cli, files, straight, tmp_path, measured):
    """A changed file, a changed line and a cut one are measured anew; other settings measure all anew."""
    folder, out = tmp_path / "set", tmp_path / "out"
    shutil.copytree(files, folder)
    shutil.copytree(straight, out)
    shutil.copy(folder / "hairpin44.cif", folder / "hairpin41.cif")
    log = (out / ROWS).read_text().splitlines(keepends=True)
    log = [line.replace('"length": ', '"length": 1') if "hairpin42" in line else line for line in log]
    (out / ROWS).write_text("".join(log)[:-9])
    evaluated(cli, folder, out, "--resume")
    assert measured == ["broken.pdb", "hairpin41.cif", "hairpin42.cif", "hairpin44.cif"]
    measured.clear()
    evaluated(cli, folder, out, "--resume", "--chain", "A")
    assert len(measured) == 6


def test_values_come_back_as_they_were(tmp_path):
    """Numbers to the last bit, NaN and infinities, text and counts; a line that someone sealed anew is looked at."""
    from protgen.evaluation.row_log import KeptRow, plain_row

    file = {"bytes": 3, "sha256": "0" * 64}
    row = plain_row({"file": "a", "status": "ok", "x": 0.1 + 0.2, "n": 3, "none": float("nan"), "far": float("-inf")})
    with RowLog(tmp_path, {"strict": False}, resume=False, wanted=[]) as log:
        log.add(("a", 0), KeptRow(row, file, {"metric": "line"}))
    with (tmp_path / ROWS).open("a") as lines:
        for strange in ({"place": ["b"]}, {"place": [["b"], 0], "row": {}, "file": {}}, {"place": ["b", 0], "row": 3}):
            lines.write(json.dumps(sealed(strange)) + "\n")
    (kept,) = RowLog(tmp_path, {"strict": False}, resume=True, wanted=[("a", 0), ("b", 0)]).known.values()
    assert {name: repr(value) for name, value in kept.row.items()} == {name: repr(row[name]) for name in row}
    assert (kept.file, kept.problems) == (file, {"metric": "line"})
    assert RowLog(tmp_path, {"strict": True}, resume=True, wanted=[("a", 0)]).known == {}
