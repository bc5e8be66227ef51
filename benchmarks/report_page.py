"""Open a report in headless Chromium and use it as a reader would: does it draw, complain, or ask the network?

    python benchmarks/report_page.py REPORT [--pictures DIR] [--out benchmarks/results/evaluation/report_page.json]

REPORT is a `report.html` of `protgen evaluate`. Without a Chromium (chromium, google-chrome, or $CHROMIUM) nothing is
checked and the exit code is 0. Pictures of the page in a wide and a narrow window go into DIR, to be looked at.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from chromium import Browser, Page, find_browser
from matplotlib.image import imread

WIDE, NARROW = (1280, 900), (400, 800)
SHARE = 0.001  # of the view: an empty one has none at all, a CA trace of a chain that is stretched out 0.003
DRAWN = "[...document.querySelectorAll('.plot')].every(e => e.querySelector('.main-svg'))"
GL = "(() => { const c = document.querySelector('#view canvas'); return !!c && c.width > 0; })()"
EMPTY = """[...document.querySelectorAll('.plot')].filter(
  e => !e.querySelector('.trace, canvas, .contour')).map(e => e.id)"""
# Elements that stick out of the window although nothing there scrolls sideways.
TOO_WIDE = """(() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .plot, .view')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.tagName + '.' + e.className).slice(0, 5))()"""


def coloured(page: Page, selector: str, scratch: Path) -> tuple[float, np.ndarray]:
    """Fraction of an element's pixels that differ from its commonest colour, and the picture."""
    page.picture(scratch, page.box(selector))
    pixels = np.round(imread(scratch)[..., :3] * 255).astype(int)
    keys = pixels @ np.array([65536, 256, 1])
    values, counts = np.unique(keys, return_counts=True)
    return float((np.abs(keys - values[counts.argmax()]) > 0).mean()), pixels


def choose(page: Page, control: str, value: str) -> None:
    page.run(
        f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}';"
        " c.dispatchEvent(new Event('change')); })()"
    )


def drag(page: Page, selector: str) -> None:
    """Turn the structure with the mouse."""
    page.run(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    box = page.run(
        f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect();"
        " return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
    )
    for kind, shift in (("mousePressed", 0), ("mouseMoved", 60), ("mouseMoved", 120), ("mouseReleased", 120)):
        page.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box["x"] + shift,
            y=box["y"],
            button="left",
            buttons=1,
            clickCount=1,
        )


def settle(page: Page) -> None:
    """Two frames and a moment: what was asked for is on the screen."""
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 400))))")


def check(report: Path, browser_path: str, pictures: Path) -> dict:
    """Everything a reader would notice; `problems` is empty if all is well."""
    scratch = pictures / "view.png"
    with Browser(browser_path) as browser:
        page = browser.open(report, *WIDE)
        page.wait(DRAWN)
        page.wait(GL)
        settle(page)
        share, first = coloured(page, "#view", scratch)
        page.picture(pictures / "wide.png")
        drag(page, "#view canvas")
        settle(page)
        rotated = coloured(page, "#view", scratch)[1]
        choose(page, "colouring", "chain")
        settle(page)
        rainbow = coloured(page, "#view", scratch)[1]
        n = page.run("document.getElementById('which').options.length")
        shares = []
        for k in range(min(n, 24)):
            choose(page, "which", str(k))
            settle(page)
            shares.append(coloured(page, "#view", scratch)[0])
        page.run("document.getElementById('theme').click()")
        settle(page)
        page.picture(pictures / "dark.png")
        wide = page.run(TOO_WIDE)
        page.run("document.getElementById('theme').click()")
        page.resize(*NARROW)
        settle(page)
        page.picture(pictures / "narrow.png")
        empty = page.run(EMPTY)
        narrow = page.run(TOO_WIDE)
        version = browser.call("Browser.getVersion")["product"]
    problems = [*page.errors, *(f"asks for {url}" for url in page.requests)]
    problems += [] if min([share, *shares]) > SHARE else ["a structure is not drawn"]
    problems += [] if (first != rotated).any() and (rotated != rainbow).any() else ["the view does not change"]
    problems += [f"empty plot: {name}" for name in empty] + [f"sticks out: {name}" for name in [*wide, *narrow]]
    return {
        "browser": version,
        "console errors": len(page.errors),
        "network requests": len(page.requests),
        "structures drawn": sum(share > SHARE for share in shares),
        "structures listed": n,
        "least fraction of the view that is structure": min(shares),
        "problems": problems,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evaluation/report_page.json"))
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        print("no Chromium here: nothing was checked")
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures = options.pictures or Path(folder)
        pictures.mkdir(parents=True, exist_ok=True)
        found = check(options.report, browser, pictures)
    size = round(options.report.stat().st_size / 1e6, 2)
    found = {"command": "python benchmarks/report_page.py REPORT", "page, MB": size, **found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(found, indent=1, ensure_ascii=False))
    sys.exit(1 if found["problems"] else 0)


if __name__ == "__main__":
    main()
