"""What of the manifests of public IDs is rebuilt from the files that they were made of.

    python benchmarks/rebuild.py CHAINS [--manifests data/manifests] --out benchmarks/results/rebuild.json

CHAINS is the folder that `public_manifests.py` made the manifests of. Each is built by `protgen data build CHAINS
--manifest FILE`, without the search for relatives across the split. An item is as listed if its length, sequence and Rg
are those of the manifest. What the others have is counted by kind: several files may share a PDB ID and a chain name,
of which the manifest has one.
"""

import argparse
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

from protgen.data.build import BuildOptions, build
from protgen.data.windows import Filters

_NAME = re.compile(r"^[^:]*: ")
_COPY = re.compile(r"copy of \S+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def kind(line: str) -> str:
    """What a difference is about: its words without names of items and without numbers."""
    return _NUMBER.sub("N", _COPY.sub("copy of another", _NAME.sub("", line, count=1)))


def rebuilt(chains: Path, manifest: Path) -> dict:
    """Items of a manifest, those that come out as it has them, and what is different of the others."""
    with tempfile.TemporaryDirectory() as scratch:
        counts = build(chains, Path(scratch, "store"), Filters(), BuildOptions(manifest=manifest))
    archive = counts["archive"]
    changed = archive["changed"]
    return {
        "items": archive["entries"],
        "as_listed": archive["entries"] - len(changed),
        "differences": dict(Counter(kind(line) for line in changed).most_common()),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--manifests", type=Path, default=Path("data/manifests"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sets = {}
    for path in sorted(options.manifests.glob("*.csv")):
        sets[path.name] = rebuilt(options.chains, path)
        print(path.name, sets[path.name], flush=True)
    report = {"command": "python benchmarks/rebuild.py CHAINS --out benchmarks/results/rebuild.json", "sets": sets}
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
