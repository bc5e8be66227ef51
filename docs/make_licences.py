"""Write `licences.md`: the packages that protgen needs to run, and those of its extras, with version and licence.

    python docs/make_licences.py

Versions and licences are those of the packages that are installed where it is run; others have an empty version.
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("licences.md")
OWN = "protgen"
FOR_DEVELOPERS = ("test", "docs", "dev")  # extras that no user needs
HEAD = f"""# Licences of dependencies

Written by `docs/make_licences.py` from the metadata of the packages that were installed when it ran, those of the
dependencies' own dependencies too. `{OWN}` itself is under the MIT licence. A package whose version is empty was not
installed: it belongs to an extra that is asked for by name. The licence is what the package states.

## Known vulnerabilities

`bash .ci/audit` asks PyPI, or OSV, by pip-audit about every package that `{OWN}` and its extras install, and exits
with 1 if one is known to be vulnerable. Neither service could be reached where this was written; the script was tried
on a server of our own. On 30 November 2026 the records of CVE, OSV and PyPA were searched by hand for most of the
packages that `pyproject.toml` names, which finds less. Two are of versions below, and of code that is never called:
CVE-2026-136426 (torch 2.13.0, archives of `torch.export`) and CVE-2026-95897 (dask 2026.8.0, `from_npy_stack`). The
oldest versions allowed of biopython, distributed, hydra-core, mlflow, scikit-learn and wandb are those that mended
what was found of them; lightning 2.6.2 and 2.6.3, whose wheels carried code that steals credentials
(GHSA-w37p-236h-pfx3), are excluded. Of torch, pillow and transformers older versions than those below are allowed
that are not safe with weights, pictures and texts of strangers. None of these are read: weights are safetensors, and
`torch.load` opens those alone that come with the packages of judges.
"""


def canonical(name: str) -> str:
    """A package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """The package of a requirement such as `a[b]>=1; python_version < "3"`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return canonical(found[0])


def required() -> dict[str, str]:
    """Packages that `pyproject.toml` names, each with the extras that ask for it; "" for a plain install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {name_of(text): [""] for text in project["dependencies"]}
    for extra, texts in project["optional-dependencies"].items():
        for name in map(name_of, texts):
            if name != OWN:
                found.setdefault(name, []).append(extra)
    return {name: "" if "" in extras else ", ".join(extras) for name, extras in found.items()}


def installed(name: str) -> metadata.Distribution | None:
    """What is installed of a package."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def further(names: set[str]) -> set[str]:
    """What packages need beyond themselves, as far as it is installed; requirements of their extras are left out."""
    found, left = set(names), list(names)
    while left:
        distribution = installed(left.pop())
        for text in (distribution.requires or []) if distribution else []:
            name = name_of(text)
            if not re.search(r"\bextra\s*==", text) and name not in found and installed(name):
                found.add(name)
                left.append(name)
    return found - names


def licence_of(distribution: metadata.Distribution) -> str:
    """The licence a package states, in a few words."""
    about = distribution.metadata
    classes = [
        text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or [] if text.startswith("License ::")
    ]
    stated = (about.get("License") or "").strip()
    short = stated if "\n" not in stated and len(stated) <= 60 else ""
    known = [text for text in classes if text != "OSI Approved"]
    return about.get("License-Expression") or short or ", ".join(known) or "see its files"


def row(name: str, extras: str | None = None) -> str:
    """A line of a table."""
    distribution = installed(name)
    version = distribution.version if distribution else ""
    cells = [name, version.partition("+")[0], licence_of(distribution) if distribution else ""]
    return " | ".join(["", *cells, *([] if extras is None else [extras]), ""]).strip()


def table(names: dict[str, str] | set[str]) -> list[str]:
    """A table of packages, with their extras where these are given."""
    shown = isinstance(names, dict)
    titles = ["package", "version", "licence", *(["extra"] if shown else [])]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return lines + [row(name, names[name] if isinstance(names, dict) else None) for name in sorted(names)]


def page() -> str:
    """The whole page."""
    asked = required()
    plain = {name for name, extras in asked.items() if not extras}
    developers = {name for name, extras in asked.items() if extras and set(extras.split(", ")) <= set(FOR_DEVELOPERS)}
    of_extras = {name: extras for name, extras in asked.items() if extras and name not in plain | developers}
    parts = [
        HEAD, "## Needed to run\n", *table(plain), "\n## Of extras\n", *table(of_extras),
        "\n## What those need in turn\n", *table(further(plain | of_extras.keys())), "\n## Of those who develop it\n",
        *table({name: asked[name] for name in developers}),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
