"""What of a structure file is judged: one model or each, all chains or one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from protgen.errors import StructureError
from protgen.structure.protein import Protein
from protgen.structure.reader import count_models, read_structure

Labelled = tuple[str, Path]


def read_part(path: Path, chain: str = "", model: int | None = None, strict: bool = False) -> Protein:
    """One model of a file, and one of its chains if it is named.

    Args:
        path: the file.
        chain: its name; "" for all.
        model: from 0; None for the first, of which the warnings say if there are others.
        strict: treat reader warnings as errors.

    Raises:
        StructureError: if the file cannot be read, or has no such chain.
    """
    protein = read_structure(path, model=model or 0, strict=strict and model is None)
    if model is not None:
        protein = replace(protein, warnings=tuple(w for w in protein.warnings if w.code != "multi_model"))
        if strict and protein.warnings:
            raise StructureError(f"{path}: refused, as strict reading was asked for: {protein.warnings[0]}")
    if not chain:
        return protein
    if chain not in protein.chains:
        raise StructureError(f"{path}: has no chain {chain}; it has {', '.join(protein.chains)}")
    return protein.select(protein.chain_ids == chain)


def models_of(path: Path) -> int:
    """How many models a file holds; 1 for one that cannot be read."""
    try:
        return count_models(path)
    except (StructureError, OSError):
        return 1


def every_model(
    files: Sequence[Labelled], places: Sequence[Labelled], sets: Sequence[str]
) -> tuple[list[Labelled], list[Labelled], list[str], list[int]]:
    """Files with an entry for each model: `a/b.pdb` with two models gives `a/b_model1.pdb` and `a/b_model2.pdb`.

    Args:
        files, places: label and path of each.
        sets: of each.

    Returns:
        The same, and the number of each model from 0. Files that cannot be read keep their one entry.
    """
    labelled: list[Labelled] = []
    placed: list[Labelled] = []
    names: list[str] = []
    models: list[int] = []
    for (label, path), (inner, _), name in zip(files, places, sets, strict=True):
        n = models_of(path)
        for k in range(n):
            ending = f"_model{k + 1}" if n > 1 else ""
            labelled.append((_with(label, ending), path))
            placed.append((_with(inner, ending), path))
            names.append(name)
            models.append(k)
    return labelled, placed, names, models


def _with(label: str, ending: str) -> str:
    """A label with an ending before its suffix."""
    path = PurePosixPath(label)
    base, dot, suffix = path.name.partition(".")
    return (path.parent / f"{base}{ending}{dot}{suffix}").as_posix() if ending else label
