"""Damage what earlier runs and other people wrote, and see that reading it gives a result or one line, never a crash.

    python benchmarks/fuzz_documents.py --n 10000 --out benchmarks/results/fuzz_documents.json

Structure files of each format, stores, `index.csv`, records of runs and designs, rows of evaluations, FASTA, and states
of training checkpoints: bytes changed at seeded places, and values of JSON replaced by strange ones with the checksum
made anew, as someone who means harm would. Model folders have their own: `tests/unit/test_hostile_models.py` with
PROTGEN_FUZZ.

What is done of `--out` with the same `--n` and `--seed` is not done again: a run may be interrupted after any target.
"""

import argparse
import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protgen.atomic import write_text
from protgen.data.build import find_sources
from protgen.data.store import Item, Store, write_store
from protgen.errors import ProtgenError
from protgen.evaluation.collect import name_sets
from protgen.evaluation.design_records import read_record, recorded_residue
from protgen.evaluation.reference import _read_splits
from protgen.evaluation.row_log import ROWS, KeptRow, RowLog
from protgen.evaluation.run_progress import progress_of
from protgen.evaluation.sequence_design import motif_residues
from protgen.integrity import SEAL, fingerprints, sealed
from protgen.structure.fasta import read_fasta
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure
from protgen.training.checkpoint import best_step, restore, save_checkpoint, snapshot
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.progress import Averages
from protgen.training.settings import TrainSettings
from protgen.training.stopping import EarlyStopping

NAMES = ["ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS", "ILE"]
STRANGE = [None, True, -1, 0, 3, 10**6, 10**30, -0.5, 1e308, "", "x", "../x", "\0", [], [[]], {}, {"name": "x"}]
TOKENS = [b"1e999", b"NaN", b"-1", b"null", b"[]", b'"x"', b"\xff\xfe", b"\0", b"\r\n", b'"', b",", b"{", b">", b"1_0"]
PATIENT = TrainSettings(patience=3)


@dataclass(frozen=True)
class Target:
    """What is damaged.

    Attributes:
        make: writes whole files into a folder and returns the one that is damaged.
        use: reads them as commands do.
    """

    make: Callable[[Path], Path]
    use: Callable[[Path], Any]


def changed(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one to four changes: a bit, a byte, a piece cut, doubled, moved or put in, the end cut off."""
    for _ in range(rng.randrange(1, 5)):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 64))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + data[at + size :]
        elif kind == 3:
            data = data[: at + size] + data[at:]
        elif kind == 4:
            data = data[:at] + rng.choice(TOKENS) + data[at + rng.randrange(4) :]
        elif kind == 5:
            data = data[:at]
        else:
            other = rng.randrange(len(data) + 1)
            data = data[:at] + data[other : other + size] + data[at:]
    return data


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every entry of a JSON value, by keys and numbers."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [place for key, entry in entries for place in places(entry, (*at, key))]
    return [at, *below] if at else below


def replaced(text: str, rng: random.Random) -> str:
    """A JSON object with a strange value at some place, sealed anew where it was sealed."""
    content = json.loads(text)
    at = rng.choice(places(content))
    holder = content
    for key in at[:-1]:
        holder = holder[key]
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[at[-1]]
    else:
        holder[at[-1]] = rng.choice(STRANGE)
    return json.dumps(sealed(content) if SEAL in content else content)


def make_store(folder: Path) -> Path:
    """Two structures."""
    rng = np.random.default_rng(0)
    items = [
        Item(name, rng.normal(size=(n, 4, 3)).astype(np.float32), np.zeros(n, np.uint8), np.arange(n, dtype=np.int32),
             split, name, {"length": n, "rg": 10.5})
        for name, n, split in (("a", 7, "train"), ("b", 4, "validation"))
    ]  # fmt: skip
    write_store(folder, items, [{"id": "x", "reason": "odd"}], {"filters": {}})
    return folder / "manifest.json"


def make_array(folder: Path) -> Path:
    """The same store; its atoms are damaged."""
    make_store(folder)
    return next(folder.glob("arrays-*/atoms.npy"))


def use_store(path: Path) -> None:
    """Open it, and read every item."""
    folder = path.parent if path.name == "manifest.json" else path.parent.parent
    store = Store(folder)
    for split in ("train", "validation"):
        _ = [store[int(k)].facts for k in store.indices(split)]
    Store(folder, verify=False)


def make_index(folder: Path) -> Path:
    """An index of three files."""
    (folder / "index.csv").write_text(
        "file,split,resolution,cluster40\na.pdb,train,2.0,1\nb.pdb,validation,,2\nc.pdb,,NMR,\n"
    )
    return folder / "index.csv"


def use_index(path: Path) -> None:
    """As a source folder, and as a folder of references."""
    find_sources(path.parent)
    _read_splits(path.parent)


def make_run(folder: Path) -> Path:
    """The record of a part with one design."""
    make_design(folder)
    (folder / "run_0000-0000.json").unlink()
    record = {"status": "running", "n": 4, "part": {"first": 0, "last": 1, "asked": "--shard 1/2"},
              "request": {"format": "pdb", "seed": 0, "conditions": []}, "n_done": 1}  # fmt: skip
    (folder / "run_0000-0001.json").write_text(json.dumps(record, indent=2))
    return folder / "run_0000-0001.json"


def make_design(folder: Path) -> Path:
    """A design and its record, with a motif."""
    structure = folder / "design_0000.pdb"
    write_structure(Protein.from_backbone(ideal_helix(6)), structure)
    own, theirs = ({"chain": "A", "residue": k, "insertion": ""} for k in (2, 30))
    asked = [{"condition": "motif", "file": "m.pdb"}, {"condition": "symmetry", "group": "C2"}]
    record = {"index": 0, "motif": [{"design": own, "motif": theirs}], "requested": asked}
    (folder / "run_0000-0000.json").write_text('{"status": "done", "n": 1, "request": {"format": "pdb"}}')
    content = sealed(record | {"files": fingerprints(folder, [structure.name])})
    (folder / "design_0000.json").write_text(json.dumps(content))
    return folder / "design_0000.json"


def use_run(path: Path) -> None:
    """As `status` does, and as `evaluate` does with two folders."""
    name_sets([path.parent], [("design_0000.pdb", path.parent / "design_0000.pdb")])
    progress_of([path.parent])


def use_design(path: Path) -> None:
    """As `design-sequences` does, and as `status` does."""
    record = read_record(path.with_suffix(".pdb"))
    motif_residues(record, Protein.from_backbone(ideal_helix(6)))
    _ = [recorded_residue(entry["motif"]) for entry in record.get("motif") or []]
    _ = [entry.get("condition") for entry in record.get("requested", [])]
    progress_of([path.parent])


def make_rows(folder: Path) -> Path:
    """Three rows."""
    with RowLog(folder, {"strict": False}, resume=False, wanted=[]) as log:
        for name in "abc":
            row = {"file": name, "status": "ok", "message": "", "length": 5, "x": 0.25}
            log.add((name, 0), KeptRow(row, {"bytes": 3, "sha256": "0" * 64}))
    return folder / ROWS


def use_rows(path: Path) -> None:
    """As `evaluate --resume` does: a row that is used is one that was written."""
    for (name, _), kept in RowLog(
        path.parent, {"strict": False}, resume=True, wanted=[(n, 0) for n in "abc"]
    ).known.items():
        assert kept.row == {"file": name, "status": "ok", "message": "", "length": 5, "x": 0.25}


def make_fasta(folder: Path) -> Path:
    """Two sequences."""
    (folder / "a.fasta").write_text(">0 score=1.5\nACDEFGHIK\n>1 score=1.25\nACDEF\nGHIKL*\n")
    return folder / "a.fasta"


def structure_maker(name: str) -> Callable[[Path], Path]:
    """Writes a helix with its residue types, by the suffix of a name: eight residues in two chains."""

    def make(folder: Path) -> Path:
        chains = np.array(["A"] * 5 + ["B"] * 3)
        protein = Protein.from_backbone(ideal_helix(8), chain_ids=chains, residue_names=np.array(NAMES))
        write_structure(protein, folder / name)
        return folder / name

    return make


def make_bcif(folder: Path) -> Path:
    """The same as BinaryCIF, with the encodings of the archive."""
    from biotite.structure.io import pdbx

    text = pdbx.CIFFile.read(structure_maker("x.cif")(folder))
    binary = pdbx.BinaryCIFFile()
    binary["x"] = pdbx.BinaryCIFBlock()
    for name, category in text.block.items():
        columns = {key: pdbx.BinaryCIFColumn(pdbx.BinaryCIFData(typed(column))) for key, column in category.items()}
        binary["x"][name] = pdbx.BinaryCIFCategory(columns)
    packed: Any = pdbx.compress(binary)
    packed.write(folder / "x.bcif")
    return folder / "x.bcif"


def typed(column: Any) -> np.ndarray:
    """Values of a column of mmCIF as whole numbers, else as numbers, else as texts."""
    for kind in (np.int32, np.float32):
        try:
            return column.as_array(kind)
        except ValueError:
            pass
    return column.as_array(str)


def make_state(folder: Path) -> Path:
    """A checkpoint of step 3 of a small network, with averages and early stopping."""
    module, ema, optimizer = small_training()
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    averages, stopping = Averages(), EarlyStopping(PATIENT)
    averages.add({"loss": 1.5, "grad_norm": math.inf})
    stopping.look(2, {"validation_loss": 1.25})
    counters = {"step": 3, "minutes": 0.5, "averages": averages.to_json(), "ema_updates": 3,
                "stopping": stopping.to_json()}  # fmt: skip
    return save_checkpoint(folder, counters, snapshot(module, ema, optimizer).items(), keep=1) / "state.json"


def small_training() -> tuple[torch.nn.Module, ExponentialMovingAverage, torch.optim.Optimizer]:
    """What a checkpoint is of."""
    module = torch.nn.Linear(2, 1)
    return module, ExponentialMovingAverage(module, 0.9), torch.optim.AdamW(module.parameters())


def use_state(path: Path) -> None:
    """As a resumed training does, to its next step, its next logged step and its next checkpoint."""
    module, ema, optimizer = small_training()
    state = restore(path.parents[2], module, ema, optimizer)
    assert state is not None
    averages, stopping = Averages(state.get("averages")), EarlyStopping(PATIENT, state.get("stopping"))
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    ema.update(module)
    averages.add({"loss": 1.0, "grad_norm": 1.0})
    averages.take(4, 0.1)
    stopping.look(4, {"validation_loss": 1.0})
    best_step(path.parent)


def use_structure(path: Path) -> None:
    """As every command does."""
    assert read_structure(path).length > 0


TARGETS = {
    "PDB": Target(structure_maker("x.pdb"), use_structure),
    "PDB, gzip": Target(structure_maker("x.pdb.gz"), use_structure),
    "mmCIF": Target(structure_maker("x.cif"), use_structure),
    "BinaryCIF": Target(make_bcif, use_structure),
    "manifest of a store": Target(make_store, use_store),
    "array of a store": Target(make_array, use_store),
    "index.csv": Target(make_index, use_index),
    "record of a run": Target(make_run, use_run),
    "record of a design": Target(make_design, use_design),
    "rows of an evaluation": Target(make_rows, use_rows),
    "FASTA": Target(make_fasta, read_fasta),
    "state of a checkpoint": Target(make_state, use_state),
}


def outcome(target: Target, path: Path) -> str:
    """What reading gives: "read", "refused" (by one line of ours), or the error that is a fault of ours."""
    try:
        target.use(path)
    except ProtgenError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    except Exception as error:  # what is looked for
        return f"{type(error).__name__}: {error}"
    return "read"


def fuzz(name: str, n: int, seed: int, home: Path) -> Counter[str]:
    """Outcomes of n damaged versions of one target.

    Args:
        name: of the target.
        n: how many; a third have values of JSON replaced, where it is JSON that can be sealed anew.
        seed: of the damage.
        home: for its files.
    """
    target, rng = TARGETS[name], random.Random(f"{seed} {name}")
    home.mkdir(parents=True, exist_ok=True)
    path = target.make(home)
    whole = path.read_bytes()
    assert outcome(target, path) == "read", outcome(target, path)
    found = Counter[str]()
    for k in range(n):
        by_value = path.suffix == ".json" and k % 3 == 0
        data = replaced(whole.decode(), rng).encode() if by_value else changed(whole, rng)
        path.write_bytes(data)
        found[outcome(target, path)] += 1
    return found


def done(out: Path | None, asked: dict[str, int]) -> dict[str, Any]:
    """What an earlier run with the same numbers has left; empty if there was none."""
    before = json.loads(out.read_text()) if out is not None and out.is_file() else {}
    return before if asked.items() <= before.items() else {}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Damage stores, indices, records and sequences, and read them.")
    parser.add_argument("--n", type=int, default=10_000, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    asked = {"n_of_each": options.n, "seed": options.seed}
    result = done(options.out, asked) or {**asked, "outcomes": {}, "cpu_seconds": {}}
    found = result["outcomes"]
    with tempfile.TemporaryDirectory() as home:
        for number, name in enumerate(TARGETS):
            begun = time.process_time()
            if name not in found:
                found[name] = dict(fuzz(name, options.n, options.seed, Path(home) / str(number)))
                result["cpu_seconds"][name] = round(time.process_time() - begun, 1)
            print(name, found[name], flush=True)
            if options.out:
                write_text(options.out, json.dumps(result, indent=1) + "\n")
    assert all(set(outcomes) <= {"read", "refused"} for outcomes in found.values()), "faults"


if __name__ == "__main__":
    main()
