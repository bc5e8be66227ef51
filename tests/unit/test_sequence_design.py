"""Sequences of a folder: what is kept, tied and written; liabilities; refolds by name; the ranking."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from protgen.errors import StructureError, UsageError
from protgen.evaluation.collect import collect_files
from protgen.evaluation.laptop_refold import relative_row
from protgen.evaluation.ranking import rank, write_ranking
from protgen.evaluation.ranking_page import figure, laid_onto
from protgen.evaluation.refold_cache import RefoldCache
from protgen.evaluation.refolding import Refolder
from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.sequence_design import (
    SequenceSettings,
    best_sequences,
    copies,
    design_folder,
    motif_residues,
    named_residues,
    numbers_of,
    task_of,
    with_sequence,
)
from protgen.evaluation.sequence_refolds import refold_folder
from protgen.folding.base import AlignmentPredictor, Folded
from protgen.inverse_folding.base import DesignedSequence, InverseFolder, SequenceModel
from protgen.inverse_folding.dna import CODONS, to_dna
from protgen.inverse_folding.liabilities import liabilities, low_complexity
from protgen.metrics.self_consistency import score_refold
from protgen.structure.b_factors import read_b_factors
from protgen.structure.fasta import read_fasta
from protgen.structure.ideal import add_cb, ideal_hairpin, ideal_helix
from protgen.structure.protein import CA, CB, Protein
from protgen.structure.reader import read_structure


class Writer(SequenceModel):
    """Letters at random with scores that fall with the number of the sequence; it keeps and ties as it should."""

    name = "writer"

    def __init__(self, temperature: float = 0.1):
        self.temperature = temperature

    @property
    def settings(self):
        return {"name": self.name, "temperature": self.temperature}

    def prepare(self):
        pass

    def at_temperature(self, temperature):
        return Writer(temperature)

    def propose(self, protein, n, seed, task):
        found = []
        for k in range(n):
            letters = np.random.default_rng([seed, k, int(100 * self.temperature)]).choice(list("AEKL"), protein.length)
            for group in task.tied:
                letters[list(group)] = letters[group[0]]
            if task.fixed is not None:
                letters = np.where(np.array(task.fixed) == "", letters, np.array(task.fixed))
            parts = ["".join(letters[protein.chain_ids == chain]) for chain in protein.chains]
            designed = np.array([not (task.fixed and task.fixed[i]) for i in range(protein.length)])
            found.append(DesignedSequence(":".join(parts), np.full(protein.length, -1.0 + 0.1 * k), designed))
        return found

    def score(self, protein, sequences, seed):
        raise NotImplementedError


class Plain(InverseFolder):
    """Alanine throughout, without scores."""

    name = "plain"
    settings = {"name": "plain"}  # noqa: RUF012

    def prepare(self):
        pass

    def design(self, protein, n, seed):
        return [":".join("A" * int((protein.chain_ids == chain).sum()) for chain in protein.chains)] * n


class Aligner(AlignmentPredictor):
    """A hairpin, whatever is asked for; it notes what it was given."""

    name = "aligner"
    relative = True
    depth = 5

    def __init__(self):
        self.given = []

    @property
    def settings(self):
        return {"name": self.name}

    @property
    def reads_alignments(self):
        return True

    def prepare(self):
        pass

    def fold_alignment(self, sequences):
        self.given.append(list(sequences))
        n = len(sequences[0])
        return Folded(Protein.from_backbone(ideal_hairpin(n)), np.linspace(50, 60, n))


class OneChain(Aligner):
    """The same, for single chains alone."""

    several_chains = False


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_what_a_design_keeps_and_ties(backbones):
    """Motif letters and tied copies by the record; named residues; nothing where it is not wanted."""
    folder, dimer = backbones
    path = folder / "design_0002.pdb"
    task = task_of(path, dimer, SequenceSettings())
    assert task.fixed is not None
    assert {k: letter for k, letter in enumerate(task.fixed) if letter} == {4: "W", 5: "H", 16: "W", 17: "H"}
    assert task.tied == copies(dimer) == tuple((k, k + 12) for k in range(12))
    free = task_of(path, dimer, SequenceSettings(tied="none", keep_motifs=False))
    assert free.fixed is None
    assert free.tied == ()
    named = task_of(path, dimer, SequenceSettings(tied="none", keep_motifs=False, fixed="A1-2,7"))
    assert named.fixed is not None
    assert [k for k, letter in enumerate(named.fixed) if letter] == [0, 1, 6, 18]
    other = task_of(folder / "design_0000.pdb", read_structure(folder / "design_0000.pdb"), SequenceSettings())
    assert (other.fixed, other.tied) == (None, ())
    with pytest.raises(UsageError, match="--fixed 3x"):
        named_residues(dimer, "3x")
    with pytest.raises(StructureError, match="C3 names no residue"):
        named_residues(dimer, "C3")


def test_motifs_keep_residues_by_their_insertion_codes():
    """Residue 5A is of the motif, 5 is not."""
    protein = Protein.from_backbone(
        ideal_helix(8), residue_numbers=np.array([1, 2, 3, 4, 5, 5, 6, 7]), residue_names=np.array(["TRP"] * 8)
    )
    protein = replace(protein, insertion_codes=np.array(["", "", "", "", "", "A", "", ""]))
    own = {"chain": "A", "residue": 5, "insertion": "A"}
    assert motif_residues({"motif": [{"design": own, "motif": own}]}, protein) == {5}
    assert motif_residues({"motif": [{"design": {"chain": "A", "residue": 5}, "motif": own}]}, protein) == {4}
    assert motif_residues({}, protein) == set()


def test_numbers_of_headers():
    """Those of ours and of ProteinMPNN; what is no number is left out, and the best is the least score there is."""
    assert numbers_of("d_1 score=0.8123 confidence=0.5000 fixed=4") == {"score": 0.8123, "confidence": 0.5, "fixed": 4}
    assert numbers_of("T=0.1, sample=1, score=0.9, global_score=1.2, seq_recovery=0.4") == {"score": 0.9}
    assert numbers_of("d score=nan confidence=high") == {}
    rows = [{"design": "d", "sequence": text} | about for text, about in zip(
        "ABCD", ({}, {"score": 0.9}, {"score": 0.7}, {"score": 0.8}), strict=True
    )]  # fmt: skip
    assert best_sequences([*rows, {"design": "e", "message": "none"}]) == {"d": rows[2]}
    assert best_sequences(rows[:1]) == {"d": rows[0]}


def test_a_refold_is_drawn_onto_its_design():
    """Turned, shifted and bent, it comes back: each vertex is about the CA trace it belongs to, where the design is."""
    design = Protein.from_backbone(ideal_hairpin(20) + np.array([30.0, -10.0, 5.0]))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    bent = design.backbone.copy()
    bent[16:] += np.array([0.0, 0.0, 1.5])
    refold = laid_onto(Protein.from_backbone(bent @ turn.T + 50.0), design)
    off = np.linalg.norm(refold.backbone[:, CA] - design.backbone[:, CA], axis=-1)
    assert np.sqrt(np.mean(off**2)) == pytest.approx(score_refold(design, refold, np.full(20, np.nan)).rmsd, abs=1e-6)
    drawn = figure([({"rank": 1, "design": "d"}, design, refold)])
    for trace, protein in zip(drawn.data, (design, refold), strict=True):
        vertices = np.stack([trace.x, trace.y, trace.z], -1)
        apart = np.linalg.norm(vertices[:, None] - protein.backbone[None, :, CA], axis=-1)
        assert apart.min(axis=1).max() < 3.0
        assert apart.min(axis=0).max() < 2.0
        assert np.unique([trace.i, trace.j, trace.k]).tolist() == list(range(len(vertices)))


def test_a_folder_gets_sequences(backbones, tmp_path):
    """FASTA with scores, structures with names, CB and probabilities, a table; and a second run makes nothing anew."""
    folder, dimer = backbones
    out = folder / "sequences"
    files = [path for _, path in collect_files([folder], leave_out=[out])]
    rows = design_folder(files, out, Writer(), SequenceSettings(n=3))
    assert len(rows) == len(read_csv(out / "sequences.csv")) == 9
    records = read_fasta(out / "design_0002.fasta")
    assert [header.split()[0] for header, _ in records] == [f"design_0002_{k}" for k in (1, 2, 3)]
    one, two = records[0][1].split(":")
    assert one == two
    assert one[4:6] == "WH"
    dressed = read_structure(out / "design_0002_1.pdb")
    assert dressed.residue_names[4:6].tolist() == ["TRP", "HIS"]
    assert np.allclose(
        dressed.atoms[:, CB], add_cb(dimer.backbone), atol=4e-3
    )  # coordinates of files have three decimals
    assert read_b_factors(out / "design_0002_1.pdb", dressed) == pytest.approx(100 * np.exp(-1.0), abs=0.01)
    assert rows[-1]["score"] == pytest.approx(0.8)
    assert rows[-1]["fixed"] == 4
    assert json.loads((out / "sequences.json").read_text())["tool"]["name"] == "writer"
    assert len(collect_files([folder])) == 3  # the sequences are no designs
    (out / "design_0001.fasta").write_text(">mine\n" + "K" * 20 + "\n")
    again = design_folder(files, out, Writer(), SequenceSettings(n=3))
    assert [row["sequence"] for row in again if row["design"] == "design_0001"] == ["K" * 20]
    assert [row for row in again if row["design"] != "design_0001"] == [
        row for row in rows if row["design"] != "design_0001"
    ]


def test_a_tool_without_scores(backbones):
    """Given letters are put back; tying is refused in one line; glycine has no CB."""
    folder, dimer = backbones
    out = folder / "sequences"
    files = [path for _, path in collect_files([folder])]
    rows = design_folder(files, out, Plain(), SequenceSettings(n=1))
    assert [("message" in row) for row in rows] == [False, False, True]
    assert "plain: cannot tie chains" in rows[2]["message"]
    rows = design_folder(files, out, Plain(), SequenceSettings(n=1, tied="none"))
    assert rows[2]["sequence"] == f"AAAAWH{'A' * 6}:AAAAWH{'A' * 6}"
    assert "score" not in rows[2]
    assert with_sequence(dimer, "G" * 12 + ":" + "A" * 12).mask[:, CB].tolist() == [False] * 12 + [True] * 12


def test_liabilities():
    """Against counts by hand, and ProtParam's published example values."""
    found = liabilities("NATCNPSNGS:CDGAAAA")
    assert (found.glycosylation, found.deamidation, found.isomerisation) == (2, 1, 1)
    assert (found.cysteines, found.odd_cysteines, found.hydrophobic_stretch) == (2, 2, 4)
    assert found.words[:4] == ["odd Cys", "2 N-glyc", "1 NG", "1 DG"]
    assert "no absorbance at 280 nm" in found.words
    example = liabilities(
        "MAEGEITTFTALTEKFNLPPGNYKKPKLLYCSNGGHFLRILPDGTVDGTRDRSDQHIQLQLSAESVGEVYIKSTETGQYLAMDTSGLLYGSQTPSEEC"
        "LFLERLEENHYNTYTSKKHAEKNWFVGLKKNGSCKRGPRTHYGQKAILFLPLPV"
    )  # of ProtParam's documentation in Biopython
    assert example.molecular_weight == pytest.approx(17103.16, abs=0.01)
    assert example.instability == pytest.approx(41.98, abs=0.01)
    assert example.isoelectric_point == pytest.approx(7.72, abs=0.01)
    assert example.absorbance == pytest.approx(17420 / 17103.16, abs=1e-4)
    # By pKa 10.0 of lysine, 7.5 and 3.55 of the ends (Bjellqvist et al. 1993).
    wanted = 10 / (1 + 10**-3.0) + 1 / (1 + 10**-0.5) - 1 / (1 + 10**-3.45)
    assert liabilities("K" * 10).charge == pytest.approx(wanted, abs=1e-3)
    assert liabilities("AAAKAAAW").gravy == pytest.approx((6 * 1.8 - 3.9 - 0.9) / 8)
    assert liabilities("WWAG").absorbance == pytest.approx(2 * 5500 / liabilities("WWAG").molecular_weight)
    assert low_complexity("A" * 6 + "E" * 6) == 12  # one bit
    assert low_complexity("ACDEFGHIKLMN") == 0
    assert low_complexity("AAAAEEEKKKLM") == 12  # 2.13 bits
    assert low_complexity("AAAEEEKKLLMM") == 0  # 2.29 bits
    assert low_complexity("A" * 12 + "CDEFGHIKLMNP") == 12 + 5  # the last low window has seven A, 1.95 bits


def test_dna():
    """Each codon codes for its letter by the standard table; a start and a stop."""
    from Bio.Seq import Seq

    assert all(str(Seq(codon).translate()) == letter for letter, codon in CODONS.items())
    assert str(Seq(to_dna("".join(CODONS))).translate()) == "M" + "".join(CODONS) + "*"


def test_refolds_and_ranking(backbones, tmp_path):
    """An alignment for each design, the best sequence first; figures under names of their own; the hairpin wins."""
    folder, _ = backbones
    files = [folder / "design_0000.pdb", folder / "design_0001.pdb"]
    sequences, refolds = tmp_path / "sequences", tmp_path / "refolds"
    settings = SequenceSettings(n=3)
    rows = design_folder(files, sequences, Writer(), settings)
    tool = Aligner()
    assert refold_folder(files, sequences, refolds, tool, (Writer(), settings)) == {}
    assert [len(query) for query in tool.given] == [6, 6]
    records = read_fasta(sequences / "design_0000.fasta")
    assert tool.given[0][0] == records[2][1]
    refold_folder(files, sequences, refolds, tool, (Writer(), settings))
    assert len(tool.given) == 2  # files that fit are kept
    result = evaluate(files, tmp_path / "evaluation", settings=Settings(refolds=refolds))
    by_file = {row["file"]: row for row in result.rows}
    good, bad = by_file["design_0000.pdb"], by_file["design_0001.pdb"]
    assert good["refold_tm"] == pytest.approx(1.0, abs=1e-3)
    assert good["refold_rmsd"] < 0.01 < 3 < bad["refold_rmsd"]
    assert 50 < good["refold_confidence"] < 60
    assert not {"designable", "sc_rmsd", "sc_tm"} & set(good)
    about = result.content["sets"]["files"]["designability"]
    assert about["below_3"] == 0.5
    assert about["mean_refold_tm"] == pytest.approx((good["refold_tm"] + bad["refold_tm"]) / 2)
    assert about["mean_refold_rmsd"] == pytest.approx((good["refold_rmsd"] + bad["refold_rmsd"]) / 2)
    assert (about["n"], about["refolds_used"], about["refolds_given"]) == (2, 2, 2)
    assert "designable_fraction" not in about
    ranking = rank(result, rows)
    assert (ranking.by, ranking.better) == ("refold_tm", "higher")
    assert [row["design"] for row in ranking.rows] == ["design_0000", "design_0001"]
    kept = write_ranking(ranking, tmp_path, 1, (folder, sequences, refolds), dna=True)
    (order,) = read_csv(tmp_path / "order.csv")
    assert order["name"] == kept[0]["name"] == "design_0000_3"
    assert order["dna"] == to_dna(records[2][1])
    names = sorted(path.name for path in (tmp_path / "best").iterdir())
    assert names == ["001_design_0000_3.pdb", "001_design_0000_refold.pdb", "best.fasta", "best.json"]
    assert rank(result, rows, "score").rows[0]["design"] == "design_0000"
    with pytest.raises(UsageError, match="neither high nor low"):
        rank(result, rows, "helix")
    with pytest.raises(UsageError, match="no such figure"):
        rank(result, rows, "beauty")


def test_the_evaluator_folds_alignments(backbones, tmp_path):
    """With a relative judge: eight sequences for their score, and an alignment at the temperature it wants."""
    folder, _ = backbones
    tool = Aligner()
    refolder = Refolder(tool, RefoldCache(tmp_path / "cache"), Writer(), n=2)
    protein = read_structure(folder / "design_0000.pdb")
    found = refolder.refold(protein)
    assert (found.n_given, len(found.paths), found.problems) == (1, 1, [])
    assert found.score == pytest.approx(0.95)
    (query,) = tool.given
    alignment = Writer(0.3).propose(protein, 5, 0, task_of(folder / "x.pdb", protein, SequenceSettings()))
    assert sorted(query) == sorted(each.sequence for each in alignment)
    assert query[0] == alignment[4].sequence
    again = refolder.refold(protein)
    assert (again.paths, again.score) == (found.paths, pytest.approx(found.score))
    assert len(tool.given) == 1
    result = evaluate(folder / "design_0000.pdb", tmp_path / "out", settings=Settings(refolds=refolder))
    assert result.rows[0]["sequence_score"] == pytest.approx(0.95)
    assert result.content["designability"]["alignment"] == 5


def test_names_of_a_relative_judge():
    row = {"sc_rmsd": 1.0, "designable": 1.0, "n_refolds": 1, "motif_sc_rmsd": 2.0, "motif_success": 0.0}
    assert relative_row(row) == {"refold_rmsd": 1.0, "n_refolds": 1, "motif_refold_rmsd": 2.0}


def test_errors_cost_their_own_backbone(backbones, tmp_path):
    """A file that is no structure is a row with a message; a tool that cannot work stops everything."""
    folder, _ = backbones
    (folder / "design_0003.pdb").write_text("nothing")
    files = [path for _, path in collect_files([folder])]
    rows = design_folder(files, tmp_path / "sequences", Writer(), SequenceSettings(n=1))
    assert [row["design"] for row in rows if "message" in row] == ["design_0003.pdb"]
    problems = refold_folder(
        files[:3], tmp_path / "none", tmp_path / "refolds", Aligner(), (Writer(), SequenceSettings())
    )
    assert list(problems) == ["design_0000", "design_0001", "design_0002"]
    assert "no sequences that fit it" in problems["design_0000"]


def test_several_chains_have_ends_of_their_own():
    """Two copies weigh twice as much, carry twice the charge, and are neutral where one is; unlike chains by hand."""
    one = liabilities("MKELLKKDWREC")
    two = liabilities("MKELLKKDWREC:MKELLKKDWREC")
    assert two.molecular_weight == pytest.approx(2 * one.molecular_weight)
    assert two.charge == pytest.approx(2 * one.charge)
    assert two.isoelectric_point == pytest.approx(one.isoelectric_point, abs=0.01)
    assert (two.gravy, two.instability) == (pytest.approx(one.gravy), pytest.approx(one.instability))
    assert two.absorbance == pytest.approx(one.absorbance)
    unlike = liabilities("KKKK:DDDDEEEE")
    parts = [liabilities("KKKK"), liabilities("DDDDEEEE")]
    assert unlike.charge == pytest.approx(sum(each.charge for each in parts))
    assert unlike.gravy == pytest.approx((4 * parts[0].gravy + 8 * parts[1].gravy) / 12)
