"""Write the three notebooks of the docs from the cells below, and run them, so that their outputs are what comes out.

python docs/make_notebooks.py [--only design]

Needs the extra `docs`. `PROTGEN_NOTEBOOK_N` (designs) and `PROTGEN_NOTEBOOK_STEPS` (sampler steps) make them smaller, for
tests; the published outputs are made without them.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).with_name("notebooks")

SETUP = """import os
import tempfile
from pathlib import Path

import protgen as pg

N = int(os.environ.get("PROTGEN_NOTEBOOK_N", 4))  # designs; tests make fewer
STEPS = int(os.environ.get("PROTGEN_NOTEBOOK_STEPS", 40))  # sampler steps
work = Path(tempfile.mkdtemp())"""

DESIGN = [
    "# Design under constraints",
    "protgen makes protein backbones that meet what you ask for. This notebook asks for a secondary structure, a radius of "
    "gyration and a motif, looks at the designs, and checks how well each request was met.",
    ("code", SETUP),
    "## Ask\n\nConditions are small classes. `&` joins them, and a number in front is a weight. Text is read as the "
    "secondary structure: three strands, a helix, two strands, a helix.",
    (
        "code",
        'request = pg.SecondaryStructure.parse("L3E6L3E7L4H14L4E6L3E6L4H15L5") & pg.RadiusOfGyration(12.0)\n'
        "for condition in request:\n    print(condition.name, \"-\", condition.describe())",
    ),
    "## Make\n\nDesign i depends on the seed and i alone: ask for more later and the first ones stay the same.",
    (
        "code",
        'model = pg.load("flow-small")\n'
        "settings = pg.SampleSettings(steps=STEPS)\n"
        "designs = sorted(pg.generate(model, request, n=N, seed=0, settings=settings), key=lambda design: design.index)\n"
        "designs[0]",
    ),
    "## Check\n\nThe same conditions measure the designs.",
    (
        "code",
        "for design in designs:\n"
        "    for condition in request:\n"
        "        met = condition.adherence(design.protein)\n"
        '        print(f"{design.index}  {met.name:20} off by {met.difference:.3f} (tolerance {met.tolerance}): '
        '{"met" if met.met else "not met"}")',
    ),
    "## Keep a motif\n\nA motif is a part of a structure file that designs are to hold. Here it is the first helix of the "
    "first design; usually it is an active site or an epitope. The contig says how many residues to build before and after "
    "it.",
    (
        "code",
        'pg.write_structure(designs[0].protein, work / "start.pdb")\n'
        'motif = pg.Motif(str(work / "start.pdb"), contig="15-25/A28-41/15-25")\n'
        "scaffold = next(iter(pg.generate(model, motif, n=1, settings=settings)))\n"
        "print(motif.describe())\n"
        "scaffold",
    ),
    "## Write files\n\nThe format follows from the suffix. Residues are GLY placeholders: the next step is a sequence "
    "design tool.",
    (
        "code",
        "for design in designs:\n"
        '    pg.write_structure(design.protein, work / f"design_{design.index:04d}.pdb")\n'
        'sorted(path.name for path in work.glob("design_*.pdb"))',
    ),
]

EVALUATE = [
    "# Evaluate two generators",
    "`protgen evaluate` measures folders of structures from any generator. Here the two sets are made by two models that come "
    "with the package; put the folders of your own generators in their place.",
    ("code", SETUP),
    "## Two sets",
    (
        "code",
        'for name in ("flow-small", "autoregressive-small"):\n'
        "    settings = pg.SampleSettings(steps=STEPS)  # temperature and guidance stay the model's own\n"
        '    (work / name).mkdir()\n'
        "    for design in pg.generate(name, pg.Length(60), n=N, seed=0, settings=settings):\n"
        '        pg.write_structure(design.protein, work / name / f"{design.index:04d}.pdb")',
    ),
    "## Measure\n\nThe result is written as `structures.csv`, `summary.json` and `report.html`, one page that works offline.",
    (
        "code",
        'result = pg.evaluate([work / "flow-small", work / "autoregressive-small"], work / "results")\n'
        'sorted(path.name for path in (work / "results").iterdir())',
    ),
    "## Read the figures\n\nEvery figure has n and a 95 % interval. With a handful of structures the intervals are wide, "
    "which is the point of printing them. Give natives with `reference=` for a control.",
    (
        "code",
        "import json\n\n"
        'summary = json.loads((work / "results" / "summary.json").read_text())\n'
        'for name, own in summary["sets"].items():\n'
        '    for metric in ("chain_breaks", "rama_favoured", "helix", "strand", "rg"):\n'
        '        entry = own["metrics"][metric]\n'
        '        low, high = entry["ci_low"], entry["ci_high"]\n'
        '        interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"\n'
        '        print(f"{name:22}{metric:15}{entry[\'mean\']:8.2f}{interval}  n={entry[\'n\']}")',
    ),
    "## One structure\n\nMetrics are classes over a `Protein`. `pg.metrics` has them all.",
    (
        "code",
        'protein = pg.read_structure(work / "flow-small" / "0000.pdb")\n'
        "pg.metrics.Compactness().measure(protein)",
    ),
]

TRAIN = [
    "# Train on your own chains",
    "A lab trains a generative model on its own structures: build a store, train, sample. A few designs stand in for your "
    "chains here, and the network is tiny, so that the notebook runs in minutes; `experiment=flow_small` is the real thing. "
    "Training needs the extra `protgen[train]`.",
    ("code", SETUP),
    "## Chains\n\nA folder of PDB, mmCIF or BinaryCIF files.",
    (
        "code",
        '(work / "chains").mkdir()\n'
        "for design in pg.generate(\"flow-small\", pg.Length(40, 48), n=2 * N, seed=1, "
        "settings=pg.SampleSettings(steps=STEPS)):\n"
        '    pg.write_structure(design.protein, work / "chains" / f"chain{design.index}.pdb")',
    ),
    "## Store\n\nFilters, crops, secondary structure, the split. The same as `protgen data build chains --out store`.",
    (
        "code",
        "import subprocess\n"
        "import sys\n\n\n"
        "def protgen(*arguments):\n"
        '    """Run a command of protgen and print the last lines of what it says."""\n'
        '    command = [sys.executable, "-m", "protgen", *map(str, arguments)]\n'
        '    done = subprocess.run(command, cwd=work, capture_output=True, text=True, env={**os.environ, "COLUMNS": "90"})\n'
        '    print((done.stdout or done.stderr)[-1500:])\n'
        "    assert done.returncode == 0, done.stderr\n\n\n"
        'protgen("data", "build", "chains", "--out", "store", "--validation-fraction", 0.3, "--rg-percentile", 100)',
    ),
    "## Train\n\nThe same command resumes an interrupted run.",
    (
        "code",
        'protgen("train", "experiment=flow_tiny", "data.store=store", "run=run", "train.steps=10", "validation.samples=0")',
    ),
    "## Sample\n\nTen steps make no proteins; the commands are the same for a model that was trained for hours.",
    (
        "code",
        'protgen("sample", "--model", "run/model", "--length", 40, "-n", 1, "--steps", 5, "--out", "designs")',
    ),
]

BOOKS = {"design": DESIGN, "evaluate": EVALUATE, "train": TRAIN}


def book_of(cells: list) -> nbformat.NotebookNode:
    """A notebook of text (plain strings) and code cells."""
    made = [
        nbformat.v4.new_code_cell(cell[1], id=f"cell-{i}")
        if isinstance(cell, tuple)
        else nbformat.v4.new_markdown_cell(cell, id=f"cell-{i}")
        for i, cell in enumerate(cells)
    ]
    book = nbformat.v4.new_notebook(cells=made)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return book


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(BOOKS))
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in [given.only] if given.only else BOOKS:
        book = book_of(BOOKS[name])
        NotebookClient(book, timeout=900).execute()
        for cell in book.cells:
            cell.metadata.pop("execution", None)  # times of this run
        nbformat.write(book, given.out / f"{name}.ipynb")
        print(given.out / f"{name}.ipynb")


if __name__ == "__main__":
    main()
