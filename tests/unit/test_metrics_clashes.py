"""Clash counts against brute force and known placements."""

import numpy as np
import pytest

from protgen.errors import StructureError
from protgen.metrics.clashes import Clashes, ca_clashes
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein


def brute_force(protein: Protein, limit: float) -> int:
    """Backbone atom pairs closer than `limit` of residues more than one apart or in other chains."""
    count = 0
    xyz = protein.backbone
    for i in range(protein.length):
        for j in range(i + 1, protein.length):
            if j - i > 1 or protein.chain_ids[i] != protein.chain_ids[j]:
                d = np.linalg.norm(xyz[i][:, None] - xyz[j][None], axis=-1)
                count += int((d < limit).sum())
    return count


@pytest.mark.parametrize("build", [ideal_helix, ideal_strand])
def test_ideal_elements_do_not_clash(build):
    """Helix and strand are free of every kind of clash: hydrogen bonds are not overlaps."""
    row = Clashes().measure(Protein.from_backbone(build(30)))
    assert row.pop("clash_free") == 1
    assert set(row.values()) == {0}


def test_counts_agree_with_brute_force():
    """A squeezed helix, in one chain and in two: the tree finds the pairs that a double loop finds."""
    xyz = ideal_helix(24) * 0.55
    for chains in (np.full(24, "A"), np.repeat(["A", "B"], 12)):
        protein = Protein.from_backbone(xyz, chain_ids=chains)
        row = Clashes().measure(protein)
        assert row["n_clashes"] == brute_force(protein, 2.0) > 0
        assert row["heavy_clashes_rfd3"] == brute_force(protein, 1.5)
        assert row["clash_free"] == 0


def test_ca_definitions_stand_apart():
    """One pair of CA at 1.8 Å and one at 1.2 Å: each published limit gives its own count."""
    ca = np.array([[0.0, 0, 0], [1.8, 0, 0], [50, 0, 0], [51.2, 0, 0]])
    xyz = np.full((4, 4, 3), np.nan)
    xyz[:, 1] = ca
    row = Clashes().measure(Protein.from_backbone(xyz))
    counts = (row["ca_clashes_la_proteina"], row["ca_clashes_framediff"], row["ca_clashes_frameflow"])
    assert counts == (2, 1, 0)
    assert np.isnan(row["n_clashes"])
    assert ca_clashes(Protein.from_backbone(xyz), 1.8) == 1  # strictly below


def test_two_chains_on_top_of_each_other():
    """A copy of the chain in the same place clashes everywhere."""
    xyz = ideal_helix(10)
    both = Protein.from_backbone(np.concatenate([xyz, xyz]), chain_ids=np.repeat(["A", "B"], 10))
    row = Clashes().measure(both)
    assert row["ca_clashes_frameflow"] == 10
    assert row["n_clashes"] >= 40


def test_collapsed_structure_is_refused():
    """Thousands of atoms in one place would be hundreds of millions of pairs: one clear line instead."""
    protein = Protein.from_backbone(np.zeros((2500, 4, 3)))
    with pytest.raises(StructureError, match="on top of each other"):
        Clashes().measure(protein)
