"""Bayes classifiers: p(y | x) from p(x | y), on digits and on the fold class of proteins, next to scikit-learn's own.

    python benchmarks/classify.py --out benchmarks/results/classify [--parts digits,proteins,released] [--seed 0]
        [--store STORE --index INDEX.csv] [--steps 1500] [--networks vae,pixelcnn,gpt] [--released 60]

`digits`: the 300 test digits of `load_digits`; classical families in closed form, and a VAE, a PixelCNN and a GPT over
pixels trained for `--steps` steps. `proteins`: the validation split of a store; classical families on fold
descriptors, asked for the fold class by DSSP fractions and for the class by CATH (column `cath` of the index of the
chains), each with all descriptors and without the fractions of helix and strand, which the first is made of, and
against logistic regression by the number of training examples.
`released`: models that learned fractions of helix and strand, asked which class's typical fractions make a structure
likeliest.
Each part writes its own JSON: accuracy, mean of the recalls of the classes, nats of the true class, and the kind of
likelihood.
"""

import argparse
import csv
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from protgen.conditions.base import Condition
from protgen.conditions.class_label import ClassLabel
from protgen.conditions.fold_class import CLASSES
from protgen.conditions.fractions import Fractions
from protgen.data.dataset import collate
from protgen.data.image_files import load_images
from protgen.data.images import ImageBatches, Images, to_batch
from protgen.data.store import Store
from protgen.families.base import LikelihoodFamily
from protgen.families.classify import classify
from protgen.metrics.secondary_structure import fold_class
from protgen.models.image_presets import PRESETS, image_config
from protgen.models.model import Model, build_model
from protgen.models.released import load
from protgen.spaces.descriptors import Descriptors
from protgen.structure.dssp import to_string
from protgen.training.loop import train
from protgen.training.settings import Machine, TrainSettings
from protgen.types import Batch, State

CLASSICAL = ("naive_bayes", "discriminant", "mixture")
ROUNDS = 30  # passes of EM over all examples
RIDGE = 1e-3
SIZES, DRAWS = (20, 60, 200, 600, 2000), 10  # training examples, and draws of each number
CATH = ("mainly alpha", "mainly beta", "alpha beta")  # classes 1, 2 and 3; 4 has few secondary structures
FRACTIONS = ("helix", "strand")
NO_NETWORK = {"name": "transformer", "dim": 8, "blocks": 1, "heads": 1}


def scores(log_posterior: np.ndarray, truth: np.ndarray) -> dict:
    """Of log p(y | x) (n, k) against the true classes (n,)."""
    right = log_posterior.argmax(-1) == truth
    recalls = [right[truth == c].mean() for c in np.unique(truth)]
    return {
        "accuracy": round(float(right.mean()), 4),
        "standard_error": round(float(right.std() / len(right) ** 0.5), 4),
        "mean_recall": round(float(np.mean(recalls)), 4),
        "nats_of_the_true_class": round(float(-log_posterior[np.arange(len(truth)), truth].mean()), 3),
        "n": len(truth),
    }


def priors(labels: np.ndarray, count: int) -> torch.Tensor:
    """log of the fractions of the classes in training."""
    return torch.from_numpy(np.bincount(labels, minlength=count) / len(labels)).clamp(min=1e-9).log()


def by_bayes(
    model: Model,
    points: Sequence[tuple[State, Batch]],
    candidates: Callable[[int], Condition],
    count: int,
    truth: np.ndarray,
    log_priors: torch.Tensor,
    repeats: int = 1,
) -> dict:
    """Scores of a model over `count` candidate conditions, part by part."""
    assert isinstance(model.family, LikelihoodFamily)
    found, kind = [], ""
    for number, (x, batch) in enumerate(points):
        asked = [model.conditions.from_requests([[candidates(k)]] * len(batch.mask), batch.mask) for k in range(count)]
        with torch.no_grad():
            result = classify(model.family, x, asked, log_priors, seed=number, repeats=repeats)
        found.append(result.log_posterior.double().numpy())
        kind = result.kind
    return {"likelihood": kind, **scores(np.concatenate(found), truth)}


def fit_classical(model: Model, x: State, batch: Batch, requests: list[list[Condition]]) -> Model:
    """All examples at once; a mixture by further rounds of EM."""
    cond = model.conditions.from_requests(requests, batch.mask)
    family = model.family.train()
    for _ in range(ROUNDS if model.config["family"]["model"] == "mixture" else 1):
        family.fit(x, cond)  # whole values, as the controls get
    family.eval()
    return model


def controls(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> dict:
    """scikit-learn on the same vectors: two generative classifiers, and one that learns p(y | x) alone."""
    models = {
        "scikit-learn GaussianNB": GaussianNB(),
        f"scikit-learn QDA (reg_param {RIDGE})": QuadraticDiscriminantAnalysis(reg_param=RIDGE),
        "scikit-learn LogisticRegression (no p(x))": LogisticRegression(max_iter=2000),
    }
    scaler = StandardScaler().fit(train)
    result = {}
    for name, model in models.items():
        given = (scaler.transform(train), scaler.transform(test)) if "Logistic" in name else (train, test)
        found = model.fit(given[0], labels).predict_log_proba(given[1])
        result[name] = scores(np.maximum(found, -1e4), truth)
    return result


def train_images(model: Model, images: Images, steps: int, seed: int, size: int = 128, lr: float = 2e-3) -> Model:
    """AdamW for a number of steps, a cosine over them, averaged weights."""
    settings = TrainSettings(
        steps=steps, lr=lr, warmup=50, weight_decay=1e-4, ema=0.99, seed=seed, bf16=False, log_every=max(1, steps),
        validate_every=10**9,
    )  # fmt: skip
    batches = ImageBatches(images, size, seed)
    return train(model, batches, settings, machine=Machine("cpu"))


NETWORKS = {
    "vae": PRESETS["vae"],
    "pixelcnn": {
        "encoder": {"name": "pixelcnn", "dim": 32, "blocks": 4, "kernel": 3, "height": 8, "width": 8},
        "family": {"name": "autoregressive", "width": 64, "candidates": 1},
    },
    "gpt": {
        "encoder": {"name": "transformer", "dim": 64, "blocks": 3, "heads": 4, "fields": {"pixels": 1}, "row": 8},
        "family": {"name": "autoregressive", "width": 64, "candidates": 1},
    },
}


def digits(options: argparse.Namespace) -> dict:
    """Accuracy on the test digits."""
    images = load_images("digits")
    train, test = images.of("train"), images.of("test")
    log_priors = priors(train.labels, 10)
    result: dict = {}
    for kind in CLASSICAL:
        preset = {"encoder": NO_NETWORK | {"fields": {"pixels": 1}}}
        preset["family"] = {"name": "classical", "model": kind, "ridge": RIDGE, "components": 3}
        model = build_model(image_config(images, preset))
        whole = to_batch(train, np.arange(len(train)))
        requests: list[list[Condition]] = [[ClassLabel(int(k))] for k in train.labels]
        fit_classical(model, model.family.space.encode(whole), whole, requests)
        result[f"classical, {kind}"] = evaluate_digits(model, test, log_priors)
        print(kind, result[f"classical, {kind}"], flush=True)
    for name in options.networks.split(","):
        torch.manual_seed(options.seed)
        model = train_images(build_model(image_config(images, NETWORKS[name])), train, options.steps, options.seed)
        result[name] = {"steps": options.steps, **evaluate_digits(model, test, log_priors)}
        print(name, result[name], flush=True)
    flat = [part.pixels.reshape(len(part), -1) / 8.0 for part in (train, test)]
    return {**result, **controls(flat[0], train.labels, flat[1], test.labels)}


def evaluate_digits(model: Model, test: Images, log_priors: torch.Tensor) -> dict:
    """Grey values as they are: the middle of their cells."""
    batches = [to_batch(test, rows) for rows in np.array_split(np.arange(len(test)), 6)]
    points = [(model.family.space.encode(batch), batch) for batch in batches]
    return by_bayes(model, points, ClassLabel, 10, test.labels, log_priors)


def cath_classes(index: Path | None, ids: Sequence[str]) -> np.ndarray:
    """CATH's class of the chain each structure is of, from 0; -1 where it is not known or has few elements."""
    if index is None:
        return np.full(len(ids), -1)
    with index.open(newline="", encoding="utf-8") as lines:
        known = {Path(row["file"]).name.partition(".")[0]: row["cath"] for row in csv.DictReader(lines)}
    codes = [known.get(name.partition(":")[0], "") for name in ids]
    return np.array([int(code[0]) - 1 if code[:1] in "123" and code else -1 for code in codes])


def fold_classes(store: Store, rows: np.ndarray) -> np.ndarray:
    """The class by DSSP fractions, from 0; -1 for a structure of none."""
    found = [fold_class(to_string(store[int(i)].labels)) for i in rows]
    return np.array([CLASSES.index(name) if name in CLASSES else -1 for name in found])


def proteins(options: argparse.Namespace) -> dict:
    """Classes of the validation split from descriptors."""
    store = Store(options.store)
    rows = {split: store.indices(split) for split in ("train", "validation")}
    ids = {split: [store[int(i)].id for i in chosen] for split, chosen in rows.items()}
    space = Descriptors()
    x = {split: encoded(store, chosen, space) for split, chosen in rows.items()}
    labels = {
        "fold class by DSSP shares": {split: fold_classes(store, chosen) for split, chosen in rows.items()},
        "class by CATH": {split: cath_classes(options.index, named) for split, named in ids.items()},
    }
    result: dict = {}
    for task, known in labels.items():
        if (known["train"] < 0).all():
            continue
        for which, names in (
            ("18 descriptors", space.names),
            ("16, without fractions of helix and strand", tuple(n for n in space.names if n not in FRACTIONS)),
        ):
            columns = [space.names.index(n) for n in names]
            given = {split: (x[split][known[split] >= 0][:, columns], known[split][known[split] >= 0]) for split in x}
            found = evaluate_descriptors(names, *given["train"], *given["validation"])
            found["by training-set size"] = by_size(names, *given["train"], *given["validation"], options.seed)
            result.setdefault(task, {})[which] = found
    return result


def by_size(
    names: Sequence[str], train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray, seed: int
) -> dict:
    """Accuracy of classifiers that learn p(x, y) and of one that learns p(y | x), by the number of examples.

    The mean and its standard error over draws of the examples; the test set is one.
    """
    count, whole = int(labels.max()) + 1, point(test)
    result: dict = {}
    for n in (*(size for size in SIZES if size < len(labels)), len(labels)):
        accuracies: dict[str, list[float]] = {}
        for draw in range(DRAWS if n < len(labels) else 1):
            chosen = np.random.default_rng([seed, n, draw]).permutation(len(labels))[:n]
            if len(np.unique(labels[chosen])) < count:
                continue
            own = labels[chosen]
            for kind in ("naive_bayes", "discriminant"):
                requests: list[list[Condition]] = [[ClassLabel(int(k))] for k in own]
                model = fit_classical(build_model(classical_config(names, kind)), *point(train[chosen]), requests)
                found = by_bayes(model, [whole], ClassLabel, count, truth, priors(own, count))
                accuracies.setdefault(f"classical, {kind}", []).append(found["accuracy"])
            scaler = StandardScaler().fit(train[chosen])
            fitted = LogisticRegression(max_iter=2000).fit(scaler.transform(train[chosen]), own)
            right = fitted.predict(scaler.transform(test)) == truth
            accuracies.setdefault("logistic regression", []).append(float(right.mean()))
        result[str(n)] = {
            name: {
                "accuracy": round(float(np.mean(values)), 4),
                "standard_error": round(float(np.std(values) / len(values) ** 0.5), 4),
                "draws": len(values),
            }
            for name, values in accuracies.items()
        }
        print(len(names), n, {name: value["accuracy"] for name, value in result[str(n)].items()}, flush=True)
    return result


def classical_config(names: Sequence[str], kind: str) -> dict:
    """A classical family over some descriptors."""
    return {
        "space": {"name": "descriptors", "names": list(names)},
        "encoder": NO_NETWORK,
        "family": {"name": "classical", "model": kind, "components": 3, "ridge": RIDGE},
        "conditions": ["class_label"],
    }


def encoded(store: Store, rows: np.ndarray, space: Descriptors) -> np.ndarray:
    """(n, d) standardised descriptors."""
    parts = np.array_split(rows, max(1, len(rows) // 200))
    values = [space.encode(collate([store[int(i)] for i in part]))["descriptors"][:, 0] for part in parts]
    return torch.cat(values).numpy()


def evaluate_descriptors(
    names: Sequence[str], train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> dict:
    """Classical families and controls on descriptors."""
    count = int(labels.max()) + 1
    result: dict = {
        "n_train": len(labels),
        "fraction of the largest class": round(float(np.bincount(truth).max() / len(truth)), 4),
    }
    states = [point(values) for values in (train, test)]
    for kind in CLASSICAL:
        requests: list[list[Condition]] = [[ClassLabel(int(k))] for k in labels]
        model = fit_classical(build_model(classical_config(names, kind)), *states[0], requests)
        found = by_bayes(model, [states[1]], ClassLabel, count, truth, priors(labels, count))
        result[f"classical, {kind}"] = found
        print(len(names), kind, found, flush=True)
    return result | controls(train, labels, test, truth)


def point(values: np.ndarray) -> tuple[State, Batch]:
    """Descriptors as points of their space, and the batch whose mask they share."""
    mask = torch.ones(len(values), 1, dtype=torch.bool)
    return State({"descriptors": torch.from_numpy(values)[:, None]}, mask), Batch({}, mask)


def released(options: argparse.Namespace) -> dict:
    """Which class's typical fractions of helix and strand make a structure likeliest, under released models."""
    store = Store(options.store)
    train, rows = store.indices("train"), store.indices("validation")
    labels = fold_classes(store, train)
    fractions = np.array([[(store[int(i)].labels == code).mean() for code in (1, 2)] for i in train])
    typical = [fractions[labels == c].mean(0).round(3).tolist() for c in range(len(CLASSES))]
    truth = fold_classes(store, rows)
    order = np.random.default_rng(options.seed).permutation(np.flatnonzero(truth >= 0))[: options.released]
    items = [store[int(rows[i])] for i in order]
    result: dict = {"typical fractions of helix and strand": dict(zip(CLASSES, typical, strict=True))}
    shown = np.bincount(truth[order])
    result["fraction of the largest class"] = round(float(shown.max() / shown.sum()), 4)
    for name in options.models.split(","):
        model = load(name)
        points = [(model.family.space.encode(batch), batch) for batch in (collate([item]) for item in items)]

        def ask(k: int) -> Condition:
            return Fractions(helix=typical[k][0], strand=typical[k][1])

        log_priors = priors(labels[labels >= 0], len(CLASSES))
        result[name] = by_bayes(model, points, ask, len(CLASSES), truth[order], log_priors, options.repeats)
        print(name, result[name], flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default="digits,proteins,released")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, help="made by `protgen data build`; for proteins and released")
    parser.add_argument("--index", type=Path, default=None, help="index.csv of the chains, with a column cath")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="trained on digits")
    parser.add_argument("--steps", type=int, default=1500, help="of training on digits")
    parser.add_argument("--released", type=int, default=60, help="structures classified by released models")
    parser.add_argument("--models", default="autoregressive-small,diffusion-small")
    parser.add_argument("--repeats", type=int, default=1, help="estimates of each bound")
    options = parser.parse_args()
    if options.store is None and options.parts != "digits":
        parser.error("give --store STORE, or --parts digits")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for part in options.parts.split(","):
        given = (
            f" --steps {options.steps} --networks {options.networks}"
            if part == "digits"
            else " --store STORE --index INDEX.csv"
        )
        given += (
            f" --released {options.released} --repeats {options.repeats} --models {options.models}"
            if part == "released"
            else ""
        )
        table = {"digits": digits, "proteins": proteins, "released": released}[part](options)
        result = {
            "command": f"python benchmarks/classify.py --out OUT --parts {part} --seed {options.seed}{given}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            **table,
        }
        (options.out / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
