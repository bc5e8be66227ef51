"""Write the table of conditions in `docs/condition_language.md` from the classes themselves.

python docs/make_conditions.py
"""

import inspect
import re
from pathlib import Path

from protgen import registry

PAGE = Path(__file__).parent / "condition_language.md"
BEGIN, END = "<!-- conditions: made by docs/make_conditions.py -->\n", "<!-- end of conditions -->\n"


def first_sentences(text: str) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def conditions() -> str:
    """The table, a row a condition."""
    rows = ["| condition | flags | what it asks for |\n|---|---|---|\n"]
    for name, cls in registry.classes("conditions").items():
        flags = ", ".join(f"`{flag.name}`" for flag in cls.flags) or "-"
        asked = re.sub(r"([|*_])", r"\\\1", first_sentences(cls.__doc__ or ""))
        rows.append(f"| `{name}` | {flags} | {asked} |\n")
    return "".join(rows)


def page(text: str) -> str:
    """The page with the table of now."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + conditions() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
