"""Real files, where a folder of them is at hand (PROTGEN_SHARED, or ../shared beside the repository)."""

import os
from pathlib import Path

import numpy as np
import pytest

from protgen.structure.reader import read_structure, stem

SHARED = Path(os.environ.get("PROTGEN_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
RAW = sorted((SHARED / "raw").glob("*")) if SHARED.is_dir() else []
FIELDS = ("residue_names", "chain_ids", "residue_numbers", "insertion_codes", "mask")
pytestmark = [pytest.mark.skipif(not RAW, reason="no folder of real files"), pytest.mark.slow]


def test_all_raw_files_parse():
    for path in RAW:
        protein = read_structure(path)
        assert protein.length >= 20, path
        assert {w.code for w in protein.warnings}.isdisjoint({"no_end", "mirror_image", "duplicate_atom"}), path


def test_three_formats_of_one_entry_agree():
    entries = {stem(path) for path in RAW if ".bcif" in path.name}
    compared = 0
    for entry in sorted(entries):
        proteins = [read_structure(path) for path in RAW if stem(path) == entry]
        for other in proteins[1:]:
            assert all(np.array_equal(getattr(proteins[0], f), getattr(other, f)) for f in FIELDS), entry
            assert np.nanmax(np.abs(proteins[0].atoms - other.atoms)) < 0.001, entry
            compared += 1
    assert compared >= 20


def test_a_sample_of_chains_parses_as_indexed():
    lines = (SHARED / "chains" / "index.csv").read_text().splitlines()
    columns = lines[0].split(",")
    for line in lines[1::300]:
        row = dict(zip(columns, line.split(","), strict=False))
        protein = read_structure(SHARED / "chains" / row["file"])
        assert protein.length == int(row["length"])
        assert {w.code for w in protein.warnings} <= {"chain_break", "insertion_codes"}


def test_designs_of_other_generators_parse():
    for path in sorted((SHARED / "generated").rglob("*.gz"))[::10]:
        assert read_structure(path).length > 0
