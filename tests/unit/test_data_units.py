"""What of a file becomes an item: chains, domains, the file; copies, nucleic acids, ligands and peptides are named."""

from pathlib import Path

import numpy as np
import pytest

from protgen.data.build import BuildOptions, build
from protgen.data.domains import Domain, pdb_id_of, read_domains, residues_of
from protgen.data.reading import ReadingOptions
from protgen.data.sources import find_sources
from protgen.data.store import Store
from protgen.data.units import is_copy
from protgen.data.windows import Filters
from protgen.errors import DataError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=60, max_coil=1.0, rg_percentile=100, validation_fraction=0.0)


def names_of(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(STANDARD, length)


def complex_of(*parts: tuple[str, int, int]) -> Protein:
    """Helices far apart: (chain, length, seed of the sequence)."""
    rng = np.random.default_rng(0)
    xyz = [ideal_helix(n) + 60.0 * k + 0.05 * rng.standard_normal((n, 4, 3)) for k, (_, n, _) in enumerate(parts)]
    return Protein.from_backbone(
        np.concatenate(xyz),
        chain_ids=np.concatenate([np.full(n, chain) for chain, n, _ in parts]),
        residue_numbers=np.concatenate([np.arange(1, n + 1) for _, n, _ in parts]),
        residue_names=np.concatenate([names_of(n, seed) for _, n, seed in parts]),
    )


def built(tmp_path: Path, filters: Filters = LOOSE, **options) -> tuple[dict[str, int], dict[str, str], Store]:
    """Lengths of what was kept and reasons of what was not, by id, and the store."""
    reading = {name: options.pop(name) for name in ("units", "chain") if name in options}
    build(tmp_path / "in", tmp_path / "store", filters, BuildOptions(ReadingOptions(**reading), **options))
    store = Store(tmp_path / "store")
    dropped = {entry["id"]: entry["reason"] for entry in store.manifest["dropped"]}
    return {entry["id"]: entry["length"] for entry in store.manifest["kept"]}, dropped, store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_every_chain_of_a_complex_is_an_item(source, tmp_path):
    """A hetero-trimer with a peptide: three items, each with its own residues, and the peptide named."""
    protein = complex_of(("A", 30, 1), ("B", 41, 2), ("H", 25, 3), ("P", 9, 4))
    write_structure(protein, source / "1abc.pdb")
    kept, dropped, store = built(tmp_path)
    assert kept == {"1abc_A": 30, "1abc_B": 41, "1abc_H": 25}
    assert dropped == {"1abc_P": "peptide, length 9 < 20"}
    for item in store:
        own = protein.select(protein.chain_ids == item.id[-1])
        assert np.abs(item.atoms - own.backbone).max() < 0.001
        assert [STANDARD[k] for k in item.residue["aatype"]] == own.residue_names.tolist()


def test_of_copies_the_most_complete_sound_one_is_kept(source, tmp_path):
    """A tetramer: B lacks an atom, C is broken, D's last residues were not seen; A and then C are out of the race."""
    parts = [(chain, 40, 1) for chain in "ABCD"]
    protein = complex_of(*parts)
    names = protein.residue_names.copy()
    names[5] = "UNK"  # in one copy only
    atoms = protein.atoms.copy()
    atoms[40 + 7, 0] = np.nan
    atoms[80 + 20 : 120] += 9.0
    atoms[0:20] += 9.0
    keep = np.ones(160, dtype=bool)
    keep[155:] = False
    damaged = Protein(
        atoms, np.isfinite(atoms).all(-1), names, protein.chain_ids, protein.residue_numbers, protein.insertion_codes
    ).select(keep)
    write_structure(damaged, source / "4mer.pdb")
    kept, dropped, _ = built(tmp_path, Filters(20, 60, 1.0, 100.0, validation_fraction=0.0))
    assert kept == {"4mer_D": 35}
    assert set(dropped) == {"4mer_A", "4mer_B", "4mer_C"}
    assert dropped["4mer_A"] == dropped["4mer_B"] == dropped["4mer_C"] == "1 chain breaks"


def test_copies_are_named(source, tmp_path):
    """Three copies and one other chain; copies have one numbering, or one sequence whatever the numbers."""
    protein = complex_of(("A", 40, 1), ("B", 40, 2), ("C", 40, 1), ("D", 40, 1))
    numbers = protein.residue_numbers.copy()
    numbers[120:] += 1000
    write_structure(
        Protein.from_backbone(
            protein.backbone,
            chain_ids=protein.chain_ids,
            residue_numbers=numbers,
            residue_names=protein.residue_names,
        ),
        source / "x.cif",
    )
    kept, dropped, _ = built(tmp_path)
    assert kept == {"x_A": 40, "x_B": 40}
    assert dropped == {name: "copy of x_A in the same file" for name in ("x_C", "x_D")}


@pytest.mark.parametrize(("n_changed", "copy"), [(2, True), (3, False)])
def test_copies_may_differ_in_one_residue_of_twenty(n_changed, copy):
    first = complex_of(("A", 40, 1))
    names = first.residue_names.copy()
    names[:n_changed] = "UNK"
    second = Protein.from_backbone(first.backbone, residue_names=names)
    assert is_copy(first, second) is copy
    assert not is_copy(Protein.from_backbone(ideal_helix(40)), Protein.from_backbone(ideal_helix(40)))  # all glycine


def test_a_file_of_one_chain_keeps_its_name_and_a_named_chain_too(source, tmp_path):
    write_structure(complex_of(("Q", 30, 1)), source / "one.pdb")
    write_structure(complex_of(("Q", 31, 1), ("B", 33, 2)), source / "two.pdb")
    assert set(built(tmp_path)[0]) == {"one", "two_Q", "two_B"}
    kept, dropped, _ = built(tmp_path, chain="B")
    assert kept == {"two": 33}
    assert dropped["one"].startswith("no chain B")


def test_units_that_are_files_have_one_chain(source, tmp_path):
    write_structure(complex_of(("A", 30, 1)), source / "one.pdb")
    write_structure(complex_of(("A", 31, 1), ("B", 33, 2)), source / "two.pdb")
    kept, dropped, _ = built(tmp_path, units="file")
    assert kept == {"one": 30}
    assert dropped["two"].startswith("2 chains in one unit")


ATOM = (
    "{record:6}{serial:5} {name:4} {residue:>3} {chain}{number:4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {e}"
)


def test_nucleic_acids_and_ligands_are_named_by_chain(source, tmp_path):
    """A helix with DNA, RNA, a ligand, a sugar and water, in chains of their own; what has the protein's chain is no
    chain.
    """
    write_structure(complex_of(("A", 30, 1)), tmp_path / "bare.pdb")
    text = (tmp_path / "bare.pdb").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("ATOM", "TER"))]
    others = [
        ("B", "DA"),
        ("B", "DG"),
        ("C", "U"),
        ("D", "HEM"),
        ("E", "NAG"),
        ("W", "HOH"),
        ("A", "SO4"),
        ("D", "HOH"),
    ]
    for k, (chain, residue) in enumerate(others):
        fields = {"serial": 900 + k, "name": " P  " if residue in ("DA", "DG", "U") else " O  ", "residue": residue}
        place = {"x": 50.0 + 9 * k, "y": 0.0, "z": 0.0, "e": "P" if residue in ("DA", "DG", "U") else "O"}
        lines.append(ATOM.format(record="HETATM", chain=chain, number=300 + k, **fields, **place))
    (source / "1xyz.pdb").write_text("\n".join([*lines, "END", ""]))
    kept, dropped, _ = built(tmp_path)
    assert kept == {"1xyz": 30}
    assert dropped == {
        "1xyz_B": "no protein: DNA",
        "1xyz_C": "no protein: RNA",
        "1xyz_D": "no protein: ligand",
        "1xyz_E": "no protein: sugar",
        "1xyz_W": "no protein: water",
    }


def test_files_of_one_name_have_ids_of_their_own(source, tmp_path):
    """In two folders; and a chain whose id another file has taken."""
    for folder, seed in (("a", 1), ("b", 2)):
        (source / folder).mkdir()
        write_structure(complex_of(("A", 30 + seed, seed)), source / folder / "1abc.pdb")
    write_structure(complex_of(("A", 35, 3)), source / "2abc_A.pdb")
    write_structure(complex_of(("A", 36, 4), ("B", 37, 5)), source / "2abc.pdb")
    assert [s.id for s in find_sources(source)] == ["2abc", "2abc_A", "a/1abc", "b/1abc"]
    kept, _, _ = built(tmp_path)
    assert kept == {"2abc_A": 36, "2abc_B": 37, "2abc_A~2": 35, "a/1abc": 31, "b/1abc": 32}


CDF = """# CATH Domall File (CDF) Format 2.0
1abcA  D02 F01  2  A    1 - A   25 -  A   60 - A   80 -  1  A   26 - A   55 -  A   56 - A   59 - (4)
1abcB  D01 F00  1  B   -3 - B   20 A
2xyz0  D01 F00  1  0    5 - 0    30 -
"""
CHOPPINGS = """1abcA01 v4_3_0 1.10.530.10 1-25:A,60-80:A
1abcA02 v4_3_0 3.40.50.300 26-55:A
1abcB00 putative (-3)-20A:B
2xyz000 v4_3_0 2.60.40.10 5-30:0
"""


@pytest.mark.parametrize("text", [CDF, CHOPPINGS])
def test_both_formats_of_boundaries_say_the_same(text, tmp_path):
    """CATH's own examples in shape: several segments, a fragment outside, negative numbers, insertion codes."""
    (tmp_path / "d.txt").write_text(text)
    found = read_domains(tmp_path / "d.txt")
    assert [(d.id, d.chain, d.segments) for d in found["1abc"]] == [
        ("1abcA01", "A", (((1, ""), (25, "")), ((60, ""), (80, "")))),
        ("1abcA02", "A", (((26, ""), (55, "")),)),
        ("1abcB00", "B", (((-3, ""), (20, "A")),)),
    ]
    assert found["2xyz"] == [Domain("2xyz000", "0", (((5, ""), (30, "")),), found["2xyz"][0].superfamily)]
    if text is CHOPPINGS:
        assert [d.superfamily for d in found["1abc"]] == ["1.10.530.10", "3.40.50.300", ""]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1abcA01\t10-120,150-200", "'10-120' is no range"),  # counts along SEQRES
        ("1abcA01 10-120:A,3-9:B", "of several chains"),
        ("1abcA  D01 F00  1  A    1 - B   25 -", "from chain A to B"),
        ("1abcA  D02 F00  1  A    1 - A   25 -", "pop from empty"),
        ("hello", "is no domain"),
    ],
)
def test_a_line_of_no_format_is_named(line, what, tmp_path):
    (tmp_path / "d.txt").write_text("# comment\n" + line + "\n")
    with pytest.raises(DataError, match=f"line 2: .*{what}"):
        read_domains(tmp_path / "d.txt")


def test_residues_of_a_domain_are_found_by_number_and_insertion_code():
    """Ends that were not seen are passed over; a code is a place of its own."""
    protein = Protein.from_backbone(ideal_helix(10), residue_numbers=np.array([-2, -1, 1, 2, 3, 3, 3, 5, 6, 9]))
    codes = np.array(["", "", "", "", "", "A", "B", "", "", ""])
    protein = Protein(**{**vars(protein), "insertion_codes": codes})

    def picked(*segments):
        return np.flatnonzero(residues_of(Domain("1abcA01", "A", segments), protein)).tolist()

    assert picked(((-1, ""), (2, ""))) == [1, 2, 3]
    assert picked(((3, "A"), (5, ""))) == [5, 6, 7]
    assert picked(((-2, ""), (-2, "")), ((4, ""), (8, ""))) == [0, 7, 8]
    assert picked(((20, ""), (30, ""))) == []
    assert not residues_of(Domain("1abcB01", "B", (((1, ""), (9, "")),)), protein).any()
    assert residues_of(Domain("1abc001", "0", (((1, ""), (2, "")),)), protein).sum() == 2  # its one chain has no name


def test_domains_are_items_with_their_topologies(source, tmp_path):
    """A domain of two segments that do not meet is one item of two parts; a chain without a domain is named."""
    write_structure(complex_of(("A", 80, 1), ("B", 30, 2), ("C", 30, 3)), source / "1abc.pdb")
    (tmp_path / "d.txt").write_text(CHOPPINGS.replace("(-3)-20A:B", "1-30:B"))
    kept, dropped, _ = built(tmp_path, Filters(20, 60, 1.0, 100.0), units="domain", domains=tmp_path / "d.txt")
    assert kept == {"1abcA01": 46, "1abcA02": 30, "1abcB00": 30}
    assert dropped["1abc_C"].startswith("no domain")
    with pytest.raises(DataError, match="give CATH's file by --domains"):
        built(tmp_path, units="domain")


@pytest.mark.parametrize(
    ("name", "pdb"),
    [
        ("1us0_A_00001", "1us0"),
        ("pdb1US0", "1us0"),
        ("a/1abc", "1abc"),
        ("1abcd", ""),
        ("mine", ""),
        ("12ab.x", "12ab"),
    ],
)
def test_pdb_ids_of_names(name, pdb):
    assert pdb_id_of(name) == pdb
