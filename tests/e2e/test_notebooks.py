"""The notebooks of the docs run from top to bottom, on fewer designs and steps, and are what their script writes."""

import importlib.util
import json
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = ("descent", "design", "evaluate", "train")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_notebooks", DOCS / "make_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_published_notebook_has_the_cells_of_the_script(script, name):
    """Sources are equal cell by cell, every code cell was run in order, and none ended in an error."""
    published = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    written = script.book_of(script.BOOKS[name]).cells
    assert ["".join(cell["source"]) for cell in published] == [cell.source for cell in written]
    code = [cell for cell in published if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(script, name, monkeypatch):
    """Every cell runs without an error on two designs of three steps and seventy pictures."""
    monkeypatch.setenv("PROTGEN_NOTEBOOK_N", "2")
    monkeypatch.setenv("PROTGEN_NOTEBOOK_STEPS", "3")
    monkeypatch.setenv("PROTGEN_NOTEBOOK_TRAIN", "20")
    monkeypatch.setenv("PROTGEN_NOTEBOOK_SAMPLES", "70")
    monkeypatch.setenv("PROTGEN_NOTEBOOK_TEST", "70")
    book = script.book_of(script.BOOKS[name])
    nbclient.NotebookClient(book, timeout=600).execute()
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
