"""`import protgen` is light, and its names are what they say."""

import ast
import pydoc
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import protgen
from protgen import registry
from protgen.exports import public_classes

PACKAGES = ("conditions", "encoders", "families", "metrics", "samplers", "spaces")
FUNCTIONS = ("load", "generate", "evaluate", "train", "read_structure", "read_models", "write_structure")


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    """In a fresh process: no torch, no numpy, and no part of the package but itself."""
    code = "import sys, protgen; print(sorted(m for m in sys.modules if m.split('.')[0] in "
    assert run(code + "('protgen', 'torch', 'numpy', 'rich', 'typer', 'gemmi', 'mdtraj')))") == "['protgen']"


@pytest.mark.parametrize("package", PACKAGES)
def test_listing_names_loads_nothing_heavy(package):
    """`dir`, the packages and their names need no torch, so that an editor completes them at once."""
    code = f"import sys, protgen as pg; dir(pg); dir(pg.{package}); print({{'torch', 'numpy'}} & set(sys.modules))"
    assert run(code) == "set()"


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, "Protein", "SampleSettings", "Design", "Model", "ProtgenError"}))
def test_public_names_exist(name):
    """Each is listed and callable."""
    assert callable(getattr(protgen, name))
    assert name in dir(protgen)
    assert name in protgen.__all__


def test_every_registered_class_is_in_its_package():
    """What the registry finds by the name of its file is also a name of its package."""
    for package in PACKAGES:
        module = import_module(f"protgen.{package}")
        for name in registry.names(package):
            cls = registry.find(package, name)
            assert getattr(module, cls.__name__) is cls
            assert cls.__name__ in dir(module)


def test_every_condition_is_a_top_level_name():
    """By the class's own name, and the very class."""
    for name in registry.names("conditions"):
        cls = registry.find("conditions", name)
        assert getattr(protgen, cls.__name__) is cls


def test_names_can_be_imported_from_packages():
    """As a user writes it; star imports give the public classes alone."""
    code = (
        "from protgen.conditions import SecondaryStructure, Length\n"
        "from protgen.samplers import *\n"
        "import protgen as pg\n"
        "assert pg.Length is Length is pg.conditions.Length\n"
        "assert pg.metrics.tm.__name__ == 'protgen.metrics.tm'\n"
        "print(SecondaryStructure.name, Euler.__module__)"
    )
    assert run(code) == "secondary_structure protgen.samplers.euler"


def test_help_describes_the_package():
    """`help(protgen)` shows functions with their signatures, and the conditions."""
    text = pydoc.plain(pydoc.render_doc(protgen))
    assert "\n    generate(" in text
    assert "class SecondaryStructure(" in text
    assert "class SecondaryStructure(" in pydoc.plain(pydoc.render_doc(protgen.conditions))


@pytest.mark.parametrize(
    ("package", "wrong", "right"),
    [
        ("protgen", "genrate", "generate"),
        ("protgen", "lenght", "Length"),
        ("protgen", "metric", "metrics"),
        ("protgen.samplers", "Eulr", "Euler"),
    ],
)
def test_a_wrong_name_gives_the_nearest(package, wrong, right):
    """A typing error is an AttributeError that says what was meant, whatever the case of letters."""
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{wrong}'; did you mean '{right}'"):
        getattr(import_module(package), wrong)


def test_modules_are_found_without_reading_conditions():
    """`from protgen import registry` is at the top of many files; a broken condition must not break them."""
    code = "from protgen import registry; from protgen.exports import public_classes as p; print(p.cache_info().misses)"
    assert run(code) == "0"


def test_private_names_are_not_looked_for():
    """Tools ask modules for names such as `__wrapped__`: the answer is no, without reading files."""
    code = "import protgen, sys; hasattr(protgen, '__wrapped__'); print('protgen.conditions' in sys.modules)"
    assert run(code) == "False"


def test_classes_are_found_by_their_base(tmp_path, monkeypatch):
    """However the base is written, at any depth; other classes, private ones and other packages' are left out."""
    folder = tmp_path / "plugs"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text("class Metric: ...\nclass Quantity: ...\nclass _Hidden: ...\n")
    (folder / "direct.py").write_text("from plugs.base import Metric\nclass Direct(Metric[int], list): ...\n")
    (folder / "attribute.py").write_text("from plugs import base\nclass Attribute(base.Metric): ...\n")
    (folder / "alias.py").write_text(
        "from plugs.base import Metric as M\nclass Alias(M): ...\nclass Other(dict): ...\n"
    )
    (folder / "a_deep.py").write_text(
        "from plugs.direct import Direct\nclass Deep(Direct): ...\nclass _No(Deep): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("protgen.plugin_scan.ROOT", "plugs")
    expected = {"Alias": "alias", "Attribute": "attribute", "Deep": "a_deep", "Direct": "direct"}
    expected |= {"Metric": "base", "Quantity": "base"}
    assert public_classes("plugs") == {name: f"plugs.{module}" for name, module in sorted(expected.items())}
    assert not {name for name in sys.modules if name.startswith("plugs.")}


def test_stubs_hold_the_names():
    """Type checkers and editors see what is there; `.ci/stubs.py` writes the files again."""
    script = Path(protgen.__file__).parents[1] / ".ci" / "stubs.py"
    if not script.is_file():
        pytest.skip("an installed package, without the script that writes the stubs")
    for path, text in runpy.run_path(str(script))["stubs"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: is out of date; run python .ci/stubs.py"
        imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
        assert all(alias.asname == alias.name for node in imports for alias in node.names)  # or it is no re-export
