"""What building a store costs, and what 200,000 files would: files/s, bytes, memory, search for relatives, loading.

    python benchmarks/data_build.py CHAINS --sizes 200 1000 7000 --out benchmarks/results/data_build.json

CHAINS is a folder of structure files, with an `index.csv` for what is missed. Each size (all files, where there are
fewer) is built by a process of its own, without the index, once with the built-in search for relatives and once with
MMseqs2, where it is installed; files are drawn with a seed. CPU seconds are of that process and of the programs that it
starts, so that they mean the same on a machine that does other work. What is on both sides of the split is timed by
sequence and by fold, with a fifth held out, so that there is something to time: the search of sequences grows with
held-out times training items, that of folds with the training items, times the held-out ones that are searched
(`--folds`). What is planned is for what `protgen data build` does unasked, 4 % held out and 50 searched, from the
largest size; the search for relatives by the power that it grows with between the two largest. Loading is the time of
batches of 12,288 residue pairs from the largest store, in one file a field and in files of 1 MB, in turns, against a
forward and backward pass of the released `flow-small` over them.

What the searches miss: of all pairs within the clusters of the index (column cluster40) that align with 40 % identity
over 80 % of the shorter chain, how many the built-in one finds; and of 200 chains against 1,000 others, which pairs
each of the two programs finds.
"""

import argparse
import itertools
import json
import math
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import cast

PLANNED = 200_000
HELD_OUT, SEARCHED = 0.04, 50  # of `protgen data build`: fraction of clusters, and items whose folds are searched
TIMED = 0.2  # held out here
PARTS = ("read_all", "gather", "leakage", "write_store")
SETTLED = ("relatives_of", "join_sequences")
SEARCHES = ("_by_sequence", "_by_fold")
SMALL_FILES = 1_000_000  # bytes of an array file of the store that is loaded in parts


def cpu() -> float:
    """CPU seconds of this process and of those that it started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def build_one(folder: Path, out: Path, folds: int, program: str) -> dict:
    """Build a store and say what it took; in a process of its own."""
    from protgen.data import build as building
    from protgen.data import leakage, settling
    from protgen.data.build import BuildOptions, build
    from protgen.data.clusters import Clustering, Program
    from protgen.data.windows import Filters
    from protgen.metrics.novelty import novelty

    spent, held = {}, {}

    def timed(module, name: str):
        original = getattr(module, name)

        def wrapper(*arguments, **keywords):
            start = cpu()
            try:
                return original(*arguments, **keywords)
            finally:
                spent[name] = round(spent.get(name, 0.0) + cpu() - start, 3)

        setattr(module, name, wrapper)

    def weighed(module, name: str):
        original = getattr(module, name)

        def wrapper(*arguments, **keywords):
            tracemalloc.start()
            found = original(*arguments, **keywords)
            held[name] = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return found

        setattr(module, name, wrapper)

    for name in ("find_sources", "tasks_of", "gather"):
        weighed(building, name)
    for name in PARTS:
        timed(building, name)
    for name in SETTLED:
        timed(settling, name)
    for name in SEARCHES:
        timed(leakage, name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = BuildOptions(clustering=Clustering(program=cast(Program, program)), folds=novelty, searched=folds)
    counts = build(folder, out, Filters(validation_fraction=TIMED), options)
    report = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["leakage"]
    arrays = sum(path.stat().st_size for path in out.glob("arrays-*/*.npy"))
    return {
        "files": counts["read"],
        "clusters_by": program,
        "items": counts["kept"],
        "held_out_items": report["held_out_items"],
        "training_items": report["training_items"],
        "folds_searched": report["fold"]["items_searched"],
        "cpu_seconds": spent,
        "files_per_cpu_second": round(counts["read"] / spent["read_all"], 1),
        "bytes_of_arrays_per_item": round(arrays / counts["kept"]),
        "bytes_of_manifest_per_item": round((out / "manifest.json").stat().st_size / counts["kept"]),
        "bytes_of_memory_per_file": round(sum(held.values()) / counts["read"]),
        "megabytes_before": round(before / 1024, 1),
        "megabytes_at_most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def load_one(store: Path, parts: Path, batches: int = 40, rounds: int = 3) -> dict:
    """Items of a store, and of the same one in small files, that a second of one core loads, and that one trains on."""
    import torch

    from protgen.data.dataset import StoreBatches
    from protgen.data.store import Store
    from protgen.models.released import load
    from protgen.types import Batch

    torch.set_num_threads(1)
    start = time.process_time()
    sources = {"one file a field": StoreBatches(Store(store), 12_288, seed=0)}
    opening = time.process_time() - start
    sources["files of 1 MB"] = StoreBatches(Store(parts), 12_288, seed=0)
    rates: dict[str, list[float]] = {name: [] for name in sources}
    made: list[Batch] = []
    for number in range(rounds):
        for name, source in sources.items():
            start = time.process_time()
            made = [source(step) for step in range(number * batches, (number + 1) * batches)]
            rates[name].append(sum(len(batch.mask) for batch in made) / (time.process_time() - start))
    model = load("flow-small")
    rng = torch.Generator().manual_seed(0)
    start = time.process_time()
    for batch in made[:3]:
        cond = model.conditions.from_data(batch, rng)
        model.family.loss(model.family.space.encode(batch), cond, rng).total.backward()
    training = (time.process_time() - start) / 3
    return {
        "seconds_to_open": round(opening, 3),
        "array_files": {"one file a field": files_of(store), "files of 1 MB": files_of(parts)},
        "items_loaded_per_cpu_second": {name: round(median(values)) for name, values in rates.items()},
        "items_trained_per_cpu_second": round(sum(len(batch.mask) for batch in made[:3]) / 3 / training, 1),
    }


def files_of(store: Path) -> int:
    """How many files of arrays a store has."""
    return sum(1 for _ in store.glob("arrays-*/*.npy"))


def build_in_parts(folder: Path, out: Path) -> dict:
    """Build the same store in small files."""
    from protgen.data.build import BuildOptions, build
    from protgen.data.clusters import Clustering
    from protgen.data.windows import Filters

    options = BuildOptions(clustering=Clustering(), most_bytes=SMALL_FILES)
    return build(folder, out, Filters(validation_fraction=TIMED), options)


def planned(results: list[dict]) -> dict:
    """What the planned number of files would take: reading and bytes grow as files.

    The search for relatives grows by the power that is seen between the two largest sizes, at least 1 and at most 2.
    The folds of a number of held-out items that does not grow are searched, against training items that do.
    """
    large = results[-1]
    factor = PLANNED / large["files"]
    # What grows is what each file leaves in memory, and the text of the manifest, which is made as text and as bytes.
    growth = large["bytes_of_memory_per_file"] + 2 * large["bytes_of_manifest_per_item"]
    seconds = large["cpu_seconds"]
    items = large["items"] * factor
    held_out, training = HELD_OUT * items, (1 - HELD_OUT) * items
    pair = seconds["_by_sequence"] / (large["held_out_items"] * large["training_items"])
    relatives = seconds["join_sequences"]
    power = 2.0
    if len(results) > 1:
        before = results[-2]
        power = math.log(relatives / before["cpu_seconds"]["join_sequences"]) / math.log(
            large["files"] / before["files"]
        )
        power = min(max(power, 1.0), 2.0)
    folds = seconds["_by_fold"] / (large["folds_searched"] * large["training_items"])
    return {
        "files": PLANNED,
        "from_files": large["files"],
        "clusters_by": large["clusters_by"],
        "cpu_hours_of_reading": round(seconds["read_all"] * factor / 3600, 2),
        "cpu_hours_of_sequence_search": round(relatives * factor**power / 3600, 2),
        "power_of_sequence_search": round(power, 2),
        "cpu_hours_of_leakage_by_sequence": round(pair * held_out * training / 3600, 2),
        "cpu_hours_of_leakage_by_fold": round(folds * SEARCHED * training / 3600, 2),
        "gigabytes_of_arrays": round(large["bytes_of_arrays_per_item"] * items / 1e9, 2),
        "gigabytes_of_manifest": round(large["bytes_of_manifest_per_item"] * items / 1e9, 3),
        "gigabytes_of_memory": round(large["megabytes_at_most"] / 1024 + growth * PLANNED / 1e9, 2),
    }


def recall(folder: Path, identity: float = 0.4, coverage: float = 0.8, short: int = 80) -> dict:
    """Pairs that are alike, and those of them that the search finds; some are `short`, below so many residues."""
    from protgen.data.sequence_search import compare, matches
    from protgen.data.windows import residue_types
    from protgen.documents import read_table
    from protgen.structure.reader import read_structure

    members: dict[str, list[Path]] = {}
    for row in read_table(folder / "index.csv"):
        members.setdefault(row["cluster40"], []).append(folder / row["file"])
    counts = {"clusters": 0, "alike": 0, "found": 0, "short_alike": 0, "short_found": 0}
    for paths in members.values():
        if len(paths) < 2:
            continue
        texts = [residue_types(read_structure(path).residue_names).tobytes() for path in paths]
        hits = {(match.first, match.second) for match in matches(texts, identity=identity, coverage=coverage)}
        counts["clusters"] += 1
        for j, i in itertools.combinations(range(len(texts)), 2):
            pair = compare(texts[i], texts[j])
            alike = pair is not None and pair[0] >= identity and pair[1] >= coverage
            is_short = min(len(texts[i]), len(texts[j])) < short
            counts["alike"] += alike
            counts["found"] += alike and (i, j) in hits
            counts["short_alike"] += alike and is_short
            counts["short_found"] += alike and is_short and (i, j) in hits
    return counts


def found_by_both(folder: Path, identity: float = 0.4, coverage: float = 0.8) -> dict:
    """Pairs of 200 chains and 1,000 others that the built-in search and MMseqs2 find, and what one misses of them."""
    from protgen.data.mmseqs import find_mmseqs, matched_pairs
    from protgen.data.sequence_search import matches
    from protgen.data.windows import residue_types
    from protgen.structure.file_names import is_structure_name
    from protgen.structure.reader import read_structure

    files = sorted(path for path in folder.rglob("*") if is_structure_name(path))
    chosen = [read_structure(path) for path in random.Random(0).sample(files, min(1200, len(files)))]
    texts = [residue_types(protein.residue_names).tobytes() for protein in chosen]
    queries, targets = texts[:200], texts[200:]
    program = find_mmseqs()
    if program is None:
        return {}
    found = {}
    for name, search in (
        ("builtin", lambda: matches(queries, targets, identity=0.0, coverage=coverage)),
        ("mmseqs", lambda: matched_pairs(program, queries, targets, coverage)),
    ):
        start = cpu()
        pairs = {(match.first, match.second): match.identity for match in search()}
        found[name] = pairs, round((cpu() - start) * 1e6 / (len(queries) * len(targets)), 2)
    (own, own_time), (others, others_time) = found["builtin"], found["mmseqs"]
    return {
        "queries": len(queries),
        "targets": len(targets),
        "cpu_microseconds_a_pair": {"builtin": own_time, "mmseqs": others_time},
        "found": {"builtin": len(own), "mmseqs": len(others)},
        "of_40_percent": {
            "builtin": sum(value >= identity for value in own.values()),
            "mmseqs": sum(value >= identity for value in others.values()),
            "missed by mmseqs": sum(value >= identity and pair not in others for pair, value in own.items()),
            "missed by builtin": sum(value >= identity and pair not in own for pair, value in others.items()),
        },
    }


def linked(files: list[Path], size: int, scratch: Path) -> Path:
    """A folder of some of the files."""
    folder = scratch / f"in{size}"
    folder.mkdir()
    for path in random.Random(0).sample(files, size):
        (folder / path.name).symlink_to(path.resolve())
    return folder


def asked(*words: str) -> dict:
    """What a process of this script prints."""
    done = subprocess.run([sys.executable, __file__, "--work", *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(task: str, *words: str) -> dict:
    """One task of a process of its own."""
    paths = [Path(word) for word in words[:2]]
    if task == "build":
        return build_one(paths[0], paths[1], int(words[2]), words[3])
    if task == "parts":
        return build_in_parts(*paths)
    return {"load": load_one, "recall": recall, "both": found_by_both}[task](*paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path, nargs="?")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 7000])
    parser.add_argument("--folds", type=int, default=10, help="held-out items whose nearest fold is searched")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(work(*given.work)))
        return
    from protgen.data.mmseqs import find_mmseqs
    from protgen.structure.file_names import is_structure_name

    files = sorted(path for path in given.chains.rglob("*") if is_structure_name(path))
    programs = ["builtin"] if find_mmseqs() is None else ["builtin", "mmseqs"]
    sizes = sorted({min(size, len(files)) for size in given.sizes})
    builds: dict[str, list[dict]] = {program: [] for program in programs}
    folder = store = Path()
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            folder = linked(files, size, Path(scratch))
            for program in programs:
                store = Path(scratch, f"store{size}-{program}")
                builds[program].append(asked("build", str(folder), str(store), str(given.folds), program))
                print(json.dumps(builds[program][-1]), flush=True)
        asked("parts", str(folder), str(Path(scratch, "parts")))
        report = {
            "command": f"python benchmarks/data_build.py CHAINS --sizes {' '.join(map(str, given.sizes))} "
            f"--folds {given.folds}",
            "machine": f"{platform.machine()}, one of {os.cpu_count()} cores; Python {platform.python_version()}",
            "seed": 0,
            "builds": list(itertools.chain(*builds.values())),
            "planned": [planned(results) for results in builds.values()],
            "loading": asked("load", str(store), str(Path(scratch, "parts"))),
            "recall": asked("recall", str(given.chains)),
            "both_searches": asked("both", str(given.chains)),
        }
    text = json.dumps(report, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
