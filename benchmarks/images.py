"""One family on one set of images within a time budget: likelihood, samples, FID and KID, next to published numbers.

    python benchmarks/images.py --data digits --family vae --minutes 1 --out benchmarks/results/images/digits_vae
    python benchmarks/images.py --data mnist ../shared/data/images/mnist --binarise dynamic --family vae --minutes 60 \\
        --importance 1,50,5000 --out ...
    python benchmarks/images.py --rows digits --budget 1 --out benchmarks/results/images
    python benchmarks/images.py --rows mnist --data mnist FOLDER --budget 1 --out benchmarks/results/images

The last two run every row of a data set (ROWS), each with its CPU minutes times the budget and with 1,000 samples, one
after the other; rows that have a `report.json` of these rules already are left out.

`--data NAME [FOLDER]`: digits, mnist, fashion, cifar10. `--binarise static` draws pixels once, `dynamic` anew for each
batch, test images once (seed 0) in both. Without it figures are bits/dim of whole grey values.
Networks of each family are the presets of the package (`protgen.models.image_presets`); `--set family.beta=4
encoder.dim=32` changes them. The weights are those of the best validation loss (`--keep`).
`report.json` has everything, `samples.png` and `reconstructions.png` show it. The same is
done by `protgen train data=... family=...` and `protgen evaluate-images`, for a number of steps in place of minutes.
"""

import argparse
import ast
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from protgen.data.image_files import load_images
from protgen.data.images import ImageBatches, Images, binarise, binarised
from protgen.encoders.base import Encoder
from protgen.errors import ProtgenError
from protgen.evaluation.image_features import train_classifier
from protgen.evaluation.image_grid import save_grid
from protgen.evaluation.images import ImageEvaluation, evaluate_model
from protgen.models.image_presets import PRESETS, build_image_model
from protgen.models.image_samples import ImageSampling
from protgen.models.model import Model, load_model, save_model
from protgen.training.loop import Progress, train
from protgen.training.settings import Machine, TrainSettings
from protgen.training.validation import mean_losses
from protgen.types import Batch

# Published, with what they are of; those of larger budgets are goals and not peers.
PUBLISHED = {
    "binarised mnist, nats": {"VAE": 89.8, "IWAE-50": 86.8, "PixelCNN": 81.3, "IAF-VAE": 79.9, "PixelRNN": 79.2},
    "cifar10, bits/dim": {"RealNVP": 3.49, "Glow": 3.35, "PixelCNN++": 2.92, "VDM": 2.65},
    "cifar10, Inception FID (not ours)": {"DDPM": 3.17, "DDIM-10/20/50/100/1000": [13.36, 6.84, 4.67, 4.16, 4.04]},
}
N = "--samples 500"  # of every row of a data set, as FID depends on it
STATIC = f"{N} --binarise static --unconditional"  # as published numbers have it; samples of p(x)
# Full resolution takes most of a U-Net's time: three minutes of VDM give 92.4 nats so, 93.7 at 24, 48, 48 channels.
NARROW = "--set encoder.dim=16 encoder.multipliers=[1,3,6]"
COLOURS = "--set encoder.dim=24 encoder.multipliers=[1,2,4]"
FLOW = "--lr 1e-3 --batch 64 --weight-decay 0.1"
# Rows of a data set: name of the folder -> CPU minutes of training at a budget of 1, and options.
ROWS: dict[str, dict[str, tuple[float, str]]] = {
    "digits": {
        "digits_autoregressive": (6, "--family autoregressive --lr 3e-3"),
        # Smaller than the preset: 1,297 pictures are soon remembered.
        "digits_autoregressive-gpt": (7, "--family autoregressive-gpt --lr 2e-3 --batch 64 --weight-decay 0.3 "
        "--set encoder.dim=96 encoder.blocks=3 family.width=96"),
        "digits_diffusion": (6, "--family diffusion --lr 3e-3 --sampler ddim --steps 10,20,50,200"),
        "digits_diffusion-vdm": (10, "--family diffusion-vdm --lr 2e-3 --sampler ddpm --steps 50,200"),
        "digits_flow_matching": (6, "--family flow_matching --lr 3e-3 --steps 10,20,50"),
        # Perceptrons take a seventh of the time of U-Nets, whose second derivative R1 needs.
        "digits_gan": (10, "--family gan --keep last --lr 1e-3 --batch 64 --set encoder.name=perceptron "
        "encoder.dim=256 encoder.blocks=3 encoder.scalar_dim=1 critic.name=perceptron critic.dim=256 critic.blocks=2 "
        "critic.scalar_dim=16"),
        "digits_glow": (5, f"--family normalizing_flow-glow {FLOW}"),
        "digits_latent": (2.5, "--family latent --keep last --steps 20,50"),
        "digits_realnvp": (3, f"--family normalizing_flow {FLOW}"),
        "digits_spline": (4, f"--family normalizing_flow-spline {FLOW}"),
        "digits_vae": (1.5, "--family vae"),
        "digits_vae-hierarchical": (1.5, "--family vae-hierarchical"),
        "digits_vae-importance": (2, "--family vae-importance"),
    },
    "mnist": {
        "mnist_static_vae": (20, f"{STATIC} --family vae --lr 2e-3 --bf16 --importance 1,50,5000 "
        "--set family.warmup=5000"),
        "mnist_static_vae_importance": (60, f"{STATIC} --family vae-importance --lr 2e-3 --bf16 "
        "--importance 1,50,5000 --validate-every 500 --weight-decay 0.1 --set family.importance=50 "
        "family.warmup=5000 family.elbo_steps=50000"),
        "mnist_static_vae_hierarchical": (15, f"{STATIC} --family vae-hierarchical --lr 2e-3 --bf16 "
        "--importance 1,50,5000 --weight-decay 0.1 --set family.warmup=5000 family.settle=5000"),
        "mnist_static_pixelcnn": (60, f"{STATIC} --family autoregressive --lr 2e-3 --batch 32 --bf16 --compile "
        "--set encoder.dilations=[1,2,1,4] encoder.residual=True"),
        "mnist_static_vdm": (60, f"{STATIC} --family diffusion-vdm {NARROW} family.target=x --lr 3e-3 --batch 64 "
        "--bf16 --sampler ddpm --steps 100,250 --test 2000"),
        "mnist_grey_ddim": (20, f"{N} --asked 500 --family diffusion {NARROW} --lr 3e-3 --batch 64 --bf16 "
        "--sampler ddim --spacing 0.7 --guidance 1.5 --steps 10,20,50,200 --test 500"),
    },
    "cifar10": {  # with `--data cifar10 FILE`
        # In bits of pictures that were not seen: the bound, with VDM's own target and learned path.
        "cifar10_diffusion-vdm": (18, f"{N} --family diffusion-vdm {COLOURS} family.target=v --lr 2e-3 --batch 64 "
        "--bf16 --sampler ddpm --steps 50,100 --test 200"),
        "cifar10_flow_matching": (18, f"{N} --family flow_matching {COLOURS} family.self_conditioning=0.5 --lr 2e-3 "
        "--batch 64 --bf16 --steps 10,50 --test 200"),
    },
}  # fmt: skip


def literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def changes_of(texts: list[str]) -> dict[str, dict]:
    """`PART.KEY=VALUE` texts as keywords of each part."""
    found: dict[str, dict] = {}
    for text in texts:
        key, _, value = text.partition("=")
        part, _, name = key.partition(".")
        found.setdefault(part, {})[name] = literal(value)
    return found


def trained(model: Model, images: Images, options: argparse.Namespace) -> dict:
    """Train for that much CPU time; the learning rate falls by a cosine over it.

    Leaves the averaged weights of the best validation loss (`--keep best`), or those of the last step.
    """
    if options.compile:
        for part in model.family.modules():
            if isinstance(part, Encoder):
                part.compile(dynamic=False)
    settings = TrainSettings(
        steps=10**9, minutes=options.minutes, lr=options.lr, warmup=100, weight_decay=options.weight_decay,
        seed=options.seed, bf16=options.bf16, log_every=200, validate_every=options.validate_every,
        patience=10**9 if options.keep == "best" else None,  # the run goes on to its end, as the rate falls until then
    )  # fmt: skip
    change = None
    if options.binarise == "dynamic":

        def change(batch, rng):
            return binarise(batch, images.levels, rng)

    batches = ImageBatches(images.of("train"), options.batch, options.seed, change)
    progress = [Progress(0, {}, 0.0)]

    def show(now: Progress) -> None:
        progress.append(now)
        print(f"step {now.step}", {name: round(value, 3) for name, value in now.losses.items()}, flush=True)

    curve = Curve(held_out(images, options.batch, change))
    train(
        model, batches, settings, machine=Machine(options.device), on_progress=show,
        on_validation=curve if options.keep == "best" else None,
    )  # fmt: skip
    model.family.autocast_dtype = None
    last = {name: round(value, 3) for name, value in progress[-1].losses.items()}
    told = {name: getattr(options, name) for name in ("minutes", "batch", "lr", "weight_decay", "bf16", "seed", "keep")}
    return {"steps": progress[-1].step, **told, "compiled": options.compile, "last_terms": last, **curve.report()}


def held_out(images: Images, size: int, change: Callable | None) -> list[Batch]:
    """Batches of the validation split, always the same, of some 1,000 images at the most."""
    part = images.of("validation")
    size = min(size, len(part))
    return [ImageBatches(part, size, 0, change)(i) for i in range(min(len(part), 1000) // size)]


@dataclass
class Curve:
    """The validation loss at each validation: the first batches of the split, always with the same noise."""

    batches: list[Batch]
    losses: dict[int, float] = field(default_factory=dict)

    def __call__(self, model: Model, step: int, run: Path | None) -> dict[str, float]:
        """What the training loop calls at every validation."""
        found = mean_losses(model, self.batches, 0)
        self.losses[step] = found["validation_loss"]
        return found

    def report(self) -> dict:
        """The step whose weights are kept, its loss, and that of the last step; nothing where nobody looked."""
        if not self.losses:
            return {}
        best = min(self.losses, key=self.losses.__getitem__)
        last = self.losses[max(self.losses)]
        return {
            "best_step": best,
            "validation_loss": round(self.losses[best], 4),
            "last_validation_loss": round(last, 4),
        }


def machine(device: str) -> str:
    """What the run was on."""
    chip = f"{torch.cuda.get_device_name(0)}, " if device.startswith("cuda") else ""
    return f"{chip}{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", choices=sorted(ROWS), default=None, help="all rows of a data set")
    parser.add_argument("--budget", type=float, default=1.0, help="with --rows: times the CPU minutes of each row")
    parser.add_argument("--only", nargs="*", default=[], metavar="ROW", help="with --rows: these alone")
    parser.add_argument("--data", nargs="+", metavar=("NAME", "FOLDER"))
    parser.add_argument("--family", choices=sorted(PRESETS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--binarise", choices=["none", "static", "dynamic"], default="none")
    parser.add_argument("--model", type=Path, default=None, help="evaluate this model (OUT/model) of an earlier run")
    parser.add_argument("--unconditional", action="store_true", help="no y at all, as published likelihoods have it")
    parser.add_argument("--sum-classes", action="store_true", help="test likelihood with y summed over, not unknown")
    parser.add_argument("--minutes", type=float, default=60.0, help="CPU time of training")
    parser.add_argument("--device", default="cpu", help="cuda: minutes are then those of the process that drives it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument(
        "--keep",
        choices=["best", "last"],
        default="best",
        help="weights: of the best validation loss, "
        "or of the last step, as for a GAN, whose loss says nothing of its samples",
    )
    parser.add_argument("--validate-every", type=int, default=100, help="steps between validations")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks; needs a C++ compiler")
    parser.add_argument("--test", type=int, default=10_000, help="test images whose likelihood is found")
    parser.add_argument("--importance", default="1,50", help="importance samples of VAEs, 2,000 images from 1,000")
    parser.add_argument("--samples", type=int, default=1000, help="for FID and KID")
    parser.add_argument("--asked", type=int, default=1000, help="with a class asked, for obedience")
    parser.add_argument("--guidance", type=float, default=1.0, help="weight of the classes that are asked for")
    parser.add_argument("--sampler", default="euler")
    parser.add_argument("--steps", default="10,20,50,200", help="of the sampler, each with its FID")
    parser.add_argument("--spacing", type=float, help="of the sampler's steps: above 1 finer near data")
    parser.add_argument("--no-self-conditioning", action="store_true", help="steps do not read the prediction before")
    parser.add_argument("--classifier-steps", type=int, default=1500, help="training steps of the feature net")
    parser.add_argument("--set", nargs="*", default=[], metavar="PART.KEY=VALUE")
    options = parser.parse_args()
    if options.rows is None and (options.data is None or options.family is None):
        parser.error("give --rows, or --data and --family")
    return options


def is_done(path: Path, minutes: float) -> bool:
    """Whether there is a report with floors, of as many CPU minutes."""
    if not path.is_file():
        return False
    report = json.loads(path.read_text())
    return "classes asked" in report["samples"] and report["training"]["minutes"] >= minutes


def run_rows(options: argparse.Namespace) -> None:
    """Every row of a data set that has no report yet, each in a process of its own."""
    for name, (minutes, text) in ROWS[options.rows].items():
        out = options.out / name
        if (options.only and name not in options.only) or is_done(out / "report.json", minutes * options.budget):
            continue
        data = [str(part) for part in options.data or [options.rows]]
        own = ["--data", *data, "--minutes", f"{minutes * options.budget:g}", "--out", str(out), *text.split()]
        print(name, *own, flush=True)
        subprocess.run([sys.executable, __file__, *own], check=True)


def settings_of(options: argparse.Namespace, model: Model) -> ImageEvaluation:
    """What is measured."""
    takes = model.family.takes_sampler
    return ImageEvaluation(
        samples=options.samples,
        asked=options.asked,
        test=options.test,
        importance=tuple(int(k) for k in options.importance.split(",")),
        sum_classes=options.sum_classes,
        steps=tuple(int(s) for s in options.steps.split(",")) if takes else (),
        sampling=ImageSampling(
            options.sampler if takes else None,
            guidance=options.guidance,
            spacing=options.spacing if takes else None,
            self_condition=False if takes and options.no_self_conditioning else None,
        ),
        seed=options.seed,
    )


def run(options: argparse.Namespace) -> None:
    """One row: train, save, load as anybody would, measure."""
    name, folder = options.data[0], Path(options.data[1]) if len(options.data) > 1 else None
    images = load_images(name, folder)
    once = binarised(images) if options.binarise != "none" else images
    if options.binarise == "static":
        images = once
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.model is None:
        conditions = [] if options.unconditional else ["class_label"]
        binary = options.binarise != "none"
        model = build_image_model(
            images, options.family, binary=binary, conditions=conditions, **changes_of(options.set)
        )
        training = trained(model, images, options)
        save_model(model, options.out / "model", torch.float32)
        (options.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")
        model = load_model(options.out / "model")  # as anybody would get it, and no longer compiled for one shape
    else:
        model = load_model(options.model)
        training = json.loads((options.model.parent / "training.json").read_text())
    model.family.to(options.device)
    measured = evaluate_model(
        model, once, settings_of(options, model), 0, train_classifier(once, options.classifier_steps)
    )
    report = {
        "data": images.name,
        "binarisation": {"none": "none, whole values"}.get(options.binarise, options.binarise),
        "family": options.family,
        "command": " ".join(["python", "benchmarks/images.py", *sys.argv[1:]]),
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "model": model.config,
        "training": training,
        "machine": machine(options.device),
        "likelihood": measured.report["likelihood"],
        "samples": measured.report["samples"],
        "published": PUBLISHED,
    }
    for shown, pictures in (("samples", measured.pictures), ("reconstructions", measured.reconstructions)):
        if pictures is not None:
            save_grid(pictures, options.out / f"{shown}.png")
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: report[key] for key in ("likelihood", "samples")}, indent=1))


def main() -> None:
    options = parse()
    try:
        run_rows(options) if options.rows else run(options)
    except ProtgenError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
