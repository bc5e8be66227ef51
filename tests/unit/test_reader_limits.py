"""What a file may unpack to: refused before it is made, at the limit and not below it."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from reader_files import pdb_text

from protgen.errors import StructureError
from protgen.structure.reader import read_structure
from protgen.structure.sniff import MAX_BYTES

msgpack = pytest.importorskip("msgpack")


def raw(values, kind: int) -> dict:
    """A column of bytes: kind 3 is int32, 33 float64."""
    dtype = {3: "<i4", 33: "<f8"}[kind]
    data = np.asarray(values, dtype=dtype).tobytes()
    return {"data": data, "encoding": [{"kind": "ByteArray", "type": kind}]}


def repeated(value: int, times: int) -> dict:
    """One number so many times, in eight bytes."""
    packed = raw([value, times], 3)
    return {"data": packed["data"], "encoding": [{"kind": "RunLength", "srcSize": times}, *packed["encoding"]]}


def words(text: str, times: int) -> dict:
    """One text so many times."""
    offsets, indices = raw([0, len(text)], 3), repeated(0, times)
    encoding = {
        "kind": "StringArray", "stringData": text, "offsets": offsets["data"],
        "offsetEncoding": offsets["encoding"], "dataEncoding": indices["encoding"],
    }  # fmt: skip
    return {"data": indices["data"], "encoding": [encoding]}


def bcif(path, rows: int, columns: dict) -> int:
    """Write a file of one category with atoms; returns its size."""
    listed = [{"name": name, "data": data} for name, data in columns.items()]
    tree = {
        "encoder": "",
        "version": "",
        "dataBlocks": [{"categories": [{"name": "_atom_site", "rowCount": rows, "columns": listed}]}],
    }
    path.write_bytes(msgpack.packb(tree))
    return path.stat().st_size


@pytest.mark.parametrize("times", [10**8, 2**31 - 1])
@pytest.mark.parametrize("column", [repeated, words])
def test_a_few_bytes_that_ask_for_gigabytes_are_refused_before_they_are_made(tmp_path, column, times):
    """Run lengths, of numbers and of places in a list of texts."""
    value = 7 if column is repeated else "ALA"
    size = bcif(tmp_path / "x.bcif", times, {"label_comp_id": column(value, times), "id": repeated(1, times)})
    assert size < 1000
    tracemalloc.start()
    with pytest.raises(StructureError, match=r"columns of more than the limit of 600,000,000 bytes; raise max_bytes"):
        read_structure(tmp_path / "x.bcif")
    assert tracemalloc.get_traced_memory()[1] < 500_000_000
    tracemalloc.stop()


def test_columns_share_one_limit(tmp_path):
    """Ten columns of texts of 12 bytes and 1,000 rows take 120,000: more than three times 39,999, less than 40,000."""
    names = ("group_pdb", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
             "auth_asym_id", "auth_comp_id", "auth_atom_id", "pdbx_pdb_ins_code")  # fmt: skip
    bcif(tmp_path / "x.bcif", 1000, {name: words("ABC", 1000) for name in names})
    with pytest.raises(StructureError, match="limit of 119,997 bytes"):
        read_structure(tmp_path / "x.bcif", max_bytes=39_999)
    with pytest.raises(StructureError) as caught:
        read_structure(tmp_path / "x.bcif", max_bytes=40_000)
    assert "limit of" not in str(caught.value)


def test_run_lengths_beyond_64_bits_are_damage(tmp_path):
    """Their sum in int64 would be the number of rows."""
    packed = raw([1, 2**31 - 1, 1, -(2**31) + 4], 3)
    data = {"data": packed["data"], "encoding": [{"kind": "RunLength", "srcSize": 3}, *packed["encoding"]]}
    bcif(tmp_path / "x.bcif", 3, {"id": data})
    with pytest.raises(StructureError, match="do not add up"):
        read_structure(tmp_path / "x.bcif")


def test_a_list_longer_than_any_of_binary_cif_is_refused(tmp_path):
    """Values are packed as bytes; a list of a million numbers takes its hundredfold in Python."""
    tree = msgpack.packb({"encoder": "", "version": "", "dataBlocks": []})
    path = tmp_path / "x.bcif"
    path.write_bytes(tree[:-1] + b"\xdd" + struct.pack(">I", 100_001) + b"\0" * 100_001)
    with pytest.raises(StructureError, match="a list of 100,001 entries"):
        read_structure(path)


def test_text_is_unpacked_to_the_limit_alone(tmp_path):
    """A file of exactly the limit is read, one byte more is not, gzipped or plain."""
    text = pdb_text().encode()
    for name, data in (("x.pdb", text), ("x.pdb.gz", gzip.compress(text))):
        (tmp_path / name).write_bytes(data)
        assert read_structure(tmp_path / name, max_bytes=len(text)).length > 0
        with pytest.raises(StructureError, match=f"limit of {len(text) - 1:,} bytes"):
            read_structure(tmp_path / name, max_bytes=len(text) - 1)


def test_a_gzip_bomb_stops_at_the_limit(tmp_path):
    """Ten times the limit in a hundredth of it; 200 MB where no limit is given."""
    path = tmp_path / "x.pdb.gz"
    path.write_bytes(gzip.compress(b" " * 20_000_000, compresslevel=1))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(StructureError, match="unpacks to more than the limit of 2,000,000 bytes"):
        read_structure(path, max_bytes=2_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    assert MAX_BYTES == 200_000_000


def test_lines_are_counted_before_they_are_made(tmp_path, monkeypatch):
    """Short lines take many times the file: of more than the limit none is made, with either line end."""
    from protgen.structure import sniff

    monkeypatch.setattr(sniff, "MAX_LINES", 1000)
    for end in (b"\n", b"\r"):
        (tmp_path / "a.pdb").write_bytes(1001 * (b"xy" + end))
        with pytest.raises(StructureError, match="has 1,001 lines, more than 1,000"):
            read_structure(tmp_path / "a.pdb")
