"""Modules import each other in one direction: no cycles, counted with imports for types and inside functions too."""

import ast
from importlib import import_module
from pathlib import Path

import protgen

ROOT = Path(protgen.__file__).parent


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("protgen", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(tree: ast.AST, known: set[str]) -> set[str]:
    """Modules that a source imports anywhere, TYPE_CHECKING blocks and function bodies included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known) or {node.module}
    return found


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, and modules that import themselves."""
    reach = {name: {name} for name in graph}
    changed = True
    while changed:
        changed = False
        for name, near in graph.items():
            wider = reach[name].union(*(reach[other] for other in near))
            changed |= wider != reach[name]
            reach[name] = wider
    groups = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph}
    return sorted(list(group) for group in groups if len(group) > 1 or group[0] in graph[group[0]])


def test_cycles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": set()}) == [["b", "c"], ["d"]]
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import B\ndef f():\n    import p.b\n"
    assert imports_of(ast.parse(source), {"p", "p.a", "p.b"}) == {"p.a", "p.b"}


def test_no_modules_import_each_other():
    found = modules()
    assert len(found) > 200
    graph = {name: imports_of(ast.parse(path.read_text(encoding="utf-8")), set(found)) for name, path in found.items()}
    assert cycles(graph) == []


def test_every_module_can_be_imported():
    """Also those that no test and no example imports."""
    for name in modules():
        import_module(name)
