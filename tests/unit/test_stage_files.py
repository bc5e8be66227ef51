"""Files of the stages after the backbones, ours and those of other tools: what is kept, made anew, and refused."""

from dataclasses import replace

import numpy as np
import pytest

from protgen.errors import StructureError
from protgen.evaluation.made_files import MadeFiles
from protgen.evaluation.ranking import rank
from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.sequence_design import SequenceSettings, design_folder, task_of, with_sequence
from protgen.evaluation.sequence_refolds import Refolds, refold_folder
from protgen.folding.base import Folded, StructurePredictor
from protgen.structure.b_factors import read_b_factors
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import CA, Protein
from protgen.structure.reader import read_structure
from protgen.structure.residue_names import THREE_LETTER
from protgen.structure.writer import write_structure
from tests.unit.test_sequence_design import Aligner, Writer


def test_sequences_follow_their_backbone(backbones, tmp_path):
    """Another backbone of the same name and length gets sequences and structures of its own; the others stay."""
    folder, _ = backbones
    files, out = [folder / "design_0000.pdb", folder / "design_0001.pdb"], tmp_path / "sequences"
    settings = SequenceSettings(n=2)
    design_folder(files, out, Writer(), settings)
    before = {path: path.stat().st_mtime_ns for path in out.glob("design_0001*")}
    other = Protein.from_backbone(ideal_helix(20) + 5.0)
    write_structure(other, files[0])
    design_folder(files, out, Writer(), settings)
    assert read_structure(out / "design_0000_1.pdb").atoms[:, CA] == pytest.approx(other.atoms[:, CA], abs=2e-3)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (out / "design_0001_2.pdb").write_text("TITLE\n")
    design_folder(files, out, Writer(), settings)
    again = read_structure(out / "design_0001_2.pdb")
    assert again.atoms[:, CA] == pytest.approx(read_structure(files[1]).atoms[:, CA], abs=2e-3)
    assert read_b_factors(out / "design_0001_2.pdb", again) == pytest.approx(100 * np.exp(-0.9), abs=0.01)


def test_sequences_of_another_tool(backbones, tmp_path):
    """They get structures, theirs only; .fa counts; LigandMPNN's input record does not; what does not fit stays."""
    folder, _ = backbones
    files, out = [folder / "design_0000.pdb", folder / "design_0001.pdb"], tmp_path / "sequences"
    settings = SequenceSettings(n=3)
    design_folder(files, out, Writer(), settings)
    (out / "design_0000.fasta").unlink()
    records = f">x, T=0.1, seed=1\n{'G' * 20}\n>x, id=1, T=0.1, overall_confidence=0.5\n{'K' * 20}\n"
    (out / "design_0000.fa").write_text(records)
    (out / "design_0001.fasta").write_text(f">mine\n{'K' * 19}X\n")
    rows = design_folder(files, out, Writer(), settings)
    (own,) = [row for row in rows if row["design"] == "design_0000"]
    assert (own["sequence"], own["score"]) == ("K" * 20, pytest.approx(np.log(2)))
    assert sorted(path.name for path in out.glob("design_0000*")) == ["design_0000.fa", "design_0000_1.pdb"]
    dressed = read_structure(out / "design_0000_1.pdb")
    assert set(dressed.residue_names.tolist()) == {"LYS"}
    assert dressed.atoms[:, CA] == pytest.approx(read_structure(files[0]).atoms[:, CA], abs=2e-3)
    message = "design_0001.fasta: sequence 'mine' has 19 letters for 20"
    assert [row["message"] for row in rows if "message" in row] == [message]
    assert (out / "design_0001.fasta").read_text() == f">mine\n{'K' * 19}X\n"
    (out / "design_0000.fasta").write_text(f">two\n{'E' * 20}\n")
    rows = design_folder(files, out, Writer(), settings)
    assert "design_0000.fasta and design_0000.fa are both there" in rows[0]["message"]


def test_a_structure_that_somebody_packed_stays(backbones, tmp_path):
    """A file in the place of ours with the same sequence is another tool's work."""
    folder, _ = backbones
    out, settings = tmp_path / "sequences", SequenceSettings(n=2)
    design_folder([folder / "design_0000.pdb"], out, Writer(), settings)
    packed = replace(read_structure(out / "design_0000_2.pdb"), name="packed")
    write_structure(packed, out / "design_0000_2.pdb", b_factors=np.full(20, 7.0))
    before = (out / "design_0000_2.pdb").read_bytes()
    design_folder([folder / "design_0000.pdb"], out, Writer(), settings)
    assert (out / "design_0000_2.pdb").read_bytes() == before


def test_placeholders_keep_no_letters(backbones):
    folder, _ = backbones
    protein = read_structure(folder / "design_0000.pdb")
    with pytest.raises(StructureError, match="placeholders: it is glycine throughout"):
        task_of(folder / "design_0000.pdb", protein, SequenceSettings(fixed="A1-5"))


class Folder(StructurePredictor):
    """A helix for every sequence, and what it was given."""

    name = "folder"
    settings = {"name": "folder"}  # noqa: RUF012

    def __init__(self):
        self.given = []

    def prepare(self):
        pass

    def fold(self, sequence):
        self.given.append(sequence)
        names = np.array([THREE_LETTER[letter] for letter in sequence])
        return Folded(
            Protein.from_backbone(ideal_helix(len(sequence)), residue_names=names), np.full(len(sequence), 80.0)
        )


@pytest.mark.parametrize("tool", [Folder, Aligner])
def test_refolds_follow_their_sequence(backbones, tmp_path, tool):
    """Another sequence in the FASTA file is folded anew, one design alone; refolds of sequences that went go too."""
    folder, _ = backbones
    files = [folder / "design_0000.pdb", folder / "design_0001.pdb"]
    sequences, refolds = tmp_path / "sequences", tmp_path / "refolds"
    settings, judge = SequenceSettings(n=2), tool()
    design_folder(files, sequences, Writer(), settings)
    refold_folder(files, sequences, refolds, judge, (Writer(), settings))
    judge.given.clear()
    (sequences / "design_0000.fasta").write_text(f">mine\n{'K' * 20}\n")
    design_folder(files, sequences, Writer(), settings)
    assert refold_folder(files, sequences, refolds, judge, (Writer(), settings)) == {}
    assert [given if tool is Folder else given[0] for given in judge.given] == ["K" * 20]
    assert not (refolds / "design_0000_2.pdb").exists()
    write_structure(Protein.from_backbone(ideal_helix(20) + 5.0), files[1])
    design_folder(files, sequences, Writer(), settings)
    refold_folder(files, sequences, refolds, judge, (Writer(), settings))
    assert len(judge.given) == (
        1 if tool is Folder else 2
    )  # the same letters, but an alignment depends on the backbone


def test_refolds_of_another_tool(backbones, tmp_path):
    """Kept in any format, and no alignment beside them; one of another sequence is a problem, and does not count."""
    folder, _ = backbones
    files = [folder / "design_0000.pdb", folder / "design_0001.pdb"]
    sequences, refolds = tmp_path / "sequences", tmp_path / "refolds"
    settings, judge = SequenceSettings(n=1), Aligner()
    rows = design_folder(files, sequences, Writer(), settings)
    refold_folder(files, sequences, refolds, judge, (Writer(), settings))
    first = with_sequence(Protein.from_backbone(ideal_hairpin(20)), rows[0]["sequence"])
    write_structure(first, refolds / "design_0000_1.cif")
    write_structure(with_sequence(first, "K" * 20), refolds / "design_0001.pdb")
    problems = refold_folder(files, sequences, refolds, judge, (Writer(), settings))
    assert list(problems) == ["design_0001"]
    assert "design_0001.pdb is of another sequence than those of the design; remove it" in problems["design_0001"]
    assert len(judge.given) == 2
    assert sorted(path.name for path in refolds.glob("design*")) == ["design_0000_1.cif", "design_0001.pdb"]
    with MadeFiles(refolds) as made:
        assert sorted(Refolds(refolds, made).others()) == ["design_0000_1", "design_0001"]
    result = evaluate(files, tmp_path / "evaluation", settings=Settings(refolds=refolds))
    ranked = {row["design"]: row for row in rank(result, rows, problems=problems).rows}
    assert ranked["design_0000"]["refold_tm"] == pytest.approx(1.0, abs=1e-3)
    assert "refold_tm" not in ranked["design_0001"]
    assert ranked["design_0001"]["refold_message"] == problems["design_0001"]
