"""Fields of a data set: what is known of each residue or of each chain, declared by name, type and shape.

A store lists its fields in its manifest, and a batch carries them all. Categories are codes from 0 with -1 for unknown;
numbers are NaN where unknown.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from protgen.errors import DataError
from protgen.types import JSON

DTYPES = (
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)
WIDEST = 1_000_000  # values of one residue or chain along an axis


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: the key of the field in a store and in a batch.
        per: "residue" for an array (l, *shape) of each chain, "chain" for one value of that shape.
        dtype: NumPy's name of the type.
        shape: of one value.
        about: the definition, with its unit.
        values: the categories of a field of categories, in the order of their codes; None for other fields.
        mean, std: of the known values of the training split, for a field of numbers; None for other fields.
    """

    name: str
    per: Literal["residue", "chain"]
    dtype: str
    shape: tuple[int, ...] = ()
    about: str = ""
    values: tuple[str, ...] | None = None
    mean: float | None = None
    std: float | None = None

    def to_json(self) -> JSON:
        """The field as a manifest holds it; what does not apply is left out."""
        plain = {"name": self.name, "per": self.per, "dtype": self.dtype, "shape": list(self.shape)}
        more = {
            "about": self.about or None,
            "values": None if self.values is None else list(self.values),
            "mean": self.mean,
            "std": self.std,
        }
        return plain | {key: value for key, value in more.items() if value is not None}

    @classmethod
    def from_json(cls, plain: JSON, where: str) -> "Field":
        """The field of a manifest's entry.

        Args:
            plain: the entry.
            where: path of the manifest, for messages.

        Raises:
            DataError: if the entry is damaged.
        """
        try:
            per = plain["per"]
            if per not in ("residue", "chain"):
                raise ValueError(f"per is {per!r}")
            if plain["dtype"] not in DTYPES:
                raise ValueError(f"dtype is {plain['dtype']!r}")
            shape = plain["shape"]
            if len(shape) > 4 or not all(type(n) is int and 0 < n <= WIDEST for n in shape):
                raise ValueError(f"shape is {shape!r}")
            scale = plain.get("mean"), plain.get("std")
            if not all(x is None or type(x) in (int, float) for x in scale):
                raise ValueError(f"mean and std are {scale!r}")
            values = plain.get("values")
            return cls(
                name=checked_name(plain["name"]),
                per=per,
                dtype=plain["dtype"],
                shape=tuple(shape),
                about=str(plain.get("about", "")),
                values=None if values is None else tuple(str(value) for value in values),
                mean=scale[0],
                std=scale[1],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: field {str(plain)[:80]} is damaged ({error}); build the store again") from error


STRUCTURE = (
    Field("atoms", "residue", "float32", (4, 3), "positions of N, CA, C, O; Å"),
    Field("labels", "residue", "uint8", (), "secondary structure by DSSP: 0 coil, 1 helix, 2 strand"),
    Field("numbers", "residue", "int32", (), "residue numbers of the file"),
)  # fields of every store
AATYPE = Field("aatype", "residue", "uint8", (), "residue type: its place in ARNDCQEGHILKMFPSTWYV; 20 unknown")
CHAIN_INDEX = Field(
    "chain_index", "residue", "uint8", (), "chain or segment of the item, from 0 and ascending: two are not bonded"
)  # of stores with items of several chains or segments alone
MOST_PARTS = 64  # chains or segments of an item
CATH = "cath"  # name of the field of CATH codes, and of the fact that is an item's own code
RESERVED = ("offsets", "mask")  # names of other arrays of stores and batches


def checked_name(name: str) -> str:
    """A name that a field can have.

    Raises:
        ValueError: if it is no identifier, or taken.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name) or name in RESERVED:
        raise ValueError(f"{name!r} is no name for a field: use letters, digits and _, and not {', '.join(RESERVED)}")
    return name


def missing_fields(wanted: tuple[str, ...], known: Collection[str]) -> list[str]:
    """The fields that are wanted and not known, in order."""
    return [name for name in wanted if name not in known]
