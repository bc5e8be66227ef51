"""How large natives of a length are: percentiles of Rg over 2.2 L^0.38, the table of `protgen/geometry/native_size.py`.

    protgen data build CHAINS --units file --max-length 512 --crops 0 --rg-percentile 100 --out STORE
    python benchmarks/fit_native_size.py STORE

STORE holds whole single chains without breaks and with half their residues in helices and strands. Those beyond twice
2.2 L^0.38 are rods, as in `fit_reference.py`, and left out: chains of coiled coils and ribosomes. Lengths are binned
evenly in log L, and each percentile is smoothed by a parabola in log L, weighted by the number of chains: a bin holds
few. The table is printed as Python.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from protgen.data.store import Store
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE

PERCENTILES = (50, 75, 90, 93, 95, 96, 97, 98, 99)
BINS = np.geomspace(40, 512, 13)  # residues
ROD = 2.0  # times 2.2 L^0.38
SHOWN = (40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512)


def ratios_by_length(length: np.ndarray, rg: np.ndarray) -> np.ndarray:
    """(percentiles, lengths shown) smoothed ratios; they rise along the percentiles."""
    ratio = rg / (RG_SCALE * length**RG_EXPONENT)
    centres, weights, values = [], [], []
    for low, high in pairwise(BINS):
        inside = (length >= low) & (length < high)
        if inside.sum() >= 20:
            centres.append(np.log(length[inside]).mean())
            weights.append(np.sqrt(inside.sum()))
            values.append(np.log(np.percentile(ratio[inside], PERCENTILES)))
    fits = [np.polynomial.Polynomial.fit(centres, column, 2, w=weights) for column in np.array(values).T]
    curves = np.exp([fit(np.log(SHOWN)) for fit in fits])
    return np.maximum.accumulate(curves, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    kept = Store(parser.parse_args().store).manifest["kept"]
    length, rg = (np.array([entry[key] for entry in kept], float) for key in ("length", "rg"))
    globular = rg < ROD * RG_SCALE * length**RG_EXPONENT
    length, rg = length[globular], rg[globular]
    print(f"N_FITTED = {len(length)}\nLENGTHS = {SHOWN}\nPERCENTILES = {PERCENTILES}\nRATIOS = (")
    for row in ratios_by_length(length, rg):
        print(f"    ({', '.join(f'{value:.3f}' for value in row)}),")
    print(")")


if __name__ == "__main__":
    main()
