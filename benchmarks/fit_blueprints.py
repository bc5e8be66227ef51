"""Count blueprints of the compact items of a store's training split: the p(y | length) that travels with a model.

python benchmarks/fit_blueprints.py STORE OUT.json
"""

import sys
from pathlib import Path

from protgen.data.store import Store
from protgen.models.blueprints import fit_store
from protgen.models.files import save_json


def main() -> None:
    store = Store(sys.argv[1])
    save_json(fit_store(store).to_json(), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
