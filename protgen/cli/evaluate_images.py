"""`protgen evaluate-images`: what a trained model of images is worth, against the test split of its data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout, table
from protgen.cli.image_options import ImageModelOption, ImageSource, PictureSettings, load_image_model
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.evaluation.images import ImageEvaluation

SIGNS = {"exact": "", "lower_bound": "≤ ", "estimate": "≈ "}  # of -log p


@grouped
def evaluate_images(
    model: ImageModelOption,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for report.json, samples.png and reconstructions.png.", metavar="DIR")
    ],
    source: ImageSource,
    how: PictureSettings,
    samples: Annotated[int, typer.Option("--samples", min=66, help="Drawn without a class, for distances.")] = 1000,
    asked: Annotated[int, typer.Option("--asked", min=10, help="Drawn of a class each, for obedience.")] = 1000,
    test: Annotated[int, typer.Option("--test", min=2, help="Test images whose likelihood is found.")] = 10_000,
    importance: Annotated[
        str, typer.Option("--importance", help="Importance samples of VAEs; from 1,000 on on 2,000 images.")
    ] = "1,50",
    sum_classes: Annotated[
        bool, typer.Option("--sum-classes", help="p(x) as the mean over classes, not with the class unknown.")
    ] = False,
    classifier_steps: Annotated[
        int, typer.Option("--classifier-steps", min=1, help="Training steps of the feature net.")
    ] = 1500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure a model of images: protgen evaluate-images --model RUN --out DIR

    Test nats and bits/dim, FID and KID with the floor of real images, precision and recall, and how often the class
    asked is the class seen. The features are those of a small classifier that is trained here, named with its accuracy.
    """
    with stderr().status("measuring"):
        from protgen.evaluation.image_grid import save_grid
        from protgen.evaluation.images import ImageEvaluation, check_evaluation, evaluate_model
        from protgen.evaluation.tables import make_folder, write_json

        settings = ImageEvaluation(
            samples=samples, asked=asked, test=test, importance=counts(importance), sum_classes=sum_classes,
            steps=() if how.steps is None else (how.steps,), sampling=how.sampling(), seed=seed,
        )  # fmt: skip
        found = load_image_model(model, "evaluate-images")
        check_evaluation(found, settings)
        images = source.images(found)
        make_folder(out)
        measured = evaluate_model(found, images, settings, classifier_steps)
        report = measured.report | {"model": found.config, "seed": seed}
        write_json(out / "report.json", report)
        files = {"report": out / "report.json"}
        for name, pictures in (("samples", measured.pictures), ("reconstructions", measured.reconstructions)):
            if pictures is not None:
                files[name] = out / f"{name}.png"
                save_grid(pictures, files[name])
    if as_json:
        print_json(json.loads(json.dumps(report)) | {"files": files})
        return
    for line in likelihood_lines(report["likelihood"]):
        stdout().print(line, markup=False, soft_wrap=True)
    print_samples(report["samples"], settings)
    stdout().print(f"Files: {', '.join(map(str, files.values()))}", markup=False, soft_wrap=True)


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    Raises:
        UsageError: if they are none, or below 1.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UsageError(f"--importance {text!r}: give whole numbers, at least 1, as in 1,50")
    return found


def likelihood_lines(found: dict[str, Any]) -> list[str]:
    """Test likelihoods in words."""
    lines = []
    for name, value in found.items():
        if isinstance(value, str):
            lines.append(f"Likelihood: {value}.")
            continue
        sign = SIGNS[value["kind"]]
        nats = f"{sign}{value['nats']:.2f} ± {value['standard_error']:.2f} nats"
        bits = f"{sign}{value['bits_per_dim']:.3f} bits/dim"
        of = "" if name == "log_prob" else f", {name}"
        if "begins" in value:
            of = f", from a noise of {value['begins']['noise_in_steps']:g} grey values"
        lines.append(f"-log p(x): {nats}, {bits}{of}, {value['test_images']} test images, class {value['y']}.")
    return lines


def print_samples(found: dict[str, Any], settings: "ImageEvaluation") -> None:
    """A table of distances with their floor, and how often classes are obeyed."""
    if "feature_net" not in found:
        stdout().print(f"Samples: {found['samples']}.", markup=False, soft_wrap=True)
        return
    title = f"{found['samples']} pictures against {found['reference']}, features {found['feature_net']}"
    listing = table("<what", "FID", "FID inf", "KID", "precision", "recall", title=title)
    for name, value in found.items():
        if isinstance(value, dict) and "kid" in value:
            shown = "training images (floor)" if name.startswith("training images") else f"samples, {name}"
            numbers = [value[key] for key in ("fid", "fid_infinity", "kid", "precision", "recall")]
            listing.add_row(shown, *(f"{number:.3f}" for number in numbers))
    stdout().print(listing)
    if "class asked is class seen" in found:
        obeyed, about = found["class asked is class seen"], found["classes asked"]
        stdout().print(
            f"The class asked is the class seen in {100 * obeyed:.1f} ± {100 * about['standard_error']:.1f} % of "
            f"{about['n']} (guidance {settings.sampling.guidance:g}; the feature net is right on "
            f"{100 * found['accuracy']:.1f} % of test images).",
            markup=False,
            soft_wrap=True,
        )
