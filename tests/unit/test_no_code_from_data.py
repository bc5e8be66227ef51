"""No call in the package runs code that a file holds, or a command line that a shell reads.

Forbidden: pickle and its like, eval, exec, compile, yaml without a safe loader, torch.load, allow_pickle, extractall,
shell=True, os.system. The syntax tree is looked at, so that comments and texts may name them.
"""

import ast
from pathlib import Path

import pytest
import torch

import protgen
from protgen.errors import UsageError
from protgen.folding.weights_file import read_weights

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("torch", "load"), ("os", "system"), ("os", "popen"), ("yaml", "unsafe_load"), ("yaml", "full_load"),
    ("yaml", "load_all"), ("numpy", "fromfile"), ("ctypes", "CDLL"),
}  # fmt: skip
METHODS = {"extractall", "extract"}
# Where one of them is needed, by file and what it is, and the test that shows why it is safe.
ALLOWED = {
    ("metrics/tm_native.py", "ctypes.CDLL"): "tests/unit/test_metrics_tm_native.py",  # our own library, checked first
    ("folding/weights_file.py", "torch.load"): "tests/unit/test_no_code_from_data.py",  # weights alone
    ("folding/weights_file.py", "pickle"): "tests/unit/test_no_code_from_data.py",  # the name of an error
    ("conditions/language.py", "yaml.load"): "tests/unit/test_documents.py",  # with a loader that is safer than safe
}


def found_in(text: str) -> list[str]:
    """What of the forbidden a source text uses."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            found += of_call(node)
    return found


def of_call(node: ast.Call) -> list[str]:
    """What of the forbidden a call is."""
    found = []
    if isinstance(node.func, ast.Name) and node.func.id in NAMES:
        found.append(node.func.id)
    if isinstance(node.func, ast.Attribute):
        owner, name = getattr(node.func.value, "id", ""), node.func.attr
        if (owner, name) in ATTRIBUTES:
            found.append(f"{owner}.{name}")
        if name in METHODS:
            found.append(name)
        if (owner, name) == ("yaml", "load"):
            found.append("yaml.load")
    for keyword in node.keywords:
        value = getattr(keyword.value, "value", None)
        if keyword.arg == "shell" and value is not False:
            found.append("shell")
        if keyword.arg in ("allow_pickle", "weights_only") and value is not (keyword.arg == "weights_only"):
            found.append(keyword.arg)
    return found


def test_the_package_uses_none_but_where_it_is_tested():
    """Every file of the package, of the build and of its configurations; each exception is in use, and has its test."""
    root = Path(protgen.__file__).parent
    used = set()
    for path in sorted([*root.rglob("*.py"), *root.parent.glob("hatch_build.py")]):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        used |= {(name, what) for what in found_in(path.read_text(encoding="utf-8"))}
    assert used == set(ALLOWED)
    for test in ALLOWED.values():
        assert (root.parent / test).is_file() or not (root.parent / "tests").is_dir()


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("x = eval('1')", ["eval"]),
        ("torch.load(path)", ["torch.load"]),
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
