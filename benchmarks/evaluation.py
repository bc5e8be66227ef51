"""The figures of `protgen evaluate`: clusters, novelty, validity, broken copies, damaged files, Fréchet distance.

    python benchmarks/evaluation.py CHAINS [--parts damaged,broken,...] [--jobs 2] [--out benchmarks/results/evaluation]

CHAINS holds `index.csv` and the chains it lists. Each part writes its own JSON:

clusters    1,000 structures of 80-120 residues, with and without the prefilter
novelty     100 structures against 5,000 references
validity    1,000 files of 130-170 residues, parsing included
natives     the validation split
broken      altered copies distinguished from their originals
damaged     1,000 files, 50 of them damaged
frechet     draws of natives by their number, and natives with noise, on both kinds of features
agreement   DSSP and Rg against mdtraj and biotite on 200 natives
"""

import argparse
import csv
import gzip
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.validity import validity
from protgen.metrics.base import summarise
from protgen.metrics.bonds import TARGETS, covalent_geometry
from protgen.metrics.compactness import radius_of_gyration
from protgen.metrics.descriptors import NAMES, descriptors
from protgen.metrics.distribution import frechet_distance, standardise
from protgen.metrics.diversity import THRESHOLD, Clustering, diversity_of, pairwise_tm
from protgen.metrics.fold import fold_network_card, read_folds
from protgen.metrics.novelty import NOVEL, novelty
from protgen.metrics.secondary_structure import secondary_structure
from protgen.metrics.tm import ca_trace
from protgen.structure.ideal import mirror
from protgen.structure.links import links
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure


def listed(chains: Path, low: int, high: int, split: str = "", broken: bool = False) -> list[Path]:
    """Files of chains of some lengths, in the order of the index; unbroken ones, or all."""
    with (chains / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if low <= int(row["length"]) <= high]
    rows = [row for row in rows if broken or row["n_breaks"] == "0"]
    return [chains / row["file"] for row in rows if not split or row["split"] == split]


def proteins_of(files: list[Path]) -> list[Protein]:
    return [read_structure(file) for file in files]


def cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def clusters(chains: Path, jobs: int) -> dict:
    traces = [ca_trace(protein) for protein in proteins_of(listed(chains, 80, 120)[:1000])]
    start = time.perf_counter()
    fewer = pairwise_tm(traces, prefilter=THRESHOLD, jobs=jobs)
    middle = time.perf_counter()
    every = pairwise_tm(traces, jobs=jobs)
    prefiltered, full = (diversity_of(tm, Clustering()) for tm in (fewer, every))
    return {
        "clusters by": str(Clustering()),
        "n": len(traces),
        "seconds": middle - start,
        "seconds without prefilter": time.perf_counter() - middle,
        "clusters": prefiltered.n_clusters,
        "clusters without prefilter": full.n_clusters,
        "same labels": bool((prefiltered.labels == full.labels).all()),
        "pairs on another side of 0.5": int(((fewer.longer >= THRESHOLD) != (every.longer >= THRESHOLD)).sum() // 2),
    }


def nearest(chains: Path, jobs: int) -> dict:
    samples = [ca_trace(protein) for protein in proteins_of(listed(chains, 60, 150, "validation")[:100])]
    references = [ca_trace(protein) for protein in proteins_of(listed(chains, 40, 512, "train", broken=True)[:5000])]
    start, before = time.perf_counter(), cpu_seconds()
    found = novelty(samples, references, jobs=jobs)
    seconds, used = time.perf_counter() - start, cpu_seconds() - before
    few = samples[:10]
    exact = novelty(few, references, keep=None, jobs=jobs)
    pieces = [trace[len(trace) // 4 :][:length] for length in (60, 70, 100) for trace in references if len(trace) > 180]
    pieces = pieces[:: max(1, len(pieces) // 30)]
    again = novelty(pieces, references, jobs=jobs)
    return {
        "n": len(samples),
        "references": len(references),
        "seconds": seconds,
        "CPU seconds": used,
        "novel": asdict(summarise((found.max_tm < NOVEL).astype(float))),
        "exact pieces of longer chains": len(pieces),
        "least max TM of these": float(again.max_tm.min()),
        "max TM lost by the prefilter, mean of 10": float(np.mean(exact.max_tm - found.max_tm[:10])),
        "max TM lost by the prefilter, largest": float(np.max(exact.max_tm - found.max_tm[:10])),
    }


def validity_speed(chains: Path, jobs: int) -> dict:
    files = listed(chains, 130, 170)[:1000]
    files = (files * (1000 // len(files) + 1))[:1000]
    with tempfile.TemporaryDirectory() as folder:
        for k, file in enumerate(files):
            shutil.copy(file, Path(folder) / f"{k:04d}.pdb.gz")
        start = time.perf_counter()
        result = evaluate([folder], Path(folder) / "out", jobs=jobs)
        return {"n": result.n, "failed": result.n_failed, "seconds": time.perf_counter() - start}


def natives(chains: Path, jobs: int) -> dict:
    with tempfile.TemporaryDirectory() as out:
        result = evaluate(listed(chains, 40, 512, "validation"), out, jobs=jobs)
    names = ("rama_favoured", "rama_outliers", "left_handed_helices", "clash_free", "vdw_clash_score")
    names += tuple(name for name in result.summaries if name.startswith("z_"))
    signed: dict[str, list[float]] = {name: [] for name in TARGETS}
    for protein in proteins_of(listed(chains, 40, 512, "validation")):
        for name, values in covalent_geometry(protein, links(protein)).items():
            signed[name] += ((values - TARGETS[name].ideal) / TARGETS[name].sigma).tolist()
    centres = {name: float(np.median(values)) for name, values in signed.items()}
    left = [float(row["left_handed_helices"]) > 0 for row in result.rows if row["status"] != "error"]
    figures = {name: asdict(result.summaries[name]) for name in names}
    return {
        "n": result.n,
        "failed": result.n_failed,
        "with left-handed helix": float(np.mean(left)),
        "median z": centres,
        **figures,
    }


def broken_copies(chains: Path, jobs: int) -> dict:
    """Fraction of natives whose altered copy the named metric puts on the worse side of the original."""
    del jobs
    rng = np.random.default_rng(0)
    originals = [p for p in proteins_of(listed(chains, 80, 200, "validation")) if p.mask[:, :4].all()][:100]

    def noisy(xyz: np.ndarray) -> np.ndarray:
        return xyz + 0.3 * rng.normal(size=xyz.shape)

    def cut(xyz: np.ndarray) -> np.ndarray:
        moved = xyz.copy()
        moved[len(xyz) // 2 :] += 8.0
        return moved

    def shuffled(xyz: np.ndarray) -> np.ndarray:
        return xyz[rng.permutation(len(xyz))]

    alterations: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, int]] = {
        "noise of 0.3 Å": (noisy, "geometry_outliers", 1),
        "mirrored": (mirror, "mirror_image", 1),
        "cut": (cut, "chain_breaks", 1),
        "shuffled": (shuffled, "chain_breaks", 1),
    }
    result: dict = {"n": len(originals)}
    for name, (alter, metric, sign) in alterations.items():
        worse = []
        for protein in originals:
            plain = Protein.from_backbone(protein.backbone)
            copy = Protein.from_backbone(alter(protein.backbone))
            worse.append(sign * (float(validity(copy)[metric]) - float(validity(plain)[metric])) > 0)
        result[name] = {"metric": metric, "told apart": float(np.mean(worse))}
    return result


def damaged_files(chains: Path, jobs: int) -> dict:
    """1,000 files of which every twentieth is damaged, by ten kinds of damage in turn, with 1, 2 and 4 jobs."""
    del jobs
    files = listed(chains, 40, 80)[:200]
    texts = [gzip.decompress(file.read_bytes()) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "files"
        source.mkdir()
        for k in range(1000):
            text = texts[k % len(texts)]
            text = damage(text, k // 20) if k % 20 == 7 else text
            (source / f"{k:04d}.pdb").write_bytes(text)
        tables, codes = [], []
        for count in (1, 2, 4):
            result = evaluate([source], Path(folder) / str(count), settings=Settings(jobs=count))
            tables.append(result.csv.read_bytes())
            codes.append(result.exit_code)
        failed = [k for k, row in enumerate(result.rows) if row["status"] == "error"]
    return {
        "n": len(result.rows),
        "errors": len(failed),
        "errors are the damaged files": failed == list(range(7, 1000, 20)),
        "order kept": [row["file"] for row in result.rows] == [f"{k:04d}.pdb" for k in range(1000)],
        "exit codes": codes,
        "same table with 1, 2 and 4 jobs": len(set(tables)) == 1,
    }


def damage(text: bytes, kind: int) -> bytes:
    """A file with one of ten kinds of damage."""
    lines = text.splitlines(keepends=True)
    atom = next(k for k, line in enumerate(lines) if line.startswith(b"ATOM"))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: b"<!DOCTYPE html><html>404</html>",
        lambda: b"\x1f\x8b\x08\x00 not a gzip file",
        lambda: bytes(reversed(text)),
        lambda: text.replace(lines[atom], lines[atom][:30] + b"     nan     nan     nan" + lines[atom][54:], 1),
        lambda: text.replace(lines[atom], lines[atom][:30] + b"   x.xxx" + lines[atom][38:], 1),
        lambda: b"HEADER only\nEND\n",
        lambda: b"\x00" * len(text),
        lambda: b"".join(line for line in lines if not line.startswith(b"ATOM")) + b"REMARK no atoms\n",
        lambda: text.replace(lines[atom], lines[atom][:40] + b"\n", 1),
    )
    return kinds[kind % len(kinds)]()


def frechet(chains: Path, jobs: int) -> dict:
    """Distances between halves of natives by their number, and to noisy copies, on descriptors and on fold features."""
    del jobs
    rng = np.random.default_rng(0)
    proteins = [p for p in proteins_of(listed(chains, 60, 200, "train")[:1000]) if p.mask[:, :4].all()]
    order = rng.permutation(len(proteins))
    proteins = [proteins[i] for i in order]
    half = len(proteins) // 2
    read: dict[str, Callable[[list[Protein]], np.ndarray]] = {
        "descriptors": descriptors,
        "fold features": lambda some: read_folds(some).embedding,
    }
    result: dict = {"descriptors": NAMES, "fold network": fold_network_card()["name"], "n of each half": half}
    sizes = [size for size in (20, 50, 100, 200, half) if size <= half]
    own = {
        sigma: [Protein.from_backbone(p.backbone + sigma * rng.normal(size=p.backbone.shape)) for p in proteins[:200]]
        for sigma in (0.0, 0.3, 0.6, 1.0, 2.0)
    }
    copies = {
        sigma: [Protein.from_backbone(p.backbone + sigma * rng.normal(size=p.backbone.shape)) for p in proteins[half:]][
            :200
        ]
        for sigma in (0.0, 0.3, 0.6, 1.0, 2.0)
    }
    for name, measure in read.items():
        features = measure(proteins)
        scaled = standardise(features)[0] if name == "descriptors" else features
        between = {}
        for size in sizes:  # as many pairs of disjoint draws as there are, ten at most
            draws = [rng.permutation(len(scaled))[: 2 * size] for _ in range(10)]
            values = [frechet_distance(scaled[draw[:size]], scaled[draw[size:]]) for draw in draws]
            between[size] = {"mean": float(np.mean(values)), "deviation": float(np.std(values))}
        noise = []
        for kind in (own, copies):
            pairs = {sigma: [features[:200], measure(moved)] for sigma, moved in kind.items()}
            pairs = {s: standardise(*pair) if name == "descriptors" else pair for s, pair in pairs.items()}
            noise.append({sigma: frechet_distance(*pair) for sigma, pair in pairs.items()})
        values = list(noise[0].values())
        result[name] = {
            "between draws of natives, by n": between,
            "n times the mean": {size: size * entry["mean"] for size, entry in between.items()},
            "200 natives and their own copies with noise, by Å": noise[0],
            "200 natives and 200 others with noise, by Å": noise[1],
            "grows with noise": values == sorted(values),
        }
    return result


def agreement(chains: Path, jobs: int) -> dict:
    """DSSP strings and Rg against mdtraj on the file itself, and Rg against biotite, over 200 natives."""
    del jobs
    import biotite.structure as struc
    import mdtraj

    same, gap = [], []
    for file in listed(chains, 60, 250)[:200]:
        protein = read_structure(file)
        with tempfile.NamedTemporaryFile(suffix=".pdb") as handle:
            write_structure(protein, handle.name)
            trajectory = mdtraj.load(handle.name)
        ca = trajectory.xyz[0, trajectory.topology.select("name CA")] * 10.0
        codes = "".join(mdtraj.compute_dssp(trajectory, simplified=True)[0]).replace("NA", "-")
        same.append(codes == secondary_structure(protein))
        atoms = struc.AtomArray(len(ca))
        atoms.coord, atoms.element = ca.astype(np.float32), np.full(len(ca), "C")
        gap.append(abs(float(struc.gyration_radius(atoms)) - radius_of_gyration(protein)))
    return {"n": len(same), "same DSSP string": float(np.mean(same)), "largest Rg difference, Å": max(gap)}


PARTS: dict[str, Callable[[Path, int], dict]] = {
    "clusters": clusters,
    "novelty": nearest,
    "validity": validity_speed,
    "natives": natives,
    "broken": broken_copies,
    "damaged": damaged_files,
    "frechet": frechet,
    "agreement": agreement,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evaluation"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.parts.split(","):
        start = time.perf_counter()
        result = {
            "command": f"python benchmarks/evaluation.py CHAINS --parts {name} --jobs {options.jobs}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}",
            **PARTS[name](options.chains, options.jobs),
        }
        (options.out / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(
            name, f"{time.perf_counter() - start:.0f} s", json.dumps(result, indent=1, ensure_ascii=False), flush=True
        )


if __name__ == "__main__":
    main()
