"""A package of somebody else, installed by pip: `sample`, `evaluate` and `train` use its parts, with no edit here."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.spatial.distance import pdist

from protgen import registry
from protgen.conditions import language
from protgen.evaluation.validity import structure_metrics
from protgen.structure.ideal import ideal_helix
from protgen.structure.reader import read_structure

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1] / "plugin_package"
KINDS = {"metrics": "max_dimension", "conditions": "span", "encoders": "lab_mlp", "samplers": "lab_euler",
         "folding": "lab_helix", "inverse_folding": "lab_alanine"}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder into which pip has installed the package; no network."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", folder, PACKAGE],
        check=True,
    )  # fmt: skip
    return folder


def forget() -> None:
    """What was looked up with or without the package."""
    for cached in (structure_metrics, language.class_of, language.name_of, registry.entry_points):
        cached.cache_clear()
    sys.modules.pop("protgen_lab", None)


@pytest.fixture
def lab(installed, monkeypatch):
    """The package on the path of this process; `module:Class` of a module without entry points, too."""
    forget()
    monkeypatch.syspath_prepend(str(installed))
    yield installed
    forget()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def largest(path: Path) -> float:
    """The largest CA distance of a file, by another way than the package's."""
    return float(pdist(read_ca(path)).max())


def read_ca(path: Path) -> np.ndarray:
    lines = [line for line in path.read_text().splitlines() if line[:4] == "ATOM" and line[12:16] == " CA "]
    return np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in lines])


def test_a_process_of_its_own_finds_the_package(installed):
    """As a user has it: the names, and none of them loads torch."""
    code = "import sys; from protgen import registry as r; print(*[n for k in r.BASES for n in r.names(k)]); "
    code += "assert 'torch' not in sys.modules"
    path = os.pathsep.join([str(installed), str(Path(__file__).parents[2])])
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path}
    ).stdout
    assert set(KINDS.values()) <= set(out.split())


CONTRACTS = ("encoders", "conditions", "metrics", "samplers", "tools")


def test_contracts_test_the_parts_of_a_package_too(installed, tmp_path):
    """They join by name: each kind has tests of the package's part, and it passes them."""
    root = Path(__file__).parents[2]
    files = [str(root / "tests" / "contracts" / f"test_{kind}.py") for kind in CONTRACTS]
    pick = " or ".join(KINDS.values())
    path = os.pathsep.join([str(installed), str(root)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", pick, "--rootdir", root, "-rA", *files],
        capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    for name in KINDS.values():
        assert sum(name in line for line in passed) >= 3, name


def test_a_flag_of_a_condition_is_one_of_the_command_line(installed):
    """In a process of its own, as flags are read when the command line is imported."""
    path = os.pathsep.join([str(installed), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "protgen", "check", "--help"], capture_output=True, text=True, env=environment
    )
    assert "--span" in done.stdout
    assert "Largest distance between two CA atoms" in done.stdout


def test_a_condition_is_sampled_for_and_recorded(lab, cli, tiny_model, tmp_path):
    """From a file of conditions, by name and by module:Class: the record has what was asked and what came out."""
    for number, name in enumerate(("span", "protgen_lab:Span")):
        conditions, out = tmp_path / f"y{number}.yaml", tmp_path / f"out{number}"
        conditions.write_text(f"length: 24\n{name}: 30\n", encoding="utf-8")
        checked = cli("check", "--model", tiny_model, "--conditions", conditions, "--steps", 2)
        assert checked.code == 0, checked.err
        assert "span" in checked.out
        done = cli("sample", "--model", tiny_model, "--conditions", conditions, "-n", 2, "--steps", 3, "--sampler",
                   "lab_euler", "--no-relax", "--out", out)  # fmt: skip
        assert done.code == 0, done.err
        for k in range(2):
            record = json.loads((out / f"design_{k:04d}.json").read_text())
            (met,) = [each for each in record["measured"] if each["condition"] == "span"]
            truth = largest(out / f"design_{k:04d}.pdb")
            assert met["asked"] == 30
            assert met["got"] == pytest.approx(truth, abs=2e-3)
            assert met["satisfied"] == (truth <= 31)
            assert record["validity"]["max_dimension"] == pytest.approx(truth, abs=2e-3)
        request = json.loads((out / "run.json").read_text())["request"]
        assert {"condition": "span", "at_most": 30.0, "tolerance": 1.0} in request["conditions"]
        assert request["settings"]["sampler"] == "lab_euler"
    one, two = (sorted((tmp_path / f"out{k}").glob("*.pdb")) for k in range(2))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    bad = tmp_path / "bad.yaml"
    bad.write_text("length: 24\nspan: wide\n", encoding="utf-8")
    cli("sample", "--model", tiny_model, "--conditions", bad, "--out", tmp_path / "no").assert_failed(
        2, "bad.yaml", "span 'wide'"
    )


def test_energy_of_a_condition_pulls(lab, cli, tiny_model, tmp_path):
    """The same seed with and without it: the network of random weights makes chains that are closer to the request."""
    conditions = tmp_path / "y.yaml"
    conditions.write_text("length: 24\nspan: {at_most: 12, weight: 4}\n", encoding="utf-8")
    found = []
    for name, arguments in (("with", ("--conditions", conditions)), ("without", ("--length", 24))):
        done = cli("sample", "--model", tiny_model, *arguments, "-n", 2, "--steps", 20, "--candidates", 1, "--out",
                   tmp_path / name, "--no-relax")  # fmt: skip
        assert done.code == 0, done.err
        found.append([largest(path) for path in sorted((tmp_path / name).glob("*.pdb"))])
    for pulled, free in zip(*found, strict=True):
        assert pulled < free


def test_a_metric_and_a_condition_are_columns_of_evaluate(lab, cli, chains, tmp_path):
    """Values, definition and summary; the same with several processes."""
    conditions = tmp_path / "y.yaml"
    conditions.write_text("span: 20\n", encoding="utf-8")
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        done = cli("evaluate", chains, "--out", out, "--tm", "none", "--no-report", "--no-folds", "--jobs", jobs,
                   "--conditions", conditions)  # fmt: skip
        assert done.code == 0, done.err
    one, two = ((tmp_path / f"out{jobs}" / "structures.csv").read_text() for jobs in (1, 2))
    assert one == two
    summary = json.loads((tmp_path / "out1" / "summary.json").read_text())
    assert summary["definitions"]["max_dimension"]["definition"] == "largest distance between two CA atoms"
    found = []
    for row in rows_of(tmp_path / "out1" / "structures.csv"):
        truth = float(pdist(read_structure(chains / row["file"]).atoms[:, 1]).max())
        assert float(row["max_dimension"]) == pytest.approx(truth, abs=1e-3)
        assert float(row["span_satisfied"]) == (truth <= 21)
        assert float(row["span_difference"]) == pytest.approx(max(0.0, truth - 20), abs=1e-3)
        found.append(truth)
    assert summary["metrics"]["max_dimension"]["mean"] == pytest.approx(np.mean(found), abs=1e-3)
    helix = next(r for r in rows_of(tmp_path / "out1" / "structures.csv") if r["file"] == "helix40.pdb")
    assert helix["max_dimension_pair"] == "1-40"
    assert float(helix["max_dimension"]) == pytest.approx(float(pdist(ideal_helix(40)[:, 1]).max()), abs=2e-3)


def test_tools_of_a_package_refold(lab, cli, chains, tmp_path):
    """By entry point with an argument, and by module:Class: helices are designable, hairpins are not."""
    for number, tools in enumerate(
        (("lab_helix:77", "lab_alanine"), ("protgen_lab:HelixPredictor:77", "protgen_lab:Alanine"))
    ):
        out = tmp_path / f"out{number}"
        done = cli("evaluate", chains, "--out", out, "--tm", "none", "--no-report", "--no-folds", "--sequences", 2,
                   "--structure-predictor", tools[0], "--inverse-folder", tools[1])  # fmt: skip
        assert done.code == 0, done.err
        for row in rows_of(out / "structures.csv"):
            assert float(row["designable"]) == row["file"].startswith("helix")
            assert float(row["sc_plddt"]) == 77
            assert row["n_refolds_used"] == "2"


def test_an_encoder_and_a_condition_are_trained_and_load_again(lab, cli, tiny_store, tmp_path):
    """By name and by module:Class; the checkpoint has the encoder's weights and the name, and samples."""
    for number, (encoder, span) in enumerate((("lab_mlp", "span"), ("protgen_lab:LabMLP", "protgen_lab:Span"))):
        run = tmp_path / f"run{number}"
        done = cli("train", f"data.store={tiny_store}", f"run={run}", "train.steps=2", "train.bf16=false",
                   "train.max_pairs_per_batch=20000", "validation.samples=0", "machine.accelerator=cpu",
                   f"encoder={encoder}", "encoder.dim=24", f"conditions.names=[length,{span}]")  # fmt: skip
        assert done.code == 0, done.err
        config = json.loads((run / "model" / "config.json").read_text())
        assert config["encoder"] == {"name": encoder, "dim": 24}
        assert config["conditions"] == ["length", span]
        weights = load_file(run / "model" / "model.safetensors")
        assert weights["encoder.mix.weight"].shape == (24, 48)
        conditions = tmp_path / "y.yaml"
        conditions.write_text(f"length: 20\n{span}: 25\n", encoding="utf-8")
        done = cli("sample", "--model", run / "model", "--conditions", conditions, "-n", 1, "--steps", 2, "--no-relax",
                   "--out", tmp_path / f"designs{number}")  # fmt: skip
        assert done.code == 0, done.err
        assignments = json.loads((tmp_path / f"designs{number}" / "run.json").read_text())["request"]["assignments"]
        assert {each["condition"]: each["mechanism"] for each in assignments}["span"] == "learned"


def test_without_the_package_its_checkpoint_says_what_is_missing(lab, cli, tiny_store, tmp_path, monkeypatch):
    """One line that names the encoder."""
    run = tmp_path / "run"
    done = cli("train", f"data.store={tiny_store}", f"run={run}", "train.steps=1", "train.bf16=false",
               "train.max_pairs_per_batch=20000", "validation.samples=0", "machine.accelerator=cpu",
               "encoder=lab_mlp", "encoder.dim=24", "conditions=length")  # fmt: skip
    assert done.code == 0, done.err
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(lab)])
    forget()
    cli("sample", "--model", run / "model", "--length", 20, "--out", tmp_path / "no").assert_failed(
        2, "no encoders named 'lab_mlp'", "config.json"
    )
    cli("train", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={run}", "encoder=lab_mlp").assert_failed(
        2, "no encoder named 'lab_mlp'"
    )


BROKEN = """
from protgen.metrics.base import Metric, Quantity


class Fails(Metric):
    name = "fails"
    requires = ("ca",)
    quantities = (Quantity("fails", "Å", None, "never there"),)

    def measure(self, sample):
        return {"fails": 1 / 0}


class Clash(Metric):
    name = "clash"
    requires = ("ca",)
    quantities = (Quantity("rg", "Å", None, "a column of protgen's"),)

    def measure(self, sample):
        return {"rg": 0.0}
"""


def test_metrics_that_fail_cost_their_own_values(lab, cli, chains, tmp_path, monkeypatch):
    """By module:Class: NaN and one line that names it; a column that is taken is refused at once."""
    (tmp_path / "lab_broken.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    common = ("evaluate", chains, "--tm", "none", "--no-report", "--no-folds", "--out")
    done = cli(*common, tmp_path / "out", "--metric", "lab_broken:Fails")
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if "lab_broken" in line]
    assert lines == ["warning: metric fails of lab_broken failed: ZeroDivisionError: division by zero"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["fails"]["n"] == 0
    assert summary["metrics"]["max_dimension"]["n"] == summary["n"]
    cli(*common, tmp_path / "no", "--metric", "lab_broken:Clash").assert_failed(2, "column 'rg'")
    cli(*common, tmp_path / "no", "--metric", "lab_broken:Failed").assert_failed(2, "did you mean 'Fails'")
    cli(*common, tmp_path / "no", "--metric", "no_such:Thing").assert_failed(2, "no module 'no_such'")


def test_a_broken_package_costs_a_line(lab, cli, chains, tmp_path, monkeypatch):
    """Its entry point cannot be imported: evaluate goes on with the others and warns once; doctor lists the others."""
    info = tmp_path / "site" / "lab_bad-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-bad\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[protgen.metrics]\nbad = lab_bad:Bad\n", encoding="utf-8")
    (tmp_path / "site" / "lab_bad.py").write_text("import no_such_module_here\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    structure_metrics.cache_clear()
    done = cli("evaluate", chains, "--tm", "none", "--no-report", "--no-folds", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert len(lines) == 1
    assert "'bad' of the package lab-bad cannot be loaded: ModuleNotFoundError" in lines[0]
    from protgen.cli.doctor import plugins_found

    with pytest.warns(UserWarning, match="lab-bad"):
        said = plugins_found()
    assert {f"{kind} {name}, of protgen-lab" for kind, name in KINDS.items()} == set(said)
