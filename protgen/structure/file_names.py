"""Which files of a folder are structures, by their names, and what the others are.

Only listing goes by names: a file that is named outright is read whatever it is called; its content says its format.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

from protgen.atomic import unicode_text

SUFFIXES = (".pdb", ".ent", ".brk", ".cif", ".mmcif", ".bcif")  # each also with .gz, and .pdb1 of an assembly
_STRUCTURE = re.compile(r"\.(?:pdb|ent|brk|cif|mmcif|bcif|(?:pdb|ent)([0-9]{1,2}))(?:\.gz)?", re.ASCII | re.IGNORECASE)


def is_structure_name(path: str | PathLike[str]) -> bool:
    """Whether a file has the name of a structure file; hidden ones have not."""
    name = Path(path).name
    suffix = _suffix(name)
    return bool(suffix) and not name.startswith(".")


def stem(path: str | PathLike[str]) -> str:
    """The name of a file without .gz and without the suffix of its format; `1abc.pdb1` gives `1abc_assembly1`.

    It is text, as tables have it: bytes that are no UTF-8 are escaped (`protgen.atomic.unicode_text`).
    """
    name = unicode_text(Path(path).name)
    suffix = _suffix(name)
    if not suffix:
        return name[:-3] if name.lower().endswith(".gz") else name
    found = _STRUCTURE.fullmatch(suffix)
    number = found.group(1) if found else None
    return (name[: -len(suffix)] + (f"_assembly{number}" if number else "")) or name


def _suffix(name: str) -> str:
    """The suffix of a structure file, with .gz, "" for another file."""
    parts = name.rsplit(".", 2) if name.lower().endswith(".gz") else name.rsplit(".", 1)
    suffix = "." + ".".join(parts[1:])
    return suffix if len(parts) > 1 and _STRUCTURE.fullmatch(suffix) else ""


def skipped(paths: Iterable[Path]) -> Counter[str]:
    """How many files that are no structures by their names have each suffix; "no suffix" where there is none.

    Args:
        paths: files; hidden ones do not count.
    """
    others = [path for path in paths if not path.name.startswith(".") and not is_structure_name(path)]
    return Counter(sorted("".join(path.suffixes[-1:]).lower() or "no suffix" for path in others))


def in_words(counts: Mapping[str, int], most: int = 6) -> str:
    """Counts in a few words, the largest first: `8 .json, 1 .csv`."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    text = ", ".join(f"{count} {name}" for name, count in ranked[:most])
    return text + (" and others" if len(ranked) > most else "")


def skipped_in_words(counts: Mapping[str, int]) -> str:
    """A sentence on skipped files: "9 files were skipped by their names: 8 .json, 1 .csv"; empty if there are none."""
    total = sum(counts.values())
    if not total:
        return ""
    return (
        f"{total} file{'s were' if total > 1 else ' was'} skipped by {'their names' if total > 1 else 'its name'}: "
        + (in_words(counts))
    )
