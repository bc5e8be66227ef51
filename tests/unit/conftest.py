"""Lets unit tests import the helpers in their folder, whatever import mode pytest uses; backbones of several tests."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def backbones(tmp_path):
    """A hairpin, a helix, and a dimer of helices that was made symmetric and holds a motif."""
    folder = tmp_path / "designs"
    folder.mkdir()
    write_structure(Protein.from_backbone(ideal_hairpin(20)), folder / "design_0000.pdb")
    write_structure(Protein.from_backbone(ideal_helix(20)), folder / "design_0001.pdb")
    xyz = np.concatenate([ideal_helix(12), ideal_helix(12) + np.array([12.0, 0.0, 0.0])])
    names = np.array((["GLY"] * 4 + ["TRP", "HIS"] + ["GLY"] * 6) * 2)
    dimer = Protein.from_backbone(
        xyz, chain_ids=np.repeat(["A", "B"], 12), residue_numbers=np.tile(np.arange(1, 13), 2), residue_names=names
    )
    write_structure(dimer, folder / "design_0002.pdb")
    motif = [
        {"design": {"chain": chain, "residue": k}, "motif": {"chain": "A", "residue": k}}
        for chain in "AB"
        for k in (5, 6)
    ]
    record = {"requested": [{"condition": "symmetry", "group": "C2"}], "motif": motif}
    (folder / "design_0002.json").write_text(json.dumps(record))
    return folder, dimer
