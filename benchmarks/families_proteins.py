"""Every family over two encoders on the same proteins, at equal parameters and equal CPU time: one table.

    python benchmarks/families_proteins.py STORE --out benchmarks/results/families_proteins [--minutes 40]
        [--parameters 1500000] [--families flow_matching,diffusion] [--encoders egnn,gvp] [--n 50] [--seed 0]
        [--seeds flow_matching:egnn=3,autoregressive:egnn=3] [--jobs 2] [--table docs/families.md]

STORE is made by `protgen data build CHAINS --max-length 96 --out STORE`. Each cell, a family over an encoder, trains
in a process of its own on one thread for `--minutes` of CPU time, over which the learning rate falls, then makes `--n`
designs of 40-96 residues with default settings, and is asked for the log-likelihood of validation items without y.
The width of the encoder is the one that brings the parameters of the whole nearest to `--parameters`. Cells named in
`--seeds` are run for so many seeds from `--seed` on. A run goes on where it stopped, within a cell too
(`families_cell.py` says what it keeps); SIGTERM ends it at the next step. Designs stay in OUT/cells/CELL/designs, where
`benchmarks/refold.py STORE --designs CELL=FOLDER` judges them; `--refold RESULT` takes its figures into the page, and
`--beside FOLDER` cells of another budget where this one has none.

Measures of densities differ: on frames nats are with respect to Å^(3 (l - 1)) rad^(3 l) of centred positions and
rotations, on torsions to radians and standardised bond angles of what exists. No constant converts one to the other: a
joint of frames has a bond length, two angles and three torsions, one of torsions has the angles and torsions, and
N-CA-C beside. So there is a table for each space, of -log p / l as `protgen evaluate` prints it (lower is likelier),
next to the number of the noise of the space (`likelihoods.py --baselines`), above which a model has learned nothing. A
flow over torsions sees no frames, so its one encoder is the plain transformer. `classical` is not here: it is fitted to
descriptors and has no structures to give.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from families_cell import FAMILIES, Cell, machine, run_cell
from families_page import draw_curves, row_of_designs, whole_page

from protgen.atomic import write_text
from protgen.types import JSON

RESULTS = Path(__file__).parent / "results"
CURVES = "curves.png"
STOPPED = 143  # exit code of a cell that was told to stop


def options_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0, help="CPU time of each training")
    parser.add_argument("--parameters", type=int, default=1_500_000)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--encoders", default="egnn,gvp")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", default="", help="FAMILY:ENCODER=COUNT of cells that are run more than once")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time; CPU time is each process's own")
    parser.add_argument("--refold", type=Path, help="what benchmarks/refold.py found of the designs, by cell")
    parser.add_argument("--table", type=Path, default=None, help="where the page goes; printed as well")
    parser.add_argument("--beside", type=Path, help="cells of another budget, for a section of the page")
    parser.add_argument("--only-page", action="store_true", help="no training: the page of what there is")
    parser.add_argument("--cell", default=None, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """All cells, those of further seeds last."""
    counts = {name: int(count) for name, count in (part.split("=") for part in options.seeds.split(",") if part)}
    pairs = [
        (family, encoder)
        for family in options.families.split(",")
        for encoder in (["transformer"] if family == "normalizing_flow" else options.encoders.split(","))
    ]
    unknown = set(counts) - {f"{family}:{encoder}" for family, encoder in pairs}
    if unknown:
        raise SystemExit(f"--seeds names {', '.join(sorted(unknown))}, which is no cell of this run")
    return [
        Cell(
            family,
            encoder,
            options.seed + k,
            options.minutes,
            options.parameters,
            options.n,
            options.store,
            options.out,
        )
        for k in range(max(counts.values(), default=1))
        for family, encoder in pairs
        if k < counts.get(f"{family}:{encoder}", 1)
    ]


def ran(cell: Cell, command: str) -> JSON | None:
    """The result of a cell by that command; None if there is none."""
    path = cell.out / f"{cell.name}.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return found if found.get("command") == command else None


class Runner:
    """Runs each cell in a process of its own, and hands SIGTERM on to those that are running."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.children: list[subprocess.Popen[str]] = []
        self.stopped = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, *_: object) -> None:
        """End all at their next step."""
        self.stopped = True
        for child in self.children:
            if child.poll() is None:
                child.terminate()

    def run(self, cell: Cell) -> JSON:
        """The result of a cell, from its file or by its process; a failure is a result, being stopped is none."""
        found = ran(cell, self.command)
        if found is not None and "failed" not in found:
            return found
        if self.stopped:
            return {"stopped": True}
        order = [sys.executable, __file__, *sys.argv[1:], "--cell", f"{cell.family}:{cell.encoder}:{cell.seed}"]
        one = os.environ | {"OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(order, env=one, stderr=subprocess.PIPE, text=True)
        self.children.append(child)
        _, words = child.communicate()
        if child.returncode == STOPPED:
            return {"stopped": True}
        path = cell.out / f"{cell.name}.json"
        if child.returncode:
            result = {"failed": (words.strip().splitlines() or ["killed"])[-1]}
        else:
            result = json.loads(path.read_text())
        result = {"command": self.command, "machine": machine()} | result
        write_text(path, json.dumps(result, indent=1) + "\n")
        return result


def refolded(path: Path) -> dict[str, JSON]:
    """The share of each set of `refold.py` whose refold has TM >= 0.5, by the name of the set."""
    rows = json.loads(path.read_text())["rows"]
    return {
        name: {"refold TM of 0.5 or more": {"mean": sum(row["refold_tm"] >= 0.5 for row in own) / len(own)}}
        for name, own in rows.items()
        if own
    }


def page_of(found: list[tuple[Cell, JSON]], command: str, options: argparse.Namespace) -> str:
    """The page of the cells that have results, and the picture of their curves."""
    judged = refolded(options.refold) if options.refold else {}
    results: dict[tuple[str, str], list[JSON]] = {}
    failed = {(cell.family, cell.encoder): result["failed"] for cell, result in found if "failed" in result}
    for cell, result in found:
        if "failed" not in result and "stopped" not in result:
            more = {"refold": judged[cell.name]} if cell.name in judged else {}
            results.setdefault((cell.family, cell.encoder), []).append(result | more)
    draw_curves(results, options.out / CURVES)
    table = options.table or Path("docs/families.md")
    picture = os.path.relpath(options.out / CURVES, table.parent)
    return whole_page(results, failed, command, RESULTS, picture, options.beside)


def main() -> None:
    options = options_of()
    options.out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(options)
    if options.cell is not None:
        (cell,) = (c for c in cells if f"{c.family}:{c.encoder}:{c.seed}" == options.cell)
        write_text(options.out / f"{cell.name}.json", json.dumps(run_cell(cell), indent=1) + "\n")
        return
    command = (
        f"python benchmarks/families_proteins.py STORE --minutes {options.minutes:g} --parameters {options.parameters} "
        f"--n {options.n}"
    )
    if options.only_page:
        found = [(cell, result) for cell in cells if (result := ran(cell, command)) is not None]
    else:
        runner = Runner(command)
        with ThreadPoolExecutor(options.jobs) as pool:
            found = list(zip(cells, pool.map(runner.run, cells), strict=True))
        if runner.stopped:
            raise SystemExit(STOPPED)
    for cell, result in found:
        if "failed" not in result:
            print(" | ".join(row_of_designs(cell.family, cell.encoder, [result])), flush=True)
    text = page_of(found, command, options)
    print(text)
    if options.table is not None:
        write_text(options.table, text)


if __name__ == "__main__":
    main()
