"""Boundaries of domains, from CATH's files: which residues of which chain are a domain.

Two formats are read, by their lines. CATH's domain boundaries (CathDomall, "CDF format 2.0"), a line a chain:

    1cnsA  D02 F00  2  A    1 - A   87 -  A  146 - A  243 -  1  A   88 - A  145 -

and choppings, a line a domain, whose last word lists the residues (as in `cath-b-newest-all`; words between, such as a
release or a superfamily C.A.T.H, may stand there):

    1cnsA01 v4_3_0 1.10.530.10 1-87:A,146-243:A

Numbers are those of the PDB file, with insertion codes (`60B`); `(-3)` or `-3` is a negative number. Files whose
numbers count along the SEQRES sequence (`...-seqreschopping.txt`) are other numbers, and have no chain behind them:
they are refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protgen.documents import MAX_BYTES, read_text
from protgen.errors import DataError
from protgen.structure.protein import Protein

_NAME = re.compile(r"([0-9][A-Za-z0-9]{3})([A-Za-z0-9])([0-9]{2})?", re.ASCII)
_CODE = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(\.[0-9]+)?", re.ASCII)
_PLACE = r"\(?(-?[0-9]{1,6})\)?(?:\(?([A-Za-z])\)?)?"
_RANGE = re.compile(rf"{_PLACE}-{_PLACE}:([A-Za-z0-9]{{1,4}})", re.ASCII)
_PDB_ID = re.compile(r"(?:pdb)?([0-9][a-z0-9]{3})(?![a-z0-9])", re.ASCII)
MOST_DOMAINS = 40  # of one chain; titin's fragments have fewer
BLANK = "0"  # CATH's chain character of a chain without a name

Place = tuple[int, str]


@dataclass(frozen=True)
class Domain:
    """One domain.

    Attributes:
        id: CATH's name: PDB ID, chain and number, `1cnsA01`.
        chain: name of its chain; "0" for a chain without a name.
        segments: first and last residue of each, as (number, insertion code).
        superfamily: C.A.T.H, or C.A.T; "" where the file does not say.
    """

    id: str
    chain: str
    segments: tuple[tuple[Place, Place], ...]
    superfamily: str = ""

    @property
    def pdb(self) -> str:
        """PDB ID, in lower case."""
        return self.id[:4].lower()


def read_domains(path: Path) -> dict[str, list[Domain]]:
    """The domains of a boundaries file, by PDB ID in lower case.

    Raises:
        DataError: if the file cannot be read, or a line is of neither format; the message names the line.
    """
    found: dict[str, list[Domain]] = {}
    for number, line in enumerate(read_text(path, 20 * MAX_BYTES).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            domains = _of_chain(words) if len(words) > 2 and re.fullmatch(r"D\d\d", words[1]) else [_of_domain(words)]
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}: line {number}: {error}; give CATH's domain boundaries or choppings") from None
        for domain in domains:
            found.setdefault(domain.pdb, []).append(domain)
    if not found:
        raise DataError(f"{path}: names no domain; give CATH's domain boundaries or choppings")
    return found


def _of_chain(words: Sequence[str]) -> list[Domain]:
    """The domains of a line of CathDomall; what is a fragment, outside of domains, is left out."""
    if not (_NAME.fullmatch(words[0]) and len(words[0]) == 5):
        raise ValueError(f"{words[0]!r} is no chain")
    count, rest = int(words[1][1:]), list(words[3:])
    domains = []
    for k in range(count):
        segments, chain = [], words[0][4]
        for _ in range(int(rest.pop(0))):
            chain, first, code, last_chain, last, last_code, *rest = rest
            if chain != last_chain:
                raise ValueError(f"a segment goes from chain {chain} to {last_chain}")
            segments.append(((int(first), code.strip("-")), (int(last), last_code.strip("-"))))
        domains.append(Domain(f"{words[0]}{k + 1 if count > 1 else 0:02d}", chain, tuple(segments)))
    return domains


def _of_domain(words: Sequence[str]) -> Domain:
    """The domain of a line of choppings."""
    if not (_NAME.fullmatch(words[0]) and len(words[0]) == 7):
        raise ValueError(f"{words[0][:20]!r} is no domain")
    chain, segments = segments_in(words[-1])
    code = next((word for word in words[1:-1] if _CODE.fullmatch(word)), "")
    return Domain(words[0], chain, segments, code)


def segments_in(text: str) -> tuple[str, tuple[tuple[Place, Place], ...]]:
    """The chain and the segments of a text such as `1-87:A,146-243:A`.

    Raises:
        ValueError: if it cannot be read, or names several chains.
    """
    segments, chains = [], set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        if not found:
            raise ValueError(f"{part[:20]!r} is no range of residues such as 1-87:A")
        first, code, last, last_code, chain = found.groups()
        segments.append(((int(first), code or ""), (int(last), last_code or "")))
        chains.add(chain)
    if len(chains) > 1:
        raise ValueError(f"{text[:40]} is of several chains")
    return chains.pop(), tuple(segments)


def read_topologies(path: Path) -> dict[str, str]:
    """The topology C.A.T of each domain of CATH's list of domains (CathDomainList, "CLF format 2.0"), by its name.

    Raises:
        DataError: if the file cannot be read, or a line is none of such a list.
    """
    found = {}
    for number, line in enumerate(read_text(path, 20 * MAX_BYTES).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 5 or not _NAME.fullmatch(words[0]) or not all(word.isdecimal() for word in words[1:5]):
            raise DataError(f"{path}: line {number}: no domain with C, A, T and H; give CATH's list of domains")
        found[words[0]] = ".".join(words[1:4])
    return found


def topologies_of(name: str, pdb: str, chain: str, listed: Mapping[str, str]) -> tuple[str, ...]:
    """The topologies that a list gives a unit: its own if it is a domain of it, else those of its chain.

    Args:
        name: of the unit; that of a domain ends with CATH's.
        pdb: ID of the entry, in lower case.
        chain: of the unit.
        listed: from `read_topologies`.
    """
    if name[-7:] in listed:
        return (listed[name[-7:]],)
    numbers = [f"{pdb}{own}{k:02d}" for own in dict.fromkeys((chain, BLANK)) for k in range(MOST_DOMAINS)]
    return tuple(sorted({listed[own] for own in numbers if own in listed}))


def pdb_id_of(name: str) -> str:
    """The PDB ID that a file's name begins with, in lower case: `1us0_A_00001` and `pdb1us0` give `1us0`; else ""."""
    found = _PDB_ID.match(name.rpartition("/")[2].lower())
    return found.group(1) if found else ""


def residues_of(domain: Domain, protein: Protein) -> np.ndarray:
    """(l,) bool; the residues of a protein that are of a domain; arguments as of `segments_of`."""
    return segments_of(domain, protein) >= 0


def segments_of(domain: Domain, protein: Protein) -> np.ndarray:
    """(l,) which segment of a domain each residue is of; -1 for none. Ends that were not seen are passed over.

    Args:
        domain: the domain.
        protein: all chains of a file, or the one.
    """
    own = protein.chain_ids == domain.chain
    if domain.chain == BLANK and not own.any() and len(protein.chains) == 1:
        own = np.ones(protein.length, dtype=bool)
    inside = np.full(protein.length, -1)
    index = np.flatnonzero(own)
    places = list(zip(protein.residue_numbers[index].tolist(), protein.insertion_codes[index].tolist(), strict=True))
    for number, (first, last) in enumerate(domain.segments):
        start, stop = _at_or_after(places, first), _at_or_before(places, last)
        inside[index[start : stop + 1]] = number
    return inside


def _at_or_after(places: Sequence[Place], first: Place) -> int:
    """The residue of that name; else the first beyond it."""
    if first in places:
        return places.index(first)
    return next((k for k, place in enumerate(places) if place > first), len(places))


def _at_or_before(places: Sequence[Place], last: Place) -> int:
    """The residue of that name; else the last before it."""
    if last in places:
        return places.index(last)
    return next((k for k in reversed(range(len(places))) if places[k] < last), -1)
