"""Which structure files a store is built from: those of a folder, or those that its `index.csv` lists."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protgen.atomic import unicode_text
from protgen.documents import number_in, read_table
from protgen.errors import DataError
from protgen.structure.file_names import SUFFIXES, is_structure_name, skipped, skipped_in_words, stem
from protgen.structure.parts import models_of

UNKNOWN_RESOLUTIONS = (
    "", ".", "?", "-", "na", "n/a", "nan", "none", "null", "unknown", "not available", "not applicable",
    "nmr", "solution nmr", "solid-state nmr", "model", "predicted", "afdb", "alphafold",
)  # fmt: skip


SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """A file to read, its row of the index in the same folder, and which of its models."""

    path: Path
    id: str
    facts: dict[str, str]
    model: int = 0

    @property
    def columns(self) -> list[str]:
        """Columns of the index."""
        return [name for name in self.facts if name]


def find_sources(folder: Path) -> list[Source]:
    """Structure files of a folder: those its `index.csv` lists (column `file`), or all below it.

    Raises:
        DataError: if the folder does not exist or holds no structure, or a resolution of the index cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with structure files")
    index = folder / "index.csv"
    if os.path.lexists(index):
        if not index.is_file():  # a link to nothing, a pipe, a folder: someone means it to say what is built
            raise DataError(f"{index}: is no file that can be read; put the table there, or remove it")
        rows = read_table(index)
        if not rows:
            raise DataError(f"{index}: lists no files; name them in a column `file`, or remove it to take all")
        if "file" not in rows[0]:
            raise DataError(f"{index}: no column `file`; name the structure files in one")
        check_names(rows, index)
        for number, row in enumerate(rows, start=1):
            resolution_of(row.get("resolution"), f"{index}: row {number}, column resolution")
        sources = [Source(folder / row["file"], stem(Path(row["file"])), row) for row in rows]
    else:
        sources = [Source(path, stem(path), {}) for path in sorted(folder.rglob("*")) if is_structure_name(path)]
    if not sources:
        others = skipped_in_words(skipped_files(folder, []))
        raise DataError(
            f"{folder}: no structure files ({', '.join(SUFFIXES)}, also .gz){'; ' if others else ''}{others}"
        )
    return with_own_ids(sources, folder)


def with_own_ids(sources: Sequence[Source], folder: Path) -> list[Source]:
    """Sources whose ids are theirs alone: files of one name get their folders before it, those of one path a number."""
    times = Counter(source.id for source in sources)
    named = [
        source
        if times[source.id] == 1
        else replace(source, id=unicode_text((inner_folder(source, folder) / source.id).as_posix()))
        for source in sources
    ]
    seen: Counter[str] = Counter()
    found = []
    for source in named:
        seen[source.id] += 1
        found.append(source if seen[source.id] == 1 else replace(source, id=f"{source.id}~{seen[source.id]}"))
    return found


def inner_folder(source: Source, folder: Path) -> Path:
    """The folder of a file as seen from that of the set; with its own name where it lies elsewhere."""
    parent = source.path.parent
    return parent.relative_to(folder) if parent.is_relative_to(folder) else Path(parent.name)


def check_names(rows: Sequence[Mapping[str, str]], index: Path) -> None:
    """Check the files and splits that an index names.

    Raises:
        DataError: if a row names no file, or a split that is none of ours, or two rows one file for two splits.
    """
    seen: dict[str, tuple[int, str]] = {}  # row and split of each file
    for number, row in enumerate(rows, start=1):
        if not row["file"].strip() or "\0" in row["file"]:
            raise DataError(f"{index}: row {number}: names no file; give one, or leave the row out")
        if row.get("split") and row["split"] not in SPLITS:
            raise DataError(f"{index}: row {number}: split {row['split']!r}; give {', '.join(SPLITS)}, or nothing")
        if row.get("split"):
            first, split = seen.setdefault(os.path.normpath(row["file"]), (number, row["split"]))
            if split != row["split"]:
                raise DataError(
                    f"{index}: rows {first} and {number} list {row['file']} for {split} and for {row['split']}; "
                    "leave one out"
                )


def every_model(sources: Sequence[Source]) -> list[Source]:
    """A source for each model of each file; files that cannot be read stay as they are."""
    found = []
    for source in sources:
        n = models_of(source.path)
        found += [source] if n == 1 else [replace(source, id=f"{source.id}_model{k + 1}", model=k) for k in range(n)]
    return found


def skipped_files(folder: Path, sources: Sequence[Source]) -> Counter[str]:
    """How many files of a folder are not read, by suffix: no structures by their names, or not in its index."""
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / "index.csv"]
    found = skipped(files)
    if (folder / "index.csv").is_file():
        listed = {source.path.resolve() for source in sources}
        unlisted = sum(is_structure_name(path) and path.resolve() not in listed for path in files)
        found += Counter({"not in index.csv": unlisted})
    return found


def resolution_of(text: str | None, where: str) -> float | None:
    """A resolution of an index, Å; None for an empty field and for what stands for an unknown one, such as NMR.

    Args:
        text: of the field.
        where: file, row and column, for the message.

    Raises:
        DataError: for any other text.
    """
    bare = (text or "").strip()
    if bare.lower() in UNKNOWN_RESOLUTIONS:
        return None
    try:
        value = number_in(bare)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise DataError(f"{where}: {bare!r} is no resolution; give Å, or NMR, NA or nothing where there is none")
    return value
