"""Count blueprints of the compact items of a store's training split: the p(y | length) that travels with a model.

python benchmarks/fit_blueprints.py STORE OUT.json
python benchmarks/fit_blueprints.py STORE MODEL/topologies.json --members

The second puts natives with a CATH code into the topologies of a model. What it draws without a fold stays as it is.
"""

import sys
from dataclasses import replace
from pathlib import Path

from protgen.data.store import Store
from protgen.models.blueprints import fit_store
from protgen.models.checksums import CONFIG, write_checksums
from protgen.models.files import save_json
from protgen.models.topologies import fit_topologies, load_topologies


def main() -> None:
    store, path = Store(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[3:] != ["--members"]:
        save_json(fit_store(store).to_json(), path)
    else:
        own = load_topologies(path.parent)
        if own is None:
            sys.exit(f"{path}: no topologies; give those of a model that draws them")
        save_json(replace(own, members=fit_topologies(store).members).to_json(), path)
    if (path.parent / CONFIG).is_file():
        write_checksums(path.parent)


if __name__ == "__main__":
    main()
