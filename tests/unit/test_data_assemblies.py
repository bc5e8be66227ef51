"""Biological assemblies as items: copies by value, in each format; what is too large or damaged is dropped."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from reader_files import CIF_TAGS
from typer.testing import CliRunner

from protgen.cli.main import app
from protgen.data.assemblies import too_large
from protgen.data.build import BuildOptions, build
from protgen.data.clusters import Clustering
from protgen.data.reading import ReadingOptions
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import StructureError
from protgen.structure.assemblies import composed, expand, operator_sets
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import noticed
from protgen.structure.reader import parse_structure
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=80, max_coil=1.0, rg_percentile=96, validation_fraction=0.5)
UNIT = ("1", "0", "0", "0", "1", "0", "0", "0", "1", "0", "0", "0")
HALF = ("-1.0", "0.0", "0.0", "0.0", "-1.0", "0.0", "0.0", "0.0", "1.0", "24.0", "8.0", "0.0")  # about (12, 4, z)
NAMES = ("N", "CA", "C", "O")


def chains_of(*parts: tuple[str, int, int], apart: float = 9.0) -> Protein:
    """Parallel helices along z, the first one's axis 4.5 Å from (12, 4, z): (chain, length, seed of the sequence)."""
    helix = [ideal_helix(n) for _, n, _ in parts]
    xyz = np.concatenate([own - own.mean((0, 1)) + [7.5 - apart * k, 4.0, 20.0] for k, own in enumerate(helix)])
    return Protein.from_backbone(
        xyz,
        chain_ids=np.concatenate([np.full(n, chain) for chain, n, _ in parts]),
        residue_numbers=np.concatenate([np.arange(1, n + 1) for _, n, _ in parts]),
        residue_names=np.concatenate([np.random.default_rng(seed).choice(STANDARD, n) for _, n, seed in parts]),
    )


def cif_of(protein: Protein, generators: list[tuple[str, str, str]], operators: dict[str, tuple[str, ...]]) -> str:
    """mmCIF whose label_asym_id is the author's name with an L before it; water has a label of its own."""
    rows = []
    for i in range(protein.length):
        chain, number = str(protein.chain_ids[i]), str(protein.residue_numbers[i])
        for name, xyz in zip(NAMES, protein.backbone[i], strict=True):
            rows.append(["ATOM", str(len(rows) + 1), name[0], name, ".", str(protein.residue_names[i]), f"L{chain}",
                         "1", number, "?", *(f"{x:.3f}" for x in xyz), "1.00", number, chain, "1"])  # fmt: skip
    rows.append(["HETATM", "9999", "O", "O", ".", "HOH", "LW", "2", ".", "?", "1.0", "2.0", "3.0", "1.00", "900",
                 protein.chains[0], "1"])  # fmt: skip
    text = ["data_x", "#"]
    if generators:
        ids = dict.fromkeys(name for name, _, _ in generators)
        about = ("id", "details", "method_details", "oligomeric_details", "oligomeric_count")
        text += ["loop_", *(f"_pdbx_struct_assembly.{t}" for t in about), *(f"{k} ? ? ? ?" for k in ids), "#"]
        text += ["loop_", *(f"_pdbx_struct_assembly_gen.{t}" for t in ("assembly_id", "oper_expression"))]
        text += ["_pdbx_struct_assembly_gen.asym_id_list", *(f"{a} '{e}' {c}" for a, e, c in generators), "#"]
    if operators:
        tags = [f"matrix[{i}][{j}]" for i in (1, 2, 3) for j in (1, 2, 3)] + [f"vector[{i}]" for i in (1, 2, 3)]
        text += ["loop_", *(f"_pdbx_struct_oper_list.{tag}" for tag in ("id", "type", *tags))]
        text += [*(" ".join([name, "?", *values]) for name, values in operators.items()), "#"]
    text += ["loop_", *(f"_atom_site.{tag}" for tag in CIF_TAGS), *(" ".join(row) for row in rows), "#"]
    return "\n".join(text) + "\n"


def remarks(blocks: list[tuple[str, list[tuple[str, ...]]]], end: str = "") -> str:
    """REMARK 350: chains and operators of each block of the first assembly."""
    lines = ["REMARK 350", "REMARK 350 BIOMOLECULE: 1", "REMARK 350 AUTHOR DETERMINED BIOLOGICAL UNIT: DIMERIC"]
    for chains, operators in blocks:
        lines.append(f"REMARK 350 APPLY THE FOLLOWING TO CHAINS: {chains}")
        for k, own in enumerate(operators, start=1):
            for row in range(3):
                numbers = "".join(f"{float(x):10.6f}" for x in own[3 * row : 3 * row + 3])
                lines.append(f"REMARK 350   BIOMT{row + 1} {k:>3}{numbers}    {float(own[9 + row]):11.5f}")
    return "\n".join(lines) + "\n" + end


def built(folder: Path, files: dict[str, str | bytes], units="assembly", **options) -> tuple[dict[str, str], Store]:
    """Reasons of what was dropped, and the store."""
    (folder / "in").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "in" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    filters = replace(LOOSE, **{key: options.pop(key) for key in ("max_length",) if key in options})
    reading = ReadingOptions(units)
    own = BuildOptions(reading, clustering=Clustering(program="builtin"), **options)
    build(folder / "in", folder / f"store-{units}", filters, own)
    store = Store(folder / f"store-{units}")
    return {entry["id"]: entry["reason"] for entry in store.manifest["dropped"]}, store


def pdb_of(protein: Protein, folder: Path) -> str:
    write_structure(protein, folder / "plain.pdb")
    text = (folder / "plain.pdb").read_text()
    (folder / "plain.pdb").unlink()
    return text


def binary_of(text: str, folder: Path) -> bytes:
    """BinaryCIF of mmCIF, packed, with coordinates and operators as numbers."""
    pdbx = pytest.importorskip("biotite.structure.io.pdbx")
    (folder / "plain.cif").write_text(text)
    block, binary = pdbx.CIFFile.read(folder / "plain.cif").block, pdbx.BinaryCIFFile()
    binary["x"] = pdbx.BinaryCIFBlock()
    for name, category in block.items():
        columns = {}
        for tag, column in category.items():
            number = tag.startswith(("matrix", "vector", "Cartn"))
            columns[tag] = column.as_array(float) if number else column.as_array(str)
        binary["x"][name] = pdbx.BinaryCIFCategory(columns)
    pdbx.compress(binary).write(folder / "packed.bcif")
    data = (folder / "packed.bcif").read_bytes()
    (folder / "plain.cif").unlink()
    (folder / "packed.bcif").unlink()
    return data


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def turned(xyz: np.ndarray) -> np.ndarray:
    """By HALF: (24 - x, 8 - y, z)."""
    return np.array([24.0, 8.0, 0.0]) + xyz * np.array([-1.0, -1.0, 1.0])


@pytest.mark.parametrize("kind", ["cif", "pdb", "bcif"])
def test_a_homodimer_is_its_chain_and_the_copy_of_it(kind, tmp_path):
    """Two turns make two chains, A and A-2, of which the second is the first turned; also as gemmi makes it."""
    one = chains_of(("A", 30, 1))
    text = cif_of(one, [("1", "1,2", "LA,LW"), ("2", "1", "LA")], {"1": UNIT, "2": HALF})
    if kind == "pdb":
        data: str | bytes = remarks([("A", [UNIT, HALF])], "REMARK 350 BIOMOLECULE: 2\n") + pdb_of(one, tmp_path)
    else:
        data = text if kind == "cif" else binary_of(text, tmp_path)
    dropped, store = built(tmp_path, {f"1abc.{kind}": data})
    assert dropped == {}
    (item,) = list(store)
    assert (item.id, item.facts["chains"], item.facts["assembly"]) == ("1abc", ["A", "A-2"], "1")
    assert item.residue["chain_index"].tolist() == [0] * 30 + [1] * 30
    assert item.numbers.tolist() == [*range(1, 31)] * 2
    assert np.abs(item.atoms[:30] - one.backbone).max() < 0.001
    assert np.abs(item.atoms[30:] - turned(one.backbone)).max() < 0.001
    assert (item.residue["aatype"][:30] == item.residue["aatype"][30:]).all()
    if kind == "cif":
        read = gemmi.make_structure_from_block(gemmi.cif.read_string(text)[0])
        made = gemmi.make_assembly(read.assemblies[0], read[0], gemmi.HowToNameCopiedChain.AddNumber)
        theirs = [atom.pos.tolist() for chain in made for res in chain if res.name != "HOH" for atom in res]
        assert np.abs(item.atoms.reshape(-1, 3) - theirs).max() < 0.001


def test_identity_alone_gives_what_a_complex_gives(tmp_path):
    """Two chains and a peptide: the same item and the same reasons, with the name of the assembly beside."""
    files = {
        "1abc.cif": cif_of(
            chains_of(("A", 30, 1), ("B", 28, 2), ("P", 9, 3)), [("1", "1", "LA,LB,LP,LW")], {"1": UNIT}
        ),
        "2abc.cif": cif_of(chains_of(("A", 30, 4), ("B", 30, 5), apart=40.0), [("1", "1", "LA,LB")], {"1": UNIT}),
        "3abc.cif": cif_of(chains_of(("A", 50, 6), ("B", 50, 7)), [("1", "1", "LA,LB")], {"1": UNIT}),
        "4abc.cif": cif_of(chains_of(("A", 30, 8), ("B", 30, 9)), [], {}),
        "5abc.cif": cif_of(chains_of(("A", 30, 10)), [("1", "1", "LA")], {"1": UNIT}),
    }
    dropped, store = built(tmp_path, files)
    expected, other = built(tmp_path, files, units="complex")
    assert dropped == expected
    assert dropped["5abc"] == "too few chains: 1 of 20 residues or more; a complex has two"
    assert [item.id for item in store] == [item.id for item in other] == ["1abc", "4abc"]
    for ours, theirs in zip(store, other, strict=True):
        assert np.array_equal(ours.atoms, theirs.atoms)
        assert np.array_equal(ours.residue["chain_index"], theirs.residue["chain_index"])
        assert (ours.cluster, ours.split) == (theirs.cluster, theirs.split)
        assert {key: value for key, value in ours.facts.items() if key != "assembly"} == theirs.facts
    assert [item.facts.get("assembly") for item in store] == ["1", None]
    assert store.manifest["settings"]["warnings"] == {"no_assembly": 1}
    assert noticed("no_assembly", 1) == (
        "no_assembly in 1 file (the file lists no assembly; its chains as deposited were taken for one)"
    )


def test_the_first_assembly_may_leave_chains_out_and_turn_them_apart(tmp_path):
    """A as it is with B turned; C is of another assembly."""
    three = chains_of(("A", 24, 1), ("B", 22, 2), ("C", 21, 3))
    generators = [("1", "1", "LA"), ("2", "1", "LC"), ("1", "2", "LB")]
    shift = ("1", "0", "0", "0", "1", "0", "0", "0", "1", "0", "0", "1.5")
    dropped, store = built(tmp_path, {"1abc.cif": cif_of(three, generators, {"1": UNIT, "2": shift})})
    assert dropped == {"1abc_C": "not in assembly 1"}
    assert store[0].facts["chains"] == ["A", "B"]
    assert np.abs(store[0].atoms[24:] - three.backbone[24:46] - [0, 0, 1.5]).max() < 0.001


def test_a_capsid_is_dropped_and_not_made(tmp_path, monkeypatch):
    """60 turns of one chain are 60 chains of 1,800 residues; of two chains, 120 chains; nothing is expanded."""

    def never(*_):
        raise AssertionError("made")

    monkeypatch.setattr("protgen.data.assemblies.expand", never)
    turns = {str(k): (*UNIT[:9], str(10.0 * k), "0", "0") for k in range(1, 61)}
    files = {
        "1cap.cif": cif_of(chains_of(("A", 30, 1)), [("1", "(1-60)", "LA")], turns),
        "2cap.cif": cif_of(chains_of(("A", 30, 1), ("B", 30, 2)), [("1", "(1-60)", "LA,LB")], turns),
        "3cap.cif": cif_of(chains_of(("A", 30, 1)), [("1", "(1-60)(1-60)", "LA")], turns),
        "4two.cif": cif_of(chains_of(("A", 30, 3), ("B", 30, 4)), [("1", "1", "LA,LB")], {"1": UNIT}),
    }
    dropped, store = built(tmp_path, files)
    assert [item.id for item in store] == ["4two"]
    assert dropped == {
        "1cap": "length 1800 > 80; items of several chains or segments are not cropped",
        "2cap": "120 chains > 64",
        "3cap": "3600 chains > 64",
    }


def test_incomplete_residues_are_counted_before_copies_are_made():
    """CA traces have no complete residue, so that no limit of length stops them."""
    trace = chains_of(("A", 30, 1))
    n = 40_000
    long = trace.select(np.zeros(n, int))
    mask = np.zeros((n, 5), bool)
    mask[:, 1] = True
    long = replace(long, mask=mask, atoms=np.where(mask[..., None], long.atoms, np.nan))
    assert too_large(long, {"A": 30}, 80) == "length 1200000 > 1000000 with incomplete residues"
    assert too_large(long, {"A": 20}, 80) == ""
    assert too_large(long, {"A": 1}, 80) == ""


SKEW = ("1", "0.5", "0", "0", "1", "0", "0", "0", "1", "0", "0", "0")
MIRROR = ("-1", "0", "0", "0", "1", "0", "0", "0", "1", "0", "0", "0")
MISSING = tuple("nan" if k == 4 else x for k, x in enumerate(HALF))
HUGE = (*HALF[:9], "1e9", "0", "0")


@pytest.mark.parametrize(
    ("expression", "second", "reason"),
    [
        ("1,2", SKEW, "assembly 1: operator 2 is no rotation; it would distort or mirror the chains"),
        ("1,2", MIRROR, "assembly 1: operator 2 is no rotation; it would distort or mirror the chains"),
        ("1,2", MISSING, "assembly 1: operator 2 has 'nan', which is not a number"),
        ("1,2", UNIT, "two copies of chain A lie in one place"),
        ("1,2", HUGE, "is beyond 100000 Å"),
        ("1,7", HALF, "assembly 1: the operators '1,7' name '7', which is not there"),
        ("1-9", HALF, "assembly 1: the operators '1-9' name 1-9; the file has 2"),
        ("(1-2)(61-88)", HALF, "assembly 1: the operators '(1-2)(61-88)' name 61-88; the file has 2"),
        ("1-999999999", HALF, "name 1-999999999; the file has 2"),
        ("1 2", HALF, "name '1 2', which is not there"),
        ("(1-2", HALF, "are no list such as 1,2 or (1-60)"),
        ("(1)(1)(1)(1)(1)", HALF, "are 5 sets, more than 4"),
    ],
)
def test_hostile_operators_cost_their_file_alone_in_one_line(expression, second, reason, tmp_path):
    good = cif_of(chains_of(("A", 30, 3), ("B", 30, 4)), [("1", "1", "LA,LB")], {"1": UNIT})
    bad = cif_of(chains_of(("A", 30, 1)), [("1", expression, "LA")], {"1": UNIT, "2": second})
    dropped, store = built(tmp_path, {"bad.cif": bad, "good.cif": good})
    assert [item.id for item in store] == ["good"]
    assert list(dropped) == ["bad"]
    assert reason in dropped["bad"]
    assert "\n" not in dropped["bad"]
    assert parse_structure(tmp_path / "in" / "bad.cif").protein.length == 30  # who asks for no assembly reads it


def test_sets_of_operators_are_counted_and_composed_in_order():
    """(X0)(1-3): the second bracket first, then X0; a line that asks for 10^9 copies costs nothing."""
    known = {"X0": 0, **{str(k): k for k in range(1, 1001)}}
    assert operator_sets("(X0)(1-3)", known, "1") == (("X0",), ("1", "2", "3"))
    assert operator_sets(" 1,\n3-4 ", known, "1") == (("1", "3", "4"),)
    tracemalloc.start()
    assert [len(part) for part in operator_sets("(1-1000)(1-1000)(1-1000)", known, "1")] == [1000] * 3
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    turn = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])  # by 90 degrees about z
    move = np.array([[1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0]])
    point = np.array([1.0, 2.0, 3.0])
    first = composed([turn, move])
    assert first[:, :3] @ point + first[:, 3] == pytest.approx([-2, 6, 3])
    second = composed([move, turn])
    assert second[:, :3] @ point + second[:, 3] == pytest.approx([3, 1, 3])


def test_names_of_copies_are_free():
    """A-2 is a chain of the file already: the copy of A is A-3."""
    two = chains_of(("A", 2, 1), ("A-2", 2, 2))
    unit = np.eye(3, 4)
    made = expand(two, {"A": [unit, unit + np.eye(3, 4, k=3)[:3]], "A-2": [unit]})
    assert made.chains == ["A", "A-2", "A-3"]


def test_remarks_of_pdb_files_are_those_of_the_format(tmp_path):
    """Two blocks of one assembly, chains over two lines, a chain without a name, and lines that are damaged."""
    two = pdb_of(chains_of(("A", 24, 1), ("B", 22, 2)), tmp_path)
    head = remarks([("A,", [UNIT]), ("B", [HALF])])
    path = tmp_path / "x.pdb"
    path.write_text(head + two)
    found = parse_structure(path, assembly=True).assembly
    assert found.counts() == {"A": 1, "B": 1}
    assert found.motions(["B"])["B"][0].tolist() == [[-1, 0, 0, 24], [0, -1, 0, 8], [0, 0, 1, 0]]
    lines = head.splitlines()
    path.write_text("\n".join([*lines[:4], "REMARK 350                    AND CHAINS: B", *lines[4:7]]) + "\n" + two)
    assert parse_structure(path, assembly=True).assembly.counts() == {"A": 1, "B": 1}
    path.write_text(remarks([("NULL", [UNIT, HALF])]) + two.replace(" A ", "   ").replace(" A  ", "    "))
    blank = parse_structure(path, assembly=True)
    assert list(blank.assembly.counts().values()) == [2]
    assert set(blank.assembly.counts()) <= set(blank.protein.chains)
    path.write_text(head.replace("1.000000", "1.0000x0", 1) + two)
    with pytest.raises(StructureError, match=r"x\.pdb: assembly 1: operator 1 has '1\.0000x0', which is not a number"):
        parse_structure(path, assembly=True)
    path.write_text("\n".join(line for line in lines if "BIOMT2" not in line) + "\n" + two)
    with pytest.raises(StructureError, match="REMARK 350: operator 1 of assembly 1 lacks a number"):
        parse_structure(path, assembly=True)


def test_lists_beyond_any_of_the_archive_are_refused(tmp_path):
    """More operators than rows are read, and a list of chains that is longer than text is."""
    one = chains_of(("A", 30, 1))
    (tmp_path / "x.cif").write_text(cif_of(one, [("1", "1", "LA")], {str(k): UNIT for k in range(10_001)}))
    with pytest.raises(StructureError, match="_pdbx_struct_oper_list has 10,001 rows, more than 10,000"):
        parse_structure(tmp_path / "x.cif", assembly=True)
    (tmp_path / "x.cif").write_text(cif_of(one, [("1", "1", ",".join(["LA"] * 30_000))], {"1": UNIT}))
    with pytest.raises(StructureError, match="a value of more than 65,536 characters"):
        parse_structure(tmp_path / "x.cif", assembly=True)
    many = ",".join([*(f"X{k}" for k in range(1000)), "LA"])
    (tmp_path / "x.cif").write_text(cif_of(one, [("1", "1", many)], {"1": UNIT}))
    assert parse_structure(tmp_path / "x.cif", assembly=True).assembly.counts() == {"A": 1}


def test_two_processes_make_the_same_bytes_and_the_command_takes_the_unit(tmp_path):
    files = {
        f"{k}abc.cif": cif_of(chains_of(("A", 24 + k, k)), [("1", "1,2", "LA")], {"1": UNIT, "2": HALF})
        for k in range(1, 6)
    }
    _, first = built(tmp_path, files)
    (tmp_path / "two").mkdir()
    _, second = built(tmp_path / "two", files, jobs=2)
    assert content(first.folder) == content(second.folder)
    words = ["data", "build", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--units", "assembly",
             "--clusters", "builtin", "--min-length", "20"]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert [item.facts["chains"] for item in Store(tmp_path / "out")] == [["A", "A-2"]] * 5
