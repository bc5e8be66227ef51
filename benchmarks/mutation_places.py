"""The mutants that `mutation.py` draws from: which places of the code, and what is changed there by cosmic-ray."""

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[1]
PACKAGES = ("metrics", "families", "samplers", "spaces", "geometry")

ARITHMETIC = [
    "Add_Sub",
    "Sub_Add",
    "Mul_Div",
    "Div_Mul",
    "FloorDiv_Div",
    "Mod_Div",
    "Pow_Mul",
    "BitAnd_BitOr",
    "BitOr_BitAnd",
]
COMPARISONS = [
    "Lt_LtE",
    "LtE_Lt",
    "Gt_GtE",
    "GtE_Gt",
    "Lt_Gt",
    "Gt_Lt",
    "LtE_GtE",
    "GtE_LtE",
    "Eq_NotEq",
    "NotEq_Eq",
]
SIGNS = [
    "Delete_USub",
    "Delete_Not",
    "Delete_Invert",
]
OTHERS = [
    "NumberReplacer",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
]
OPERATORS = [
    f"core/{name}"
    for name in [f"ReplaceBinaryOperator_{k}" for k in ARITHMETIC]
    + [f"ReplaceComparisonOperator_{k}" for k in COMPARISONS]
    + [f"ReplaceUnaryOperator_{k}" for k in SIGNS]
    + OTHERS
]

NO_PRODUCT = (
    "parameters",
    "param",
    "argument",
    "arglist",
    "star_expr",
    "import_from",
    "exprlist",
    "testlist_comp",
    "dictorsetmaker",
)


@dataclass
class Mutant:
    """A change of one place, and what the tests said: killed, survived, or nothing yet."""

    file: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str
    verdict: str = ""
    by: str = ""

    @property
    def key(self) -> str:
        """What names it in the list of equivalent ones; line numbers move."""
        return f"{self.file}: {self.before} => {self.after}"


def ignored_ranges(source: str) -> Callable[[int, int], bool]:
    """Says whether a place (line, column) is in a type hint, a decorator or the `strict` of a zip."""
    nodes: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            nodes.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            nodes += [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            nodes += node.decorator_list
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            nodes.append(node.value)
    ranges = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes if n is not None]  # type: ignore
    return lambda line, column: any(first <= (line, column) < last for first, last in ranges)


def places(file: str) -> Iterator[Mutant]:
    """Every mutant of a file, without the changed line."""
    source = (ROOT / file).read_text()
    lines = source.splitlines()
    ignored = ignored_ranges(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator, occurrence = get_operator(name)(), 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                # A star in a signature, a call or a dictionary is no product.
                star = getattr(node, "value", "") in ("*", "**")
                unpacks = star and node.parent is not None and node.parent.type in NO_PRODUCT
                if not unpacks and not ignored(*start):
                    yield Mutant(file, start[0], name, occurrence, lines[start[0] - 1].strip(), "")
                occurrence += 1


def mutated(mutant: Mutant) -> str:
    """The text of the file with the change, which must leave valid code."""
    code = mutate_code((ROOT / mutant.file).read_text(), get_operator(mutant.operator)(), mutant.occurrence)
    assert code is not None, f"{mutant.file} has changed since the draw; draw again"
    ast.parse(code)
    return code


def changed_line(mutant: Mutant, code: str) -> str:
    """The first line that differs."""
    pairs = zip((ROOT / mutant.file).read_text().splitlines(), code.splitlines(), strict=False)
    return next((new.strip() for old, new in pairs if old != new), "")


def draw(n: int, seed: int) -> list[Mutant]:
    """`n` different mutants, even over all places."""
    files = sorted(str(p.relative_to(ROOT)) for k in PACKAGES for p in (ROOT / "protgen" / k).glob("*.py"))
    everything = [mutant for file in files for mutant in places(file)]
    chosen = random.Random(seed).sample(everything, min(n, len(everything)))
    for mutant in chosen:
        mutant.after = changed_line(mutant, mutated(mutant))
    print(f"{len(everything)} places in {len(files)} files, {len(chosen)} drawn", flush=True)
    return chosen
