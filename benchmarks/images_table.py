"""Reports of `benchmarks/images.py` as one page, next to published numbers.

    python benchmarks/images_table.py benchmarks/results/images --out docs/images.md

A folder with a `report.json` for each run; sample grids in the same folder are shown. Nothing is computed here.
"""

import argparse
import json
import os
import textwrap
from pathlib import Path

from protgen.models.image_presets import PRESETS

FLOOR = "training images against the reference"  # what a report calls the distances of real images
HEAD = """# Image benchmarks

The families of protgen on images, by the same code that trains them on proteins, for an hour or less of one CPU core
each: small networks, so published numbers, of much larger ones, are goals and not peers. FID, KID, precision and recall
here are on the features of a small classifier trained by the script (named in each report with its accuracy): they
compare rows of one data set and never a published FID, which is on Inception features. FID rises as the number of
samples n falls, so it compares rows of one n alone, which stands beside it; FID∞ is its intercept in 1 / n, and KID has
no such bias. The floor is n training images in place of samples. Bits/dim are those of whole grey values: for flow
matching and diffusion by a bound that begins at some noise, which stands beside it, and by uniform dequantisation for
normalizing flows. "Class seen" is how often the classifier sees the class that was asked
for, with its standard error, the number of pictures and the weight of guidance (w, 1 where none is named).

## Do it yourself

```sh
pip install 'protgen[train]'
protgen train data=digits family=vae run=runs/vae
protgen sample-images --model runs/vae --out samples.png
protgen evaluate-images --model runs/vae --out runs/vae/evaluation
protgen classify --model runs/vae --images 0-99 --out classes.csv
```

`data=digits` needs no files: the 1,797 digits come with scikit-learn, which a plain install has. `data=mnist`,
`data=fashion` and `data=cifar10` read the files of their authors from `data.folder=DIR`: the four IDX files, gzipped or
not; `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, whose pickles are read without being run. Nothing is
downloaded. `data.binarise=static` or `dynamic` makes pixels binary, `data.batch` sets the images of a step, and
`conditions.names=[]` learns p(x) without classes. `family=NAME` brings its networks (`protgen.models.image_presets`);
any keyword changes them, `encoder=unet encoder.dim=64 family.beta=4`. The names:
NAMES.

In Python:

```python
import protgen as pg

images = pg.load_images("digits")
model = pg.build_image_model(images, "vae", family={"beta": 0.5})
model = pg.train(model, pg.ImageBatches(images.of("train"), 128, seed=0), pg.TrainSettings(steps=3_000, bf16=False))
pictures = pg.draw_images(model, labels=[0, 1, 2, 3])  # (4, 8, 8, 1), brightness 0 to 1
```

All rows of a data set are made by one command, one after the other, each for its own CPU minutes times the budget; it
goes on where it was stopped:

```sh
python benchmarks/images.py --rows digits --budget 1 --out benchmarks/results/images
python benchmarks/images_table.py benchmarks/results/images --out docs/images.md
```

## Which weights a row has

1,297 training digits are soon remembered. So a row keeps the averaged weights of its best validation loss: over the
validation split (200 digits; 1,000 pictures of the other sets), always with the same noise, every 100 steps.
`report.json` names that step and both losses, its own and that of the last step. The GAN keeps its last weights, as its
loss says nothing of its samples, and so does the latent model, whose autoencoder begins to remember before its prior
has learned: with the weights of the best loss it drew the class asked in 56 %, at an FID of 2.9. With the last weights
the GPT drew its class in 98 % after 25 minutes, at an FID of 0.84, and had 4.80 bits/dim on pictures that it had not
seen, where equally probable values have 4.09; the VAEs went from 2.02-2.07 bits/dim (k = 1) to 2.24-2.68 in 3 and 4
minutes.

Flows learned the density and not the class for long: with U-Nets, and y read by the networks alone, Real NVP had 2.185
bits/dim and an FID of 2.34 and Glow 2.301 and 4.17, and both drew any class (11 %). What is drawn obeys since the noise
depends on y (`family.conditional_base`, a normal with a mean and a deviation of each pixel and class), and the networks
are perceptrons, which take a thirtieth of the time of a step. Three minutes of Real NVP each: U-Nets 10 %, with the
conditional base 16 %; perceptrons 74 %, with the conditional base 88 %. At equal couplings U-Nets (`encoder=unet`) are
the better densities; splines are better than both. Glow has splines here: with affine couplings it obeys in 80 %, at
2.451 bits/dim. Networks, decay and couplings of the three rows were chosen among a dozen trials by these very figures,
at the same seed. At another (`--seed 1`) Real NVP obeys in 85.8 %, Glow in 85.7 and the spline flow in 88.3, at 2.345,
2.117 and 1.977 bits/dim.

Any first noise gives a bound (`protgen/evaluation/first_times.py`). One is chosen on 64 pictures of validation: more
noise hides values, and with less the errors of the network weigh more. Where grey values are four standard deviations
apart, as in all rows before, a short training errs by far more than the noise: `mnist_grey_ddim` had 16.1 bits/dim from
there, and CIFAR-10's flow matching 9.1, where a uniform guess has 8.

The networks of flow matching and diffusion read no earlier prediction (`family.self_conditioning=0`). Half of the steps
of training gave them one before, and the pictures are worse for it: six minutes of digits had an FID of 1.35 in 20
steps of DDIM and 1.28 of flow matching, 2.19 and 1.99 bits/dim, and the class asked in 95.4 and 95.7 %; without 0.95
and 0.89, 1.98 and 1.86, 96.6 and 96.9 %. Not all of it is due to that: the machine was less busy and made twice as
many steps in these minutes. VDM has never learned to read one, and its samplers gave it one all
the same, through weights that no step had moved. That is mended. It was so in all three rows of VDM: digits had
an FID of 6.00 in 200 steps and the class asked in 87 %, now 1.33 and 92 %.

Before, five rows of digits drew their class by chance (GAN 8 %, Glow 10, Real NVP 11, VDM 12, GPT 28). They were hardly
trained: 99 to 207 steps, of which 200 were the warm-up of the learning rate, and 710 of VDM, whose bound weighs little
what decides a class. Three things were wrong and are mended: the benchmark's warm-up of 200 steps could outlast a run
(it is 100 now), normalizing flows were given dequantised values and spread them over their cells a second time, and the
critic of the GAN pooled over pixels, which told it what is in a picture and not where.

MNIST is binarised once (static), as the published numbers have it. A VAE then remembers pictures: its last steps have
87.9 nats on those of training and 93.5 on those of validation. Decay of weights helps: with 0.1 in place of 1e-4 the
hierarchical one went from 91.3 nats on pictures of validation to 89.7, and on those of the test at k = 50 from 87.8
to 87.1, at k = 5000, on 2,000 pictures, from 86.3 to 85.8; the FID of its samples rose from 1.2 to 1.9. The
importance-weighted one has 50,000 steps on the ELBO and then 2,400 of K = 50, each of which takes forty times as long
(`family.elbo_steps`): at k = 50 it went from 93.1 (K = 5 from the first, 20 minutes) to 89.1 nats, and with decay to
88.1, at k = 5000 from 87.1 to 86.4, with an FID of 2.6 in place of 2.2. `mnist_static_vae` is without decay so far.
More time does not help the hierarchical one: of 55 minutes without decay (156,000 steps) the best weights are those
of step 56,500, with 91.9 nats on the pictures of validation, where 15 minutes, whose rate has come down by then, have
91.3; its last have 92.3.

`mnist_static_pixelcnn` has eight layers that look 1, 2, 1, 4, 1, 2, 1 and 4 pixels far (`encoder.dilations`), and a
vertical stack that is added to (`encoder.residual`), in batches of 32. Five minutes each, nats of pictures of
validation: 89.1 with batches of 64 and neither, 87.4 with 32, 87.2 with the residual, 85.3 with dilations too. An
hour of that has 80.7 on the test, where 75 minutes of the first had 82.9, with as many parameters. On digits of 8 x
8, where eight layers see everything, it is no better (1.763 bits/dim, before 1.766) and obeys less (82 %, before 90),
so the preset is without. The samples of `mnist_static_vdm`, after an hour, have 1.4 times the FID of this PixelCNN's;
after half an hour, and while its steps read predictions, they had nine times.

`mnist_grey_ddim` is 20 minutes, 3,837 steps. In 20 steps its FID is 1.42 times that of 200, 1.90 and 1.33 (digits: 1.07
times), and 96 % are of the class asked, with a guidance of 1.5. Two such models that had learned to read the prediction
of the step before had 3.66 in 20 and 1.82 in 200 steps, reading it, and 3.13 and 2.23 without. Times of the sampler are
finer near noise (`--spacing 0.7`), chosen on this model with seed 1 of sampling, 500 samples (FID in 20 steps): 1.77 as
they are, 1.51, 1.59 and 1.88 with a spacing of 0.7, 0.5 and 0.35; 1.03 in 200 steps as they are, 0.97 at 0.5. A
temperature of 0.95 or 1.05 is worse (2.23, 1.61); predictions clipped to the range of pixels (Ho et al. 2020) changed
nothing, of the model before. Its loss weighs all noise alike (Ho et al. 2020, eq. 14), so the last levels, which decide
whole grey values, are hardly learned, and its bound begins at a noise of one grey value.

CIFAR-10 is here as 5,500 of its training pictures (and 1,500 of its test pictures) that are kept as JPEG, which is
lossy and smoother: no figure compares with published ones. 18 minutes are some 1,600 steps of 64 pictures; what flow
matching makes has the colours and textures of photographs and no objects, and the feature network itself names the
class of 43 % of test pictures. VDM has a bound of 2.96 bits, and its pictures, without objects too, need more steps
than flow matching's: FID 19.1 in 50 and 10.7 in 100 (27.4 and 31.6 while it read predictions, dark textures). The
number of flow matching is an estimate by the probability flow; its network read the prediction before in half of its
steps.
"""


def likelihood(report: dict, binary: bool) -> str:
    """Test nats, or bits/dim, with its kind, standard error and number of importance samples."""
    found = report["likelihood"]
    if not any(isinstance(value, dict) for value in found.values()):
        return "none"
    parts = []
    for name, value in found.items():
        sign = {"exact": "", "lower_bound": "≤ ", "estimate": "≈ "}[value["kind"]]
        number = f"{value['nats']:.2f} ± {value['standard_error']:.2f}" if binary else f"{value['bits_per_dim']:.3f}"
        samples = f" ({name})" if name.startswith("k =") else ""
        if "begins" in value:
            samples = f" (from a noise of {value['begins']['noise_in_steps']:g} grey values)"
        parts.append(f"{sign}{number}{samples}")
    return ", ".join(parts)


def distances(report: dict) -> str:
    """FID of each way of sampling."""
    entries = {name: value for name, value in report["samples"].items() if name != FLOOR}
    rows = {name: value for name, value in entries.items() if isinstance(value, dict) and "kid" in value}
    parts = []
    for name, value in rows.items():
        limit = f" (∞ {value['fid_infinity']:.2f})" if "fid_infinity" in value else ""
        balls = f", P {value['precision']:.2f} R {value['recall']:.2f}" if "precision" in value else ""
        how = "" if name == "one go" else f" ({name})"
        parts.append(f"{value['fid']:.2f}{limit}, KID {value['kid']:.3f}{balls}{how}")
    return "; ".join(parts)


def floor_of(report: dict) -> str:
    """The distance of as many training images."""
    floor = report["samples"][FLOOR]
    return f"{floor['fid']:.2f} (∞ {floor['fid_infinity']:.2f}), KID {floor['kid']:.3f}"


def obeyed(samples: dict) -> str:
    """How often the class asked is the class seen, with what belongs to it; nothing where no class was learned."""
    fraction = samples.get("class asked is class seen")
    if fraction is None:
        return ""
    about = samples.get("classes asked")
    if about is None:
        return f"{100 * fraction:.0f} %"
    weight = "" if about["guidance"] == 1 else f", w = {about['guidance']:g}"
    return f"{100 * fraction:.1f} ± {100 * about['standard_error']:.1f} % of {about['n']}{weight}"


def tested(report: dict) -> str:
    """How many test images the likelihood is of."""
    counts = {v["test_images"] for v in report["likelihood"].values() if isinstance(v, dict)}
    return ", ".join(str(count) for count in sorted(counts))


def section(data: str, reports: dict[Path, dict], folder: Path, page: Path) -> list[str]:
    """The table of one data set and binarisation, and the sample grids below it."""
    first = next(iter(reports.values()))
    binary = first["binarisation"] in ("static", "dynamic")
    unit = "test nats" if binary else "bits/dim"
    lines = [
        f"## {data}",
        "",
        "The reference of FID and KID is the whole test split.",
        "",
        f"| run | parameters | CPU minutes | {unit} | of test images | FID, KID, precision P, recall R "
        "| floor at that n | class seen | seed, n |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for path, report in reports.items():
        training = report["training"]
        cells = [
            f"[{path.name}]({os.path.relpath(path / 'report.json', page.parent)})",
            f"{report['parameters'] / 1e6:.2f} M",
            f"{training['minutes']:g}",
            likelihood(report, binary),
            tested(report),
            distances(report),
            floor_of(report),
            obeyed(report["samples"]),
            f"{training['seed']}, {report['samples']['samples']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    counts = {report["samples"]["samples"] for report in reports.values()}
    if len(counts) > 1:
        several = ", ".join(map(str, sorted(counts)))
        lines += ["", f"FID of these rows is at n = {several}: compare it within one n, or compare KID."]
    lines.append("")
    for name in (f"{data.partition(',')[0]}, {unit}", "binarised mnist, nats" if binary else ""):
        if name in first["published"]:
            known = ", ".join(f"{key} {value}" for key, value in first["published"][name].items())
            lines += [f"Published ({name}): {known}.", ""]
    for path in reports:
        if (path / "samples.png").is_file():
            lines += [f"`{path.name}`:", "", f"![samples]({os.path.relpath(path / 'samples.png', page.parent)})", ""]
    machines = sorted({report["machine"] for report in reports.values()})
    return [*lines, f"Machine: {'; '.join(machines)}.", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=None, help="the page; printed as well")
    options = parser.parse_args()
    groups: dict[str, dict[Path, dict]] = {}
    for path in sorted(options.folder.glob("*/report.json")):
        report = json.loads(path.read_text())
        binary = report["binarisation"] in ("static", "dynamic")
        whole = "colours" if report["data"].startswith("cifar10") else "grey"
        kind = f"{report['binarisation']} binarisation" if binary else whole
        name = f"{report['data'].removesuffix('-static')}, {kind}"
        groups.setdefault(name, {})[path.parent] = report
    page = options.out or Path("images.md")
    names = textwrap.wrap(", ".join(f"`{name}`" for name in PRESETS), 120, break_on_hyphens=False)
    lines = [HEAD.replace("NAMES", "\n".join(names))]
    for name, reports in groups.items():
        lines += section(name, reports, options.folder, page)
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
