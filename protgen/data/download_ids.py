"""Which entries are downloaded: IDs as people and lists write them, and the query of RCSB's search service."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from protgen.documents import MAX_BYTES, is_day, read_text
from protgen.errors import DataError, UsageError

_PDB = re.compile(r"([0-9][A-Za-z0-9]{3}|pdb_[0-9a-z]{8})", re.ASCII)
_UNIPROT = r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}"
_ALPHAFOLD = re.compile(rf"(?:AF-)?({_UNIPROT})(?:-F1(?:-model_v[0-9]+)?)?", re.ASCII)
_SHAPES = tuple(
    re.compile(shape, re.ASCII)
    for shape in (
        r"d([0-9][a-z0-9]{3})[A-Za-z0-9_.][0-9_]",  # SCOPe: d1ux8a_, d1ux8.1
        r"([0-9][A-Za-z0-9]{3})[A-Za-z0-9][0-9]{2}",  # CATH: 1oaiA00
        r"([0-9][A-Za-z0-9]{3})[A-Za-z0-9]{0,4}",  # PISCES: 1A0IA; plain: 1a0i
        r"([0-9][A-Za-z0-9]{3})[_.:-][A-Za-z0-9-]{1,8}",  # 1a0i_A, 1A0I.A
        r"([0-9][A-Za-z0-9]{3})_[A-Za-z0-9]{1,4}_[A-Za-z0-9-]{1,20}",  # our manifests: 1us0_A_72-183
    )
)
_HEADERS = ("PDBCHAIN", "IDS", "PDB", "ID", "FILE")  # first words of the line that names the columns
METHODS = {"x-ray": "X-RAY DIFFRACTION", "em": "ELECTRON MICROSCOPY", "nmr": "SOLUTION NMR"}
PAGE = 10_000  # entries of an answer, the most that the service gives


@dataclass(frozen=True)
class Id:
    """An entry of an archive.

    Attributes:
        archive: "pdb" or "alphafold".
        name: "1abc", or a UniProt accession.
    """

    archive: str
    name: str


def parse_id(text: str) -> Id | None:
    """An entry as it is written: a PDB ID with or without a chain or domain, or an AlphaFold DB ID; None for neither.

    Examples:
        >>> [parse_id(text).name for text in ("1ABC", "1a0i_A", "d1ux8a_", "1us0_A_72-183", "AF-P00520-F1")]
        ['1abc', '1a0i', '1ux8', '1us0', 'P00520']
    """
    if _PDB.fullmatch(text):
        return Id("pdb", text.lower())
    found = next((match for shape in _SHAPES if (match := shape.fullmatch(text))), None)
    if found is not None:
        return Id("pdb", found[1].lower())
    found = _ALPHAFOLD.fullmatch(text)
    return Id("alphafold", found[1]) if found else None


def read_list(path: Path) -> list[Id]:
    """The entries of a list: the first word of each line, as in lists of CATH, SCOPe and PISCES; # begins a comment.

    Raises:
        DataError: if it cannot be read, or a line names no entry.
    """
    found = []
    for number, line in enumerate(read_text(path, MAX_BYTES).splitlines(), start=1):
        words = re.split(r"[\s,;]+", line.partition("#")[0].strip())
        if not words[0] or (not found and words[0].upper() in _HEADERS):
            continue
        entry = parse_id(words[0])
        if entry is None:
            raise DataError(f"{path}: line {number}: {words[0][:40]!r} is no PDB or AlphaFold DB ID; correct the line")
        found.append(entry)
    if not found:
        raise DataError(f"{path}: names no entry; write an ID on each line")
    return found


def distinct(ids: Iterable[Id]) -> list[Id]:
    """Each entry once, in order."""
    return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class Query:
    """What entries of the PDB are looked for; None where it does not matter.

    Attributes:
        resolution: Å, at most.
        method: a key of `METHODS`.
        min_length, max_length: residues that a protein chain of the entry has.
        chains: most protein chains of the entry.
        released_from, released_until: dates, 2024-01-31.
        organism: scientific name of a source.
    """

    resolution: float | None = None
    method: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    chains: int | None = None
    released_from: str | None = None
    released_until: str | None = None
    organism: str | None = None

    def __post_init__(self) -> None:
        for name in ("released_from", "released_until"):
            value = getattr(self, name)
            if value is not None and not is_day(value):
                raise UsageError(f"--{name.replace('_', '-')} {value}: write a date such as 2024-01-31")
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"--method {self.method}: choose {', '.join(METHODS)}")
        for least, most in (("min_length", "max_length"), ("released_from", "released_until")):
            first, last = getattr(self, least), getattr(self, most)
            if first is not None and last is not None and first > last:
                names = [f"--{name.replace('_', '-')}" for name in (least, most)]
                raise UsageError(f"{names[0]} {first} is above {names[1]} {last}; swap them")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def document(self, start: int) -> dict[str, Any]:
        """The query as the search service takes it, for the entries from a number on, in order of their IDs."""
        asked = (
            ("rcsb_entry_info.resolution_combined", "less_or_equal", self.resolution),
            ("exptl.method", "exact_match", METHODS.get(self.method or "")),
            ("entity_poly.rcsb_sample_sequence_length", "greater_or_equal", self.min_length),
            ("entity_poly.rcsb_sample_sequence_length", "less_or_equal", self.max_length),
            ("rcsb_entry_info.deposited_polymer_entity_instance_count", "less_or_equal", self.chains),
            ("rcsb_accession_info.initial_release_date", "greater_or_equal", self.released_from),
            ("rcsb_accession_info.initial_release_date", "less_or_equal", self.released_until),
            ("rcsb_entity_source_organism.ncbi_scientific_name", "exact_match", self.organism),
        )
        nodes = [node("rcsb_entry_info.polymer_entity_count_protein", "greater_or_equal", 1)]
        nodes += [node(*one) for one in asked if one[2] is not None]
        return {
            "query": {"type": "group", "logical_operator": "and", "nodes": nodes},
            "return_type": "entry",
            "request_options": {
                "paginate": {"start": start, "rows": PAGE},
                "results_content_type": ["experimental"],
                "sort": [{"sort_by": "rcsb_entry_container_identifiers.entry_id", "direction": "asc"}],
            },
        }


def node(attribute: str, operator: str, value: Any) -> dict[str, Any]:
    """One condition of a query."""
    parameters = {"attribute": attribute, "operator": operator, "value": value}
    return {"type": "terminal", "service": "text", "parameters": parameters}
