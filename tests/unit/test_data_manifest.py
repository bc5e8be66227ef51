"""Manifests of public IDs: a rebuild is what they name, or says what the files have otherwise."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from protgen.cli.main import run
from protgen.data.domains import Domain
from protgen.data.download_ids import read_list
from protgen.data.manifest import COLUMNS, Entry, entry_of, read_manifest, sequence_digest
from protgen.data.store import Store
from protgen.data.windows import residue_types
from protgen.errors import DataError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.trace import radius_of_gyration
from protgen.structure.writer import write_structure

SHIPPED = Path(__file__).parents[2] / "data" / "manifests"


def protein_of(length: int, seed: int) -> Protein:
    names = np.random.default_rng(seed).choice(STANDARD, length)
    return Protein.from_backbone(ideal_helix(length), residue_names=names)


def row_of(name: str, protein: Protein, ranges: list[tuple[int, int]], split: str) -> dict[str, object]:
    keep = np.concatenate([np.arange(a - 1, b) for a, b in ranges])
    own = protein.select(keep)
    return {
        "id": name, "residues": ",".join(f"{a}-{b}:A" for a, b in ranges), "length": own.length, "split": split,
        "rg": f"{radius_of_gyration(own.atoms[:, CA]):.2f}", "cluster": f"c{name}",
        "sequence": sequence_digest(residue_types(own.residue_names).tobytes()),
    }  # fmt: skip


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        table.writerows(rows)
    return path


def test_a_rebuild_gives_the_items_or_says_what_has_changed(tmp_path, capsys):
    """A whole chain, a crop, two pieces; then an entry that is gone, shorter, of other residues, of another size."""
    proteins = {f"{k}abc": protein_of(60 + k, k) for k in (1, 2, 3, 4)}
    (tmp_path / "in").mkdir()
    for name, protein in proteins.items():
        write_structure(protein, tmp_path / "in" / f"{name}.pdb")
    rows = [
        row_of("1abc_A_1-61", proteins["1abc"], [(1, 61)], "train"),
        row_of("2abc_A_5-30", proteins["2abc"], [(5, 30)], "validation"),
        row_of("3abc_A", proteins["3abc"], [(1, 20), (41, 63)], "train"),
        row_of("4abc_A_1-40", proteins["4abc"], [(1, 40)], "validation"),
    ]
    manifest = write(tmp_path / "m.csv", rows)
    order = ["data", "build", str(tmp_path / "in"), "--manifest", str(manifest), "--leakage-folds", "0", "--clusters",
             "builtin"]  # fmt: skip
    assert run([*order, "--out", str(tmp_path / "a")]) == 0
    assert "4 of 4 items of m.csv are as it has them." in capsys.readouterr().out
    store = Store(tmp_path / "a")
    kept = {entry["id"]: (entry["split"], entry["cluster"], entry["length"]) for entry in store.manifest["kept"]}
    assert kept == {str(row["id"]): (row["split"], row["cluster"], row["length"]) for row in rows}
    assert store[1].numbers.tolist() == list(range(5, 31))
    assert store[2].residue["chain_index"].tolist() == [0] * 20 + [1] * 23
    assert run([*order, "--out", str(tmp_path / "b")]) == 0
    first, second = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab")
    assert first == second

    (tmp_path / "in" / "1abc.pdb").unlink()
    write_structure(protein_of(28, 2), tmp_path / "in" / "2abc.pdb")  # other residue types, 24 of the 26 residues
    write_structure(protein_of(64, 44), tmp_path / "in" / "4abc.pdb")
    rows[2]["rg"] = f"{float(str(rows[2]['rg'])) + 0.07:.2f}"
    write(manifest, rows)
    assert run([*order, "--out", str(tmp_path / "a")]) == 3
    changed = Store(tmp_path / "a").manifest["archive"]["changed"]
    assert changed[0] == "1abc_A_1-61: not there: no file has these residues"
    before, after = (radius_of_gyration(ideal_helix(n)[4:30, CA]) for n in (30, 28))
    sizes = f"Rg {after:.2f} Å, the manifest has {before:.2f}"
    assert changed[1] == f"2abc_A_5-30: 24 complete residues, the manifest has 26; other residue types; {sizes}"
    assert changed[2].startswith("3abc_A: Rg ")
    assert changed[3] == "4abc_A_1-40: other residue types"
    assert "0 of 4 items of m.csv are as it has them." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": "abc", "residues": "1-5:A"}, "does not begin with a PDB ID"),
        ({"id": "1abc", "residues": "1:A"}, "is no range of residues"),
        ({"id": "1abc", "residues": "1-5:A,7-9:B"}, "is of several chains"),
        ({"id": "1abc", "residues": "1-5:A", "split": "held"}, "is none of train, validation, test"),
        ({"id": "1abc", "residues": "1-5:A", "length": "x"}, "x"),
    ],
)
def test_rows_that_say_nothing_are_refused(tmp_path, row, what):
    with pytest.raises(DataError, match=f"row 1: .*{what}"):
        read_manifest(write(tmp_path / "m.csv", [row]))


def test_an_item_is_found_behind_the_name_of_its_file():
    entry = Entry(Domain("1abc_A", "A", (((1, ""), (5, "")),)))
    assert entry_of("my_file_1abc_A", {"1abc_A": entry}) is entry
    assert entry_of("1abc_B", {"1abc_A": entry}) is None


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no checkout here")
@pytest.mark.parametrize(("name", "least", "lengths"), [
    ("cath_small", 500, (40, 128)), ("length_60_128", 1000, (60, 128)), ("high_resolution", 300, (40, 512)),
    ("flow_small", 5000, (40, 128)), ("flow_pairing", 5000, (40, 128)), ("flow_base", 4000, (40, 256)),
])  # fmt: skip
def test_the_manifests_that_are_shipped_can_be_read(name, least, lengths):
    entries = read_manifest(SHIPPED / f"{name}.csv")
    assert len(entries) >= least
    assert {own.name for own in read_list(SHIPPED / f"{name}.csv")} == {one.domain.pdb for one in entries.values()}
    assert all(lengths[0] <= (entry.length or 0) <= lengths[1] for entry in entries.values())
    assert all(entry.split in ("train", "validation") for entry in entries.values())
