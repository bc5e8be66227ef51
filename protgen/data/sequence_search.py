"""Which sequences are alike: a search by words, and an alignment of the pairs that it finds.

A word is five residues in a reduced alphabet of ten letters (Murphy, Wallqvist & Levy, Protein Eng. 13, 149, 2000), in
which related residues are one. A pair with two words on one diagonal is looked at: the best ungapped stretch of that
diagonal by BLOSUM62, and, if that is above what chance gives, a local alignment (BLOSUM62, a gap of n residues costs
10 + n) by Bio.Align. It says

    identity = identical residues / columns of the alignment, gaps included
    coverage = residues of the shorter sequence from its first aligned one to its last / its length

so that a domain within a longer chain is a relative. The alignment must be significant for the two sequences alone,
m n K exp(-lambda S) <= 0.001 (Karlin & Altschul's statistics with NCBI's constants for these scores).

The search is not exhaustive: of 7,319 pairs of natives that are alike by 40 % and 80 % it finds 7,157, and 382 of the
423 with a chain below 80 residues (`benchmarks/data_build.py`).
"""

import functools
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from protgen.errors import ProtgenError
from protgen.parallel import run
from protgen.structure.residue_names import ONE_LETTER

LETTERS = "".join(ONE_LETTER.values()) + "X"  # of the codes 0 to 20
REDUCED = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "EDNQ", "KR", "H")
WORD = 5
HITS = 2  # words on one diagonal
UNGAPPED = 30  # of the best stretch: two words alone have less, 20 residues of 40 % identity more
GAP_OPEN, GAP_EXTEND = 11.0, 1.0  # the first residue of a gap, and each further one
LAMBDA, KAPPA = 0.267, 0.041  # of BLOSUM62 with these gaps
SIGNIFICANT = 1e-3
LEAST_TYPES = 8  # of amino acids in a sequence that says something: designs are all glycine
_BLOCK = 128  # queries searched together
_ROWS = 4096  # diagonals scored together
_OUTSIDE = -1000  # beyond the end of a sequence: ends any stretch


@dataclass(frozen=True)
class Match:
    """Two sequences and how alike they are.

    Attributes:
        first, second: their numbers.
        identity, coverage: fractions, as above.
    """

    first: int
    second: int
    identity: float
    coverage: float


@dataclass(frozen=True)
class WordIndex:
    """Where each word stands in the sequences.

    Attributes:
        starts: (words + 1,) where the places of each word begin.
        sequence, place: of each occurrence, by word.
        text: codes of all sequences, one after another.
        ends: (n + 1,) where each begins in it.
    """

    starts: np.ndarray
    sequence: np.ndarray
    place: np.ndarray
    text: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Block:
    """Some queries of a search.

    Attributes:
        numbers: of the queries.
        queries, targets: files of the sequences; the same file where each pair of one set is looked at once.
        identity, coverage: what a match has at the least.
    """

    numbers: tuple[int, ...]
    queries: Path
    targets: Path
    identity: float
    coverage: float


def matches(
    queries: Sequence[bytes],
    targets: Sequence[bytes] | None = None,
    *,
    identity: float,
    coverage: float,
    jobs: int = 1,
) -> list[Match]:
    """The pairs of sequences that are alike.

    Args:
        queries: sequences, a byte a residue: places in ARNDCQEGHILKMFPSTWYV, 20 unknown.
        targets: others to compare them with; None to compare them with one another.
        identity, coverage: what a match has at the least.
        jobs: number of processes; the matches do not depend on it.

    Returns:
        Matches by number of the query, then of the target; within one set `first` is above `second`.

    Raises:
        ProtgenError: if a process was killed.
    """
    said = [k for k, text in enumerate(queries) if is_said(text)]
    found: list[Match] = []
    # Processes read the sequences from files, once each.
    with tempfile.TemporaryDirectory(prefix="protgen-search-") as scratch:
        paths = [_saved(own, Path(scratch) / f"{k}.npz") for k, own in enumerate((queries, targets)) if own is not None]
        blocks = [
            Block(tuple(said[k : k + _BLOCK]), paths[0], paths[-1], identity, coverage)
            for k in range(0, len(said), _BLOCK)
        ]
        for outcome in run(_search_block, blocks, jobs=jobs):
            if outcome.result is None:
                raise ProtgenError("a process that compared sequences was killed; try fewer jobs")
            found += outcome.result
    return sorted(found, key=lambda match: (match.first, match.second))


def _saved(sequences: Sequence[bytes], path: Path) -> Path:
    lengths = np.array([len(text) for text in sequences], dtype=np.int64)
    np.savez(path, text=np.frombuffer(b"".join(sequences), np.uint8), ends=np.cumsum(np.append(0, lengths)))
    return path


@functools.lru_cache(maxsize=2)
def _loaded(path: Path) -> list[bytes]:
    with np.load(path, allow_pickle=False) as held:
        text, ends = held["text"].tobytes(), held["ends"].tolist()
    return [text[start:stop] for start, stop in pairwise(ends)]


def is_said(sequence: bytes) -> bool:
    """Whether a sequence says something: eight kinds of residues, as those of proteins have."""
    return len(set(sequence) - {20}) >= LEAST_TYPES


def _search_block(block: Block) -> list[Match]:
    """The matches of some queries."""
    queries, targets = _loaded(block.queries), _loaded(block.targets)
    found = []
    for query, target in _candidates(block, queries):
        match = compare(queries[query], targets[target])
        if match is not None and match[0] >= block.identity and match[1] >= block.coverage:
            found.append(Match(query, target, *match))
    return found


def compare(first: bytes, second: bytes) -> tuple[float, float] | None:
    """Identity and coverage of the best local alignment of two sequences; None if it is no more than chance."""
    aligner = _aligner()
    texts = [_text(first), _text(second)]
    score = aligner.score(*texts)
    if len(first) * len(second) * KAPPA * math.exp(-LAMBDA * score) > SIGNIFICANT:
        return None
    (a, b) = aligner.align(*texts)[0].aligned
    identical = sum(
        x == y and x != "X"
        for (i, j), (k, m) in zip(a.tolist(), b.tolist(), strict=True)
        for x, y in zip(texts[0][i:j], texts[1][k:m], strict=True)
    )
    spans = [int(part[-1, 1] - part[0, 0]) for part in (a, b)]
    columns = sum(spans) - int((a[:, 1] - a[:, 0]).sum())
    shorter = 0 if len(first) <= len(second) else 1
    return identical / columns, spans[shorter] / min(len(first), len(second))


def _candidates(block: Block, queries: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of query and target that are worth an alignment."""
    index = _index(block.targets)
    for query in block.numbers:
        codes = np.frombuffer(queries[query], np.uint8)
        below = query if block.queries == block.targets else None
        target, diagonal = _diagonals(words_of(codes), index, below)
        good = [
            target[k : k + _ROWS][_ungapped(codes, target[k : k + _ROWS], diagonal[k : k + _ROWS], index) >= UNGAPPED]
            for k in range(0, len(target), _ROWS)
        ]
        yield from ((query, t) for t in sorted({t for part in good for t in part.tolist()}))


def _diagonals(words: np.ndarray, index: WordIndex, below: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Targets and diagonals that share enough words with a query.

    Args:
        words: (n,) of the query; -1 where there is none.
        index: of the targets.
        below: only targets of lower numbers; None for all.
    """
    places = np.flatnonzero(words >= 0)  # of words
    starts, stops = index.starts[words[places]], index.starts[words[places] + 1]
    counts = stops - starts
    if not counts.sum():
        return np.zeros(0, int), np.zeros(0, int)
    ends = np.cumsum(counts)
    occurrence = np.arange(ends[-1]) - np.repeat(ends - counts, counts) + np.repeat(starts, counts)
    target = index.sequence[occurrence].astype(np.int64)
    diagonal = index.place[occurrence].astype(np.int64) - np.repeat(places, counts)
    if below is not None:
        diagonal, target = diagonal[target < below], target[target < below]
    width = 1 << 21  # diagonals lie within the longest chains, far below it
    keys, hits = np.unique(target * width + diagonal + width // 2, return_counts=True)
    keys = keys[hits >= HITS]
    return keys // width, keys % width - width // 2


def _ungapped(query: np.ndarray, target: np.ndarray, diagonal: np.ndarray, index: WordIndex) -> np.ndarray:
    """(p,) score of the best ungapped stretch of some diagonals.

    Args:
        query: (l,) codes.
        target, diagonal: (p,) as `_diagonals` gives them.
        index: of the targets.
    """
    start, stop = index.ends[target], index.ends[target + 1]
    place = (start + diagonal)[:, None] + np.arange(len(query))
    inside = (place >= start[:, None]) & (place < stop[:, None])
    letters = index.text[np.where(inside, place, 0)]
    score = np.where(inside, _matrix()[query[None], letters], _OUTSIDE)
    total = np.cumsum(score, axis=1)
    before = np.concatenate([np.zeros((len(total), 1), total.dtype), total[:, :-1]], axis=1)
    return (total - np.minimum.accumulate(before, axis=1)).max(axis=1)


def words_of(codes: np.ndarray) -> np.ndarray:
    """(l - 4,) number of the word at each place; -1 for one with an unknown residue."""
    reduced = _reduction()[codes]
    n = max(0, len(codes) - WORD + 1)
    words = np.zeros(n, dtype=np.int64)
    known = np.ones(n, dtype=bool)
    for k in range(WORD):
        words = words * len(REDUCED) + reduced[k : k + n]
        known &= reduced[k : k + n] >= 0
    return np.where(known, words, -1)


@functools.lru_cache(maxsize=1)
def _index(path: Path) -> WordIndex:
    """The words of the targets; a process makes it once."""
    words, owner, place = [], [], []
    for k, text in enumerate(_loaded(path)):
        own = words_of(np.frombuffer(text, np.uint8)) if is_said(text) else np.zeros(0, np.int64)
        at = np.flatnonzero(own >= 0)
        words.append(own[at].astype(np.int32))
        owner.append(np.full(len(at), k, np.int32))
        place.append(at.astype(np.int32))
    joined = np.concatenate([np.zeros(0, np.int32), *words])
    order = np.argsort(joined, kind="stable")
    starts = np.searchsorted(joined[order], np.arange(len(REDUCED) ** WORD + 1))
    empty, sequences = np.zeros(0, np.int32), _loaded(path)
    return WordIndex(
        starts,
        np.concatenate([empty, *owner])[order],
        np.concatenate([empty, *place])[order],
        np.frombuffer(b"".join(sequences), np.uint8),
        np.cumsum([0, *map(len, sequences)]),
    )


@functools.cache
def _reduction() -> np.ndarray:
    """(21,) letter of the reduced alphabet of each code; -1 for an unknown residue."""
    of = {letter: k for k, group in enumerate(REDUCED) for letter in group}
    return np.array([of.get(letter, -1) for letter in LETTERS])


@functools.cache
def _matrix() -> np.ndarray:
    """(21, 21) BLOSUM62 by codes."""
    from Bio.Align import substitution_matrices

    blosum: Any = substitution_matrices.load("BLOSUM62")
    return np.array([[int(blosum[a][b]) for b in LETTERS] for a in LETTERS], dtype=np.int32)


@functools.cache
def _aligner():
    from Bio.Align import PairwiseAligner, substitution_matrices

    aligner = PairwiseAligner(mode="local", open_gap_score=-GAP_OPEN, extend_gap_score=-GAP_EXTEND)
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    return aligner


def _text(sequence: bytes) -> str:
    return "".join(LETTERS[code] for code in sequence)
