"""The files of an evaluation, and the name of each in the table."""

import os
from collections import Counter
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from protgen.atomic import unicode_text
from protgen.errors import UsageError
from protgen.evaluation.run_records import joined
from protgen.structure.file_names import SUFFIXES, is_structure_name, skipped, skipped_in_words

LOOSE = "files"  # the set of files that are named outright
CACHE_MARKER = "refolds.json"  # a folder with this file holds refolds of ours, which are no designs
SEQUENCE_MARKER = "sequences.json"  # and one with this file the designs again, with sequences
BEST_MARKER = "best.json"  # and one with this file copies of the best of them
MARKERS = (CACHE_MARKER, SEQUENCE_MARKER, BEST_MARKER)


def skipped_files(paths: Sequence[str | PathLike[str]]) -> Counter[str]:
    """How many files of the folders among the paths are no structures by their names, by suffix."""
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    return skipped({file for folder in folders for file in folder.rglob("*") if file.is_file()})


def collect_files(
    paths: Sequence[str | PathLike[str]], *, leave_out: Sequence[str | PathLike[str]] = ()
) -> list[tuple[str, Path]]:
    """Structure files of the given files and folders.

    A folder gives every file in it and below whose name ends in .pdb, .ent, .brk, .cif, .mmcif or .bcif (also with .gz,
    and .pdb1 of assemblies), in sorted order, but for refolds, sequences and copies of the best made of them earlier;
    a file that is named outright is taken whatever its name. What has such a name and is no file, as a link to nothing,
    comes too. Each file comes once.

    Args:
        paths: the files and folders.
        leave_out: folders below them whose files are something else.

    Returns:
        Pairs of label and path. The label is the path inside its folder, or a file's own name; where that
        would name two files alike, the whole path as given.

    Raises:
        UsageError: if a path does not exist, or nothing is found.
    """
    if not paths:
        raise UsageError("nothing to evaluate: give a structure file or a folder")
    found: dict[Path, tuple[str, Path]] = {}
    others = {Path(os.path.abspath(path)) for path in leave_out}
    for given in map(Path, paths):
        if given.is_dir():
            everything = sorted(given.rglob("*"))
            below = [path for path in everything if path.is_file()]
            kept = {Path(os.path.abspath(path.parent)) for path in below if path.name in MARKERS}
            strange = (others | kept) - {Path(os.path.abspath(given))}
            # Links to nothing, pipes and folders of such names too: reading them says what they are.
            named = [path for path in everything if is_structure_name(path)]
            files = [path for path in named if strange.isdisjoint(Path(os.path.abspath(path)).parents)]
            if not files:
                passed_over = skipped_in_words(skipped(below))
                raise UsageError(
                    f"{given}: no structure files here ({', '.join(SUFFIXES)}, also with .gz)"
                    + (f"; {passed_over}" if passed_over else "")
                )
            entries = [(unicode_text(p.relative_to(given).as_posix()), p) for p in files]
        elif given.exists():
            entries = [(unicode_text(given.name), given)]
        else:
            raise UsageError(f"{given}: no such file or folder")
        for label, path in entries:
            found.setdefault(Path(os.path.abspath(path)), (label, path))
    pairs = list(found.values())
    if len({label for label, _ in pairs}) < len(pairs):
        return [(unicode_text(path.as_posix()), path) for _, path in pairs]
    return pairs


def inner_paths(paths: Sequence[str | PathLike[str]], files: Sequence[tuple[str, Path]]) -> list[str]:
    """The path of each file of `collect_files(paths)` within the folder that gave it; a loose file's own name."""
    folders = [Path(os.path.abspath(path)) for path in paths if Path(path).is_dir()]
    result = []
    for _, path in files:
        whole = Path(os.path.abspath(path))
        inside = [folder for folder in folders if folder in whole.parents]
        result.append(unicode_text(whole.relative_to(inside[0]).as_posix() if inside else whole.name))
    return result


def name_sets(paths: Sequence[str | PathLike[str]], files: Sequence[tuple[str, Path]]) -> list[str]:
    """The set of each file of `collect_files(paths)`: the name of the folder that gave it.

    Folders of one name are named by their paths. Files that are named outright are the set "files". Folders whose
    records say that they hold parts of one run are one set, named after the first of them.

    Returns:
        (n,) names, in the order of the files.

    Raises:
        UsageError: if two parts of one run have a design in common.
    """
    folders = list(dict.fromkeys(Path(os.path.abspath(path)) for path in paths if Path(path).is_dir()))
    names = [folder.name or folder.as_posix() for folder in folders]
    titles = [n if names.count(n) == 1 and n != LOOSE else f.as_posix() for n, f in zip(names, folders, strict=True)]
    titles = [unicode_text(title) for title in titles]
    title_of = dict(zip(folders, titles, strict=True))
    firsts = joined(folders)
    titles = [title_of[firsts.get(folder, folder)] for folder in folders]
    result = []
    for _, path in files:
        whole = Path(os.path.abspath(path))
        inside = [title for title, folder in zip(titles, folders, strict=True) if folder in whole.parents]
        result.append(inside[0] if inside else LOOSE)
    return result
