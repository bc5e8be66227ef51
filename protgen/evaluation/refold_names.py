"""Assign the refolds of a folder to designs, by name.

A refold of `design_0003.pdb` is a structure file that is called `design_0003`, or begins so and goes on with a
character that is neither a letter nor a digit (`design_0003_1.pdb`, `design_0003.seq2.cif`, but not
`design_00031.pdb`); or any file in or below a sub-folder so called (`design_0003/rank_1.pdb`). Sub-folders of the
designs are sub-folders of the refolds too, or are left out where no other design has that name. Where several sets
have designs of one name, the refolds of each are in a folder with the name of its set. Of several designs that a name
fits, the longest counts.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from protgen.errors import UsageError
from protgen.structure.reader import stem

_BOUNDARY = re.compile(r"(?<=[^\W_])(?=[\W_])|$")  # where a name may end and something else begin

Key = tuple[str, ...]


def design_keys(labels: Sequence[str], sets: Sequence[str]) -> dict[Key, list[int]]:
    """What a refold's path may begin with, and the designs it then belongs to.

    Args:
        labels: (n,) paths of the designs within their folders.
        sets: (n,) the set of each.
    """
    keys: dict[Key, list[int]] = {}
    names = [stem(label) for label in labels]
    for index, (label, own_set, name) in enumerate(zip(labels, sets, names, strict=True)):
        folders = PurePosixPath(label).parent.parts
        forms = {(*folders, name), (*PurePosixPath(own_set).parts, *folders, name)}
        if names.count(name) == 1:
            forms.add((name,))
        for form in forms:
            keys.setdefault(form, []).append(index)
    return keys


def assign_refolds(labels: Sequence[str], sets: Sequence[str], paths: Sequence[str]) -> list[int | None]:
    """The design of each refold; None where none has its name.

    Args:
        labels: (n,) paths of the designs within their folders.
        sets: (n,) the set of each design.
        paths: (m,) paths of the refolds within theirs, with "/".

    Raises:
        UsageError: if a refold fits two designs equally well.

    Example:
        >>> assign_refolds(["a.pdb", "a_1.pdb"], ["s", "s"], ["a_1_x.pdb", "a/k.cif", "ab.pdb"])
        [1, 0, None]
    """
    keys = design_keys(labels, sets)
    found: list[int | None] = []
    for path in paths:
        fits = _longest(keys, path)
        if len(fits) > 1:
            first, second = (f"{sets[i]}/{labels[i]}" for i in fits[:2])
            raise UsageError(
                f"refold {path} fits the designs {first} and {second}; put the refolds of each set into a folder "
                f"with its name, such as {sets[fits[0]]}/{path}"
            )
        found.append(fits[0] if fits else None)
    return found


def _longest(keys: Mapping[Key, list[int]], path: str) -> list[int]:
    """The designs whose key is the longest that the path begins with."""
    parts = [*PurePosixPath(path).parent.parts, stem(path)]
    best: tuple[int, list[int]] = (0, [])
    for depth, part in enumerate(parts):
        for end in {match.start() for match in _BOUNDARY.finditer(part)} | {len(part)}:
            key = (*parts[:depth], part[:end])
            length = sum(map(len, key))
            if key in keys and length > best[0]:
                best = (length, keys[key])
    return best[1]
