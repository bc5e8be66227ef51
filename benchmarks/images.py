"""One family on one set of images within a time budget: likelihood, samples, FID and KID, next to published numbers.

    python benchmarks/images.py --data digits --family vae --minutes 1 --out benchmarks/results/images/digits_vae
    python benchmarks/images.py --data mnist ../shared/data/images/mnist --binarise dynamic --family vae --minutes 60 \\
        --importance 1,50,5000 --out ...

`--data NAME [FOLDER]`: digits, mnist, fashion, cifar10. `--binarise static` draws pixels once, `dynamic` anew for each
batch, test images once (seed 0) in both. Without it figures are bits/dim, of pixels that are dequantised uniformly, or
of whole grey values for flow matching and diffusion, whose likelihood is one of values.
Presets of each family are in PRESETS; `--set family.beta=4 encoder.dim=32` changes them. `report.json` has everything,
`samples.png` and `reconstructions.png` show it.
"""

import argparse
import ast
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from image_features import Distances, Evaluator, brightness, distances, train_classifier
from torch import Generator, Tensor

from protgen import registry
from protgen.data.images import ImageBatches, Images, binarise, binarised, dequantise, load_images, to_batch
from protgen.encoders.base import Encoder
from protgen.errors import ProtgenError
from protgen.families.base import Family, LatentFamily, LikelihoodFamily, reconstruct
from protgen.families.diffusion import Diffusion
from protgen.families.flow_matching import FlowMatching
from protgen.families.vae import VAE
from protgen.models.model import Model, build_model, load_model, save_model
from protgen.samplers.base import SamplingTask
from protgen.spaces.image import Image
from protgen.training.loop import Progress, train
from protgen.training.settings import Machine, TrainSettings
from protgen.types import Batch, Conditioning, State

# The layers behind it are linear in its numbers of each pixel: more than one would cost a wide layer and say no more.
PERCEPTRON, UNET = {"name": "perceptron", "scalar_dim": 1}, {"name": "unet", "dim": 32}
PIXELCNN = {"name": "pixelcnn", "dim": 32, "blocks": 8, "kernel": 3}
# Networks and keywords of each family; a name after a dash is a variant.
PRESETS: dict[str, dict] = {
    "vae": {"encoder": PERCEPTRON, "family": {"name": "vae", "latent_dim": 32, "pool": True, "warmup": 5000}},
    "vae-hierarchical": {
        "encoder": PERCEPTRON,
        "family": {"name": "vae", "latent_dim": 32, "pool": True, "levels": 2, "warmup": 5000, "settle": 5000},
    },
    "vae-importance": {
        "encoder": PERCEPTRON,
        "family": {"name": "vae", "latent_dim": 32, "pool": True, "importance": 5, "warmup": 5000},
    },
    "latent": {
        "encoder": PERCEPTRON,
        "prior": {"name": "transformer", "dim": 128, "blocks": 3, "fields": {"latents": 32}},
        "family": {"name": "latent", "latent_dim": 32, "joint": True, "vae": {"pool": True}},
    },
    "gan": {"encoder": UNET, "family": {"name": "gan"}},
    "flow_matching": {"encoder": UNET, "family": {"name": "flow_matching", "data_bias": 1.0}},
    "diffusion": {"encoder": UNET, "family": {"name": "diffusion"}},
    # On grey values the target v is VDM's own (family.target=v); means of binary pixels are between -1 and 1.
    "diffusion-vdm": {
        "encoder": UNET,
        "family": {
            "name": "diffusion",
            "path": "learned",
            "target": "v",
            "weighting": "bound",
            "self_conditioning": 0.0,
        },
    },
    "autoregressive": {
        "encoder": PIXELCNN,
        "family": {"name": "autoregressive", "width": 64, "plan_dim": 0, "candidates": 1},
    },
    "autoregressive-gpt": {
        "encoder": {"name": "transformer", "dim": 128, "blocks": 4, "heads": 4},
        "family": {"name": "autoregressive", "width": 128, "plan_dim": 0, "candidates": 1},
    },
    "realnvp": {"encoder": UNET, "family": {"name": "normalizing_flow", "steps": 8}},
    "glow": {"encoder": UNET, "family": {"name": "normalizing_flow", "steps": 4, "mixing": True, "levels": 2}},
}
# Published, with what they are of; those of larger budgets are goals and not peers.
PUBLISHED = {
    "binarised mnist, nats": {"VAE": 89.8, "IWAE-50": 86.8, "PixelCNN": 81.3, "IAF-VAE": 79.9, "PixelRNN": 79.2},
    "cifar10, bits/dim": {"RealNVP": 3.49, "Glow": 3.35, "PixelCNN++": 2.92, "VDM": 2.65},
    "cifar10, Inception FID (not ours)": {"DDPM": 3.17, "DDIM-10/20/50/100/1000": [13.36, 6.84, 4.67, 4.16, 4.04]},
}


def build(
    images: Images, preset: dict, changes: list[str], binary: bool, conditions: Sequence[str] = ("class_label",)
) -> Model:
    """The model of a preset, its networks as large as the images."""
    height, width, channels = images.pixels.shape[1:]
    size = {"height": height, "width": width, "channels": channels}
    space = {"name": "image", **size, "levels": 2 if binary else images.levels, "binary": binary}
    config = {"space": space, "conditions": list(conditions)}
    config |= {part: dict(entry) for part, entry in preset.items()}
    for part in ("encoder", "decoder"):
        if config.get(part, {}).get("name") in ("unet", "perceptron", "pixelcnn"):
            config[part] |= size
    if config["encoder"]["name"] == "transformer":
        config["encoder"] |= {"fields": {"pixels": channels}, "row": width}
    if config["encoder"]["name"] == "unet" and min(height, width) < 16:
        config["encoder"]["multipliers"] = [1, 2]
    for change in changes:
        key, _, value = change.partition("=")
        part, _, name = key.partition(".")
        config[part][name] = literal(value)
    return build_model(config)


def literal(text: str):
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def mode_of(binarise_as: str, family: Family) -> str:
    """How pixels are prepared: as asked for, or whole grey values for families whose likelihood is one of values."""
    whole = isinstance(family, Diffusion | FlowMatching)
    return "whole" if binarise_as == "none" and whole else binarise_as


def prepare(batch: Batch, images: Images, mode: str, rng: Generator) -> Batch:
    """Pixels as the mode says: `dynamic` binarisation, `static` (done already), `whole` values, or dequantised."""
    if mode == "dynamic":
        return binarise(batch, images.levels, rng)
    return batch if mode in ("static", "whole") else dequantise(batch, rng)


def trained(model: Model, images: Images, mode: str, options: argparse.Namespace) -> dict:
    """Train for that much CPU time; the learning rate falls by a cosine over it. Leaves the averaged weights."""
    if options.compile:
        for part in model.family.modules():
            if isinstance(part, Encoder):
                part.compile(dynamic=False)
    settings = TrainSettings(
        steps=10**9, minutes=options.minutes, lr=options.lr, warmup=200, weight_decay=1e-4, seed=options.seed,
        bf16=options.bf16, log_every=200, validate_every=10**9,
    )  # fmt: skip
    batches = ImageBatches(
        images.of("train"), options.batch, options.seed, lambda batch, rng: prepare(batch, images, mode, rng)
    )
    progress = [Progress(0, {}, 0.0)]

    def show(now: Progress) -> None:
        progress.append(now)
        print(f"step {now.step}", {name: round(value, 3) for name, value in now.losses.items()}, flush=True)

    train(model, batches, settings, machine=Machine(options.device), on_progress=show)
    model.family.autocast_dtype = None
    last = {name: round(value, 3) for name, value in progress[-1].losses.items()}
    kept = {"batch": options.batch, "lr": options.lr, "bf16": options.bf16, "compiled": options.compile}
    return {"steps": progress[-1].step, "minutes": options.minutes, **kept, "seed": options.seed, "last_terms": last}


def device_of(model: Model) -> torch.device:
    """Where the family's numbers are."""
    return next(model.family.parameters()).device


def test_points(model: Model, images: Images, mode: str, count: int) -> Iterator[tuple[State, Batch]]:
    """The first test images as points of the space, with noise from seed 0."""
    test = images.of("test")
    rng, device = Generator().manual_seed(0), device_of(model)
    for rows in np.array_split(np.arange(min(count, len(test))), max(1, count // 100)):
        batch = prepare(to_batch(test, rows), images, mode, rng).to(device)
        yield model.family.space.encode(batch), batch


def candidates(model: Model, mask: Tensor, summed: bool) -> list[Conditioning]:
    """What y may be: unknown, or each of the ten classes."""
    if not summed:
        return [model.conditions.unknown(mask)]
    label = registry.find("conditions", "class_label")
    return [model.conditions.from_requests([[label(k)]] * len(mask), mask) for k in range(10)]


def likelihoods(model: Model, images: Images, mode: str, options: argparse.Namespace) -> dict:
    """Mean test nats, standard error, bits/dim; for VAEs at each number of importance samples.

    y is unknown, or with `--sum-classes` summed over: p(x) = sum_y p(x | y) / 10, of which a bound on each p(x | y)
    gives a bound.
    """
    family, space = model.family, model.family.space
    assert isinstance(space, Image)
    if not isinstance(family, LikelihoodFamily):
        return {"likelihood": "none: this family has no density"}
    result = {}
    for k in [int(k) for k in options.importance.split(",")] if isinstance(family, VAE) else [0]:
        nats, kind = [], "lower_bound"
        rng = Generator().manual_seed(1)
        for x, batch in test_points(model, images, mode, options.test if k < 1000 else min(options.test, 500)):
            asked = candidates(model, batch.mask, options.sum_classes)
            found = []
            for cond in asked:
                if isinstance(family, VAE):
                    found.append(family.bound(x, cond, rng, k, chunk=2000))
                else:
                    given = family.log_prob(x, cond, rng)
                    kind = given.kind
                    found.append(given.nats.detach())
            nats.append((torch.stack(found).logsumexp(0) - np.log(len(asked))).cpu())
        values = torch.cat(nats).double()
        result[f"k = {k}" if k else "log_prob"] = {
            "kind": kind,
            "y": "summed over ten classes" if options.sum_classes else "unknown",
            "nats": round(float(-values.mean()), 3),
            "standard_error": round(float(values.std() / len(values) ** 0.5), 3),
            "bits_per_dim": round(float(space.bits_per_dim(values).mean()), 4),
            "test_images": len(values),
        }
    return result


def sample(model: Model, labels: Tensor, seed: int, steps: int | None, sampler: str) -> Tensor:
    """Pictures (n, h, w, c) of the labels asked for, each from its own stream; -1 asks for none."""
    space = model.family.space
    assert isinstance(space, Image)
    label = registry.find("conditions", "class_label")
    built = None
    if model.family.takes_sampler:
        built = registry.build("samplers", sampler, **({} if steps is None else {"steps": steps}))
    pictures = []
    for rows in torch.arange(len(labels)).split(100 if device_of(model).type == "cpu" else 1000):
        mask = space.full_mask(len(rows)).to(device_of(model))
        asked = [[label(int(labels[i]))] if labels[i] >= 0 else [] for i in rows]
        streams = [Generator().manual_seed(seed * 1_000_003 + int(i)) for i in rows]
        task = SamplingTask(mask, model.conditions.from_requests(asked, mask), streams)
        with torch.no_grad():
            pictures.append(space.observe(model.family.sample(task, built)).clamp(0, 1).cpu())
    return torch.cat(pictures)


def evaluated(model: Model, evaluator: Evaluator, images: Images, options: argparse.Namespace) -> dict:
    """FID and KID of unconditional samples against the test split, by sampler steps; class asked against class seen."""
    test = images.of("test")
    real = brightness(test, np.random.default_rng(0).permutation(len(test)))
    reference = evaluator.features(real)
    # As many training images as there are samples: what a perfect model of the data gets.
    train = images.of("train")
    seen = brightness(train, np.random.default_rng(0).permutation(len(train))[: options.samples])
    floor = shown(distances(evaluator.features(seen), reference))
    result: dict = {"feature_net": evaluator.name, "accuracy": evaluator.accuracy, "samples": options.samples}
    result["reference"] = f"all {len(real)} test images"
    result["training images against the reference"] = floor
    free, made = torch.full((options.samples,), -1), torch.zeros(0)
    steps = [int(s) for s in options.steps.split(",")] if model.family.takes_sampler else [None]
    for count in steps:
        start = time.perf_counter()
        made = sample(model, free, options.seed, count, options.sampler)
        seconds = (time.perf_counter() - start) / len(made)
        features = evaluator.features(made)
        result["one go" if count is None else f"{options.sampler}, {count} steps"] = {
            **shown(distances(features, reference)),
            "seconds_per_sample": round(seconds, 4),
        }
    if model.conditions.names:
        asked = torch.arange(100) % 10
        made = sample(model, asked, options.seed + 1, max((s for s in steps if s), default=None), options.sampler)
        result["class asked is class seen"] = float((evaluator.classes(made) == asked).float().mean())
    save_grid(made[:100], options.out / "samples.png")
    return result


def shown(found: Distances) -> dict:
    """Distances as a report has them."""
    return {
        "fid": round(found.fid, 4),
        "fid_infinity": round(found.fid_infinity, 4),
        "kid": round(found.kid, 5),
        "n": found.n,
    }


def save_grid(pictures: Tensor, path: Path, columns: int = 10) -> None:
    """Pictures in rows, with a grey line between."""
    from PIL import Image as Picture

    n, h, w, c = pictures.shape
    rows = -(-n // columns)
    canvas = torch.full((rows * (h + 1), columns * (w + 1), c), 0.5)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        canvas[top : top + h, left : left + w] = picture
    bytes_ = (canvas.clamp(0, 1) * 255).to(torch.uint8).numpy()
    picture = Picture.fromarray(bytes_[..., 0] if c == 1 else bytes_)
    scale = max(1, 600 // picture.width)
    picture.resize((picture.width * scale, picture.height * scale), Picture.Resampling.NEAREST).save(path)


def show_reconstructions(model: Model, images: Images, mode: str, path: Path) -> None:
    """Test images above what is left of them."""
    family, space = model.family, model.family.space
    if not isinstance(family, LatentFamily) or not isinstance(space, Image):
        return
    x, batch = next(test_points(model, images, mode, 100))
    with torch.no_grad():
        again = reconstruct(family, x, model.conditions.unknown(batch.mask))
    pairs = [space.observe(s)[:40].unflatten(0, (-1, 10)) for s in (x, again)]
    save_grid(torch.stack(pairs, 1).flatten(0, 2).cpu(), path)


def machine(device: str) -> str:
    """What the run was on."""
    chip = f"{torch.cuda.get_device_name(0)}, " if device.startswith("cuda") else ""
    return f"{chip}{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar=("NAME", "FOLDER"))
    parser.add_argument("--family", choices=sorted(PRESETS), required=True)
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
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks; needs a C++ compiler")
    parser.add_argument("--test", type=int, default=10_000, help="test images whose likelihood is found")
    parser.add_argument("--importance", default="1,50", help="importance samples of VAEs; above 1,000 on 500 images")
    parser.add_argument("--samples", type=int, default=1000, help="for FID and KID")
    parser.add_argument("--sampler", default="euler")
    parser.add_argument("--steps", default="10,20,50,200", help="of the sampler, each with its FID")
    parser.add_argument("--classifier-steps", type=int, default=1500, help="training steps of the feature net")
    parser.add_argument("--set", nargs="*", default=[], metavar="PART.KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    options = parse()
    name, folder = options.data[0], Path(options.data[1]) if len(options.data) > 1 else None
    try:
        images = load_images(name, folder)
        evaluate_images = binarised(images) if options.binarise != "none" else images
        if options.binarise == "static":
            images = evaluate_images
        torch.manual_seed(options.seed)
        conditions = [] if options.unconditional else ["class_label"]
        if options.model is None:
            model = build(images, PRESETS[options.family], options.set, options.binarise != "none", conditions)
        else:
            model = load_model(options.model)
    except ProtgenError as error:
        raise SystemExit(str(error)) from error
    options.out.mkdir(parents=True, exist_ok=True)
    mode, seed = mode_of(options.binarise, model.family), options.seed
    if options.model is None:
        training = trained(model, images, mode, options)
        save_model(model, options.out / "model", torch.float32)
        (options.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")
        model = load_model(options.out / "model")  # as anybody would get it, and no longer compiled for one shape
    else:
        training = json.loads((options.model.parent / "training.json").read_text())
    model.family.to(options.device)
    evaluator = train_classifier(evaluate_images, options.classifier_steps)
    report = {
        "data": images.name,
        "binarisation": {"none": "none, uniform dequantisation", "whole": "none, whole values"}.get(mode, mode),
        "family": options.family,
        "command": " ".join(["python", "benchmarks/images.py", *sys.argv[1:]]),
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "model": model.config,
        "training": {"seed": seed} | training,
        "machine": machine(options.device),
        "likelihood": likelihoods(model, images, mode, options),
        "samples": evaluated(model, evaluator, evaluate_images, options),
        "published": PUBLISHED,
    }
    show_reconstructions(model, images, mode, options.out / "reconstructions.png")
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: report[key] for key in ("likelihood", "samples")}, indent=1))


if __name__ == "__main__":
    main()
