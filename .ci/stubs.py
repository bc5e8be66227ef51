"""Write the `__init__.pyi` files, from which type checkers and editors read the names that packages import lazily.

Run it after a public class is added: `python .ci/stubs.py`. A test compares the files with the packages.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import protgen
from protgen.exports import public_classes

PACKAGES = ("conditions", "encoders", "families", "metrics", "samplers", "spaces")


def stub(doc: str, homes: Mapping[str, str], further: Sequence[str] = ()) -> str:
    """The text of an `__init__.pyi`.

    Args:
        doc: docstring of the package, of which the first line is kept.
        homes: name -> module; sub-packages have `protgen` as theirs.
        further: lines after the imports of names.
    """
    entries = sorted(homes.items(), key=lambda entry: (entry[1], entry[0]))
    imports = [f"from {module} import {name} as {name}" for name, module in entries]
    return "\n".join([f'"""{doc.splitlines()[0]}"""', "", *imports, *further]) + "\n"


def stubs() -> dict[Path, str]:
    """What each `__init__.pyi` is to hold."""
    root = Path(protgen.__file__).parent
    found = {}
    for package in PACKAGES:
        doc = import_module(f"protgen.{package}").__doc__ or ""
        found[root / package / "__init__.pyi"] = stub(doc, public_classes(f"protgen.{package}"))
    homes = protgen.homes() | dict.fromkeys(PACKAGES, "protgen")
    found[root / "__init__.pyi"] = stub(protgen.__doc__ or "", homes, ["", "__version__: str", "__all__: list[str]"])
    return found


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
