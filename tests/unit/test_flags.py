"""Flags of conditions: what a class declares is what is read from its source, with no import of torch."""

import json
import os
import subprocess
import sys

import pytest

from protgen import registry
from protgen.cli.console import print_json
from protgen.cli.options import Asked
from protgen.conditions.base import Conditions
from protgen.conditions.cyclic import Cyclic
from protgen.conditions.flags import Flag, declared_flags, read_flags
from protgen.conditions.fractions import Fractions
from protgen.conditions.keep_out import KeepOut
from protgen.conditions.length import Length
from protgen.errors import UsageError


@pytest.mark.parametrize("name", registry.names("conditions"))
def test_what_is_read_is_what_is_declared(name):
    assert declared_flags().get(name, ()) == registry.find("conditions", name).flags


def test_reading_flags_loads_nothing_heavy():
    code = (
        "import sys\nimport protgen.cli.main\nfrom protgen.conditions.flags import declared_flags\n"
        "assert len(declared_flags()) > 12\n"
        "heavy = {'torch', 'numpy', 'gemmi'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_flag_is_declared_twice():
    names = [flag.name for flags in declared_flags().values() for flag in flags]
    assert len(names) == len(set(names))


def test_a_class_is_found_by_its_name(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        'class A:\n    flags = (Flag("--a", "First."),)\n\n\n'
        'class B:\n    flags: ClassVar = (Flag("--b", "Sec" "ond.", kind="number", field="x"),)\n'
    )
    assert read_flags(path) == read_flags(path, "A") == (Flag("--a", "First."),)
    assert read_flags(path, "B") == (Flag("--b", "Second.", field="x", kind="number"),)
    assert read_flags(path, "C") == ()
    path.write_text("class A(:")
    assert read_flags(path) == ()


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.flags import Flag


@dataclass(frozen=True)
class Waist(Condition):
    width: float
    name: ClassVar[str] = "waist"
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--waist", "Of a stranger, Å.", metavar="Å"), Flag("--rg", "Taken."))

    @classmethod
    def parse(cls, text):
        return cls(float(text))

    def adherence(self, structure):
        return Adherence(self.name, self.width, 1.0, 0.0, True, 0.0)

    def lengths(self):
        return 30, 30
"""


def test_a_condition_of_another_package_brings_its_flag(tmp_path):
    """It is in the help without being imported, makes the condition, and takes no flag of ours."""
    (tmp_path / "waisted.py").write_text(PLUGIN)
    about = tmp_path / "waisted-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: waisted\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[protgen.conditions]\nwaist = waisted:Waist\n")
    code = (
        "import sys\nfrom protgen.cli.main import run\nfrom protgen.cli.options import Asked, declared_flags\n"
        "assert [flag.name for flag in declared_flags()['waist']] == ['--waist']\n"
        "run(['check', '--help'])\nassert not {'torch', 'waisted'} & set(sys.modules)\n"
        "(waist,) = Asked({'--waist': '7.5'}).conditions()\nassert (waist.name, waist.width) == ('waist', 7.5)\n"
    )
    there = os.pathsep.join([str(tmp_path), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": there},
    )
    assert done.returncode == 0, done.stderr
    assert "--waist" in done.stdout
    assert "Of a stranger" in done.stdout


def test_flags_make_conditions_in_one_order():
    typed = {"--cyclic": True, "--keep-out": ["0,0,0,5", "9,0,0,4"], "--helix": 0.5, "--length": "20-30"}
    expected = (Length(20, 30), Fractions(helix=0.5), Cyclic(), KeepOut(((0, 0, 0, 5),)), KeepOut(((9, 0, 0, 4),)))
    assert Asked(typed).conditions() == Conditions(expected)
    with pytest.raises(UsageError, match="--contig needs --motif"):
        Asked({"--contig": "A1-5"}).conditions()


def test_json_has_null_where_a_number_does_not_exist(capsys):
    print_json({"a": float("nan"), "b": [1.5, float("-inf")], "c": {"Å": (True, None)}})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": None, "b": [1.5, None], "c": {"Å": [True, None]}}
    assert "Å" in out
