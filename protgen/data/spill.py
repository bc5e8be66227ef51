"""What a build has read so far, on the disk: memory does not grow with the files, and a killed build goes on.

A folder of segments. Each holds what came of some sources, in the order in which they were read, as one `.npz` file
that appears whole or not at all; a damaged one is known by the checksums of the format, and read again from its
sources. `request.json` says what was asked: another request begins anew.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from protgen.atomic import replacing, write_text
from protgen.data.reading import Piece, Reading
from protgen.data.windows import Window
from protgen.documents import read_json
from protgen.errors import DataError
from protgen.integrity import is_sealed, sealed
from protgen.types import JSON

FOLDER = ".building"  # in the store's folder
REQUEST = "request.json"
SEGMENT = 128  # sources whose readings are written together: about a MB
SECONDS = 20.0  # after which they are written in any case
PER_RESIDUE = ("atoms", "numbers", "aatype", "parts")
_CACHED = 8  # segments held for reading: with several processes, neighbours in order lie in a few


class Spill:
    """The readings of a build, by number of their source.

    Args:
        folder: for the segments; made if it is missing.
        request: what decides the readings. Segments of another request are removed.
    """

    def __init__(self, folder: Path, request: JSON) -> None:
        self.folder = folder
        self._waiting: dict[int, Reading] = {}
        self._since = time.monotonic()
        self._places: dict[int, tuple[Path, int]] = {}
        self._cache: dict[Path, list[Reading]] = {}
        wanted = sealed(json.loads(json.dumps(request)))
        if not _is_of(folder, wanted):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_text(folder / REQUEST, json.dumps(wanted))
        for path in sorted(folder.glob("*.npz")):
            self._enter(path)
        self._next = 1 + max((int(path.stem) for path in folder.glob("*.npz")), default=-1)

    def __contains__(self, index: int) -> bool:
        return index in self._places or index in self._waiting

    def __len__(self) -> int:
        return len(self._places) + len(self._waiting)

    def add(self, index: int, reading: Reading) -> None:
        """Take the reading of a source, and write what waits from time to time."""
        self._waiting[index] = reading
        if len(self._waiting) >= SEGMENT or time.monotonic() - self._since > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._since = time.monotonic()
        if not self._waiting:
            return
        path, arrays = self.folder / f"{self._next:08d}.npz", _packed(self._waiting)
        with replacing(path) as temporary, temporary.open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        self._places |= {index: (path, k) for k, index in enumerate(self._waiting)}
        self._next += 1
        self._waiting = {}

    def readings(self, n: int) -> Iterator[Reading]:
        """The readings of sources 0 to n - 1, in order."""
        self.flush()
        for index in range(n):
            path, k = self._places[index]
            if path not in self._cache:
                while len(self._cache) >= _CACHED:
                    del self._cache[next(iter(self._cache))]
                self._cache[path] = list(_unpacked(_load(path)).values())
            yield self._cache[path][k]

    def remove(self) -> None:
        """Remove the folder: the store is written."""
        self._cache, self._places, self._waiting = {}, {}, {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def _enter(self, path: Path) -> None:
        """Note what a segment of an earlier run holds; remove one that is damaged."""
        try:
            held = _unpacked(_load(path))
        except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, zipfile.BadZipFile):
            path.unlink()
            return
        self._places |= {index: (path, k) for k, index in enumerate(held)}


def _is_of(folder: Path, wanted: JSON) -> bool:
    """Whether a folder holds segments of that request."""
    try:
        found = read_json(folder / REQUEST)
    except DataError:
        return False
    return is_sealed(found) and found == wanted


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _packed(readings: Mapping[int, Reading]) -> dict[str, np.ndarray]:
    """Readings as arrays; what is no array goes into one of JSON text."""
    pieces = [piece for reading in readings.values() for piece in reading.pieces]
    windows = [window for piece in pieces for window in piece.windows]
    entries = [
        {
            "index": index,
            "dropped": list(reading.dropped),
            "unreadable": reading.unreadable,
            "warnings": list(reading.warnings),
            "pieces": [_piece_entry(piece) for piece in reading.pieces],
        }
        for index, reading in readings.items()
    ]
    return {
        "entries": np.frombuffer(json.dumps(entries).encode(), dtype=np.uint8),
        "atoms": np.concatenate([np.zeros((0, 4, 3), np.float32), *(piece.atoms for piece in pieces)]),
        "numbers": np.concatenate([np.zeros(0, np.int32), *(piece.numbers for piece in pieces)]),
        "aatype": np.concatenate([np.zeros(0, np.uint8), *(piece.aatype for piece in pieces)]),
        "parts": np.concatenate([np.zeros(0, np.uint8), *(piece.parts for piece in pieces)]),
        "labels": np.concatenate([np.zeros(0, np.uint8), *(window.labels for window in windows)]),
    }


def _piece_entry(piece: Piece) -> JSON:
    return {
        "id": piece.id,
        "chain": piece.chain,
        "length": len(piece.atoms),
        "digest": piece.digest,
        "topologies": list(piece.topologies),
        "windows": [[window.start, window.stop, window.facts] for window in piece.windows],
    }


def _unpacked(arrays: Mapping[str, np.ndarray]) -> dict[int, Reading]:
    """The readings of a segment, by number of their source, in the order of the segment."""
    found, residue, label = {}, 0, 0
    for entry in json.loads(arrays["entries"].tobytes()):
        pieces = []
        for held in entry["pieces"]:
            stop = residue + held["length"]
            windows, label = _windows(held["windows"], arrays["labels"], label)
            atoms, numbers, aatype, parts = (arrays[name][residue:stop] for name in PER_RESIDUE)
            whole = Piece(held["id"], held["chain"], atoms, numbers, aatype, windows, held["digest"], parts)
            pieces.append(replace(whole, topologies=tuple(held["topologies"])))
            residue = stop
        found[int(entry["index"])] = Reading(
            tuple(pieces), tuple(entry["dropped"]), entry["unreadable"], tuple(entry["warnings"])
        )
    return found


def _windows(entries: list[Any], labels: np.ndarray, label: int) -> tuple[tuple[Window, ...], int]:
    """Windows of a piece, and the place behind their labels."""
    windows = []
    for start, stop, facts in entries:
        windows.append(Window(start, stop, labels[label : label + stop - start], facts))
        label += stop - start
    return tuple(windows), label
