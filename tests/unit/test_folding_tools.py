"""Folders and inverse folders: external commands, ESMFold, and the cache between them."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.errors import ConfigError, ToolError, UsageError
from protgen.evaluation.refold_cache import RefoldCache, structure_hash
from protgen.evaluation.refolding import GIVE_UP, Refolder, build_tool, own_sequence
from protgen.folding.base import Folded, StructurePredictor
from protgen.folding.esmfold import ESMFold
from protgen.inverse_folding.base import InverseFolder
from protgen.inverse_folding.tool_fasta import fitting_records
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

PYTHON = f'"{sys.executable}"'


def helix(n=20, **options):
    return Protein.from_backbone(ideal_helix(n), **options)


def dimer():
    return Protein.from_backbone(ideal_hairpin(20), chain_ids=np.repeat(["A", "B"], [12, 8]))


def script(folder: Path, text: str) -> str:
    """A program of one file, as the start of a command line."""
    path = folder / f"tool{len(list(folder.glob('tool*')))}.py"
    path.write_text(text)
    return f'{PYTHON} "{path}"'


def test_proteinmpnn_shaped_output_is_read(tmp_path):
    """One .fa below the folder; the first record, which is the input's own, is left out; chains by / become :."""
    text = """
import sys, pathlib
pdb, out, n, seed = sys.argv[1:]
chains = {}
for line in open(pdb):
    if line[12:16] == " CA ":
        chains.setdefault(line[21], []).append("G")
(pathlib.Path(out) / "seqs").mkdir()
with open(pathlib.Path(out) / "seqs" / "design.fa", "w") as f:
    print(">design, score=1.2, fixed_chains=[], model_name=v_48_020, seed=" + seed, file=f)
    print("/".join("".join(c) for c in chains.values()), file=f)
    for k in range(int(n)):
        print(f">T=0.1, sample={k + 1}, score=0.7, seq_recovery=0.3", file=f)
        print("/".join("AKLVE"[k] * len(c) for c in chains.values()), file=f)
"""
    tool = build_tool("inverse_folding", f"command:{script(tmp_path, text)} {{pdb}} {{folder}} {{n}} {{seed}}")
    assert tool.design(helix(7), 3, 5) == ["A" * 7, "K" * 7, "L" * 7]
    assert tool.design(dimer(), 1, 0) == ["A" * 12 + ":" + "A" * 8]
    assert "{pdb} {folder} {n} {seed}" in tool.settings["template"]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "left no sequence"),
        ([("a", "AAAA")], "4 letters for 5"),
        ([("a", "AAAAB")], "letters B"),
        ([("a", "AAA/AA")], r"3\+2 letters for 5"),
        ([("a", "AAAAA"), ("b, sample=1", "AAA")], "3 letters for 5"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(records, words):
    with pytest.raises(ToolError, match=words):
        fitting_records(helix(5), records, "mpnn")


def test_headers_tell_designs_from_the_input():
    """LigandMPNN's id= likewise; without any mark every record counts; gaps that are no residues are dropped."""
    records = [("x, T=0.1, seed=1", "GGGGG"), ("x, id=1, T=0.1", "AX-AAAA")]
    assert fitting_records(helix(5), records, "mpnn") == [("x, id=1, T=0.1", "AAAAA")]
    every = fitting_records(helix(5), [("one", "ggggg"), ("two", "AAAAA")], "mpnn")
    assert every == [("one", "GGGGG"), ("two", "AAAAA")]


def test_command_folds_by_file_or_by_folder(tmp_path):
    """A structure at {pdb}, or alone below {folder}; pLDDT from its B-factors, on either scale."""
    write_structure(helix(6), tmp_path / "one.pdb", b_factors=np.full(6, 88.0))
    write_structure(helix(6), tmp_path / "unit.cif", b_factors=np.linspace(0.5, 0.9, 6))
    copy = script(tmp_path, "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")
    one, unit = (f'"{tmp_path / name}"' for name in ("one.pdb", "unit.cif"))
    by_file = build_tool("folding", f"command:{copy} {one} {{pdb}} {{sequence}}").fold("AAAAAA")
    assert by_file.protein.length == 6
    assert by_file.plddt.tolist() == [88.0] * 6
    by_folder = build_tool("folding", f"command:{copy} {unit} {{folder}}/x.cif {{fasta}}").fold("AAAAAA")
    assert np.allclose(by_folder.plddt, np.linspace(50, 90, 6))
    with pytest.raises(ToolError, match="6 residues for 7 letters"):
        build_tool("folding", f"command:{copy} {one} {{pdb}} {{sequence}}").fold("AAAAAAA")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "left no structure file"),
        ("open(sys.argv[2] + '/a.pdb', 'w'); open(sys.argv[2] + '/b.pdb', 'w')", "left 2 structure files"),
        ("open(sys.argv[2] + '/a.pdb', 'w').write('garbage')", "cannot be read"),
        ("sys.exit('CUDA out of memory')", "exit status 1: CUDA out of memory"),
    ],
)
def test_bad_output_of_a_folder_is_one_line(tmp_path, code, words):
    tool = build_tool("folding", f"command:{script(tmp_path, f'import sys; {code}')} {{fasta}} {{folder}}")
    with pytest.raises(ToolError, match=words) as caught:
        tool.fold("AAAA")
    assert "\n" not in str(caught.value)


def test_tools_by_name():
    """A name alone, a name with its argument; errors name the nearest and what is missing."""
    assert build_tool("folding", "esmfold", timeout=3).weights == "facebook/esmfold_v1"
    assert build_tool("folding", "esmfold:/some/where").weights == "/some/where"
    with pytest.raises(ConfigError, match="did you mean 'esmfold'"):
        build_tool("folding", "esmfld")
    with pytest.raises(ConfigError, match="needs the keyword 'template'"):
        build_tool("folding", "command")
    for kind in ("folding", "inverse_folding"):
        for name in registry.names(kind):
            assert registry.find(kind, name).name == name


# ESMFold: transformers and its weights are not at hand in every place where these tests run, so the first tests take a
# network that only has the documented shape of `EsmForProteinFolding`, and another, where transformers is installed, a
# real one of random weights.


class ShapedLikeEsmFold(torch.nn.Module):
    """Answers as the documentation says: positions (8, b, l, 14, 3), plddt (b, l, 37) of 0 to 1. It folds nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.trunk = SimpleNamespace(set_chunk_size=lambda size: self.seen.append(("chunk", size)))

    @classmethod
    def from_pretrained(cls, name):
        if name == "nowhere":
            raise OSError("nowhere is not a local folder\nand is not a valid model identifier")
        return cls()

    def forward(self, input_ids, attention_mask=None, position_ids=None, masking_pattern=None, num_recycles=None):
        self.seen.append((input_ids.tolist(), num_recycles))
        n = input_ids.shape[1]
        positions = torch.zeros(8, 1, n, 14, 3)
        positions[-1, 0, :, :4] = torch.tensor(ideal_helix(n))
        plddt = torch.zeros(1, n, 37)
        plddt[..., 1] = torch.linspace(0.25, 0.75, n)
        return {"positions": positions, "plddt": plddt}


@pytest.fixture
def shaped(monkeypatch):
    module = ModuleType("transformers")
    module.EsmForProteinFolding = ShapedLikeEsmFold
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_esmfold_reads_what_the_network_is_documented_to_give(shaped):
    """Residue types in AlphaFold's order go in; N, CA, C, O of the last block and 100 times the CA's plddt come out."""
    tool = ESMFold(recycles=2, chunk_size=64)
    found = tool.fold("ARNDCQEGHILKMFPSTWYV")
    assert tool.network().seen == [("chunk", 64), ([list(range(20))], 2)]
    assert np.allclose(found.protein.backbone, ideal_helix(20), atol=1e-4)
    assert np.allclose(found.plddt, np.linspace(25, 75, 20), atol=1e-4)
    assert found.protein.residue_names[[0, 19]].tolist() == ["ALA", "VAL"]


def test_esmfold_says_what_it_cannot_do(shaped, monkeypatch):
    """Several chains and odd letters cost one design; a missing checkpoint or package ends the run."""
    for sequence, words in (("AA:AA", "single chains"), ("AXA", "X: no amino acids"), ("", "empty")):
        with pytest.raises(ToolError, match=words):
            ESMFold().fold(sequence)
    with pytest.raises(UsageError, match="'nowhere' cannot be had: nowhere is not a local folder and is"):
        ESMFold("nowhere").fold("AAA")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"protgen\[esmfold\]"):
        ESMFold().fold("AAA")
    monkeypatch.delitem(sys.modules, "transformers")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"protgen\[esmfold\]"):
        ESMFold().prepare()
    with pytest.raises(ConfigError, match="recycles -1"):
        ESMFold(recycles=-1)


def test_esmfold_of_random_weights(tmp_path):
    """The real network of transformers in its smallest form: it runs, and gives as many residues as letters."""
    transformers = pytest.importorskip("transformers")
    config = transformers.EsmConfig(
        vocab_size=33,
        hidden_size=16,
        pad_token_id=1,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        is_folding_model=True,
        esmfold_config={"trunk": {"num_blocks": 1}, "fp16_esm": False},
    )
    torch.manual_seed(0)
    transformers.EsmForProteinFolding(config).save_pretrained(tmp_path / "tiny")
    found = ESMFold(str(tmp_path / "tiny"), recycles=0, device="cpu").fold("MKTAYIAK")
    assert found.protein.length == 8
    assert found.protein.mask[:, :4].all()
    bonds = np.linalg.norm(found.protein.atoms[:, 0] - found.protein.atoms[:, 1], axis=-1)
    assert np.allclose(bonds, 1.46, atol=0.03)  # N-CA of rigid residues, whatever the weights
    assert ((found.plddt >= 0) & (found.plddt <= 100)).all()


class Writer(InverseFolder):
    """Writes n sequences of one letter each."""

    name = "writer"

    def __init__(self, letters="ACDEF"):
        self.letters, self.calls = letters, 0

    @property
    def settings(self):
        return {"name": self.name, "letters": self.letters}

    def prepare(self):
        pass

    def design(self, protein, n, seed):
        self.calls += 1
        return [letter * protein.length for letter in self.letters[:n]]


class Straight(StructurePredictor):
    """Folds everything into a helix, but for sequences of letters it cannot stand."""

    name = "straight"

    def __init__(self, bad="", error=ToolError):
        self.bad, self.error, self.calls = bad, error, 0

    @property
    def settings(self):
        return {"name": self.name}

    def prepare(self):
        pass

    def fold(self, sequence):
        self.calls += 1
        if sequence[0] in self.bad:
            raise self.error(f"straight: cannot stand {sequence[0]}")
        return Folded(helix(len(sequence)), np.full(len(sequence), 77.0))


def test_results_are_kept_and_found_again(tmp_path):
    """A second run calls nothing; another structure, number, seed or setting is made anew; damage is made again."""
    cache = RefoldCache(tmp_path)
    first = Refolder(Straight(), cache, Writer(), n=3)
    found = first.refold(helix())
    assert (found.n_given, len(found.paths), found.problems) == (3, 3, [])
    assert (first.folder.calls, first.inverse_folder.calls) == (3, 1)

    again = Refolder(Straight(), RefoldCache(tmp_path), Writer(), n=3)
    assert again.refold(helix()).paths == found.paths
    assert (again.folder.calls, again.inverse_folder.calls) == (0, 0)
    for change, calls in (({"n": 4}, (1, 1)), ({"seed": 1}, (0, 1)), ({"inverse_folder": Writer("KLM")}, (3, 1))):
        other = Refolder(Straight(), cache, **({"inverse_folder": Writer(), "n": 3} | change))
        other.refold(helix())
        assert (other.folder.calls, other.inverse_folder.calls) == calls, change
    moved = Refolder(Straight(), cache, Writer(), n=3)
    moved.refold(Protein.from_backbone(ideal_helix(20) + 0.01))
    assert (moved.folder.calls, moved.inverse_folder.calls) == (0, 1)

    found.paths[0].write_text(found.paths[0].read_text()[:500])
    (sequences,) = [
        p for p in (tmp_path / "sequences").iterdir() if p == cache.sequences_path(helix(), Writer().settings, 3, 0)
    ]
    sequences.write_text(">half\nAAA\n")
    relaxed = Refolder(Straight(), cache, Writer(), n=3)
    assert relaxed.refold(helix()).paths == found.paths
    assert (relaxed.folder.calls, relaxed.inverse_folder.calls) == (1, 1)


def test_one_bad_fold_loses_no_good_one(tmp_path):
    """Two of three sequences fold: both are kept, and the third is named; fewer sequences than asked for are too."""
    refolder = Refolder(Straight(bad="C"), RefoldCache(tmp_path), Writer("ACD"), n=4)
    found = refolder.refold(helix())
    assert (found.n_given, len(found.paths)) == (4, 2)
    assert found.problems == ["3 sequences for the 4 asked for", "straight: cannot stand C"]


def test_a_tool_that_never_works_is_given_up(tmp_path):
    """After three designs without a refold the rest are not tried; one success before that keeps it going."""
    refolder = Refolder(Straight(bad="A"), RefoldCache(tmp_path), Writer("A"), n=1)
    messages = [refolder.refold(helix(20 + k)).problems for k in range(GIVE_UP + 2)]
    assert refolder.folder.calls == GIVE_UP
    assert "cannot stand A" in messages[GIVE_UP - 1][0]
    assert "not tried" in messages[GIVE_UP][0]
    working = Refolder(Straight(bad="C"), RefoldCache(tmp_path / "b"), None)
    names = ["ALA", *["CYS"] * (GIVE_UP + 1)]
    for name in names:
        working.refold(helix(residue_names=np.full(20, name)))
    assert working.folder.calls == len(names)


def test_a_tool_that_says_it_cannot_work_is_given_up_at_once(tmp_path):
    """Its reason is written for every design; a bug in it is a line too, and not the end of the run."""
    refolder = Refolder(Straight(bad="A", error=UsageError), RefoldCache(tmp_path / "a"), Writer("AC"), n=2)
    messages = [refolder.refold(helix(20 + k)).problems for k in range(2)]
    assert refolder.folder.calls == 1
    assert messages == [["straight: cannot stand A"], ["not tried: straight: cannot stand A"]]
    buggy = Refolder(Straight(bad="A", error=KeyError), RefoldCache(tmp_path / "b"), Writer("AC"), n=2)
    found = buggy.refold(helix())
    assert (len(found.paths), found.problems) == (1, ["KeyError: 'straight: cannot stand A'"])


def test_own_sequences():
    """What the file has, chain by chain; a placeholder is no sequence."""
    names = np.array(["MET", *["ALA"] * 11, *["TRP"] * 8])
    two = Protein.from_backbone(ideal_helix(20), chain_ids=np.repeat(["A", "B"], [12, 8]), residue_names=names)
    assert own_sequence(two) == "M" + "A" * 11 + ":" + "W" * 8
    with pytest.raises(Exception, match="glycine throughout"):
        own_sequence(helix())


def test_hash_of_a_structure():
    """The same for noise below 0.0005 Å; another for a moved atom, a missing one, another name or number."""
    xyz = np.round(ideal_helix(5), 3)
    base = structure_hash(Protein.from_backbone(xyz))
    moved, missing = xyz.copy(), xyz.copy()
    moved[2, 1, 0] += 0.002
    missing[2, 3] = np.nan
    assert structure_hash(Protein.from_backbone(xyz + 1e-5)) == base
    others = [
        Protein.from_backbone(moved),
        Protein.from_backbone(missing),
        Protein.from_backbone(xyz, chain_ids=np.full(5, "B")),
        Protein.from_backbone(xyz, residue_numbers=np.arange(2, 7)),
        Protein.from_backbone(xyz, residue_names=np.full(5, "ALA")),
    ]
    assert len({base, *map(structure_hash, others)}) == 6
