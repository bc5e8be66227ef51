"""`protgen sample`: what it writes, what it refuses, and that nothing made is ever lost."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protgen.cli.design_folder import DesignFolder
from protgen.structure.reader import read_structure
from tests.e2e.test_report import Page

MADE = ("--steps", 2, "--no-relax", "--blueprint", "free")
FAST = (*MADE, "--no-pictures")
HEAVY = ("torch._dynamo", "torch_geometric", "scipy.stats", "matplotlib", "pandas", "distributed")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_writes_designs_records_and_a_table_of_80_columns(cli, tiny_model, tmp_path):
    """Each design has a structure and a record that says what was asked, drawn and measured."""
    out = tmp_path / "new" / "designs"
    done = cli("sample", "--model", tiny_model, "--ss", "L2H10L3X5", "-n", 3, "--out", out, *FAST)
    assert done.code == 0, done.err
    assert sorted(contents(out)) == sorted(f"design_000{i}.{s}" for i in range(3) for s in ("pdb", "json"))
    record = json.loads((out / "design_0001.json").read_text())
    assert record["seed"] == 0
    assert record["index"] == 1
    assert record["requested"][0]["codes"] == "LLHHHHHHHHHHLLLXXXXX"
    (measured,) = (m for m in record["measured"] if m["condition"] == "secondary_structure")
    assert 0 <= measured["difference"] <= 1
    assert {"chain_breaks", "n_clashes", "rama_favoured", "rg", "helix"} <= set(record["validity"])
    assert record["settings"]["steps"] == 2
    assert record["model"]["name"] == str(tiny_model)
    run = json.loads((out / "run.json").read_text())
    assert (run["status"], run["n"], run["n_done"]) == ("done", 3, 3)
    protein = read_structure(out / "design_0001.pdb")
    assert protein.length == 20
    assert set(protein.residue_names) == {"GLY"}
    table = done.out.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
    rows = [line.split() for line in table.splitlines()]
    assert [row[0] for row in rows if row[1:2] == ["20"]] == ["0000", "0001", "0002"]
    assert f"Next:  protgen design-sequences {out}" in done.out.replace("\n", "")
    assert "every residue is a placeholder (GLY)" in done.out


def test_mmcif_and_a_range_of_lengths(cli, tiny_model, tmp_path):
    """Each design draws its own length from a range."""
    done = cli(
        "sample", "--model", tiny_model, "--length", "12-30", "-n", 4, "--out", tmp_path, "--format", "cif", *FAST
    )  # fmt: skip
    assert done.code == 0, done.err
    lengths = [read_structure(tmp_path / f"design_000{i}.cif").length for i in range(4)]
    assert all(12 <= length <= 30 for length in lengths)
    assert len(set(lengths)) > 1


def test_same_seed_same_designs_whatever_the_batch_size(cli, tiny_model, tmp_path):
    """Design i depends on (seed, i) alone."""
    for name, batch in (("a", 1), ("b", 3)):
        arguments = ("--length", "15-25", "-n", 3, "--seed", 5, "--batch-size", batch, "--device", "cpu")
        assert cli("sample", "--model", tiny_model, *arguments, "--out", tmp_path / name, *FAST).code == 0
    for i in range(3):
        a, b = (read_structure(tmp_path / name / f"design_000{i}.pdb") for name in "ab")
        assert np.array_equal(a.backbone, b.backbone)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--length", "-5"), ("-5", "positive")),
        (("--length", "0"), ("length 0",)),
        (("--length", "ten"), ("ten",)),
        (("--length", "60-40"), ("60-40", "empty")),
        (("--length", "20", "--ss", "H5"), ("20", "5")),
        (("--length", "20", "--guidance-interval", "0.5"), ("--guidance-interval 0.5", "0.25-1")),
        (("--length", "20", "--guidance-interval", "0.7-0.2"), ("0.7", "lower first")),
        (("--ss", "HHQ"), ("Q",)),
        (("--ss", "H5!"), ("!",)),
        (("--ss", ""), ("empty",)),
        ((), ("--length",)),
        (("--length", "20", "--helix", "1.5"), ("1.5",)),
        (("--length", "20", "--helix", "0.8", "--strand", "0.8"), ("0.8",)),
        (("--ss", "H20", "--strand", "0.5"), ("strand", "0.50")),
        (("--length", "20", "-n", "0"), ("-n",)),
        (("--length", "20", "-n", "1000000000"), ("-n", "1000000")),
        (("--length", "20", "--steps", "1000000000"), ("steps 1000000000: at most 65,536",)),
        (("--length", "100000000"), ("length 100000000: at most 65,536",)),
        (("--length", "20", "--guidance", "1e30"), ("guidance 1e+30: at most 100",)),
        (("--length", "20", "--steps", "0"), ("--steps",)),
        (("--length", "20", "--temperature", "nan"), ("temperature",)),
        (("--length", "20", "--temperature", "-1"), ("temperature",)),
        (("--length", "20", "--sampler", "eulr"), ("eulr", "did you mean 'euler'")),
        (("--length", "20", "--blueprint", "wild"), ("blueprint", "wild")),
        (("--length", "20", "--device", "abacus"), ("abacus",)),
        (("--length", "20", "--format", "xyz"), ("xyz",)),
        (("--length", "20", "--bogus"), ("--bogus",)),
        (("--length", "20", "--resume", "--overwrite"), ("--resume", "--overwrite")),
    ],
)
def test_bad_requests_are_one_line_and_exit_2(cli, tiny_model, tmp_path, arguments, words):
    """Nothing is computed or written for a request that cannot be met."""
    out = tmp_path / "designs"
    cli("sample", "--model", tiny_model, "--out", out, *arguments).assert_failed(2, *words)
    assert not out.exists() or not list(out.glob("design_*"))


def test_an_output_folder_that_cannot_be_written(cli, tiny_model, tmp_path):
    """It is found out before anything is computed."""
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        cli("sample", "--model", tiny_model, "--length", 20, "--out", out, *FAST).assert_failed(2, str(out))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def broken_model(tiny_model, tmp_path):
    """A copy of the model to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "broken"))


def damage_truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-500])


def damage_weights_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damage_config_missing(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"space": ')


def damage_other_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["dim"] = 64
    (folder / "config.json").write_text(json.dumps(config))


def damage_keyword(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["dmi"] = 64
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_weights_missing,
        damage_config_missing,
        damage_json,
        damage_other_config,
        damage_keyword,
    ],
)
def test_a_damaged_checkpoint_is_one_line_that_names_it(cli, broken_model, tmp_path, damage):
    """Missing, cut off, not JSON, or not belonging together."""
    damage(broken_model)
    done = cli("sample", "--model", broken_model, "--length", 20, "--out", tmp_path / "out", *FAST)
    done.assert_failed(2, str(broken_model))


def test_an_unknown_model(cli, tmp_path):
    """The message names it."""
    cli("sample", "--model", "flow-smal", "--length", 20, "--out", tmp_path / "o").assert_failed(2, "flow-smal")


def test_an_earlier_run_is_neither_mixed_nor_replaced_unasked(cli, tiny_model, tmp_path):
    """A folder with designs is refused and left as it is."""
    request = ("sample", "--model", tiny_model, "--length", 15, "-n", 2, "--out", tmp_path, *FAST)
    assert cli(*request).code == 0
    before = contents(tmp_path)
    cli(*request, "--seed", 1).assert_failed(2, "--resume", "--overwrite")
    assert contents(tmp_path) == before
    assert cli(*request, "--seed", 1, "--overwrite").code == 0
    assert contents(tmp_path).keys() == before.keys()
    assert contents(tmp_path)["design_0000.pdb"] != before["design_0000.pdb"]


def test_resume_makes_what_is_missing_and_nothing_else(cli, tiny_model, tmp_path):
    """The design made again is the same to the byte, the others are not touched, and -n may grow."""
    request = ("sample", "--model", tiny_model, "--length", "12-20", "--out", tmp_path, *FAST)
    assert cli(*request, "-n", 3).code == 0
    before = contents(tmp_path)
    (tmp_path / "design_0001.json").write_text('{"index": 1')
    (tmp_path / "design_0002.pdb").unlink()
    untouched = (tmp_path / "design_0000.pdb").stat().st_mtime_ns
    assert cli(*request, "-n", 4, "--resume").code == 0
    after = contents(tmp_path)
    for name in ("design_0000.pdb", "design_0001.pdb", "design_0002.pdb"):
        assert after[name] == before[name]
    assert "design_0003.pdb" in after
    assert (tmp_path / "design_0000.pdb").stat().st_mtime_ns == untouched


def test_resume_refuses_other_options(cli, tiny_model, tmp_path):
    """A run is one request; the message names what differs."""
    request = ("sample", "--model", tiny_model, "--length", 15, "-n", 1, "--out", tmp_path, *FAST)
    assert cli(*request).code == 0
    cli(*request, "--guidance", 3, "--resume").assert_failed(2, "guidance")
    cli(*request, "--guidance-interval", "0.5-1", "--resume").assert_failed(2, "guidance_interval", "0.5")
    (tmp_path / "run.json").unlink()
    cli(*request, "--resume").assert_failed(2, "run.json")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_designs_and_resumes(cli, tiny_model, tmp_path, monkeypatch, number, code):
    """A signal after the second design: both stay, run.json says so, --resume makes the third."""
    request = ("sample", "--model", tiny_model, "--length", 15, "-n", 3, "--batch-size", 1, "--out", tmp_path, *FAST)
    real = DesignFolder.add

    def add(self, design, record):
        real(self, design, record)
        if len(self.records) == 2:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(DesignFolder, "add", add)
        cli(*request).assert_failed(code, "2 of 3", "--resume")
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["status"], run["n_done"]) == ("interrupted", 2)
    assert len(list(tmp_path.glob("*.pdb"))) == 2
    assert cli(*request, "--resume").code == 0
    assert len(list(tmp_path.glob("*.pdb"))) == 3


def test_overwrite_keeps_the_old_run_until_a_new_design_is_at_hand(cli, tiny_model, tmp_path, monkeypatch):
    """A run that fails before its first design takes nothing away."""
    request = ("sample", "--model", tiny_model, "--length", 15, "-n", 2, "--out", tmp_path, *FAST)
    assert cli(*request).code == 0
    before = contents(tmp_path), (tmp_path / "run.json").read_bytes()

    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("protgen.cli.design_record.record_of", interrupt)
        assert cli(*request, "--seed", 3, "--overwrite").code == 130
    assert (contents(tmp_path), (tmp_path / "run.json").read_bytes()) == before


def test_check_says_what_was_understood_and_makes_nothing(cli, tiny_model, tmp_path, monkeypatch):
    """Conditions in words, conflicts as errors, cost."""
    monkeypatch.chdir(tmp_path)
    done = cli("check", "--model", tiny_model, "--ss", "H10L2E4X4", "-n", 1, "--blueprint", "free")
    assert done.code == 0, done.err
    assert "10 helix, 4 strand, 4 free" in done.out
    assert "No conflicts" in done.out
    assert not list(tmp_path.iterdir())
    cli("check", "--model", tiny_model, "--ss", "H10", "--length", 20).assert_failed(2, "20", "10")


def test_the_best_are_copied_and_all_stay(cli, tiny_model, tmp_path):
    """The table has the best in order; resuming with another number makes nothing anew."""
    request = ("sample", "--model", tiny_model, "--length", 24, "-n", 4, "--out", tmp_path, *FAST)
    done = cli(*request, "--best", 2, "--rank-by", "ca_ca_deviation")
    assert done.code == 0, done.err
    records = [json.loads((tmp_path / f"design_000{i}.json").read_text()) for i in range(4)]
    values = [record["validity"]["ca_ca_deviation"] for record in records]
    order = sorted(range(4), key=lambda i: values[i])  # designs of random weights all have faults
    assert [p.name for p in sorted((tmp_path / "best").glob("*.pdb"))] == [
        f"{place:03d}_design_000{i}.pdb" for place, i in enumerate(order[:2], start=1)
    ]
    assert "The 2 best of 4: good ones first, then by ca_ca_deviation (lower is better)." in done.out
    assert f"protgen design-sequences {tmp_path}/best" in done.out.replace("\n", "")
    table = done.out.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table if " 24 " in line] == [f"000{i}" for i in order[:2]]
    assert max(map(len, table)) <= 80
    before = (tmp_path / "design_0000.pdb").stat().st_mtime_ns
    again = cli(*request, "--best", 3, "--rank-by", "bonded", "--resume", "--json")
    assert again.code == 0, again.err
    best = json.loads(again.out)["best"]
    assert (best["ranked_by"], best["better"], len(best["designs"])) == ("bonded", "higher", 3)
    assert len(list((tmp_path / "best").glob("*.json"))) == 4  # three records, and what the folder is
    assert (tmp_path / "design_0000.pdb").stat().st_mtime_ns == before
    assert cli(*request, "--overwrite").code == 0
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--best", 3, "-n", 2), ("--best 3 of -n 2",)),
        (("--rank-by", "packing"), ("--rank-by", "--best")),
        (("--best", 1, "--rank-by", "pakcing"), ("did you mean 'packing'",)),
    ],
)
def test_strange_wishes_for_the_best_are_refused(cli, tiny_model, tmp_path, arguments, words):
    cli("sample", "--model", tiny_model, "--length", 20, "--out", tmp_path / "o", *arguments).assert_failed(2, *words)
    assert not (tmp_path / "o").exists()


def test_a_picture_and_a_page_of_all_designs(cli, tiny_model, tmp_path):
    """The page loads nothing from elsewhere and has every design, best first; `--overwrite` takes both away."""
    request = ("sample", "--model", tiny_model, "--length", 24, "-n", 3, "--out", tmp_path, *MADE)
    done = cli(*request, "--best", 1, "--rank-by", "ca_ca_deviation")
    assert done.code == 0, done.err
    assert "designs.png: a picture, designs.html" in done.out
    width, height = Image.open(tmp_path / "designs.png").size
    assert width == 3 * 432  # 2.7 inches of 160 pixels each
    assert height > 40
    text = (tmp_path / "designs.html").read_text(encoding="utf-8")
    page = Page(text)
    assert (page.open, page.loads) == ([], [])
    assert {"view", "which", "theme"} <= page.ids
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1).replace("<\\/", "</"))
    ranking = (tmp_path / "ranking.csv").read_text().splitlines()[1:]
    shown = [one["file"].removesuffix(".pdb") for one in data["structures"]]
    assert shown == [line.split(",")[1] for line in ranking]
    assert [one["kind"] for one in data["structures"]] == ["best", "", ""]
    assert "3 designs, 0 good. The 1 best of 3: good ones first, then by ca_ca_deviation" in text
    rows = re.findall(r"<tr><td>(design_000\d\.pdb)</td><td>24</td>", text)
    assert [row.removesuffix(".pdb") for row in rows] == shown
    assert cli(*request, "--overwrite", "--no-pictures").code == 0
    assert not (tmp_path / "designs.png").exists()
    assert not (tmp_path / "designs.html").exists()


def test_what_takes_long_to_import_is_not_imported(tmp_path):
    """torch's compiler, which PyG and torch.optim import, takes longer than a design; so do statistics and plots."""
    script = (
        "import sys; from protgen.cli.main import run; "
        "asked = ['sample', '--length', '40', '-n', '1', '--steps', '1', '--out', sys.argv[1]]; "
        "codes = [run([*asked[:-1], asked[-1] + m, '--model', m]) for m in ('flow-small', 'flow-pairing')]; "
        f"print(max(codes), *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "0", done.stderr
