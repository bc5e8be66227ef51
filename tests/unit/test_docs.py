"""Pages that are made from the code are made again when it changes."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_metric_definitions_are_current():
    spec = importlib.util.spec_from_file_location("make_metrics", ROOT / "docs" / "make_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == module.page()
