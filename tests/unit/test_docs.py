"""Pages that are made from the code are made again when it changes."""

import importlib.util
from pathlib import Path
from types import ModuleType

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
