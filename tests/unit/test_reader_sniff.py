"""What is no structure file, or half of one, is refused with the reason; unpacking stops at a limit."""

import gzip
import zlib

import pytest
from reader_files import assert_is_helix, cif_text, codes, pdb_text, read

from protgen.errors import StructureError
from protgen.structure import sniff
from protgen.structure.reader import parse_structure, read_structure, stem


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "HTML"),
        (b"  <?xml version='1.0'?>", "XML"),
        (b'{"data": 1}', "JSON"),
        (bytes(range(256)) * 4, "NUL|no ATOM"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (b"PK\x03\x04" + b"\0" * 50, "zip"),
        (b"BZh91AY", "bzip2"),
        ("ATOM".encode("utf-16"), "UTF-16"),
        (b"ATOM  \0", "NUL"),
        (b"just some words\n", "no ATOM"),
        (b"\x83\xa7version" + b"dataBlocks" * 3, "MessagePack|BinaryCIF"),
    ],
)
@pytest.mark.parametrize("name", ["x.pdb", "x.cif"])
def test_foreign_content(tmp_path, content, reason, name):
    """gemmi makes an empty structure of a page, of random bytes and of nothing."""
    with pytest.raises(StructureError, match=reason):
        read(tmp_path, content, name)


@pytest.mark.parametrize("name", ["x.pdb.gz", "x.cif.gz"])
def test_gzip_is_read_whatever_the_name(tmp_path, name):
    text = pdb_text() if "pdb" in name else cif_text()
    assert_is_helix(read(tmp_path, text, name))
    (tmp_path / "plain.pdb").write_bytes(gzip.compress(text.encode()))
    assert_is_helix(parse_structure(tmp_path / "plain.pdb"))


def test_gzip_with_a_bad_checksum(tmp_path):
    data = bytearray(gzip.compress(pdb_text().encode()))
    data[-6] ^= 0xFF
    with pytest.raises(StructureError, match="gzip data are damaged"):
        read(tmp_path, bytes(data), "x.pdb")


@pytest.mark.parametrize("cut", [1, 8, 200])
def test_gzip_without_its_end(tmp_path, cut):
    with pytest.raises(StructureError, match="cut off"):
        read(tmp_path, gzip.compress(pdb_text().encode())[:-cut], "x.pdb")


def test_gzip_members_and_what_follows(tmp_path):
    lines = pdb_text().splitlines(keepends=True)
    data = gzip.compress("".join(lines[:30]).encode()) + gzip.compress("".join(lines[30:]).encode())
    result = read(tmp_path, data, "x.pdb")
    assert_is_helix(result)
    assert result.warnings == ()
    assert read(tmp_path, data + b"\0" * 100, "x.pdb").warnings == ()
    assert codes(read(tmp_path, data + b"junk", "x.pdb")) == {"trailing_bytes": 1}


def test_gzip_bomb_stops_at_the_limit(tmp_path):
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(b"\n" * 50_000_000) + packer.flush()
    with pytest.raises(StructureError, match=r"limit of 1,000,000 bytes"):
        read(tmp_path, data, "x.pdb", max_bytes=1_000_000)
    with pytest.raises(StructureError, match=r"limit of 100 bytes"):
        read(tmp_path, pdb_text(), "x.pdb", max_bytes=100)


def test_endless_line(tmp_path):
    text = pdb_text() + "REMARK " + "x" * (sniff.MAX_LINE + 1) + "\n"
    with pytest.raises(StructureError, match="line 63: is longer"):
        read(tmp_path, text)
    assert_is_helix(read(tmp_path, "REMARK " + "x" * (sniff.MAX_LINE - 10) + "\n" + pdb_text()))


def test_no_such_file_and_folder(tmp_path):
    with pytest.raises(StructureError, match=r"nowhere\.pdb: no such file"):
        read_structure(tmp_path / "nowhere.pdb")
    with pytest.raises(StructureError, match="is not a file"):
        read_structure(tmp_path)
    with pytest.raises(StructureError, match=r"cannot be opened|no such file"):
        read_structure("a\0b")


def test_message_is_one_line_and_names_the_file(tmp_path):
    with pytest.raises(StructureError) as caught:
        read(tmp_path, "data_x\nloop_\n_a.b\n_a.c\n1 2 3\n", "bad.cif")
    assert "bad.cif" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stem():
    assert [stem(p) for p in ("a/1abc.pdb.gz", "x.y.cif", "z.ent.GZ", "plain")] == [
        "1abc",
        "x.y",
        "z",
        "plain",
    ]
