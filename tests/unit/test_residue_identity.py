"""A residue is chain, number and insertion code: in contigs, motifs, records, files of designs and refolds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protgen.conditions.contig_dialects import (
    MotifProblem,
    from_rfdiffusion,
    read_frameflow,
    read_genie2,
    read_motifbench,
    to_rfdiffusion,
    write_frameflow,
    write_genie2,
    write_motifbench,
)
from protgen.conditions.contigs import Contig
from protgen.conditions.motif import Motif
from protgen.conditions.roles import MotifResidue
from protgen.errors import UsageError
from protgen.generation.numbering import fixed_positions, with_motif_numbers
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.residue_id import ResidueId, residue_ids, runs_in_words
from protgen.structure.writer import write_structure

CASES = Path(__file__).parent / "cases"


def found(file: str, contig: str) -> list[str]:
    """Names of the residues that a contig takes of a case."""
    return [str(ResidueId(m.chain, m.number, m.insertion)) for m in Motif(str(CASES / file), contig).mapping()]


def test_a_range_holds_its_insertions_in_the_order_of_the_file():
    assert found("ins_kabat.pdb", "5/A50-54/5") == ["A50", "A51", "A52", "A52A", "A53", "A54"]
    motif = Motif(str(CASES / "ins_kabat.pdb"), "5/A50-54/5")
    assert motif.lengths() == (16, 16)
    file = read_structure(CASES / "ins_kabat.pdb")
    assert np.array_equal(motif.residues().atoms, file.atoms[:6], equal_nan=True)
    assert motif.indices() == list(range(5, 11))


@pytest.mark.parametrize(
    ("file", "contig", "wanted"),
    [
        ("ins_kabat.pdb", "5/A52A/5", ["A52A"]),
        ("ins_kabat.pdb", "5/A52-52A/5", ["A52", "A52A"]),
        ("ins_kabat.pdb", "5/A52A-A53/5", ["A52A", "A53"]),
        ("negative.pdb", "5/A-3-2/5", ["A-3", "A-2", "A-1", "A0", "A1", "A2"]),
        ("negative.pdb", "5/A-3--2/5", ["A-3", "A-2"]),
        ("two_letter_chain.cif", "5/A1.3-6/5", ["A1.3", "A1.4", "A1.5", "A1.6"]),
        ("two_letter_chain.cif", "5/H3-4/5", ["H3", "H4"]),
        ("sparse.pdb", "5/A139-140/5", ["A139", "A140"]),
    ],
)
def test_every_residue_can_be_named(file, contig, wanted):
    assert found(file, contig) == wanted


@pytest.mark.parametrize(
    ("file", "contig", "message"),
    [
        ("sparse.pdb", "5/A108-110/5", "A108, A139-140, A196"),
        ("ins_kabat.pdb", "5/A52B/5", "no residue A52B.*it has A52 and A52A"),
        ("ins_kabat.pdb", "5/A52A-52/5", "A52 comes before A52A"),
        ("ins_kabat.pdb", "5/A50-54/5:15", "16 to 16"),
        ("ins_kabat.pdb", "5/A50-52A/2/A52A-54/5", "once"),
        ("negative.pdb", "5/A-9-2/5", "no residue A-9.*A-4-7"),
        ("two_letter_chain.cif", "5/A1-6/5", r"no chain A .*A1\.1-12, H1-12.*A1\.3-6"),
        ("two_letter_chain.cif", "5/A13-6/5", r"A1\.3-6"),
        ("two_letter_chain.cif", "5/A1:3-6/5", r"A1\.3-6"),
        ("two_letter_chain.cif", "5/A1/5", r"no chain A .*A1\.1-12"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(file, contig, message):
    with pytest.raises(UsageError, match=message):
        Motif(str(CASES / file), contig)


def test_numbers_that_run_backwards_through_insertion_codes_are_taken_by_place(tmp_path):
    """Thrombin's light chain is numbered 1H, 1G, ..., 1A, 1, 2."""
    path = tmp_path / "thrombin.pdb"
    chain = Protein.from_backbone(ideal_helix(6), residue_numbers=np.array([1, 1, 1, 1, 2, 3]))
    write_structure(replace(chain, insertion_codes=np.array(["C", "B", "A", "", "", ""])), path)
    assert [str(ResidueId(m.chain, m.number, m.insertion)) for m in Motif(str(path), "A1C-2/9").mapping()] == [
        "A1C", "A1B", "A1A", "A1", "A2",
    ]  # fmt: skip
    assert len(Motif(str(path), "A1C-1B/9/A1A-2/3").residue_names()) == 5


def test_texts_of_residues_and_their_runs():
    assert [str(ResidueId(*parts)) for parts in [("A", 5), ("A", 52, "A"), ("A", -3), ("A1", 3), ("1", 4)]] == [
        "A5", "A52A", "A-3", "A1.3", "1.4",
    ]  # fmt: skip
    assert runs_in_words(read_structure(CASES / "ins_kabat.pdb")) == "A50-60"
    assert [str(own) for own in residue_ids(read_structure(CASES / "sparse.pdb"))] == ["A108", "A139", "A140", "A196"]
    for text in ("5/A52A-54/5", "5/A-3-2/5", "5/A1.3-6/5", "5/A1.-3--1/5", "1.4-6/9"):
        assert str(Contig.parse(str(Contig.parse(text)))) == text


def test_dialects_with_our_contigs_keep_codes_and_the_others_refuse_them(tmp_path):
    contig = Contig.parse("5/A50-54/5:16", count=lambda segment: 6)
    file = tmp_path / "ins.pdb"
    file.write_bytes((CASES / "ins_kabat.pdb").read_bytes())
    problem = MotifProblem("ins", contig, file)
    table = tmp_path / "table.csv"
    for write, read in ((write_frameflow, read_frameflow), (write_motifbench, read_motifbench)):
        table.write_text(write([problem]))
        again = read(table, tmp_path)[0].contig
        assert again.lengths == (16, 16)
        assert again.motif_length == 6
    for refused in (contig, Contig.parse("5/A52A/5"), Contig.parse("5/A1.3-6/5")):
        with pytest.raises(UsageError, match="renumber"):
            to_rfdiffusion(refused)
        with pytest.raises(UsageError, match="renumber"):
            write_genie2(MotifProblem("ins", refused, file))
    negative = Contig.parse("5/A-3-2/5:16")
    with pytest.raises(UsageError, match="renumber"):
        to_rfdiffusion(negative)
    remarks = tmp_path / "negative.pdb"
    remarks.write_text(write_genie2(MotifProblem("n", negative, remarks)) + (CASES / "negative.pdb").read_text())
    assert Motif(str(remarks)).mapping()[0].number == -3
    assert read_genie2(remarks).contig.segments == negative.segments
    assert from_rfdiffusion("contigmap.contigs=[5/A52A-54/5]").segments[0].first_code == "A"


def design(length: int) -> Protein:
    """A design as it comes from generation: chain A, 1 to its length."""
    return Protein.from_backbone(ideal_helix(length), name="design_0000")


def test_a_design_keeps_the_numbers_of_its_motif(tmp_path):
    """Numbers rise, the motif's are its own, and a file with them is read back the same."""
    motif = Motif(str(CASES / "ins_kabat.pdb"), "5/A50-54/8/A58-60/4").mapping()
    numbered = with_motif_numbers(design(26), motif)
    names = [own.place for own in residue_ids(numbered)]
    assert names[:11] == ["45", "46", "47", "48", "49", "50", "51", "52", "52A", "53", "54"]
    assert names[11:19] == ["55", "56", "57", "57A", "57B", "57C", "57D", "57E"]
    assert names[19:] == ["58", "59", "60", "61", "62", "63", "64"]
    for name in ("design.pdb", "design.cif"):
        write_structure(numbered, tmp_path / name)
        again = read_structure(tmp_path / name)
        assert residue_ids(again) == residue_ids(numbered)
        assert not [w for w in again.warnings if w.code != "insertion_codes"]


def test_fixed_positions_are_counted_as_proteinmpnn_counts_them():
    """Its parser sorts by number and code, and gives every number that is missing a place of its own."""
    motif = [MotifResidue(2, "B", 10), MotifResidue(3, "B", 11, "A"), MotifResidue(5, "B", 20)]
    assert fixed_positions(design(8), motif) == {"A": [3, 4, 6]}
    numbered = with_motif_numbers(design(8), motif)
    assert [own.place for own in residue_ids(numbered)] == ["8", "9", "10", "11A", "12", "20", "21", "22"]
    # 8 9 10 11A 12 [13 to 19 are places of their own] 20
    assert fixed_positions(numbered, motif) == {"B": [3, 4, 13]}


@pytest.mark.parametrize(
    "motif",
    [
        [MotifResidue(2, "A", 10), MotifResidue(4, "B", 20)],
        [MotifResidue(2, "A", 20), MotifResidue(4, "A", 10)],
        [MotifResidue(0, "A", 10), MotifResidue(38, "A", 11)],
        [MotifResidue(30, "A", -990)],
    ],
)
def test_numbers_that_cannot_be_kept_are_refused(motif):
    with pytest.raises(UsageError, match="--keep-numbering"):
        with_motif_numbers(design(40), motif)


def test_refolds_find_a_motif_with_insertion_codes_by_its_record(tmp_path):
    from protgen.cli.design_record import as_json
    from protgen.evaluation.designability import motif_of

    asked = Motif(str(CASES / "ins_kabat.pdb"), "5/A50-54/5")
    numbered = with_motif_numbers(design(16), asked.mapping())
    write_structure(numbered, tmp_path / "design_0000.pdb")
    ids = residue_ids(numbered)
    record = {
        "motif": [
            {"design": as_json(ids[m.index]), "motif": as_json(ResidueId(m.chain, m.number, m.insertion))}
            for m in asked.mapping()
        ],
        "requested": [{"condition": "motif", "file": asked.file, "contig": asked.contig}],
    }
    (tmp_path / "design_0000.json").write_text(json.dumps(record))
    target, message = motif_of(tmp_path / "design_0000.pdb", numbered)
    assert not message
    assert target is not None
    assert target.indices.tolist() == asked.indices()
    assert np.abs(target.backbone - asked.residues().backbone[:, :3]).max() < 1e-9
