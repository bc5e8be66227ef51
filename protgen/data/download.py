"""Download entries of the PDB and of AlphaFold DB, each checked before it gets its name; what is there stays.

    DIR/1abc.bcif.gz, AF-P00520-F1.bcif, ...
    DIR/SHA256SUMS      of every file, as `sha256sum` writes it
    DIR/failed.csv      entries that could not be had, with the reason

A file is taken if it unpacks, is read by its format, and names the entry within itself.
"""

import csv
import io
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protgen.atomic import write_bytes, write_text
from protgen.data.download_http import Asker, MissingError, UnreachableError
from protgen.data.download_ids import Id, Query, parse_id
from protgen.documents import MAX_BYTES, json_of, read_text
from protgen.errors import DataError, DocumentError, ProtgenError, StructureError
from protgen.integrity import fingerprint
from protgen.structure.msgpack import unpack
from protgen.structure.read_warnings import WarningLog
from protgen.structure.reader import read_structure
from protgen.structure.sniff import load

SUMS, FAILED = "SHA256SUMS", "failed.csv"
EVERY = 50  # files between two writings of the list of checksums
_BLOCK_NAME = re.compile(rb"^data_(\S{1,80})", re.MULTILINE | re.IGNORECASE)
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Services:
    """Addresses, with {id} for the entry."""

    search: str = "https://search.rcsb.org/rcsbsearch/v2/query"
    bcif: str = "https://models.rcsb.org/{id}.bcif.gz"
    cif: str = "https://files.rcsb.org/download/{id}.cif.gz"
    alphafold: str = "https://alphafold.ebi.ac.uk/api/prediction/{id}"


@dataclass
class Result:
    """What a download gave.

    Attributes:
        made: names of files that were fetched.
        kept: names of files that were there and whole.
        failed: reason of each entry that could not be had.
        below: AlphaFold entries whose mean pLDDT is below the floor, with it.
    """

    made: list[str]
    kept: list[str]
    failed: dict[str, str]
    below: dict[str, float]


@dataclass
class Found:
    """What a search gave.

    Attributes:
        ids: entries, in order of their IDs.
        refused: reason of each name that is no ID of the PDB: addresses and files are made of IDs.
    """

    ids: list[Id]
    refused: dict[str, str]


def search(asker: Asker, query: Query, services: Services, most: int | None = None) -> Found:
    """The entries that a query finds.

    Args:
        asker: of the service.
        query: what is looked for.
        services: addresses.
        most: how many are taken; None for all.

    Raises:
        DataError: if the service cannot be reached, or answers what cannot be read.
    """
    found, seen = Found([], {}), 0
    while True:
        data = asker.post(services.search, query.document(seen))
        if not data:  # nothing found: no content
            return found
        answer = _json(data, services.search)
        total, rows = answer.get("total_count"), answer.get("result_set")
        names = [row.get("identifier") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None
        if not isinstance(total, int) or names is None or not all(isinstance(name, str) for name in names):
            raise DataError(f"{services.search}: answers in a form that is not known; its interface may have changed")
        for name in map(str, names):
            entry = parse_id(name)
            if entry is not None and entry.name == name.lower():
                found.ids.append(entry)
            else:
                found.refused[name[:40]] = "is no PDB ID, and the search service gives it for one"
        seen += len(names)
        if not names or seen >= total or (most is not None and len(found.ids) >= most):
            return Found(found.ids[:most], found.refused)


def download(
    ids: Sequence[Id],
    folder: Path,
    asker: Asker,
    services: Services,
    *,
    plddt: float = 0.0,
    refused: Mapping[str, str] | None = None,
    progress: Progress = lambda *_: None,
) -> Result:
    """Fetch what is missing in a folder.

    Args:
        ids: entries, each once.
        folder: exists.
        asker: of the services.
        services: addresses.
        plddt: mean pLDDT that AlphaFold entries have at least, 0-100.
        refused: reasons of what was found and is no entry; they are among the failed.
        progress: called with (entries done, entries in all, ID).

    Raises:
        DataError: if the folder cannot be written.
    """
    result, sums = Result([], [], dict(refused or {}), {}), read_sums(folder)
    try:
        for done, entry in enumerate(ids, start=1):
            try:
                _one(entry, folder, asker, services, plddt, sums, result)
            except OSError as error:
                raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from None
            except ProtgenError as error:
                result.failed[entry.name] = " ".join(str(error).split())
            progress(done, len(ids), entry.name)
            if done % EVERY == 0:
                write_sums(folder, sums)
    finally:
        write_sums(folder, sums)
        write_failed(folder, result.failed)
    return result


def _one(
    entry: Id, folder: Path, asker: Asker, services: Services, plddt: float, sums: dict[str, str], result: Result
) -> None:
    """Fetch one entry, unless a whole file of it is there."""
    named = f"AF-{entry.name}-F1" if entry.archive == "alphafold" else entry.name
    endings = (".bcif", ".cif") if entry.archive == "alphafold" else (".bcif.gz", ".cif.gz")
    for path in (folder / f"{named}{ending}" for ending in endings):
        if path.is_file() and _is_whole(path, named, sums):
            result.kept.append(path.name)
            return
    if entry.archive == "pdb":
        addresses = [services.bcif.format(id=entry.name), services.cif.format(id=entry.name)]
    else:
        about = prediction(asker, services.alphafold.format(id=entry.name))
        mean: Any = about.get("globalMetricValue")
        if plddt > 0 and (type(mean) not in (int, float) or not 0 <= mean <= 100):
            raise UnreachableError(f"{named}: the service does not say its mean pLDDT")
        if plddt > 0 and mean < plddt:
            result.below[named] = float(mean)
            return
        addresses = [str(about.get(key, "")) for key in ("bcifUrl", "cifUrl")]
    path = _fetched(asker, addresses, [folder / f"{named}{ending}" for ending in endings], named)
    sums[path.name] = fingerprint(path)["sha256"]
    result.made.append(path.name)


def _fetched(asker: Asker, addresses: Sequence[str], paths: Sequence[Path], named: str) -> Path:
    """Fetch an entry in the first format in which it can be had; returns its file."""
    problems: list[UnreachableError] = []
    for address, path in zip(addresses, paths, strict=True):
        if not address.startswith(("https://", "http://")):
            problems.append(MissingError(f"{named}: no address of a {path.name}"))
            continue
        try:
            data = asker.get(address, lambda data, path=path: check_data(data, path.name, named))
        except UnreachableError as error:
            problems.append(error)
            continue
        write_bytes(path, data)
        return path
    raise next((error for error in problems if not isinstance(error, MissingError)), problems[0])


def check_data(data: bytes, name: str, named: str) -> None:
    """`check_entry` of what came, before it is in the folder.

    Args:
        data: the bytes.
        name: of the file that it is to be.
        named: the entry.
    """
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / name
        path.write_bytes(data)
        try:
            check_entry(path, named)
        except StructureError as error:
            raise StructureError(str(error).replace(f"{path}: ", "")) from None


def check_entry(path: Path, named: str) -> None:
    """Look whether a file is what was asked for.

    Raises:
        StructureError: if it is cut off, damaged, of no format of structures, without protein, or of another entry.
    """
    payload = load(path, WarningLog())
    if payload.kind == "pdb":
        raise StructureError("is no mmCIF or BinaryCIF file")
    found = _names_in(payload.kind, payload.data)
    if named.lower() not in found:
        raise StructureError(f"holds the entry {', '.join(sorted(found)) or 'of no name'}, not {named}")
    read_structure(path, name=named)


def _names_in(kind: str, data: bytes) -> set[str]:
    """Names of the data blocks of a file, in lower case."""
    if kind == "cif":
        return {match[1].decode("latin-1").lower() for match in _BLOCK_NAME.finditer(data)}
    tree: Any = unpack(data)
    blocks = tree.get("dataBlocks") if isinstance(tree, dict) else None
    if not isinstance(blocks, list):
        return set()
    return {str(block.get("header", "")).lower() for block in blocks if isinstance(block, dict)}


def prediction(asker: Asker, address: str) -> dict[str, Any]:
    """What AlphaFold DB says of the first model of an entry.

    Raises:
        UnreachableError: if it cannot be had, or is of another form.
    """
    data = asker.get(address)
    try:
        plain = _json(b'{"models": ' + data + b"}", address)["models"]
    except DataError as error:
        raise UnreachableError(str(error)) from None
    if not isinstance(plain, list) or not plain or not isinstance(plain[0], dict):
        raise UnreachableError(f"{address}: answers in a form that is not known; its interface may have changed")
    return plain[0]


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        return json_of(data.decode(), where)
    except (UnicodeDecodeError, DocumentError):
        raise DataError(f"{where}: answers no JSON ({data[:40]!r})") from None


def _is_whole(path: Path, named: str, sums: dict[str, str]) -> bool:
    """Whether a file is what was written, or, where no checksum is known, what was asked for."""
    checksum = str(fingerprint(path)["sha256"])
    if path.name in sums:
        return sums[path.name] == checksum
    try:
        check_entry(path, named)
    except StructureError:
        return False
    sums[path.name] = checksum
    return True


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by name, as an earlier download left them."""
    try:
        lines = read_text(folder / SUMS, MAX_BYTES).splitlines()
    except DocumentError:
        return {}
    return {match[2]: match[1] for line in lines if (match := _SUM.fullmatch(line))}


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the list of checksums.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        write_text(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    except OSError as error:
        raise DataError(f"{folder / SUMS}: cannot be written ({error.strerror or error})") from None


def write_failed(folder: Path, failed: dict[str, str]) -> None:
    """Write the entries that could not be had; no file where there are none.

    Raises:
        DataError: if it cannot be written.
    """
    path, buffer = folder / FAILED, io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([("id", "reason"), *failed.items()])
    try:
        if failed:
            write_text(path, buffer.getvalue())
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
