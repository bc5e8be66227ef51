"""Alignments of sequences by hand, clusters against an independent implementation, and MMseqs2 if it is installed."""

import itertools

import numpy as np
import pytest

from protgen.data.clusters import Clustering, join_sequences
from protgen.data.groups import Groups
from protgen.data.mmseqs import find_mmseqs, matched_pairs
from protgen.data.sequence_search import LETTERS, Match, compare, matches, words_of
from protgen.errors import ConfigError, UsageError

BASE = "MKTAYIAKQRWISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVK"


def coded(text: str) -> bytes:
    return bytes(LETTERS.index(letter) for letter in text)


@pytest.mark.parametrize(
    ("other", "identity", "coverage"),
    [
        (BASE, 1.0, 1.0),
        # Each tenth residue is tryptophan in place of another: 52 of 58.
        ("".join("W" if k % 10 == 5 else a for k, a in enumerate(BASE)), 52 / 58, 1.0),
        # Four residues are missing: 54 identical in 58 columns; the shorter is covered whole.
        (BASE[:28] + BASE[32:], 54 / 58, 1.0),
        # A part of 40 within a longer chain of other residues.
        ("PGPGPGPGPG" + BASE[9:49] + "PGPGPGPGPGPGPGPGPGPG", 1.0, 40 / 58),
        # Unknown residues are not identical: 50 of 58.
        (BASE[:20] + "X" * 8 + BASE[28:], 50 / 58, 1.0),
    ],
)
def test_identity_and_coverage_by_hand(other, identity, coverage):
    found = compare(coded(BASE), coded(other))
    assert found == pytest.approx((identity, coverage), abs=1e-12)
    assert compare(coded(other), coded(BASE)) == pytest.approx((identity, coverage), abs=1e-12)


def test_sequences_without_relation_are_no_match():
    rng = np.random.default_rng(0)
    chance = [bytes(rng.integers(0, 20, 60).tolist()) for _ in range(12)]
    assert all(compare(a, b) is None for a, b in itertools.combinations(chance, 2))


def test_words_are_numbers_in_the_reduced_alphabet():
    """Five residues of the groups 0 and 8: 0, and 8 in the places of ten thousands to ones."""
    assert words_of(np.frombuffer(coded("LVIMLKRK"), np.uint8)).tolist() == [0, 8, 88, 888]
    assert words_of(np.frombuffer(coded("LVXMLKR"), np.uint8)).tolist() == [-1, -1, -1]
    assert len(words_of(np.frombuffer(coded("LVI"), np.uint8))) == 0


def mutated(text: bytes, fraction: float, rng: np.random.Generator) -> bytes:
    codes = np.frombuffer(text, np.uint8).copy()
    where = rng.random(len(codes)) < fraction
    codes[where] = rng.integers(0, 20, where.sum())
    return codes.tobytes()


@pytest.fixture(scope="module")
def families() -> list[bytes]:
    """Four families: an ancestor, two mutants, one of which has lost residues; and a chain with domains of two."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(4):
        ancestor = bytes(rng.integers(0, 20, 56).tolist())
        lost = ancestor[:20] + mutated(ancestor[26:], 0.2, rng)
        found += [ancestor, mutated(ancestor, 0.35, rng), lost]
    found.append(found[9][2:] + found[0][:54])  # joins two families
    return [found[k] for k in rng.permutation(len(found))]


def blosum() -> dict[tuple[str, str], float]:
    from Bio.Align import substitution_matrices

    held = substitution_matrices.load("BLOSUM62")
    return {(a, b): float(held[a][b]) for a in LETTERS for b in LETTERS}


def aligned(a: str, b: str, scores: dict[tuple[str, str], float]) -> tuple[float, float]:
    """Identity and coverage by Gotoh's recursion over tables, traced back cell by cell."""
    n, m, low = len(a), len(b), -1e9
    h, e, f = ([[start] * (m + 1) for _ in range(n + 1)] for start in (0, low, low))
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            e[i][j] = max(h[i][j - 1] - 11, e[i][j - 1] - 1)
            f[i][j] = max(h[i - 1][j] - 11, f[i - 1][j] - 1)
            h[i][j] = max(0, h[i - 1][j - 1] + scores[a[i - 1], b[j - 1]], e[i][j], f[i][j])
    _, i, j = max((value, i, j) for i, row in enumerate(h) for j, value in enumerate(row))
    stop, identical, columns, state = (i, j), 0, 0, "h"
    while h[i][j] > 0 or state != "h":
        if state == "h" and h[i][j] == h[i - 1][j - 1] + scores[a[i - 1], b[j - 1]]:
            identical, columns, i, j = identical + (a[i - 1] == b[j - 1]), columns + 1, i - 1, j - 1
        elif state == "h":
            state = "e" if h[i][j] == e[i][j] else "f"
        elif state == "e":
            state, j, columns = ("h" if e[i][j] == h[i][j - 1] - 11 else "e"), j - 1, columns + 1
        else:
            state, i, columns = ("h" if f[i][j] == h[i - 1][j] - 11 else "f"), i - 1, columns + 1
    return identical / columns, (stop[0] - i if n <= m else stop[1] - j) / min(n, m)


@pytest.fixture(scope="module")
def components(families) -> list[int]:
    """Clusters of all pairs by the tables: each family, and two of them together through the chain of two domains."""
    scores, texts = blosum(), ["".join(LETTERS[c] for c in text) for text in families]
    groups = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        identity, coverage = aligned(texts[i], texts[j], scores)
        if identity >= 0.4 and coverage >= 0.8:
            low, high = sorted((groups[i], groups[j]))
            groups = [low if own == high else own for own in groups]
    assert len(set(groups)) == 3
    return groups


def test_clusters_are_the_components_of_all_pairs(families, components):
    groups = Groups(len(families))
    made = join_sequences(groups, families, Clustering(program="builtin"))
    assert groups.labels().tolist() == components
    assert made == {"program": "builtin", "identity": 0.4, "coverage": 0.8}


@pytest.mark.skipif(find_mmseqs() is None, reason="MMseqs2 is not installed")
def test_mmseqs_finds_the_same_clusters(families, components):
    groups = Groups(len(families))
    assert join_sequences(groups, families, Clustering(program="mmseqs"))["program"] == "mmseqs"
    assert groups.labels().tolist() == components


@pytest.mark.skipif(find_mmseqs() is None, reason="MMseqs2 is not installed")
def test_mmseqs_finds_the_pairs_of_two_sets_and_our_alignment_says_how_alike_they_are(families):
    """Of two sets the pairs that are alike by 40 %, with identity and coverage to the bit; all glycine is in none."""
    program = find_mmseqs()
    assert program is not None
    ours, theirs = [bytes(40), *families[:6]], families[6:]
    found = {(m.first, m.second): m for m in matched_pairs(program, ours, theirs, 0.8)}
    expected = {(m.first, m.second): m for m in matches(ours, theirs, identity=0.4, coverage=0.8)}
    assert len(expected) >= 3
    assert {key: found.get(key) for key in expected} == expected
    assert all(m == compare_as_match(m, ours, theirs) and m.coverage >= 0.8 for m in found.values())
    assert matched_pairs(program, [bytes(40)], theirs, 0.8) == []


def compare_as_match(match: Match, ours: list[bytes], theirs: list[bytes]) -> Match | None:
    alike = compare(ours[match.first], theirs[match.second])
    return None if alike is None else Match(match.first, match.second, *alike)


def test_matches_between_two_sets_are_those_within_their_union(families):
    """Each pair once, whichever side it is on; a stricter limit leaves the stricter pairs."""
    n = 6
    within = {(m.first, m.second): m for m in matches(families, identity=0.4, coverage=0.8)}
    between = matches(families[:n], families[n:], identity=0.4, coverage=0.8)
    assert {(m.second + n, m.first) for m in between} == {pair for pair in within if pair[1] < n <= pair[0]}
    strict = matches(families, identity=0.7, coverage=0.8)
    assert {(m.first, m.second) for m in strict} == {pair for pair, m in within.items() if m.identity >= 0.7}
    assert 0 < len(strict) < len(within)


def test_sequences_that_say_nothing_are_not_compared():
    glycines = coded("G" * 60)
    assert matches([glycines, glycines, coded("AVLIGST" * 9)], identity=0.4, coverage=0.8) == []


def test_what_cannot_be_asked_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="--identity"):
        Clustering(identity=0.1)
    with pytest.raises(UsageError, match="--coverage"):
        Clustering(coverage=0.2)
    monkeypatch.setattr("protgen.data.clusters.find_mmseqs", lambda: None)
    with pytest.raises(ConfigError, match="no program mmseqs"):
        join_sequences(Groups(1), [b""], Clustering(program="mmseqs"))
