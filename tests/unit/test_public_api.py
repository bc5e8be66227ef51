"""`import protgen` is light, and its names are what they say."""

import subprocess
import sys

import pytest

import protgen


def test_import_loads_nothing_heavy():
    """In a fresh process: no torch, no numpy, and little time of its own."""
    code = (
        "import sys, time\nbegun = time.process_time()\nimport protgen\nspent = time.process_time() - begun\n"
        "heavy = {'torch', 'numpy', 'rich', 'typer', 'gemmi', 'mdtraj'} & set(sys.modules)\n"
        "assert not heavy, heavy\nassert spent < 0.3, spent"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", protgen.__all__)
def test_public_names_exist(name):
    """Each is importable and, but for the version, something to call."""
    value = getattr(protgen, name)
    assert isinstance(value, str) if name == "__version__" else callable(value)
    assert name in dir(protgen)


def test_other_names_do_not():
    """A typing error is an AttributeError, as for any module."""
    with pytest.raises(AttributeError, match="genrate"):
        protgen.genrate  # noqa: B018
