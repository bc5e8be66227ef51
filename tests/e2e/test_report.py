"""`protgen evaluate` on several sets with a reference: tables, comparison, and the page."""

import base64
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest

from protgen.cli.main import run
from protgen.errors import UsageError
from protgen.evaluation.comparison import difference, matched_difference
from protgen.evaluation.distributions import DEFINITIONS
from protgen.evaluation.reference import load_reference
from protgen.evaluation.report import write_report
from protgen.evaluation.report_sets import HEADINGS
from protgen.evaluation.ribbon_mesh import ribbon_mesh
from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.showcase import choose, faults
from protgen.structure.ideal import ideal_helix, ideal_strand, mirror
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Collects tags, ids, and what would be loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loads, self.scripts = [], set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in ("meta", "br", "link", "img", "input"):
            self.open.append(tag)
        if "id" in values:
            self.ids.add(values["id"])
        self.loads += [values[key] for key in ("src", "href") if values.get(key) and not values[key].startswith("#")]
        self.scripts += tag == "script"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets and a reference: noisy helices of several lengths, strands with one mirrored helix, and natives."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, make in (("helices", ideal_helix), ("strands", ideal_strand), ("natives", ideal_helix)):
        (root / name).mkdir()
        for k in range(5):
            xyz = make(30 + 4 * k)
            protein = Protein.from_backbone(xyz + 0.05 * rng.normal(size=xyz.shape))
            write_structure(protein, root / name / f"{name}_{k}.pdb")
    write_structure(Protein.from_backbone(mirror(ideal_helix(40))), root / "strands" / "mirrored.pdb")
    (root / "strands" / "empty.pdb").write_text("")
    (root / "natives" / "index.csv").write_text("file,split\nnatives_0.pdb,validation\nnatives_1.pdb,validation\n")
    return root


@pytest.fixture(scope="module")
def done(sets):
    arguments = ["evaluate", str(sets / "helices"), str(sets / "strands"), "--out", str(sets / "out")]
    code = run([*arguments, "--reference", str(sets / "natives"), "--per-residue", "--figures"])
    return code, sets / "out"


def test_tables(done):
    """Every file has its set, cluster and nearest native; the exit code says that one failed."""
    code, out = done
    assert code == 3
    with (out / "structures.csv").open(newline="") as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    assert rows["helices_2.pdb"]["set"] == "helices"
    assert rows["empty.pdb"]["status"] == "error"
    assert rows["empty.pdb"]["cluster"] == rows["empty.pdb"]["nearest"] == ""
    assert rows["helices_2.pdb"]["nearest"].startswith("natives_")
    assert float(rows["helices_2.pdb"]["max_tm"]) > 0.8
    assert rows["helices_2.pdb"]["nearest_training"] in {f"natives_{k}.pdb" for k in (2, 3, 4)}
    content = json.loads((out / "summary.json").read_text())
    assert content["sets"]["helices"]["diversity"]["clusters"] == 1
    assert content["sets"]["strands"]["n_failed"] == 1
    assert content["sets"]["helices"]["metrics"]["helix"]["mean"] > 0.8
    assert content["sets"]["helices"]["novelty"]["novel_fraction"] == 0
    with (out / "comparison.csv").open(newline="") as handle:
        compared = {row["metric"]: row for row in csv.DictReader(handle)}
    assert float(compared["helix"]["difference"]) < -0.5
    assert float(compared["helix"]["p_value"]) < 0.05
    with (out / "residues.csv").open(newline="") as handle:
        assert sum(row["file"] == "helices_0.pdb" for row in csv.DictReader(handle)) == 30


def test_page_stands_alone(done):
    """Well-formed, nothing loaded from elsewhere, a place for every figure, and every figure valid plotly."""
    text = (done[1] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert page.scripts == 3
    assert text.count("plotly.js v") >= 1
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1).replace("<\\/", "</"))
    assert set(data["figures"]) >= {"ramachandran", "compactness", "structure", "clusters", "novelty"}
    assert set(data["figures"]) <= page.ids
    for figure in data["figures"].values():
        go.Figure(figure)  # raises for a property that plotly does not know
    assert {one["kind"] for one in data["structures"]} == {"best", "worst", "cluster", ""}
    files = {row["file"] for row in csv.DictReader((done[1] / "structures.csv").open()) if row["status"] != "error"}
    assert {one["file"] for one in data["structures"]} == files  # every structure can be looked at
    panels = [trace for trace in data["figures"]["ramachandran"]["data"] if trace["type"] == "scattergl"]
    assert [(trace["name"], trace.get("xaxis")) for trace in panels] == [("helices", "x"), ("strands", "x2")]
    assert "mirror image" in " ".join(one["reason"] for one in data["structures"])


def test_figures_for_paper(done):
    """Each plot as PNG and SVG, and the ribbons."""
    names = {path.name for path in (done[1] / "figures").iterdir()}
    assert names >= {f"{stem}.{kind}" for stem in ("ramachandran", "clusters", "ribbons") for kind in ("png", "svg")}


def test_distributions_table(tmp_path):
    """The page's table holds the summary's numbers for a set that is large enough, and a dash for one that is not."""
    rng = np.random.default_rng(1)
    for name, n in (("many", 24), ("few", 3), ("natives", 24)):
        (tmp_path / name).mkdir()
        for k in range(n):
            xyz = ideal_helix(30 + k % 5)
            protein = Protein.from_backbone(xyz + 0.05 * rng.normal(size=xyz.shape))
            write_structure(protein, tmp_path / name / f"{k}.pdb")
    reference = load_reference(tmp_path / "natives")
    result = evaluate([tmp_path / "many", tmp_path / "few"], tmp_path, settings=Settings(reference=reference))
    write_report(result, tmp_path, reference)
    found = json.loads((tmp_path / "summary.json").read_text())["sets"]["many"]["distribution"]
    assert found["n"] >= 20
    assert found["js_ss"] < 0.05 < 0.5 < found["recall"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    table = re.search(r'<section id="t">(.*?)</section>', text, re.S).group(1)
    assert re.findall(r"<th>(.*?)</th>", table) == ["", "many", "few"]
    cell = r"<td[^>]*>([^<]*)(?:<small>[^<]*</small>)?</td>"
    rows = re.findall(rf"<tr><td title[^>]*>([^<]*)</td>{cell}{cell}", table)
    names = {HEADINGS.get(name, name): name for name in DEFINITIONS if not name.endswith("_natives")}
    cells = {names[heading]: (many, few) for heading, many, few in rows}
    # 24 structures are too few for these
    missing = {"frechet_fold"} | {f"{name}_corrected" for name in ("frechet_fold", "frechet", "js_fold_a", "js_fold_t")}
    assert set(cells) == set(names.values()) - missing
    assert cells.pop("n") == (f"{found['n']} of 24", "3 of 3")
    for name, (many, few) in cells.items():
        scale = 1000 if name == "mmd" else 1
        assert float(many.replace("−", "-")) == pytest.approx(scale * found[name], rel=0.05, abs=0.006), name
        assert few == "–"


def test_number_of_jobs_changes_nothing(sets, tmp_path):
    """One process and two write the same bytes, with clusters and novelty."""
    reference = load_reference(sets / "natives")
    for jobs in (1, 2):
        settings = Settings(reference=reference, tm="quick", jobs=jobs)
        evaluate([sets / "helices", sets / "strands"], tmp_path / str(jobs), settings=settings)
    for name in ("structures.csv", "comparison.csv", "summary.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_mesh_is_closed():
    """Every index names a vertex, every triangle has a code, and a CA trace is a line instead."""
    mesh = ribbon_mesh(Protein.from_backbone(ideal_helix(20)))
    span = mesh.pop("span")
    kinds = {"f4": "<f4", "i2": "<i2", "u1": "u1", "u2": "<u2"}
    read = {k: np.frombuffer(base64.b64decode(v["bdata"]), kinds[v["dtype"]]) for k, v in mesh.items()}
    assert max(read[k].max() for k in "ijk") == len(read["x"]) - 1
    assert len(read["i"]) == len(read["code"]) == len(read["along"])
    assert span == [np.ptp(read[axis].astype(int)) for axis in "xyz"]
    assert 2500 < max(np.ptp(read[axis].astype(float)) for axis in "xyz") < 3500  # 20 residues of 1.5 Å, in 0.01 Å
    assert sum(len(v["bdata"]) for v in mesh.values()) < 20 * 1500  # 24 structures of 100 residues: below 4 MB
    trace = np.full((10, 4, 3), np.nan)
    trace[:, 1] = ideal_helix(10)[:, 1]
    assert set(ribbon_mesh(Protein.from_backbone(trace))) == {"ca", "code", "points", "span"}


def test_faults_are_named():
    """The worst structure comes with its reasons, and a clean one with none."""
    clean = {"file": "a", "status": "ok", "chain_breaks": 0.0, "rama_favoured": 0.99}
    bad = {"file": "b", "status": "ok", "chain_breaks": 2.0, "rama_favoured": 0.5}
    assert faults(clean) == (0.0, [])
    assert "2 chain breaks" in faults(bad)[1]
    shown = choose([bad, clean, dict(clean)], ["s", "s", "s"])
    assert [(one.row, one.kind) for one in shown] == [(1, "best"), (2, "best"), (0, "worst")]


def test_differences():
    """A shift is found with its interval; a difference that only length makes vanishes when lengths are matched."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=80), rng.normal(size=80) + 1.0
    found = difference(a, b)
    assert found.low < 1.0 < found.high
    strata = np.repeat([0.0, 1.0], 40)
    short, long = np.concatenate([strata[:60]]), strata[20:]
    matched, n = matched_difference(short * 5, long * 5, short, long)
    assert (n, matched.value) == (2, 0.0)
    assert difference(short * 5, long * 5).low > 0


def test_reference_errors(tmp_path):
    """No such reference, or none that can be read: one line."""
    with pytest.raises(UsageError, match="no such store"):
        load_reference(tmp_path / "absent")
    (tmp_path / "bad.pdb").write_text("nothing")
    with pytest.raises(UsageError, match="could be read"):
        load_reference(tmp_path)
