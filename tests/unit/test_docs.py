"""Pages that are made from the code are made again when it changes."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def maker(name: str) -> ModuleType:
    """A script of `docs/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_metric_definitions_are_current():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == maker("make_metrics").page()


def test_the_table_of_conditions_is_current():
    module = maker("make_conditions")
    text = module.PAGE.read_text(encoding="utf-8")
    assert module.page(text) == text
    assert "| `length` | `--length` |" in text


def test_every_dependency_has_its_row_in_the_table_of_licences():
    """Those that pyproject.toml names, once each; where one is installed, with the licence that it states."""
    module = maker("make_licences")
    rows = [
        line.strip("| ").split(" | ") for line in module.PAGE.read_text(encoding="utf-8").splitlines() if "|" in line
    ]
    named = [cells[0].rstrip(" |") for cells in rows]
    asked = module.required()
    assert {"torch", "gemmi", "hydra-core", "distributed", "mlflow"} <= asked.keys()
    assert sorted(asked.keys() - set(named)) == [], "run python docs/make_licences.py"
    assert len([name for name in named if name in asked]) == len(asked)
    plain = [cells for cells in rows if asked.get(cells[0]) == ""]
    assert [cells[0] for cells in plain if len(cells) < 3 or not cells[2].strip(" |")] == []
    assert module.licence_of(module.installed("numpy")).startswith("BSD")


PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("benchmarks/*.md")),
    *sorted(ROOT.glob("protgen/weights/*/card.md")),
]
NAMED = re.compile(r"`((?:benchmarks/)?results/[\w./-]+|(?:benchmarks|tests|docs|configs|data)/[\w./-]+\.\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    """Results and scripts of a figure are in the repository, and links lead somewhere."""
    text = page.read_text(encoding="utf-8")
    named = [name if name.split("/")[0] != "results" else f"benchmarks/{name}" for name in NAMED.findall(text)]
    missing = [name for name in named if not (ROOT / name).exists()]
    links = [link for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)", text)]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing
