"""Whether files are what was written: size and SHA-256 of each, and a seal on the document that lists them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protgen.types import JSON


SEAL = "seal"  # the key of a document's own checksum
_BLOCK = 1 << 20


def fingerprint(path: Path) -> "JSON":
    """The size of a file in bytes and its SHA-256.

    Raises:
        OSError: if it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def fingerprint_or_none(path: Path) -> "JSON | None":
    """Size and SHA-256 of a regular file; None for anything else."""
    try:
        return fingerprint(path) if path.is_file() else None
    except OSError:
        return None


def digest_of(value: "JSON") -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def fingerprints(folder: Path, names: Iterable[str]) -> "JSON":
    """The fingerprint of each file of a folder, by name."""
    return {name: fingerprint(folder / name) for name in names}


def damage(folder: Path, known: Any) -> str:
    """What is wrong with the files of a folder, in words; "" if each is what it was.

    Args:
        folder: where they are.
        known: their fingerprints by name, as a document of ours holds them.
    """
    if not isinstance(known, Mapping) or not known:
        return "no checksums are known"
    for name, expected in known.items():
        path = folder / str(name)
        if not _is_fingerprint(expected) or path.parent != folder or not str(name).isprintable():
            return f"the checksum of {str(name)[:80]!r} is damaged"
        try:
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != expected["bytes"]:
                return f"{name} has {size:,} bytes in place of {expected['bytes']:,}"
            if fingerprint(path)["sha256"] != expected["sha256"]:
                return f"{name} has other bytes than were written"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror or error})"
    return ""


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, Mapping) and type(value.get("bytes")) is int and isinstance(value.get("sha256"), str)


def sealed(content: "JSON") -> "JSON":
    """A document with its own checksum, by which a changed or reordered one is known.

    Examples:
        >>> is_sealed(sealed({"step": 3}))
        True
        >>> is_sealed(sealed({"step": 3}) | {"step": 4})
        False
    """
    return content | {SEAL: _checksum(content)}


def is_sealed(content: "JSON") -> bool:
    """Whether a document is what was sealed."""
    return content.get(SEAL) == _checksum(content)


def _checksum(content: "JSON") -> str:
    # Keys in their order: a document that lists things means them in that order.
    bare = {key: value for key, value in content.items() if key != SEAL}
    return hashlib.sha256(json.dumps(bare, separators=(",", ":")).encode()).hexdigest()
