"""Sizes of functions, arguments, complexity, documented arguments and import cycles of the package.

python benchmarks/code_shape.py [--worst 10]

Lines of a function are those of its body without the docstring, decorators and signature. Complexity is McCabe's, by
radon (the extra `dev`). An Args section is asked of public functions and methods with three or more arguments besides
self; a class's constructor is documented on the class. Cycles are of modules, imports for type checking included.
"""

import argparse
import ast
import json
from pathlib import Path

import networkx
import numpy as np
from radon.complexity import cc_visit

ROOT = Path(__file__).resolve().parents[1] / "protgen"


def functions(tree: ast.AST) -> list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function with whether it is a method or a plain function (True), or inside another function (False)."""
    found = []

    def visit(node: ast.AST, outer: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((child, outer))
                visit(child, False)
            else:
                visit(child, outer)

    visit(tree, True)
    return found


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def argument_names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    a = node.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def imports_of(tree: ast.AST, known: set[str]) -> set[str]:
    """Modules of the package that a module imports anywhere, in functions and for type checking too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("protgen"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("protgen")}
    return found & known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worst", type=int, default=10)
    worst = parser.parse_args().worst
    lines, arguments, complexity, undocumented, asked = [], [], [], [], 0
    trees = {}
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        trees[name] = tree
        for node, outer in functions(tree):
            where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            names = argument_names(node)
            lines.append((body_lines(node), where))
            if path.parent.name != "cli":
                arguments.append((len(names), where))
            if outer and not node.name.startswith("_") and len(names) >= 3:
                asked += 1
                if "Args:" not in (ast.get_docstring(node) or ""):
                    undocumented.append(where)
        for block in cc_visit(text):
            for part in getattr(block, "methods", [block]):
                complexity.append((part.complexity, f"{path.relative_to(ROOT)}:{part.lineno} {part.name}"))
    graph = networkx.DiGraph()
    for name, tree in trees.items():
        graph.add_edges_from((name, other) for other in imports_of(tree, set(trees)) if other != name)
    cycles = [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1]
    sizes, depths = np.array([n for n, _ in lines]), np.array([n for n, _ in complexity])
    report = {
        "functions": len(lines),
        "lines": {"p50": int(np.quantile(sizes, 0.5)), "p90": int(np.quantile(sizes, 0.9)), "most": int(sizes.max())},
        "over 80 lines": [where for n, where in lines if n > 80],
        "over 8 arguments outside cli": [f"{n} {where}" for n, where in arguments if n > 8],
        "complexity": {"mean": round(float(depths.mean()), 2), "most": int(depths.max())},
        "complexity over 20": [f"{n} {where}" for n, where in complexity if n > 20],
        "Args sections": f"{asked - len(undocumented)} of {asked}",
        "import cycles": cycles,
        "longest": [f"{n} {where}" for n, where in sorted(lines, reverse=True)[:worst]],
        "most complex": [f"{n} {where}" for n, where in sorted(complexity, reverse=True)[:worst]],
        "without Args": undocumented[:worst],
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
