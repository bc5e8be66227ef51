"""Labels of a laboratory: columns of `index.csv` that become fields of a store, as categories or as numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protgen.data.fields import AATYPE, STRUCTURE, Field, checked_name
from protgen.documents import number_in
from protgen.errors import DataError, UsageError

MOST_CATEGORIES = 1_000  # a column of more is free text or numbers, too many for a one-hot code


@dataclass(frozen=True)
class LabelColumn:
    """A column of `index.csv` and the field that it becomes.

    Attributes:
        column: name of the column.
        name: name of the field.
        kind: "category" for words or codes, "number" for quantities.
    """

    column: str
    name: str
    kind: Literal["category", "number"] = "category"

    @classmethod
    def parse(cls, text: str, kind: Literal["category", "number"] = "category") -> "LabelColumn":
        """A column from `COLUMN` or `COLUMN=NAME`.

        Raises:
            UsageError: if the name cannot be that of a field.
        """
        column, equals, name = (part.strip() for part in text.partition("="))
        name = name if equals else column
        try:
            checked_name(name)
        except ValueError as error:
            raise UsageError(f"label {text!r}: {error}; give another as COLUMN=NAME") from error
        if name in [field.name for field in (*STRUCTURE, AATYPE)]:
            raise UsageError(f"label {text!r}: every store has a field {name}; give another name as COLUMN=NAME")
        return cls(column, name, kind)


def check_columns(columns: Sequence[LabelColumn], known: Sequence[str], where: str, taken: Sequence[str] = ()) -> None:
    """Check that an index has the columns, and that no two of them become one field.

    Args:
        columns: the columns.
        known: the columns of the index; empty where there is no index.
        where: path of the index, for messages.
        taken: names of further fields of the store.

    Raises:
        DataError: if a column is missing.
        UsageError: if a name comes twice.
    """
    names = [*(column.name for column in columns), *taken]
    for column in columns:
        if column.column not in known:
            found = f"its columns are {', '.join(known)}" if known else "there is no such file"
            raise DataError(f"{where}: no column {column.column!r} for a label; {found}")
        if names.count(column.name) > 1:
            raise UsageError(f"two labels are named {column.name}; give one another name as COLUMN=NAME")


def encode_labels(
    columns: Sequence[LabelColumn], facts: Sequence[Mapping[str, str]], ids: Sequence[str], splits: Sequence[str]
) -> tuple[list[Field], dict[str, list[np.ndarray]]]:
    """Turn the texts of label columns into codes and numbers.

    Args:
        columns: the columns.
        facts: row of the index of each item.
        ids: of the items.
        splits: of the items.

    Returns:
        The fields, and the values of each by its name.

    Raises:
        DataError: if a column has no value, too many categories, or a standard deviation of 0, or a text is no number.
    """
    fields = []
    found: dict[str, list[np.ndarray]] = {}
    for column in columns:
        texts = [str(row.get(column.column) or "").strip() for row in facts]
        if not any(texts):
            raise DataError(f"label {column.column}: no chain that is kept has a value; fill it, or leave it out")
        if column.kind == "category":
            field, values = encode_categories(column, texts)
        else:
            field, values = encode_numbers(column, texts, ids, splits)
        fields.append(field)
        found[column.name] = values
    return fields, found


def encode_categories(column: LabelColumn, texts: Sequence[str]) -> tuple[Field, list[np.ndarray]]:
    """The codes of words, and the field with its vocabulary; an empty text is -1.

    Raises:
        DataError: if there are too many different words.
    """
    values = tuple(sorted({text for text in texts if text}, key=reading_order))
    if len(values) > MOST_CATEGORIES:
        raise DataError(
            f"label {column.column}: {len(values)} categories, at most {MOST_CATEGORIES}; are they numbers? "
            "`--quantity` takes these"
        )
    codes = {text: code for code, text in enumerate(values)}
    field = Field(column.name, "chain", "int64", (), f"column {column.column} of the index; -1 unknown", values=values)
    return field, [np.array(codes.get(text, -1), dtype=np.int64) for text in texts]


def encode_numbers(
    column: LabelColumn, texts: Sequence[str], ids: Sequence[str], splits: Sequence[str]
) -> tuple[Field, list[np.ndarray]]:
    """The numbers of texts, and the field with mean and standard deviation over the training split.

    Args:
        column: the column.
        texts: its text for each item.
        ids, splits: of as many.

    Raises:
        DataError: if a text is no number, or the numbers do not differ.
    """
    numbers = []
    for text, name in zip(texts, ids, strict=True):
        try:
            numbers.append(number_in(text) if text else math.nan)
        except ValueError:
            raise DataError(
                f"label {column.column}: {name} has {text!r}, which is no number; use --label for words"
            ) from None
    known = [number for number, split in zip(numbers, splits, strict=True) if split == "train" and number == number]
    if not known or np.std(known) == 0:
        raise DataError(f"label {column.column}: its numbers do not differ within the training split; leave it out")
    about = f"column {column.column} of the index; NaN unknown"
    field = Field(column.name, "chain", "float32", (), about, mean=float(np.mean(known)), std=float(np.std(known)))
    return field, [np.array(number, dtype=np.float32) for number in numbers]


def reading_order(text: str) -> tuple[int, float, str]:
    """Whole numbers by size, before words by letter."""
    return (0, int(text), text) if text.isascii() and text.isdigit() else (1, 0, text)
