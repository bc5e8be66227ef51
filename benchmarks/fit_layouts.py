"""Count secondary-structure layouts of a store's training split: the p(y | length) that travels with a model.

python benchmarks/fit_layouts.py STORE OUT.json
"""

import sys
from pathlib import Path

from protgen.data.store import Store
from protgen.models.files import save_json
from protgen.models.layouts import fit_layouts
from protgen.structure.dssp import to_string


def main() -> None:
    store = Store(sys.argv[1])
    strings = [to_string(store[int(i)].labels) for i in store.indices("train")]
    save_json(fit_layouts(strings).to_json(), Path(sys.argv[2]))
    print(f"{len(strings)} chains")


if __name__ == "__main__":
    main()
