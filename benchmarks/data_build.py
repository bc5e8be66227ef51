"""What building a store costs, and what 200,000 files would: files/s, bytes, memory, search for relatives, loading.

    python benchmarks/data_build.py CHAINS --sizes 200 800 --out benchmarks/results/data_build.json

CHAINS is a folder of structure files, or several. Each size is built by a process of its own, without an index and by
`--clusters builtin`; files are drawn with a seed. CPU seconds are of that process, so that they mean the same on a
machine that does other work. What is on both sides of the split is timed by sequence and by fold, with a fifth held
out, so that there is something to time: the search of sequences grows with held-out times training items, that of folds
with the training items, times the held-out ones that are searched (`--folds`). What is planned is for what `protgen
data build` does unasked, 4 % held out and 50 searched, with the built-in search. Loading is the time of batches of
12,288 residue pairs from the store, against a forward and backward pass of the released `flow-small` over them.

With `--recall` it says instead what the built-in search for relatives misses: of all pairs within the clusters of the
index (column cluster40) that align with 40 % identity over 80 % of the shorter chain, how many it finds.
"""

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

PLANNED = 200_000
HELD_OUT, SEARCHED = 0.04, 50  # of `protgen data build`: fraction of clusters, and items whose folds are searched
TIMED = 0.2  # held out here


def build_one(folder: Path, out: Path, folds: int) -> dict:
    """Build a store and say what it took; in a process of its own."""
    from protgen.data import build as building
    from protgen.data import leakage
    from protgen.data.build import BuildOptions, build
    from protgen.data.clusters import Clustering
    from protgen.data.windows import Filters
    from protgen.metrics.novelty import novelty

    spent, held = {}, {}

    def timed(module, name: str):
        original = getattr(module, name)

        def wrapper(*arguments, **keywords):
            start = time.process_time()
            try:
                return original(*arguments, **keywords)
            finally:
                spent[name] = round(time.process_time() - start, 3)

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
    parts = ("read_all", "gather", "relatives_of", "join_sequences", "leakage", "write_store")
    for name in parts:
        timed(building, name)
    for name in ("_by_sequence", "_by_fold"):
        timed(leakage, name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = BuildOptions(clustering=Clustering(program="builtin"), folds=novelty, searched=folds)
    counts = build(folder, out, Filters(validation_fraction=TIMED), options)
    report = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["leakage"]
    arrays = sum(path.stat().st_size for path in out.glob("arrays-*/*.npy"))
    return {
        "files": counts["read"],
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


def load_one(store: Path, batches: int = 40) -> dict:
    """Items of a store that a second of one core loads, and those that one trains on."""
    import torch

    from protgen.data.dataset import StoreBatches
    from protgen.data.store import Store
    from protgen.models.released import load

    torch.set_num_threads(1)
    start = time.process_time()
    source = StoreBatches(Store(store), 12_288, seed=0)
    opening = time.process_time() - start
    start = time.process_time()
    made = [source(step) for step in range(batches)]
    loading = time.process_time() - start
    model = load("flow-small")
    rng = torch.Generator().manual_seed(0)
    start = time.process_time()
    for batch in made[:3]:
        cond = model.conditions.from_data(batch, rng)
        model.family.loss(model.family.space.encode(batch), cond, rng).total.backward()
    training = (time.process_time() - start) / 3
    items = sum(len(batch.mask) for batch in made) / batches
    return {
        "seconds_to_open": round(opening, 3),
        "items_loaded_per_cpu_second": round(items * batches / loading),
        "items_trained_per_cpu_second": round(items / training, 1),
    }


def planned(results: list[dict]) -> dict:
    """What the planned number of files would take: reading and bytes grow as files, sequence searches as their square.

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
    folds = seconds["_by_fold"] / (large["folds_searched"] * large["training_items"])
    return {
        "files": PLANNED,
        "cpu_hours_of_reading": round(seconds["read_all"] * factor / 3600, 2),
        "cpu_hours_of_sequence_search": round(seconds["join_sequences"] * factor**2 / 3600, 2),
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


def measured(files: list[Path], size: int, scratch: Path, folds: int) -> tuple[dict, Path]:
    """Build a store of some files in another process."""
    folder, out = scratch / f"in{size}", scratch / f"store{size}"
    folder.mkdir()
    for path in random.Random(0).sample(files, size):
        (folder / path.name).symlink_to(path.resolve())
    return asked("build", str(folder), str(out), str(folds)), out


def asked(*words: str) -> dict:
    """What a process of this script prints."""
    done = subprocess.run([sys.executable, __file__, "--work", *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path, nargs="*")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--folds", type=int, default=10, help="held-out items whose nearest fold is searched")
    parser.add_argument("--recall", action="store_true", help="what the search for relatives misses")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        task, *words = given.work
        paths = [Path(word) for word in words[:2]]
        print(json.dumps(build_one(paths[0], paths[1], int(words[2])) if task == "build" else load_one(paths[0])))
        return
    if given.recall:
        print(json.dumps(recall(given.chains[0])))
        return
    from protgen.structure.file_names import is_structure_name

    files = sorted(path for folder in given.chains for path in folder.rglob("*") if is_structure_name(path))
    with tempfile.TemporaryDirectory() as scratch:
        results = []
        for size in given.sizes:
            found, store = measured(files, size, Path(scratch), given.folds)
            results.append(found)
        report = {"seed": 0, "builds": results, "planned": planned(results), "loading": asked("load", str(store))}
    text = json.dumps(report, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
