"""Biological assemblies: what a file says of them, and the copies of its chains that make one.

mmCIF and BinaryCIF list them in _pdbx_struct_assembly_gen and _pdbx_struct_oper_list, PDB files in REMARK 350. Here
what they say is text until it is asked for, so that a damaged list costs no one the coordinates. An expression such as
`(1-60)(61-88)` is counted before anything is made of it: a line can ask for more copies than a memory holds.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from protgen.errors import StructureError
from protgen.structure.atom_table import NUMBER, check_range
from protgen.structure.protein import Protein

GENERATORS, OPERATORS = "pdbx_struct_assembly_gen", "pdbx_struct_oper_list"
_ROTATION = [f"matrix[{i}][{j}]" for i in (1, 2, 3) for j in (1, 2, 3)]
_SHIFT = [f"vector[{i}]" for i in (1, 2, 3)]
ASSEMBLY_TAGS = {
    GENERATORS: ("assembly_id", "oper_expression", "asym_id_list"),
    OPERATORS: ("id", *_ROTATION, *_SHIFT),
}  # category -> tags
MOST_ROWS = 10_000  # of such a category; the largest entries have some hundreds
MOST_TEXT = 65_536  # characters of a list of chains; one of 1,356 chains has 6,000
MOST_FACTORS = 4  # sets of operators that are applied one after another; files have two
OFF = 5e-3  # of R times its transpose from the identity: matrices of old files have three decimals
SAME = 1e-3  # of two operators, in their rotations and in Å: they would put two copies into one place
IDENTITY = np.eye(3, 4)
_VALUE = re.compile(rf"\s*({NUMBER}(?:[eE][+-]?\d{{1,3}})?)\s*", re.ASCII)
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
_SETS = re.compile(r"(?:\([^()]+\))+|[^()]+")
_BIOMOLECULE = re.compile(r"BIOMOLECULE:\s*(\S+?),?(?:\s|$)")
_CHAINS = re.compile(r"(?:APPLY THE FOLLOWING TO CHAINS:|AND CHAINS:)(.*)")
_BIOMT = re.compile(r"\s*BIOMT([123])\s+(\S+)\s+(.*)")

Matrix = tuple[str, ...]  # twelve numbers as text: R row by row, then the shift


@dataclass
class AssemblyText:
    """What a file says of its assemblies, before it is looked at.

    Attributes:
        columns: category -> tag -> text, a value a row.
        remarks: lines of REMARK 350, without what all begin with.
        problem: why it cannot be read; "" if it can.
    """

    columns: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class Generator:
    """Chains that are copied alike.

    Attributes:
        chains: their author names.
        sets: names of operators; a copy is made by one of each set, the last applied first.
        operators: (3, 4) rotation and shift in Å, by name.
    """

    chains: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    operators: Mapping[str, np.ndarray]

    @property
    def count(self) -> int:
        """Copies of each chain."""
        return math.prod(len(names) for names in self.sets)

    def motions(self) -> list[np.ndarray]:
        """(3, 4) of each copy; ask for `count` first."""
        return [composed([self.operators[name] for name in names]) for names in product(*self.sets)]


@dataclass(frozen=True)
class Assembly:
    """An assembly.

    Attributes:
        id: its name in the file, mostly 1.
        generators: what it is made of.
    """

    id: str
    generators: tuple[Generator, ...]

    def counts(self) -> dict[str, int]:
        """Copies of each chain, by its name; nothing is made."""
        found: dict[str, int] = {}
        for own in self.generators:
            for chain in own.chains:
                found[chain] = found.get(chain, 0) + own.count
        return found

    def motions(self, chains: Collection[str]) -> dict[str, list[np.ndarray]]:
        """(3, 4) of each copy of some chains; ask for their `counts` first.

        Raises:
            StructureError: if two copies of a chain lie in one place.
        """
        found: dict[str, list[np.ndarray]] = {}
        for own in self.generators:
            wanted = [chain for chain in own.chains if chain in chains]
            moved = own.motions() if wanted else []
            for chain in wanted:
                found.setdefault(chain, []).extend(moved)
        for chain, moved in found.items():
            stacked = np.stack(moved).reshape(len(moved), 12)
            for k in range(1, len(stacked)):
                if (np.abs(stacked[:k] - stacked[k]).max(axis=1) < SAME).any():
                    raise StructureError(f"assembly {self.id}: two copies of chain {chain} lie in one place")
        return found


def composed(operators: Sequence[np.ndarray]) -> np.ndarray:
    """(3, 4) operator that applies some (3, 4) operators, the last one first."""
    whole = operators[-1]
    for own in reversed(operators[:-1]):
        whole = np.column_stack([own[:, :3] @ whole[:, :3], own[:, :3] @ whole[:, 3] + own[:, 3]])
    return whole


def expand(protein: Protein, motions: Mapping[str, Sequence[np.ndarray]]) -> Protein:
    """The copies of chains as one protein: the first copy of each chain in their order, then the second ones.

    The first copy of chain A is A, further ones are A-2, A-3 and so on, as in the archive's files of assemblies.

    Args:
        protein: the chains as deposited.
        motions: (3, 4) of each copy by chain; other chains are left out.

    Raises:
        StructureError: if a copy lies where no structure is.
    """
    taken = set(protein.chains)
    rows, atoms, names = [], [], []
    for k in range(max(map(len, motions.values()), default=0)):
        for chain in protein.chains:
            if k >= len(motions.get(chain, ())):
                continue
            own = np.flatnonzero(protein.chain_ids == chain)
            motion = motions[chain][k]
            rows.append(own)
            atoms.append(protein.atoms[own] @ motion[:, :3].T + motion[:, 3])
            names.append(np.full(len(own), chain if k == 0 else _free(f"{chain}-", k + 1, taken)))
    chosen = protein.select(np.concatenate([np.zeros(0, int), *rows]))
    moved = np.concatenate([np.zeros((0, 5, 3)), *atoms])
    moved[~chosen.mask] = np.nan
    ids = np.concatenate([np.zeros(0, "U1"), *names])
    check_range(moved.reshape(-1, 3), lambda i: f"chain {ids[i // 5]} of the assembly")
    return replace(chosen, atoms=moved, chain_ids=ids)


def _free(start: str, number: int, taken: set[str]) -> str:
    """A name that no chain has; it is taken then."""
    while f"{start}{number}" in taken:
        number += 1
    taken.add(f"{start}{number}")
    return f"{start}{number}"


def first_assembly(text: AssemblyText, names: Mapping[str, Sequence[str]]) -> Assembly | None:
    """The first assembly that a file lists, which is that of its authors or of the archive's software.

    Args:
        text: what the file says.
        names: author names of chains, by the name that lists of assemblies have for them; what is not there is no
            chain of interest.

    Returns:
        The assembly; None if the file lists none.

    Raises:
        StructureError: naming the operator, if an operator is no rotation or not there, or the list is damaged.
    """
    if text.problem:
        raise StructureError(f"its list of assemblies cannot be read ({text.problem})")
    return _of_remarks(text.remarks, names) if text.remarks else _of_columns(text.columns, names)


def _of_columns(columns: Mapping[str, dict[str, list[str]]], names: Mapping[str, Sequence[str]]) -> Assembly | None:
    """That of mmCIF and BinaryCIF."""
    listed = columns.get(GENERATORS, {})
    ids, expressions, chains = (listed.get(tag, []) for tag in ASSEMBLY_TAGS[GENERATORS])
    if not ids:
        return None
    _same_lengths(GENERATORS, listed, ASSEMBLY_TAGS[GENERATORS])
    matrices = _matrices(columns.get(OPERATORS, {}))
    known: dict[str, np.ndarray] = {}
    found = []
    for own, expression, labels in zip(ids, expressions, chains, strict=True):
        if own == ids[0]:
            sets = operator_sets(expression, matrices, own)
            known |= {name: operator(matrices[name], name, own) for part in sets for name in part if name not in known}
            found.append(Generator(_chains(labels.split(","), names), sets, known))
    return Assembly(ids[0], tuple(found))


def _matrices(columns: Mapping[str, list[str]]) -> dict[str, Matrix]:
    """The operators as text, by name."""
    tags = ASSEMBLY_TAGS[OPERATORS]
    _same_lengths(OPERATORS, columns, tags)
    return {own: tuple(values) for own, *values in zip(*(columns[tag] for tag in tags), strict=True)}


def _same_lengths(category: str, columns: Mapping[str, list[str]], tags: Iterable[str]) -> None:
    """Raise unless a category has all its tags, a value a row."""
    for tag in tags:
        if tag not in columns:
            raise StructureError(f"_{category}.{tag} is missing; without it there is no assembly")
    if len({len(columns[tag]) for tag in tags}) > 1:
        raise StructureError(f"columns of _{category} have different lengths")


def _chains(labels: Iterable[str], names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The author names of chains, each once."""
    return tuple(dict.fromkeys(name for label in labels for name in names.get(label.strip(), ())))


def operator_sets(expression: str, known: Mapping[str, object], assembly: str) -> tuple[tuple[str, ...], ...]:
    """The operators that an expression names: `1,2`, `(1-60)`, `(X0)(1-10,21-25)`; one set for each bracket.

    Args:
        expression: of a generator.
        known: the operators of the file, by name.
        assembly: its name, for messages.

    Raises:
        StructureError: if it cannot be read, or names an operator that is not there.
    """
    where = f"assembly {assembly}: the operators {expression[:40]!r}"
    bare = re.sub(r"\s*([,()-])\s*", r"\1", expression.strip())
    if not _SETS.fullmatch(bare):
        raise StructureError(f"{where} are no list such as 1,2 or (1-60)")
    parts = bare.strip("()").split(")(")
    if len(parts) > MOST_FACTORS:
        raise StructureError(f"{where} are {len(parts)} sets, more than {MOST_FACTORS}")
    return tuple(tuple(_names_in(part, known, where)) for part in parts)


def _names_in(part: str, known: Mapping[str, object], where: str) -> list[str]:
    found: list[str] = []
    for word in part.split(","):
        span = _RANGE.fullmatch(word)
        if word in known or not span:
            names: Sequence[str] = [word]
        else:
            first, last = int(span[1]), int(span[2])
            if not 0 <= last - first < len(known):  # before a billion names are made
                raise StructureError(f"{where} name {word}; the file has {len(known)}")
            names = [str(number) for number in range(first, last + 1)]
        missing = next((name for name in names if name not in known), None)
        if missing is not None:
            raise StructureError(f"{where} name {missing!r}, which is not there")
        found += names
    return found


def operator(texts: Matrix, name: str, assembly: str) -> np.ndarray:
    """(3, 4) rotation and shift in Å.

    Raises:
        StructureError: if a value is no number, or the matrix no rotation.
    """
    where = f"assembly {assembly}: operator {name}"
    matched = [_VALUE.fullmatch(text) for text in texts]
    values = [float(found[1]) for found in matched if found]
    if len(values) < 12 or not np.isfinite(values).all():
        bad = next((text for text, found in zip(texts, matched, strict=True) if not found), "a value")
        raise StructureError(f"{where} has {bad[:40]!r}, which is not a number")
    rotation = np.array(values[:9]).reshape(3, 3)
    off = np.abs(rotation).max() > 2 or np.abs(rotation @ rotation.T - np.eye(3)).max() > OFF
    if off or np.linalg.det(rotation) < 0:
        raise StructureError(f"{where} is no rotation; it would distort or mirror the chains")
    return np.column_stack([rotation, values[9:]])


def _of_remarks(remarks: Sequence[str], names: Mapping[str, Sequence[str]]) -> Assembly | None:
    """That of a PDB file: the lines up to the second BIOMOLECULE."""
    own, blocks = "", list[tuple[list[str], dict[str, dict[str, list[str]]]]]()
    for line in remarks:
        if found := _BIOMOLECULE.match(line.strip()):
            if own:
                break
            own = found[1]
        elif found := _CHAINS.search(line):
            if not blocks or (blocks[-1][1] and "APPLY" in line):
                blocks.append(([], {}))
            blocks[-1][0].extend(found[1].replace(",", " ").split())
        elif found := _BIOMT.fullmatch(line):
            if not blocks:
                raise StructureError("REMARK 350: BIOMT comes before its chains (APPLY THE FOLLOWING TO CHAINS:)")
            blocks[-1][1].setdefault(found[2], {})[found[1]] = found[3].split()
    made = [_of_block(chains, rows, own or "1", names) for chains, rows in blocks if rows]
    return Assembly(own or "1", tuple(made)) if made else None


def _of_block(
    chains: Sequence[str], rows: Mapping[str, dict[str, list[str]]], own: str, names: Mapping[str, Sequence[str]]
) -> Generator:
    """What follows one `APPLY THE FOLLOWING TO CHAINS`.

    Args:
        chains: that it names.
        rows: of each operator, the numbers of BIOMT1, 2 and 3.
        own: name of the assembly.
        names: author names of chains.
    """
    operators = {}
    for name, lines in rows.items():
        whole = [lines.get(k, []) for k in "123"]
        if any(len(line) != 4 for line in whole):
            raise StructureError(f"REMARK 350: operator {name} of assembly {own} lacks a number; each line has four")
        texts = (*(text for line in whole for text in line[:3]), *(line[3] for line in whole))
        operators[name] = operator(texts, name, own)
    return Generator(_chains(chains, names), (tuple(operators),), operators)
