"""Warnings that follow from coordinates, strict reading, and the log of warnings itself."""

import numpy as np
import pytest
from reader_files import LENGTH, cif_text, codes, helix, pdb_lines, pdb_text, read

from protgen.errors import StructureError
from protgen.structure.angles import dihedral
from protgen.structure.geometry_checks import chain_breaks, is_mirror_image, scale_looks_nm
from protgen.structure.ideal import HELIX, ideal_hairpin, ideal_helix, ideal_strand, mirror
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import CODES, WarningLog
from protgen.structure.writer import write_pdb


def test_chain_break_by_geometry_and_by_number(tmp_path):
    lines = pdb_lines()
    gap = read(tmp_path, pdb_text([*lines[:20], *lines[30:]]))
    assert codes(gap) == {"chain_break": 1}
    assert "2 residues missing by number" in gap.warnings[0].first_place
    assert [(b.index, b.n_missing) for b in chain_breaks(gap.protein)] == [(3, 2)]
    torn = read(tmp_path, pdb_text([*lines[:20], *pdb_lines(start=1, shift=9.0)[20:]]))
    assert "numbering runs on" in torn.warnings[0].first_place
    renumbered = read(tmp_path, pdb_text([*lines[:20], *pdb_lines(start=51)[20:]]))
    assert renumbered.warnings == ()


def test_chain_break_of_a_ca_trace(tmp_path):
    lines = pdb_lines()[1::5]
    assert "chain_break" not in codes(read(tmp_path, pdb_text(lines)))
    assert codes(read(tmp_path, pdb_text([*lines[:4], *lines[6:]])))["chain_break"] == 1


@pytest.mark.parametrize("build", [ideal_helix, ideal_strand, ideal_hairpin])
def test_mirror_image(tmp_path, build):
    path = tmp_path / "x.pdb"
    for backbone, expected in ((build(20), False), (mirror(build(20)), True)):
        write_pdb(Protein.from_backbone(backbone), path)
        assert ("mirror_image" in codes(read(tmp_path, path.read_bytes()))) is expected


def test_mirror_image_by_cb_and_by_ca(tmp_path):
    xyz = mirror(helix(16))
    whole = Protein(xyz, np.ones((16, 5), bool), np.full(16, "ALA"), np.full(16, "A"), np.arange(16), np.full(16, ""))
    assert is_mirror_image(whole)
    trace = np.full((16, 4, 3), np.nan)
    trace[:, 1] = xyz[:, 1]
    assert is_mirror_image(Protein.from_backbone(trace))
    trace[:, 1] = helix(16)[:, 1]
    assert not is_mirror_image(Protein.from_backbone(trace))


def test_nanometres(tmp_path):
    protein = Protein.from_backbone(helix()[:, :4] / 10)
    assert scale_looks_nm(protein)
    write_pdb(protein, tmp_path / "x.pdb")
    assert "scale_suspect_nm" in codes(read(tmp_path, (tmp_path / "x.pdb").read_bytes()))


@pytest.mark.parametrize("kind", ["zero", "plane", "torn"])
def test_degenerate_coordinates(tmp_path, kind):
    backbone = helix()[:, :4].copy()
    if kind == "zero":
        backbone[3:] = 0.0
    elif kind == "plane":
        backbone[..., 2] = 0.0
    else:
        backbone[5, 1] += 10.0
    write_pdb(Protein.from_backbone(backbone), tmp_path / "x.pdb")
    assert "degenerate_coordinates" in codes(read(tmp_path, (tmp_path / "x.pdb").read_bytes()))


def test_strict_makes_each_warning_an_error(tmp_path):
    read(tmp_path, pdb_text(), strict=True)
    read(tmp_path, cif_text(), "x.cif", strict=True)
    with pytest.raises(StructureError, match="no_end"):
        read(tmp_path, pdb_text(end=False), strict=True)


def test_log_counts_and_keeps_the_first_place():
    log = WarningLog()
    log.add("no_end", "here")
    log.add("altloc_used", "A 1")
    log.add("altloc_used", "A 2", 3)
    warnings = log.warnings()
    assert [(w.code, w.count, w.first_place) for w in warnings] == [
        ("altloc_used", 4, "A 1"),
        ("no_end", 1, "here"),
    ]
    with pytest.raises(KeyError):
        log.add("unheard_of", "here")
    assert len(CODES) == 27


def test_dihedral_sign():
    x = ideal_helix(LENGTH)
    phi = dihedral(x[:-1, 2], x[1:, 0], x[1:, 1], x[1:, 2])
    assert np.allclose(phi, HELIX[0])
