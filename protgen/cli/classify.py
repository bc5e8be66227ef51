"""`protgen classify`: p(y | x) by Bayes' rule, of any family with a likelihood p(x | y)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, progress, stdout, table
from protgen.cli.exit_codes import of_failures
from protgen.cli.items import (
    ImageNumbers,
    Item,
    ItemModelOption,
    PathsArgument,
    columns_of,
    load_any,
    open_items,
)
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.conditions.base import Condition
    from protgen.models.model import Model

SHOWN = 20  # rows on the screen; all are in the table


@grouped
def classify(
    model: ItemModelOption,
    out: Annotated[Path, typer.Option("--out", help="The table: a row for each, p of each class.", metavar="FILE.csv")],
    numbers: ImageNumbers,
    paths: PathsArgument = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Condition that the classes are of: fold_class, class_label, label:FIELD.", metavar="NAME"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Estimates of each likelihood to average.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers that all classes share.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Classify structures or images: protgen classify DIR --model RUN/model --by fold_class --out classes.csv

    p(y | x) = p(x | y) / sum of p(x | y') over all classes y', each as probable before. With a bound or an estimate in
    place of p(x | y) it is one of that; the column `kind` says which.
    """
    from protgen.evaluation.tables import require_place, write_csv

    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out {out}: the table is written as CSV; give a name that ends in .csv")
    found = load_any(model)
    classes = classes_of(found, by)
    require_place(out)
    items = open_items(paths, numbers, found)
    rows = []
    with progress("classifying") as show:
        for item in items.every:
            rows.append(row_of(found, item, classes, seed, repeats))
            show(len(rows), len(items.every))
    write_csv(out, columns_of(rows), rows)
    known = [row for row in rows if row.get("label") is not None]
    right = sum(row["class"] == str(row["label"]) for row in known) / len(known) if known else None
    if as_json:
        print_json({"file": out, "n": len(rows), "n_failed": items.failed, "accuracy": right, "items": rows})
    else:
        listing = table("<what", "<class", "p", "nats ahead")
        for row in rows[:SHOWN]:
            listing.add_row(str(row["name"]), str(row["class"]), f"{row['p']:.3f}", f"{row['nats_ahead']:.1f}")
        stdout().print(listing)
        said = "" if right is None else f", {100 * right:.1f} % of {len(known)} right"
        stdout().print(f"{len(rows)} classified ({rows[0]['kind']}){said}: {out}", markup=False, soft_wrap=True)
    raise typer.Exit(of_failures(items.failed, len(rows) + items.failed))


def classes_of(model: "Model", by: str | None) -> "dict[str, Condition]":
    """Every value of a condition that a model has learned, by its name.

    Args:
        model: with a likelihood.
        by: name of the condition; None where the model has learned one with classes alone.

    Raises:
        UsageError: if the family has no likelihood, or the condition no classes, or none is named and several have.
        ConfigError: if the model has not learned it.
    """
    from protgen.families.base import LikelihoodFamily

    if not isinstance(model.family, LikelihoodFamily):
        kind = model.config["family"]["name"]
        raise UsageError(
            f"classify: the family of this model, {kind}, has no likelihood; name a model of another family"
        )
    able = {name: values for name in model.conditions.names if (values := values_of(model, name))}
    if by is None and len(able) == 1:
        return next(iter(able.values()))
    if by in able:
        return able[by]
    if not able:
        raise UsageError(
            "classify: this model has learned no condition that has classes (a class label, a fold class, a label of "
            "categories); train one with conditions.names=[length,fold_class], or label:NAME"
        )
    wish = "say --by NAME" if by is None else f"{by} has no classes that this model has learned"
    raise UsageError(f"classify: {wish}; conditions of this model with classes: {', '.join(able)}")


def values_of(model: "Model", name: str) -> "dict[str, Condition]":
    """The values of a learned condition by their names; none where they cannot be counted."""
    from protgen.conditions.class_label import CLASSES as LABELS
    from protgen.conditions.class_label import ClassLabel
    from protgen.conditions.fold_class import CLASSES as FOLDS
    from protgen.conditions.fold_class import FoldClass
    from protgen.conditions.label import Category, Label

    if name == ClassLabel.name:
        return {str(k): ClassLabel(k) for k in range(LABELS)}
    if name == FoldClass.name:
        return {fold: FoldClass(fold) for fold in FOLDS}
    part = model.conditions.parts[model.conditions.names.index(name)]
    if isinstance(part, Category):
        return {value: Label(part.field, value) for value in part.values}
    return {}


def row_of(model: "Model", item: Item, classes: "dict[str, Condition]", seed: int, repeats: int) -> dict[str, Any]:
    """A row of the table: the most probable class, its p, how far it is ahead, and p of each class."""
    import torch

    from protgen.families.base import LikelihoodFamily
    from protgen.families.classify import classify as by_bayes

    assert isinstance(model.family, LikelihoodFamily)
    asked = [model.conditions.from_requests([[condition]], item.state.mask) for condition in classes.values()]
    with torch.no_grad():
        found = by_bayes(model.family, item.state, asked, seed=seed, repeats=repeats)
    posterior, names = found.log_posterior[0].double(), list(classes)
    first, second = posterior.topk(2).values.tolist() if len(names) > 1 else (0.0, float("nan"))
    row: dict[str, Any] = {
        "name": item.name,
        "class": names[int(posterior.argmax())],
        "p": float(posterior.exp().max()),
    }
    row |= {"nats_ahead": first - second, "kind": found.kind}
    if item.label is not None:
        row["label"] = item.label
    return row | {f"p_{name}": float(p) for name, p in zip(names, posterior.exp().tolist(), strict=True)}
