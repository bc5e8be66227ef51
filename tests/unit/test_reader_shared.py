"""Real files, where a folder of them is at hand (PROTGEN_SHARED, or ../shared beside the repository)."""

import os
from pathlib import Path

import gemmi
import numpy as np
import pytest
from scipy.spatial import KDTree

from protgen.structure.assemblies import expand
from protgen.structure.reader import parse_structure, read_structure, stem

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


def test_assemblies_are_those_of_gemmi_and_of_every_format():
    """Each CA of each copy within 0.001 Å, of dimers and a capsid of 60 operators; counts of formats agree."""
    counted: dict[str, dict[str, int]] = {}
    largest = 0
    for path in RAW:
        found = parse_structure(path, assembly=True)
        assert found.assembly is not None, path
        counts = {k: n for k, n in found.assembly.counts().items() if k in found.protein.chains}
        assert counted.setdefault(stem(path), counts) == counts, path
        if ".bcif" in path.name:
            continue
        read = gemmi.read_structure(str(path))
        read.setup_entities()
        made = gemmi.make_assembly(read.assemblies[0], read[0], gemmi.HowToNameCopiedChain.AddNumber)
        theirs = [atom.pos.tolist() for chain in made for res in chain for atom in res if atom.name == "CA"]
        ours = expand(found.protein, found.assembly.motions(counts))
        assert KDTree(theirs).query(ours.atoms[ours.mask[:, 1], 1])[0].max() < 0.001, path
        largest = max(largest, len(ours.chains))
    assert largest == 180


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
