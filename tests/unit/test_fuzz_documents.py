"""Damaged stores, indices, records, rows, sequences and checkpoints are read or refused by one line;
`benchmarks/fuzz_documents.py` does it ten thousand times."""

import os

import pytest

fuzz_documents = pytest.importorskip("benchmarks.fuzz_documents", reason="no checkout here")
N = int(os.environ.get("PROTGEN_FUZZ", "150"))


@pytest.mark.parametrize("name", fuzz_documents.TARGETS)
def test_damage_is_read_or_refused(tmp_path, name):
    """Bytes at seeded places, and strange values under a checksum made anew; most damage is noticed."""
    found = fuzz_documents.fuzz(name, N, 1, tmp_path)
    assert set(found) <= {"read", "refused"}, found
    assert sum(found.values()) == N
    if name in ("manifest of a store", "record of a run", "state of a checkpoint"):
        assert found["refused"] > N / 4
