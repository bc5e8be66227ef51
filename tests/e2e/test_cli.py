"""The command line as a whole: help, version, evaluation, data, and exit codes."""

import csv
import json
import re
import subprocess
import sys
import time

import pytest
import typer

from protgen.cli.main import app
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

COMMANDS = [["sample"], ["check"], ["evaluate"], ["data", "build"], ["data", "info"], ["train"], ["models"], ["doctor"]]


def test_help_is_fast_and_loads_no_torch():
    """`protgen --help` in a fresh process imports neither torch nor numpy."""
    code = (
        "import sys\nfrom protgen.cli.main import run\nassert run(['--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'mdtraj', 'matplotlib', 'hydra', 'lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    started = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.process_time() - started < 5


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(cli, command):
    """Each says what it does, within 80 columns."""
    done = cli(*command, "--help")
    assert done.code == 0
    assert "Usage" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_no_help_text_is_taken_for_markup():
    """Rich leaves out [words] in brackets, so `conditions.names=[length]` would read `conditions.names=`."""
    tag = re.compile(r"(?<!\\)\[[a-z#/@][^[]*?\]")  # as rich finds it

    def texts(command):
        yield command.help or ""
        yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    assert [found for text in texts(typer.main.get_command(app)) for found in tag.findall(text)] == []


def test_version_and_unknown_commands(cli):
    """The version of the package; a command that does not exist is one line."""
    assert cli("--version").out.startswith("protgen ")
    cli("smaple").assert_failed(2, "smaple")


def test_a_bug_of_ours_is_one_line_too(cli, monkeypatch, tmp_path):
    """It asks for a report and exits with 1."""

    def bug(*_, **__):
        raise KeyError("oops")

    monkeypatch.setattr("protgen.evaluation.runner.evaluate", bug)
    done = cli("evaluate", tmp_path, "--out", tmp_path / "out")
    assert done.code == 1
    assert "internal error" in done.errors[0]
    assert "Traceback" not in done.err


@pytest.fixture
def structures(tmp_path):
    """A folder with two structures."""
    folder = tmp_path / "structures"
    folder.mkdir()
    write_structure(Protein.from_backbone(ideal_helix(20)), folder / "helix.pdb")
    write_structure(Protein.from_backbone(ideal_strand(20)), folder / "strand.pdb")
    return folder


def test_evaluate_prints_how_many_it_used(cli, structures, tmp_path):
    """A table on the screen, and the files it names."""
    done = cli("evaluate", structures, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "2 of 2 structures used" in done.out
    assert "Ramachandran" in done.out
    with (tmp_path / "out" / "structures.csv").open(newline="") as rows:
        assert len(list(csv.DictReader(rows))) == 2


def test_evaluate_names_each_bad_file_and_uses_the_others(cli, structures, tmp_path):
    """Exit code 3 if some failed, 4 if all did."""
    (structures / "empty.pdb").write_text("")
    (structures / "junk.cif").write_text("this is no structure")
    done = cli("evaluate", structures, "--out", tmp_path / "out")
    assert done.code == 3
    assert "2 of 4 structures used" in done.out
    assert [name for name in ("empty.pdb", "junk.cif") if any(name in line for line in done.errors)] == [
        "empty.pdb",
        "junk.cif",
    ]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["n_failed"] == 2
    cli("evaluate", structures / "empty.pdb", "--out", tmp_path / "all").assert_failed(4, "empty.pdb")


def test_evaluate_refuses_what_it_cannot_start(cli, structures, tmp_path):
    """No structures, no such folder, an output that cannot be written: one line, exit code 2."""
    (tmp_path / "none").mkdir()
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "out"
    cli("evaluate", tmp_path / "none", "--out", out).assert_failed(2, "no structure files")
    cli("evaluate", tmp_path / "nowhere", "--out", out).assert_failed(2, "nowhere")
    cli("evaluate", structures, "--out", tmp_path / "file").assert_failed(2, "file")
    cli("evaluate", structures, "--out", out, "--jobs", 0).assert_failed(2, "--jobs")


def test_data_build_and_info(cli, chains, tmp_path):
    """What was kept, what was dropped and why; an unreadable file is counted and exits with 3."""
    for path in chains.iterdir():
        (tmp_path / "in" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "bad.pdb").write_text("junk")
    write_structure(Protein.from_backbone(ideal_helix(12)), tmp_path / "in" / "short.pdb")
    options = ("--min-length", 20, "--max-coil", 1, "--rg-percentile", 100)
    done = cli("data", "build", tmp_path / "in", "--out", tmp_path / "store", *options)
    assert done.code == 3, done.err
    assert "peptide" in done.out
    assert "cannot be read" in done.out
    assert "1 of 14 files could not be read" in done.out
    assert cli("data", "info", tmp_path / "store").code == 0


def test_data_refuses_what_it_cannot_use(cli, chains, tmp_path):
    """Empty folders, filters nothing passes, and folders that are no store."""
    (tmp_path / "none").mkdir()
    out = tmp_path / "store"
    cli("data", "build", tmp_path / "none", "--out", out).assert_failed(2, "no structure files")
    assert not out.exists()
    cli("data", "build", chains, "--out", out, "--min-length", 100).assert_failed(2, "filters")
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "a.pdb").write_text("nothing of the kind")
    cli("data", "build", junk, "--out", out).assert_failed(4, "none of 1 files", "a.pdb")
    cli("data", "build", chains, "--out", out, "--min-length", 50, "--max-length", 40).assert_failed(2, "50")
    cli("data", "info", tmp_path / "none").assert_failed(2, "not a complete store")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "ask for shorter chains, or make fewer designs at a time by a lower OMP_NUM_THREADS"),
        (type("OutOfMemoryError", (RuntimeError,), {})(), "fewer designs at a time by a lower --batch-size"),
    ],
)
def test_too_little_memory_names_what_helps(cli, monkeypatch, error, words):
    """On a CPU each design is a batch of its own, and --batch-size changes nothing."""

    def prepare(*_):
        raise error

    monkeypatch.setattr("protgen.cli.check.prepare_job", prepare)
    cli("check", "--length", 20).assert_failed(2, "not enough memory", words)
