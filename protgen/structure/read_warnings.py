"""Parser warnings of a structure file: one code a kind, counted, with the first place of each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

CODES = {
    "altloc_used": "a residue has alternate locations; the one of highest occupancy was taken",
    "microheterogeneity": "a residue is several amino acids at once; the one of highest occupancy was taken",
    "insertion_codes": "residue numbers carry insertion codes",
    "nonstandard_residue": "a modified residue is kept under its standard parent, or UNK",
    "mse_as_met": "selenomethionine is kept as methionine",
    "missing_backbone_atom": "a residue lacks N, CA, C or O",
    "chain_break": "neighbours in a chain are not bonded",
    "duplicate_atom": "an atom is given twice; the first was taken",
    "duplicate_residue_id": "two residues share a chain, number and insertion code; both are kept",
    "interleaved_chain": "a chain comes back after another began; its residues were gathered",
    "multi_model": "the file holds several models; one was taken",
    "models_differ": "the models do not hold the same atoms",
    "model_records_unbalanced": "MODEL and ENDMDL records, or NUMMDL, do not fit together",
    "element_inferred": "the element column is blank; elements follow from atom names",
    "occupancy_missing": "an occupancy is missing or not a number; taken as 1",
    "occupancy_out_of_range": "an occupancy is below 0 or above 1",
    "truncated_tail": "the end of the file looks cut off, or atoms are fewer than the file says",
    "no_end": "the mark that ends a complete file is missing",
    "seqres_mismatch": "the residues do not follow the sequence the file declares",
    "mirror_image": "the structure looks like a mirror image (D amino acids, left-handed)",
    "degenerate_coordinates": "atoms coincide, lie far from their bonded neighbours, or all lie in a plane",
    "scale_suspect_nm": "distances look like nanometres; nothing was converted",
    "multi_block": "several structures in one file; the first was taken",
    "encoding_fallback": "bytes that are not UTF-8 were read as Latin-1",
    "trailing_bytes": "something follows the end of the structure",
    "hetatm_standard": "a standard residue is recorded as HETATM; it is part of a chain and was kept",
    "no_chain_id": "the chain name is blank; a free letter was given",
}
# Of what was asked of a file beside its atoms; no warning of the reader.
ASKED = {"no_assembly": "the file lists no assembly; its chains as deposited were taken for one"}
# What may change the residues or coordinates that are taken from a file; the others are about how it is written.
REMARKABLE = frozenset(CODES) - {
    "insertion_codes",
    "element_inferred",
    "occupancy_missing",
    "occupancy_out_of_range",
    "no_end",
    "encoding_fallback",
    "trailing_bytes",
    "hetatm_standard",
    "no_chain_id",
    "mse_as_met",
    "model_records_unbalanced",
}


@dataclass(frozen=True)
class ReadWarning:
    """One kind of parser warning.

    Attributes:
        code: one of `CODES`.
        count: how often it was met.
        first_place: where it was met first: a residue, a line or a tag, in words.
    """

    code: str
    count: int
    first_place: str

    def __str__(self) -> str:
        """The code, the count and the place in one line."""
        return f"{self.code} ({self.count}, first at {self.first_place}): {CODES[self.code]}"


class WarningLog:
    """Collects warnings while a file is read, merging those of one code."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, str]] = {}

    def add(self, code: str, place: str, count: int = 1) -> None:
        """Note `count` more cases of `code`; `place` is kept if it is the first.

        Args:
            code: one of `CODES`.
            place: where it was met.
            count: how often.
        """
        if code not in CODES:
            raise KeyError(code)
        before, first = self._entries.get(code, (0, place))
        self._entries[code] = (before + count, first)

    def copy(self) -> "WarningLog":
        """A log that begins with what this one holds."""
        other = WarningLog()
        other._entries = dict(self._entries)
        return other

    def warnings(self) -> tuple[ReadWarning, ...]:
        """One warning a code, in the order of `CODES`."""
        return tuple(ReadWarning(code, *self._entries[code]) for code in CODES if code in self._entries)


def noticed(code: str, n_files: int) -> str:
    """A code and in how many files it was met, in words: `chain_break in 3 files (neighbours in a chain ...)`."""
    return f"{code} in {n_files} file{'' if n_files == 1 else 's'} ({(CODES | ASKED).get(code, '')})"


def count_codes(files: Iterable[tuple[ReadWarning, ...]]) -> Counter[str]:
    """In how many files each code was met, the most frequent first."""
    found = Counter(warning.code for warnings in files for warning in warnings)
    return Counter(dict(found.most_common()))
