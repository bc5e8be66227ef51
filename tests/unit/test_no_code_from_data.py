"""No call in the package runs code that a file holds, or a command line that a shell reads.

Forbidden: pickle and its like, eval, exec, compile, yaml without a safe loader, torch.load, allow_pickle, extractall,
shell=True, os.system, under whatever name they are imported. The syntax tree is looked at, so that comments and texts
may name them.
"""

import ast
from pathlib import Path

import pytest
import torch

import protgen
from protgen.errors import UsageError
from protgen.folding.weights_file import read_weights

ROOT = Path(protgen.__file__).parents[1]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "runpy"}
NAMES = {"eval", "exec", "compile", "__import__"}
FUNCTIONS = {
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.serialization.load", "os.system", "os.popen",
    "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
    "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all", "numpy.fromfile", "pandas.read_pickle",
    "ctypes.CDLL", "shutil.unpack_archive", *(f"builtins.{name}" for name in NAMES),
}  # fmt: skip
METHODS = {"extractall", "extract"}
OWNERS = {name.rpartition(".")[0] for name in FUNCTIONS}
SCANNED = ("protgen/**/*.py", "benchmarks/**/*.py", "docs/**/*.py", "hatch_build.py", "conftest.py")
# Where one of them is needed, by file and what it is, and the test that shows why it is safe.
ALLOWED = {
    ("protgen/metrics/tm_native.py", "ctypes.CDLL"): "tests/unit/test_metrics_tm_native.py",  # ours, checked first
    ("protgen/allocator.py", "ctypes.CDLL"): "tests/unit/test_allocator.py",  # the process itself: no file is named
    ("protgen/folding/weights_file.py", "torch.load"): "tests/unit/test_no_code_from_data.py",  # weights alone
    ("protgen/folding/weights_file.py", "pickle"): "tests/unit/test_no_code_from_data.py",  # the name of an error
    ("protgen/conditions/language.py", "yaml.load"): "tests/unit/test_documents.py",  # with a loader safer than safe
}


def found_in(text: str) -> list[str]:
    """What of the forbidden a source text uses."""
    tree = ast.parse(text)
    found, known = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += of_import(str(node.module), [alias.name for alias in node.names])
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += of_call(node, known)
    return found


def of_import(module: str, names: list[str]) -> list[str]:
    """What of the forbidden comes from a module by these names."""
    if module.partition(".")[0] in MODULES:
        return [module]
    return [f"{module}.{n}" for n in names if f"{module}.{n}" in FUNCTIONS or (n == "*" and module in OWNERS)]


def of_call(node: ast.Call, known: dict[str, str]) -> list[str]:
    """What of the forbidden a call is.

    Args:
        node: the call.
        known: what names that were imported stand for.
    """
    found = []
    if isinstance(node.func, ast.Name) and node.func.id in NAMES:
        found.append(node.func.id)
    if isinstance(node.func, ast.Attribute):
        owner, _, rest = dotted(node.func).partition(".")
        name = f"{known.get(owner, owner)}.{rest}"
        if name in FUNCTIONS:
            found.append(name)
        if node.func.attr in METHODS:
            found.append(node.func.attr)
    for keyword in node.keywords:
        value = getattr(keyword.value, "value", None)
        if keyword.arg == "shell" and value is not False:
            found.append("shell")
        if keyword.arg in ("allow_pickle", "weights_only") and value is not (keyword.arg == "weights_only"):
            found.append(keyword.arg)
    return found


def dotted(node: ast.expr) -> str:
    """The names of `a.b.c`; nothing for what is not of names alone."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_none_is_used_but_where_it_is_tested():
    """Package, build, benchmarks and scripts of the docs; each exception is in use, and has its test."""
    paths = sorted({path for pattern in SCANNED for path in ROOT.glob(pattern)})
    used = set()
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        used |= {(name, what) for what in found_in(path.read_text(encoding="utf-8"))}
    assert used == set(ALLOWED)
    assert {"protgen/cli/main.py"} <= {path.relative_to(ROOT).as_posix() for path in paths}
    for test in ALLOWED.values():
        assert (ROOT / test).is_file() or not (ROOT / "tests").is_dir()


class Code:
    """A pickle of this makes a file when it is read."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("content", ["code", "cut", "empty", "text"])
def test_weights_of_other_packages_are_tensors_or_refused(tmp_path, content):
    """What code would make is not made."""
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.arange(3)} if content == "cut" else Code(tmp_path / "made"), path)
    if content != "code":
        path.write_bytes({"cut": path.read_bytes()[:-200], "empty": b"", "text": b"weights\n"}[content])
    with pytest.raises(UsageError, match=r"^weights\.pt: are no weights"):
        read_weights(path, path.name)
    assert not (tmp_path / "made").exists()
    torch.save({"a": torch.arange(3)}, path)
    assert read_weights(path, path.name)["a"].tolist() == [0, 1, 2]


def spellings(function: str) -> list[str]:
    """Ways to reach a function of a module."""
    owner, _, name = function.rpartition(".")
    return [
        f"import {owner}\n{owner}.{name}(x)",
        f"import {owner} as other\nother.{name}(x)",
        f"from {owner} import {name}\n{name}",
        f"from {owner} import {name} as harmless\nharmless(x)",
        f"def f():\n    from {owner} import {name}",
    ]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_is_seen_under_every_name(function):
    for text in spellings(function):
        assert function in found_in(text), text
    owner = function.rpartition(".")[0]
    assert found_in(f"from {owner} import *") == [f"{owner}.*"]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_is_seen_under_every_name(module):
    for form in ("import {}", "import {} as p", "from {} import load", "from {}.a import b"):
        text = form.format(module)
        assert [name.partition(".")[0] for name in found_in(text)] == [module], text


@pytest.mark.parametrize("name", sorted(NAMES | METHODS))
def test_a_built_in_name_or_a_method_is_seen(name):
    assert found_in(f"x = {name}('1')" if name in NAMES else f"archive.{name}(folder)") == [name]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("x = eval('1')", ["eval"]),
        ("torch.load(path)", ["torch.load"]),
        ("import torch as t\nt.jit.load(path)", ["torch.jit.load"]),
        ("from torch import load", ["torch.load"]),
        ("from os import path, system as run", ["os.system"]),
        ("from yaml import load", ["yaml.load"]),
        ("import numpy as np\nnp.fromfile(path)", ["numpy.fromfile"]),
        ("from protgen.data.plain_pickle import read_plain", []),
        ("from .pickle import load", []),
        ("from json import load", []),
        ("torch.load(path, weights_only=True)", ["torch.load"]),
        ("np.load(path, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(path, allow_pickle=flag)", ["allow_pickle"]),
        ("np.load(path, allow_pickle=False)", []),
        ("subprocess.run(line, shell=True)", ["shell"]),
        ("tar.extractall(folder)", ["extractall"]),
        ("yaml.load(text, Loader=yaml.Loader)", ["yaml.load"]),
        ("yaml.safe_load(text)", []),
        ("re.compile('a')", []),
        ("model.eval()", []),
    ],
)
def test_what_is_forbidden_is_seen(text, found):
    """And what only looks like it is not."""
    assert found_in(text) == found
