"""Fit the reference statistics that ship in `protgen/metrics/reference`, on the training split of a chain
folder.

    python benchmarks/fit_reference.py CHAINS [--out protgen/metrics/reference] [--jobs 1]

CHAINS holds `index.csv` (columns file, split, resolution) and the chains it lists. Only training chains are
fitted; validation chains are measured afterwards and the figures printed. Derived statistics are written,
never structures.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from protgen.errors import StructureError
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.metrics.bonds import OUTLIER_Z, TARGETS, covalent_geometry
from protgen.metrics.compactness import radius_of_gyration
from protgen.metrics.ramachandran import log_density, residue_classes
from protgen.metrics.reference_data import RAMACHANDRAN_CLASSES
from protgen.structure.links import Links, backbone_torsions, links
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure

GRID = 120  # cells of 3 degrees
BANDWIDTHS = np.array([3.0, 5.0, 8.0, 12.0])  # degrees: narrow where natives are dense, wide where they are rare
PILOT_BANDWIDTH = 8.0  # degrees
BACKGROUND = 1e-9  # density per cell that keeps the logarithm finite far from every native
FAVOURED, ALLOWED = 0.98, 0.9995
WORST_RESOLUTION = 2.5  # Å, where the resolution is known
MAX_OUTLIERS = 0.01  # of covalent lengths and angles beyond 4 sigma
MAX_TWISTED = 0.02  # of peptide bonds neither trans nor cis
RG_BINS = np.unique(np.round(np.geomspace(40, 512, 18)).astype(int))  # residues; edges, equal steps in log L
RG_OUTLIER = 2.0  # times 2.2 L^0.38: a rod, not a globule


@dataclass(frozen=True)
class Chain:
    """What one chain gives to the fit: good[i] says residue i's torsions count."""

    length: int
    rg: float
    whole: bool
    good_geometry: bool
    phi: np.ndarray
    psi: np.ndarray
    classes: np.ndarray
    geometry: dict[str, np.ndarray]


def _next_to_break(joints: Links, length: int) -> np.ndarray:
    """(l,) bool: residues at a link that is broken or missing, and their neighbours one further on."""
    cut = joints.same_chain & (~joints.bonded | joints.broken & (joints.cn_distance > 1.6))
    near = np.zeros(length, dtype=bool)
    for shift in (-1, 0, 1, 2):
        index = np.flatnonzero(cut) + shift
        near[index[(index >= 0) & (index < length)]] = True
    return near


def _has_good_geometry(geometry: dict[str, np.ndarray], omega: np.ndarray) -> bool:
    z = np.concatenate([(v - TARGETS[k].ideal) / TARGETS[k].sigma for k, v in geometry.items()])
    degrees = np.abs(np.rad2deg(omega[np.isfinite(omega)]))
    twisted = (degrees > 30.0) & (degrees < 150.0)
    if not len(z) or not len(degrees):
        return False
    return bool((np.abs(z) > OUTLIER_Z).mean() <= MAX_OUTLIERS and twisted.mean() <= MAX_TWISTED)


def measure_chain(path: Path) -> Chain | None:
    """Torsions and geometry of one chain; None if it cannot be read or has no more than four residues."""
    try:
        protein: Protein = read_structure(path)
    except StructureError:
        return None
    if protein.length < 5:
        return None
    joints = links(protein)
    phi, psi, omega = backbone_torsions(protein, joints)
    geometry = covalent_geometry(protein, joints)
    keep = np.isfinite(phi) & np.isfinite(psi) & ~_next_to_break(joints, protein.length)
    return Chain(
        length=protein.length,
        rg=radius_of_gyration(protein),
        whole=not joints.broken.any(),
        good_geometry=_has_good_geometry(geometry, omega),
        phi=phi[keep],
        psi=psi[keep],
        classes=residue_classes(protein, joints)[keep],
        geometry=geometry,
    )


def measure_split(chains: Path, split: str, jobs: int) -> tuple[list[Chain], int]:
    """Measure the chains of one split that are worth fitting, and how many the index lists."""
    with (chains / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == split]
    resolved = [row for row in rows if not row["resolution"] or float(row["resolution"]) <= WORST_RESOLUTION]
    paths = [chains / row["file"] for row in resolved if "NMR" not in row["method"]]
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        measured: Iterator[Chain | None] = (
            pool.map(measure_chain, paths, chunksize=32) if pool else map(measure_chain, paths)
        )
        return [chain for chain in measured if chain is not None], len(rows)


def _smooth(counts: np.ndarray, bandwidth: float) -> np.ndarray:
    """Convolve a periodic histogram with a wrapped Gaussian of `bandwidth` degrees, by Fourier series."""
    frequency = np.fft.fftfreq(GRID, d=1.0 / GRID)
    decay = np.exp(-0.5 * (np.deg2rad(bandwidth) * frequency) ** 2)
    return np.clip(np.fft.ifft2(np.fft.fft2(counts) * decay[:, None] * decay[None, :]).real, 0.0, None)


def _histogram(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Counts on the grid, each point shared between its four cells (linear binning)."""
    x, y = (np.stack([phi, psi]) + np.pi) / (2 * np.pi) * GRID
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - i, y - j
    counts = np.zeros((GRID, GRID))
    for di, wx in ((0, 1 - fx), (1, fx)):
        for dj, wy in ((0, 1 - fy), (1, fy)):
            np.add.at(counts, ((i + di) % GRID, (j + dj) % GRID), wx * wy)
    return counts


def fit_density(
    phi: np.ndarray,
    psi: np.ndarray,
    middle: float = 5.0,
    sensitivity: float = 0.5,
    bandwidths: np.ndarray = BANDWIDTHS,
) -> np.ndarray:
    """Adaptive kernel density (Abramson, 1982): bandwidth falls as a power of a pilot density.

    Args:
        phi: (n,) radians.
        psi: (n,) radians.
        middle: degrees, where the pilot density has its mean logarithm.
        sensitivity: the power; Abramson's is 1/2.
        bandwidths: degrees, those that are used.

    Returns:
        (g, g) natural log of the density per cell.
    """
    pilot = np.log(_smooth(_histogram(phi, psi), PILOT_BANDWIDTH) / len(phi) + BACKGROUND)
    here = log_density(phi, psi, np.zeros(len(phi), int), pilot[None])
    wanted = middle * np.exp(-sensitivity * (here - here.mean()))
    nearest = np.abs(np.log(wanted[:, None] / bandwidths)).argmin(axis=1)
    density = sum(
        _smooth(_histogram(phi[nearest == k], psi[nearest == k]), width) for k, width in enumerate(bandwidths)
    )
    return np.log(np.asarray(density) / len(phi) + BACKGROUND)


def fit_ramachandran(chains: list[Chain]) -> dict[str, np.ndarray]:
    """Densities and contour levels of every class."""
    phi, psi, classes = (np.concatenate([getattr(c, field) for c in chains]) for field in ("phi", "psi", "classes"))
    grids, favoured, allowed = [], [], []
    for index, name in enumerate(RAMACHANDRAN_CLASSES):
        own = classes == index
        grid = fit_density(phi[own], psi[own]).astype(np.float16)
        values = log_density(phi[own], psi[own], np.zeros(own.sum(), int), grid[None].astype(np.float64))
        grids.append(grid)
        favoured.append(np.quantile(values, 1 - FAVOURED))
        allowed.append(np.quantile(values, 1 - ALLOWED))
        print(f"{name}: {own.sum()} residues")
    return {"log_density": np.stack(grids), "favoured": np.array(favoured), "allowed": np.array(allowed)}


def fit_statistics(chains: list[Chain]) -> dict[str, object]:
    """Covalent geometry as found, and Rg by length of the unbroken globular chains."""
    geometry = {}
    for name in TARGETS:
        values = np.concatenate([chain.geometry[name] for chain in chains])
        low, high = np.quantile(values, [0.005, 0.995])
        core = values[(values >= low) & (values <= high)]
        geometry[name] = {"mean": round(float(core.mean()), 4), "std": round(float(core.std()), 4)}
    length = np.array([chain.length for chain in chains])
    rg = np.array([chain.rg for chain in chains])
    globular = np.array([chain.whole for chain in chains]) & (rg < RG_OUTLIER * RG_SCALE * length**RG_EXPONENT)
    return {
        "covalent_geometry": geometry,
        "radius_of_gyration": _rg_by_length(length[globular], rg[globular]),
    }


def _rg_by_length(length: np.ndarray, rg: np.ndarray) -> dict[str, list[float]]:
    """Percentiles of Rg by length, smoothed by a parabola of log Rg in log L: bins hold few chains."""
    table: dict[str, list[float]] = {"length": [], "p5": [], "median": [], "p95": [], "n": []}
    for low, high in pairwise(RG_BINS):
        inside = (length >= low) & (length < high)
        centre = float(np.exp(np.log(length[inside]).mean()))
        scaled = rg[inside] * (centre / length[inside]) ** RG_EXPONENT  # to the centre of the bin
        table["length"].append(round(centre, 1))
        for key, q in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
            table[key].append(float(np.quantile(scaled, q)))
        table["n"].append(int(inside.sum()))
    x, weights = np.log(table["length"]), np.sqrt(table["n"])
    for key in ("p5", "median", "p95"):
        curve = np.polynomial.Polynomial.fit(x, np.log(table[key]), 2, w=weights)
        table[key] = np.round(np.exp(curve(x)), 3).tolist()
    return table


def evaluator(chains: list[Chain], reference: dict[str, np.ndarray]) -> dict[str, float]:
    """Fractions of residues favoured and outliers."""
    phi, psi, classes = (np.concatenate([getattr(c, field) for c in chains]) for field in ("phi", "psi", "classes"))
    values = log_density(phi, psi, classes, reference["log_density"].astype(np.float64))
    return {
        "residues": len(phi),
        "favoured": round(float((values >= reference["favoured"][classes]).mean()), 5),
        "outliers": round(float((values < reference["allowed"][classes]).mean()), 5),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--out", type=Path, default=Path("protgen/metrics/reference"))
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    listed, n_listed = measure_split(args.chains, "train", args.jobs)
    fitted = [chain for chain in listed if chain.good_geometry]
    print(f"train: {n_listed} listed, {len(listed)} of fair resolution, not NMR; {len(fitted)} of good geometry")
    reference = fit_ramachandran(fitted)
    statistics = fit_statistics(fitted)
    validation, _ = measure_split(args.chains, "validation", args.jobs)
    figures = {
        "train": evaluator(fitted, reference),
        "validation": evaluator([chain for chain in validation if chain.good_geometry], reference),
        "validation_any_geometry": evaluator(validation, reference),
    }
    statistics |= {"chains": len(fitted), "ramachandran": figures}
    print(json.dumps(figures, indent=2))
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "ramachandran.npz", **reference)  # pyright: ignore[reportArgumentType]
    (args.out / "natives.json").write_text(json.dumps(statistics, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
