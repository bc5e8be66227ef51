"""Write the notebooks of the docs from the cells below, and run them, so that their outputs are what comes out.

python docs/make_notebooks.py [--only design]

Needs the extra `docs`. `PROTGEN_NOTEBOOK_N` (designs), `PROTGEN_NOTEBOOK_STEPS` (sampler steps) and
`PROTGEN_NOTEBOOK_TRAIN` (training steps of `descent`) make them smaller, for tests; the published outputs are made without
them.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).with_name("notebooks")

SETUP = """import os
import tempfile
import warnings
from pathlib import Path

import protgen as pg

N = int(os.environ.get("PROTGEN_NOTEBOOK_N", 4))  # designs; tests make fewer
STEPS = int(os.environ.get("PROTGEN_NOTEBOOK_STEPS", 40))  # sampler steps
os.chdir(tempfile.mkdtemp())
work = Path()
warnings.filterwarnings("ignore", message="IProgress not found")"""

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
        'for condition in request:\n    print(condition.name, "-", condition.describe())',
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
        '        verdict = "met" if met.satisfied else "not met"\n'
        '        print(f"{design.index}  {met.condition:20} off by {met.difference:.3f} (tolerance {met.tolerance}): {verdict}")',
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
        "    (work / name).mkdir()\n"
        "    for design in pg.generate(name, pg.Length(60), n=N, seed=0, settings=settings):\n"
        '        pg.write_structure(design.protein, work / name / f"{design.index:04d}.pdb")',
    ),
    "## Measure\n\nThe result is written as `structures.csv`, `summary.json` and `comparison.csv`. The command `protgen evaluate` "
    "adds `report.html`, one page that works offline.",
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
        "        print(f\"{name:22}{metric:15}{entry['mean']:8.2f}{interval}  n={entry['n']}\")",
    ),
    "## One structure\n\nMetrics are classes over a `Protein`. `pg.metrics` has them all.",
    (
        "code",
        'protein = pg.read_structure(work / "flow-small" / "0000.pdb")\npg.metrics.Compactness().measure(protein)',
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
        'for design in pg.generate("flow-small", pg.Length(40, 48), n=2 * N, seed=1, '
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
        "    print((done.stdout or done.stderr)[-1500:])\n"
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

DESCENT = [
    "# One line of descent",
    "From the autoencoder to latent diffusion in eight models of the same digits, each a change of a few keywords from the one "
    "before. The page [One line of descent](../descent.md) has the equations. The networks are small perceptrons and train for "
    "seconds of a CPU, so the figures show the line and not what is possible; [Images](../images.md) has longer runs.",
    (
        "code",
        "import os\n"
        "import tempfile\n"
        "import warnings\n\n"
        "import numpy as np\n"
        "import torch\n"
        "from IPython.display import Image as Shown\n"
        "from sklearn.linear_model import LogisticRegression\n\n"
        "import protgen as pg\n"
        "from protgen.data.images import to_batch\n"
        "from protgen.evaluation.image_features import train_classifier\n"
        "from protgen.evaluation.image_grid import save_grid\n"
        "from protgen.evaluation.images import ImageEvaluation, evaluate_model\n"
        "from protgen.families.base import interpolate\n"
        "from protgen.families.classify import classify\n"
        "from protgen.training.settings import Machine\n\n"
        'TRAIN = int(os.environ.get("PROTGEN_NOTEBOOK_TRAIN", 800))  # steps of each model; tests make fewer\n'
        'SAMPLES = int(os.environ.get("PROTGEN_NOTEBOOK_SAMPLES", 300))\n'
        'TEST = int(os.environ.get("PROTGEN_NOTEBOOK_TEST", 500))  # test digits whose likelihood is found\n'
        "os.chdir(tempfile.mkdtemp())\n"
        'warnings.filterwarnings("ignore")\n'
        "torch.set_num_threads(1)\n"
        'digits = pg.load_images("digits")\n'
        "judge = train_classifier(digits, max(20, TRAIN // 3))  # its features are those of FID and KID\n"
        'print(f"{len(digits)} digits of 8 x 8 pixels; {judge.name} is right on {100 * judge.accuracy:.1f} % of test digits")',
    ),
    "## What each model goes through\n\nThe same data, the same training, the same measures: a bound on -log2 p(x) for each "
    "pixel, FID and KID of 300 samples, and how often the class asked for is the class that a classifier sees.",
    (
        "code",
        'NETWORK = {"name": "perceptron", "dim": 256, "blocks": 2}\n'
        "rows = {}\n\n\n"
        "def fitted(preset, **changes):\n"
        '    """A trained model."""\n'
        "    torch.manual_seed(0)\n"
        "    model = pg.build_image_model(digits, preset, **changes)\n"
        "    settings = pg.TrainSettings(steps=TRAIN, lr=2e-3, warmup=TRAIN // 20, ema=0.99, bf16=False, log_every=TRAIN)\n"
        '    return pg.train(model, pg.ImageBatches(digits.of("train"), 128, seed=0), settings, machine=Machine("cpu"))\n\n\n'
        "def measured(name, model, sampler=None, steps=()):\n"
        '    """Bound, distances and obedience, kept for the table at the end; the picture of its samples."""\n'
        "    from protgen.models.image_samples import ImageSampling\n\n"
        "    sampling = ImageSampling(sampler)\n"
        "    settings = ImageEvaluation(SAMPLES, SAMPLES, TEST, (1,), steps=steps, sampling=sampling)\n"
        "    found = evaluate_model(model, digits, settings, 0, judge)\n"
        '    likelihood = next(iter(found.report["likelihood"].values()))\n'
        '    samples = found.report["samples"]\n'
        "    distances = next(\n"
        '        (v for k, v in samples.items() if isinstance(v, dict) and "fid" in v and "cpu_seconds_per_sample" in v), None\n'
        "    )\n"
        '    row = {"bits/dim": likelihood["bits_per_dim"]} if isinstance(likelihood, dict) else {"bits/dim": None}\n'
        "    if distances:\n"
        '        row |= {"FID": distances["fid"], "KID": distances["kid"], "class seen": samples["class asked is class seen"]}\n'
        "    rows[name] = row\n"
        "    print(name, row)\n"
        "    shown = found.reconstructions if found.pictures is None else found.pictures[:50]\n"
        '    save_grid(shown, "shown.png")\n'
        '    return Shown("shown.png")',
    ),
    "## Autoencoder\n\nbeta = 0: no noise in z, no prior, so neither samples nor a likelihood. Test digits above what is left of "
    "them.",
    (
        "code",
        'ae = fitted("autoencoder", encoder=NETWORK, family={"latent_dim": 16})\nmeasured("autoencoder", ae)',
    ),
    "## VAE\n\n`beta` from 0 to 1: z gets noise and a prior N(0, I), and the loss becomes a bound on -log p(x). Now there are "
    "samples, here of the classes 0 to 9 in turn, and a line between two digits.",
    (
        "code",
        'vae = fitted("vae", encoder=NETWORK, family={"latent_dim": 16, "warmup": TRAIN // 5})\nmeasured("VAE", vae)',
    ),
    (
        "code",
        'batch = to_batch(digits.of("test"), np.array([3, 8]))\n'
        "x = vae.family.space.encode(batch)\n"
        "first, second = (type(x)({k: v[i : i + 1] for k, v in x.fields.items()}, x.mask[i : i + 1]) for i in (0, 1))\n"
        "with torch.no_grad():\n"
        "    line = interpolate(vae.family, first, second, vae.conditions.unknown(first.mask), torch.linspace(0, 1, 10))\n"
        'save_grid(vae.family.space.observe(line).clamp(0, 1), "line.png")\n'
        'Shown("line.png")',
    ),
    "## Markovian hierarchical VAE\n\n`levels=T`: a chain of latents, each drawn from the one below, with learned steps both "
    "ways. T = 2, 5, 20.",
    (
        "code",
        "for levels in (2, 5, 20):\n"
        '    chain = {"latent_dim": 16, "levels": levels, "warmup": TRAIN // 5, "settle": TRAIN // 5}\n'
        '    picture = measured(f"hierarchical VAE, T = {levels}", fitted("vae-hierarchical", encoder=NETWORK, family=chain))\n'
        "picture",
    ),
    "## Variational diffusion model\n\nThe chain's encoder is fixed: it adds noise of a learned schedule to x itself, latents have "
    "the size of x, and T goes to infinity. The bound stays; one network, told the time, is the decoder of every level.",
    (
        "code",
        'DENOISER = {"name": "perceptron", "dim": 512, "blocks": 3, "scalar_dim": 1}\n'
        'vdm = fitted("diffusion-vdm", encoder=DENOISER)\n'
        'measured("VDM", vdm, "ddpm", (100,))',
    ),
    "## DDPM\n\nThe same chain with a fixed schedule, trained on the error of the noise with all times weighing the same: no longer "
    "the bound, which spends most on noise too small to see. Ancestral sampling goes back step by step.",
    (
        "code",
        'ddpm = fitted("diffusion", encoder=DENOISER, family={"path": "linear_beta", "target": "eps"})\n'
        'measured("DDPM, 100 steps", ddpm, "ddpm", (100,))',
    ),
    "## DDIM\n\nThe same weights: only the sampler changes. Without fresh noise the way from noise to data is a function, and "
    "needs fewer steps.",
    ("code", 'measured("DDIM, 20 steps", ddpm, "ddim", (20,))'),
    "## Latent diffusion\n\nBack to the VAE: its prior N(0, I) becomes a diffusion model of its latents. Diffusion works on 16 "
    "numbers in place of 64 pixels.",
    (
        "code",
        "latent = fitted(\n"
        '    "latent",\n'
        "    encoder=NETWORK,\n"
        '    prior={"name": "transformer", "dim": 64, "blocks": 2, "fields": {"latents": 16}},\n'
        '    family={"latent_dim": 16, "family": "diffusion"},\n'
        ")\n"
        'measured("latent diffusion, 20 steps", latent, "ddim", (20,))',
    ),
    "## The line in one table",
    (
        "code",
        "print(f\"{'':28}{'bits/dim':>10}{'FID':>8}{'KID':>8}{'class seen':>12}\")\n"
        "for name, row in rows.items():\n"
        '    bits = "none" if row["bits/dim"] is None else f"{row[\'bits/dim\']:.2f}"\n'
        "    rest = f\"{row['FID']:8.1f}{row['KID']:8.3f}{100 * row['class seen']:10.0f} %\" if \"FID\" in row else \"\"\n"
        '    print(f"{name:28}{bits:>10}{rest}")',
    ),
    "## Discriminative against generative\n\nGaussian discriminant analysis and naive Bayes learn p(x, y) and get p(y | x) by Bayes' "
    "rule; logistic regression learns p(y | x) alone. Strong assumptions about p(x | y) may help with few digits and cost with "
    "many (Ng and Jordan 2001); pixels are far from independent, so here naive Bayes is behind at every size, and discriminant "
    "analysis, with a covariance for each class, is not.",
    (
        "code",
        'train, test = digits.of("train"), digits.of("test")\n'
        "rng = np.random.default_rng(0)\n\n\n"
        "def by_bayes(kind, chosen):\n"
        '    """Accuracy of a classical family, fitted in closed form."""\n'
        '    model = pg.build_image_model(digits, "classical", family={"model": kind, "ridge": 0.1})\n'
        "    batch = to_batch(train, chosen)\n"
        '    y = model.conditions.from_data(batch, torch.Generator(), {"class_label": 0.0})\n'
        "    model.family.fit(model.family.space.encode(batch), y)\n"
        "    model.family.eval()\n"
        "    held = to_batch(test, np.arange(len(test)))\n"
        "    x = model.family.space.encode(held)\n"
        "    asked = [model.conditions.from_requests([[pg.ClassLabel(k)]] * len(test), x.mask) for k in range(10)]\n"
        "    return float((classify(model.family, x, asked).best.numpy() == test.labels).mean())\n\n\n"
        "def by_regression(chosen):\n"
        '    """Accuracy of logistic regression."""\n'
        "    flat = [part.pixels.reshape(len(part), -1) / 8 - 1 for part in (train, test)]\n"
        "    model = LogisticRegression(max_iter=500).fit(flat[0][chosen], train.labels[chosen])\n"
        "    return float(model.score(flat[1], test.labels))\n\n\n"
        "print(f\"{'digits':>8}{'naive Bayes':>14}{'GDA':>8}{'logistic':>11}\")\n"
        "for size in (20, 50, 100, 300, 1297):\n"
        "    found = []\n"
        "    for _ in range(1 if size == 1297 else 4):\n"
        "        # As many of each class as of the others, as far as there are.\n"
        "        each = [rng.permutation(np.flatnonzero(train.labels == k))[: -(-size // 10)] for k in range(10)]\n"
        "        chosen = np.concatenate(each)\n"
        '        found.append([by_bayes("naive_bayes", chosen), by_bayes("discriminant", chosen), by_regression(chosen)])\n'
        "    mean = 100 * np.mean(found, axis=0)\n"
        '    print(f"{len(chosen):8}{mean[0]:12.1f} %{mean[1]:6.1f} %{mean[2]:9.1f} %")',
    ),
]

BOOKS = {"descent": DESCENT, "design": DESIGN, "evaluate": EVALUATE, "train": TRAIN}


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
