"""The report in a real browser, where there is one: it draws, says no word of error, and asks nobody for anything."""

import numpy as np
import pytest

from protgen.evaluation.reference import load_reference
from protgen.evaluation.report import write_report
from protgen.evaluation.runner import Settings, evaluate
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

chromium = pytest.importorskip("benchmarks.chromium", reason="no checkout here")
BROWSER = chromium.find_browser()
pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium here"), pytest.mark.slow]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on two sets, one of which has enough structures for every section, with natives and a CA-only file."""
    root = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    for name, make, length, n in (
        ("many", ideal_helix, 30, 22),
        ("few", ideal_hairpin, 16, 3),
        ("natives", ideal_helix, 30, 50),
    ):
        (root / name).mkdir()
        for k in range(n):
            xyz = make(length + k % 6)
            protein = Protein.from_backbone(xyz + 0.1 * rng.normal(size=xyz.shape))
            write_structure(protein, root / name / f"{name}_{k}.pdb")
    lines = (root / "few" / "few_0.pdb").read_text().splitlines()
    (root / "few" / "ca.pdb").write_text("\n".join(x for x in lines if x[12:16] == " CA " or x[:4] != "ATOM") + "\n")
    (root / "few" / "empty.pdb").write_text("")
    reference = load_reference(root / "natives")
    settings = Settings(reference=reference, tm="quick", folds=True)
    result = evaluate([root / "many", root / "few"], root / "out", settings=settings)
    return write_report(result, root / "out", reference)


@pytest.fixture(scope="module")
def page(report):
    with chromium.Browser(BROWSER) as browser:
        shown = browser.open(report)
        shown.wait("[...document.querySelectorAll('.plot')].every(e => e.querySelector('.main-svg'))")
        shown.wait("!!document.querySelector('#view canvas')")
        yield shown


def pixels(page, path):
    from matplotlib.image import imread

    page.run("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(f, 300))))")
    page.picture(path, page.box("#view"))
    return np.round(imread(path)[..., :3] * 255).astype(int)


def test_structures_are_drawn_and_change(page, tmp_path):
    """The 3D view is not one colour, and another structure or another colouring gives another picture."""
    first = pixels(page, tmp_path / "a.png")
    background = np.median(first.reshape(-1, 3), axis=0)
    assert (np.abs(first - background).sum(axis=-1) > 30).mean() > 0.005
    assert page.run("document.getElementById('which').options.length") > 3
    page.run("(() => { const c = document.getElementById('colouring'); c.value = 'chain';"
             " c.dispatchEvent(new Event('change')); })()")  # fmt: skip
    second = pixels(page, tmp_path / "b.png")
    assert (first != second).any()


def test_sets_can_be_hidden_and_the_theme_changed(page):
    """A chip takes its set out of every plot and back; the theme changes the ground."""
    shown = (
        "Object.values(document.querySelectorAll('.plot')).flatMap(e => e.data).filter(t => t.visible === false).length"
    )
    assert page.run(shown) == 0
    page.run("document.querySelector('.chip').click()")
    assert page.run(shown) >= 5
    page.run("document.querySelector('.chip').click()")
    assert page.run(shown) == 0
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.run(ground)
    page.run("document.getElementById('theme').click()")
    assert page.run(ground) != before
    page.run("document.getElementById('theme').click()")


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out(page, width):
    """At either width the page does not scroll sideways, and every plot holds something."""
    page.resize(width, 900)
    page.run("new Promise(f => setTimeout(f, 500))")
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
    empty = "[...document.querySelectorAll('.plot')].filter(e => !e.querySelector('.trace, canvas')).map(e => e.id)"
    assert page.run(empty) == []


def test_no_error_and_no_request(page):
    """After all that."""
    assert page.errors == []
    assert page.requests == []
