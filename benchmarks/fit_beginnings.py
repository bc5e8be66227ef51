"""What the beginnings of natives are like, by the share of the chain: the tables of `protgen/geometry/beginnings.py`.

    protgen data build CHAINS --max-length 128 --out STORE
    python benchmarks/fit_beginnings.py STORE

Of each training chain of 40 to 128 residues the first tenth, two tenths and so on, where these are 12 residues or
more: the logarithm of Rg over 2.2 k^0.38, and the share of residues whose N-H is bonded. Mean and standard deviation of
each are printed as Python, with their means for chains of up to 80 residues and of more, which differ by less than half
a standard deviation.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from protgen.data.store import Store
from protgen.geometry.beginnings import LEAST, TENTHS, bonded_share, log_size

SHORTEST, MIDDLE = 40, 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    store = Store(parser.parse_args().store)
    found: list[list[tuple[int, float, float]]] = [[] for _ in range(TENTHS)]
    chains = [int(i) for i in store.indices("train") if store.lengths[i] >= SHORTEST]
    for i in chains:
        atoms = torch.tensor(np.asarray(store[i].atoms)[None, :, :4], dtype=torch.float32)
        length = atoms.shape[1]
        for tenth in range(TENTHS):
            count = round((tenth + 1) * length / TENTHS)
            if count >= LEAST:
                mask = (torch.arange(length) < count)[None]
                size, bonded = log_size(atoms[:, :, 1], mask), bonded_share(atoms, mask)
                found[tenth].append((length, float(size), float(bonded)))
    columns = [np.array(rows) for rows in found]
    print(f"N_FITTED = {len(chains)}")
    for name, k in (("SIZE", 1), ("BONDED", 2)):
        for what, of in (("MEAN", np.mean), ("STD", np.std)):
            print(f"{name}_{what} = ({', '.join(f'{of(rows[:, k]):.3f}' for rows in columns)})")
        for what, longer in (("up to", False), ("above", True)):
            chosen = [rows[(rows[:, 0] > MIDDLE) == longer, k] for rows in columns]
            means = [f"{values.mean():.3f}" if len(values) else "-" for values in chosen]
            print(f"# {what} {MIDDLE} residues: {', '.join(means)}")


if __name__ == "__main__":
    main()
