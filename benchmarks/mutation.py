"""Mutation testing of the mathematical code: which share of small faults do the tests notice?

    pip install cosmic-ray coverage
    OMP_NUM_THREADS=1 python benchmarks/mutation.py [--n 300] [--seed 0] [--seconds 150] [--again survived]

A mutant is the code with one operator, comparison, number or truth value changed by an operator of cosmic-ray. The draw
is even over all places where an operator applies, so a package weighs as much as it has code. Left out are type hints,
decorators and `zip(strict=)`, which say nothing of mathematics, and changes that only raise a `TypeError` (`+` to
`<<`).

cosmic-ray's own runner starts an interpreter for each mutant, and torch alone takes six seconds of one. So this script
loads what the package uses once and forks for each mutant. Which tests to run is measured: each test of `tests/unit`,
`tests/contracts` and the docstrings runs once under coverage, and a mutant is judged by those tests that reach its
statement, fastest first, until one fails. All runs are in a copy of the tree. A mutant that takes more than twice the
processor time of its tests is killed too. The work goes on where it stopped: run the script again until nothing is
left.

Survivors that no test can kill, since they change nothing, are named with the reason in `mutation_equivalent.json`, and
the share killed is of the others. `benchmarks/results/mutation.json` has every mutant.
"""

import argparse
import ast
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import coverage
import pytest
from mutation_places import PACKAGES, ROOT, Mutant, draw, mutated
from scipy.stats import binomtest

RESULT = ROOT / "benchmarks/results/mutation.json"
EQUIVALENT = ROOT / "benchmarks/mutation_equivalent.json"
COPIED = ("protgen", "tests", "configs", "pyproject.toml", "README.md")
# What the forked processes share. Nothing of protgen: a mutant must be imported anew.
LIBRARIES = [
    "torch",
    "numpy",
    "scipy.stats",
    "scipy.special",
    "scipy.spatial",
    "scipy.optimize",
    "scipy.cluster.hierarchy",
    "gemmi",
    "roma",
    "mdtraj",
    "Bio.PDB",
    "safetensors.torch",
    "jaxtyping",
    "beartype",
    "typer",
    "rich.progress",
    "hypothesis",
    "torch_geometric.nn",
    "e3nn.o3",
    "zuko",
    "sklearn.mixture",
    "biotite.structure",
    "yaml",
    "matplotlib.pyplot",
    "tmtools",
]

FILE_LIMIT = 60  # s of one core for the tests of one file; what comes later in it is left out
TEST_LIMIT = 10  # s; a longer test judges no mutant
MUTANT_LIMIT = 20  # s of tests for one mutant, the fastest first
# Files that start interpreters of their own, build wheels or need the network.
SLOW = [
    "test_wheel",
    "test_public_api",
    "test_docs",
    "test_notebook",
    "test_requirements",
    "test_imports",
    "test_tools",
    "test_flags",
]


def in_fork(work: Callable[[], Any], tree: Path, answer: Path, cpu: float) -> Any:
    """What `work` returns (JSON), run in a forked process inside the copy; None if its processor time ran out."""
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 2))
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        with (tree.parent / "log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            with suppress(BaseException):
                answer.write_text(json.dumps(work()))
            log.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # processes that its tests started
    return json.loads(answer.read_text()) if answer.exists() and answer.stat().st_size else None


class Reach:
    """A plug-in of pytest: the processor time of each passing test, and the lines of the packages that it reaches."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        include = [f"{tree}/protgen/{package}/*" for package in PACKAGES]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=include)
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()
        self.begin = time.process_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Notes what one test reaches and takes."""
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        answer = yield
        self.seconds[item.nodeid] = round(time.process_time() - start, 3)
        self.coverage.switch_context("")
        if time.process_time() - self.begin > FILE_LIMIT:
            item.session.shouldstop = "time of the file is up"
        return answer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leaves out tests that are skipped or fail on the code as it is."""
        if not report.passed:
            self.bad.add(report.nodeid)

    def table(self, tests: str) -> dict[str, Any]:
        """Runs the tests of a file; seconds by test, and the tests that reach a line by file and line."""
        self.coverage.start()
        pytest.main(["-q", "-p", "no:cacheprovider", tests], plugins=[self])
        self.coverage.stop()
        data = self.coverage.get_data()
        reached: dict[str, dict[int, list[str]]] = {}
        for path in data.measured_files():
            found = data.contexts_by_lineno(path)
            file = str(Path(path).relative_to(self.tree))
            reached[file] = {line: [t for t in who if t and t not in self.bad] for line, who in found.items()}
        return {"seconds": {k: s for k, s in self.seconds.items() if k not in self.bad}, "reached": reached}


class Judge:
    """A plug-in of pytest that keeps the first test that fails."""

    def __init__(self) -> None:
        self.by = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the first that fails."""
        if report.failed and not self.by:
            self.by = report.nodeid

    def verdict(self, tests: list[str]) -> dict[str, str]:
        """Runs tests until one fails; code that cannot be imported counts as killed by the import."""
        options = ["-q", "-x", "-p", "no:cacheprovider", "--tb=line", "-W", "ignore"]
        code = pytest.main([*options, *tests], plugins=[self])
        return {"verdict": "survived" if code == 0 else "killed", "by": self.by or ("" if code == 0 else "import")}


def load_libraries(work: Path) -> None:
    """Imports once what every forked process needs, pytest with its plug-ins too."""
    for name in LIBRARIES:
        importlib.import_module(name)
    empty = work / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    with Path(os.devnull).open("w") as sink, redirect_stdout(sink), redirect_stderr(sink):
        pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(empty), "-c", os.devnull, str(empty)])
    gc.freeze()  # pages stay shared


def copy_tree(work: Path) -> Path:
    """A copy of what tests need, up to date."""
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        leave = shutil.ignore_patterns("*.safetensors", ".git") if name == "tests" else None
        shutil.copytree(source, tree / name, ignore=leave) if source.is_dir() else shutil.copy2(source, tree / name)
    return tree


def test_files() -> dict[str, list[str]]:
    """Test files by the package that they name most, short ones first; last the package itself for its docstrings."""
    found: dict[str, list[str]] = {package: [] for package in PACKAGES}
    paths = [p for folder in ("unit", "contracts") for p in (ROOT / "tests" / folder).glob("test_*.py")]
    for path in sorted(paths, key=lambda p: ("mark.slow" in p.read_text(), p.parent.name, p.name)):
        counts = {package: path.read_text().count(f"protgen.{package}") for package in PACKAGES}
        for package in PACKAGES:  # a test file of the name of a module comes before one that uses many
            modules = {p.stem for p in (ROOT / "protgen" / package).glob("*.py")}
            counts[package] += 100 * (path.stem.removeprefix("test_") in modules)
        if path.stem not in SLOW and any(counts.values()):
            found[max(counts, key=lambda k: counts[k])].append(str(path.relative_to(ROOT)))
    return {package: [*files, f"protgen/{package}"] for package, files in found.items()}


def reach(files: list[str], work: Path, tree: Path, until: float) -> dict[str, Any]:
    """What each test file reaches, measured where it is not known yet or the file has changed."""
    kept = work / "reach.json"
    table: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for file in files:
        stamp = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
        if table.get(file, {}).get("stamp") == stamp or time.time() > until:
            continue
        start = time.time()
        found = in_fork(lambda file=file: Reach(tree).table(file), tree, work / "answer.json", 3 * FILE_LIMIT)
        table[file] = {"stamp": stamp, **(found or {"seconds": {}, "reached": {}})}
        kept.write_text(json.dumps(table))
        print(f"{file}: {len(table[file]['seconds'])} tests, {time.time() - start:.0f} s", flush=True)
    return table


@cache
def statements(file: str) -> list[tuple[int, int]]:
    """First and last line of each statement, a compound one without its body, the innermost last."""
    spans = []
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            spans.append((node.lineno, max(node.lineno, last)))
    return sorted(spans, key=lambda span: span[0] - span[1])


@cache
def function_lines(file: str) -> set[int]:
    """Lines inside the body of a function: the others run when the file is imported, by whichever test is first."""
    found: set[int] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.FunctionDef):
            found.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return found


def tests_for(mutant: Mutant, table: dict[str, Any]) -> list[str]:
    """Tests that reach the statement, or for one that runs on import all that reach or name the file; fastest first."""
    spans = [span for span in statements(mutant.file) if span[0] <= mutant.line <= span[1]]
    first, last = spans[-1] if spans else (mutant.line, mutant.line)
    seconds = {test: s for found in table.values() for test, s in found["seconds"].items() if s < TEST_LIMIT}
    by_line: dict[int, set[str]] = defaultdict(set)
    for found in table.values():
        for line, tests in found["reached"].get(mutant.file, {}).items():
            by_line[int(line)].update(t for t in tests if t in seconds)
    named = Path(mutant.file).stem
    tests = set().union(*(by_line[line] for line in range(first, last + 1)))
    if first not in function_lines(mutant.file) or not tests:
        # Run by whichever test imported the file first: of those that name the module, any may know its constants.
        naming = {t for found in table.values() if named in found["stamp"] for t in found["seconds"] if t in seconds}
        tests = set().union(naming, *by_line.values())
    chosen, spent = [], 0.0
    for test in sorted(tests, key=lambda t: (named not in t, seconds[t], t)):
        if spent + seconds[test] < MUTANT_LIMIT:
            chosen.append(test)
            spent += seconds[test]
    return sorted(chosen, key=lambda t: (named not in t.split("::")[0], seconds[t], t))


def judge(mutant: Mutant, tests: list[str], table: dict[str, Any], work: Path, tree: Path) -> None:
    """Fills in the verdict of a mutant."""
    if not tests:
        mutant.verdict, mutant.by = "survived", "no test reaches it"
        return
    start = time.time()
    cost = sum(found["seconds"].get(test, 0.0) for found in table.values() for test in tests)
    path = tree / mutant.file
    original, stamp = path.read_text(), path.stat()
    path.write_text(mutated(mutant))
    try:
        found = in_fork(lambda: Judge().verdict(tests), tree, work / "answer.json", 5 + 2 * cost)
    finally:
        path.write_text(original)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    mutant.verdict, mutant.by = (found["verdict"], found["by"]) if found else ("killed", "time")
    words = (mutant.verdict, f"{mutant.file}:{mutant.line}", mutant.after, f"[{mutant.by}]", f"{len(tests)} tests")
    print(*words, f"{time.time() - start:.0f} s", flush=True)


def equivalent() -> dict[str, str]:
    """Why mutants change nothing, by their key."""
    return json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}


def report(mutants: list[Mutant], seed: int, out: Path) -> None:
    """Prints the share killed by package and writes everything down."""
    reasons = equivalent()
    groups: dict[str, list[Mutant]] = {package: [] for package in PACKAGES}
    for mutant in mutants:
        groups[mutant.file.split("/")[1]].append(mutant)
    groups["all"] = mutants
    shares = {}
    for name, members in groups.items():
        judged = [m for m in members if m.verdict]
        alive = [m for m in judged if m.verdict == "survived"]
        n_equivalent = sum(m.key in reasons for m in alive)
        n, killed = len(judged) - n_equivalent, len(judged) - len(alive)
        if n:
            low, high = binomtest(killed, n).proportion_ci(method="wilson")
            shares[name] = {"mutants": len(judged), "equivalent": n_equivalent, "killed": killed}
            shares[name] |= {"share": round(killed / n, 4), "interval_95": [round(low, 4), round(high, 4)]}
            print(
                f"{name:10} {killed:4} of {n:4}  {killed / n:6.1%}  [{low:.1%}, {high:.1%}]  equivalent {n_equivalent}"
            )
    rows = [asdict(m) | ({"equivalent": reasons[m.key]} if m.key in reasons else {}) for m in mutants]
    out.write_text(json.dumps({"seed": seed, "shares": shares, "mutants": rows}, indent=1) + "\n")


def main() -> None:
    """Draws or reads mutants, judges those that are left, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this long and go on next time")
    parser.add_argument("--work", type=Path, default=Path("/tmp/protgen-mutation"), help="folder of the copy")
    parser.add_argument("--out", type=Path, default=RESULT, help="verdicts, read and written")
    parser.add_argument("--again", choices=["survived", "killed"], help="judge mutants of this verdict again")
    parser.add_argument("--packages", nargs="+", default=PACKAGES, choices=PACKAGES)
    options = parser.parse_args()
    until = time.time() + options.seconds
    old = json.loads(options.out.read_text()) if options.out.exists() else {"seed": None, "mutants": []}
    if old["seed"] == options.seed and len(old["mutants"]) == options.n:
        mutants = [Mutant(**{k: v for k, v in row.items() if k != "equivalent"}) for row in old["mutants"]]
    else:
        mutants = draw(options.n, options.seed)
        report_quietly(mutants, options.seed, options.out)
    load_libraries(options.work)
    tree = copy_tree(options.work)
    files = test_files()
    # Of all packages: tests of one reach the others.
    table = reach([file for package in PACKAGES for file in files[package]], options.work, tree, until)
    reasons = equivalent()
    for package in options.packages:
        own = [m for m in mutants if m.file.startswith(f"protgen/{package}/")]
        left = [m for m in own if not m.verdict or (m.verdict == options.again and m.key not in reasons)]
        for mutant in left:
            if time.time() < until:
                judge(mutant, tests_for(mutant, table), table, options.work, tree)
                report_quietly(mutants, options.seed, options.out)
    report(mutants, options.seed, options.out)


def report_quietly(mutants: list[Mutant], seed: int, out: Path) -> None:
    """Writes the state down after each mutant."""
    with Path(os.devnull).open("w") as sink, redirect_stdout(sink):
        report(mutants, seed, out)


if __name__ == "__main__":
    main()
