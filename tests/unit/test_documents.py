"""Small files of people and of earlier runs: what is read, and what is refused before it costs anything."""

import json
import os
import threading
import tracemalloc

import pytest

from protgen.conditions.language import read_conditions, strict_loader
from protgen.documents import number_in, read_json, read_table, read_text, whole_number_in
from protgen.errors import DocumentError, UsageError
from protgen.evaluation.tables import plain_cell, write_csv


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "more than 64 deep"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
        ("[1]", "no JSON object"),
        ('{"a": "\\ud800"}', "not Unicode"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_json_that_says_two_things_or_nothing_is_refused(tmp_path, text, reason):
    """Each in one line with the reason."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match=reason) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_json_within_the_limits_is_what_it_says(tmp_path):
    """To the limit of depth, with a byte-order mark, and a pair of surrogates that is a letter."""
    path = tmp_path / "a.json"
    deep = '{"a": ' + "[" * 63 + "]" * 63 + "}"
    path.write_text("\ufeff" + deep, encoding="utf-8")
    assert read_json(path) == json.loads(deep)
    path.write_text('{"a": "\\ud83d\\ude00", "b": [1, 2.5, null]}')
    assert read_json(path) == {"a": "\U0001f600", "b": [1, 2.5, None]}


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    """A pipe that nobody writes to, a device without an end, a folder, a link to nothing."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    found = []

    def look() -> None:
        for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
            with pytest.raises(DocumentError, match="is not a regular file"):
                read_text(path)
        for path in (tmp_path / "link", "a\0b"):
            with pytest.raises(DocumentError, match=r"no such file|cannot be read"):
                read_text(path)
        with pytest.raises(UsageError, match="is not a regular file"):
            read_conditions(tmp_path / "pipe")
        found.append(True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(20)
    assert found == [True]


def test_a_large_file_is_read_to_the_limit_alone(tmp_path):
    """A sparse gigabyte takes a thousand bytes; a file of exactly the limit is read."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(DocumentError, match="holds more than 1,000 bytes"):
        read_text(path, 1000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    path.write_bytes(b"a" * 1000)
    assert len(read_text(path, 1000)) == 1000


def test_tables_that_can_be_read_two_ways_are_refused(tmp_path):
    """A column twice, cells without a column, a cell without an end; a short row has empty cells."""
    path = tmp_path / "a.csv"
    path.write_text("file,split\na.pdb,train\nb.pdb\n")
    assert read_table(path) == [{"file": "a.pdb", "split": "train"}, {"file": "b.pdb", "split": ""}]
    for text, reason in (
        ("a,b,a\n1,2,3\n", "'a' comes twice"),
        ("a,b\n1,2,3\n", "row 1 has more cells"),
        ("a\n" + "x" * 100_001, "row 1 has a cell of more than"),
        ("a\n" + "x" * 200_000, "row 1"),
        ('a\n"' + "x\n" * 200_000, "row 1"),
        ("\udc80", "no UTF-8"),
    ):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(DocumentError, match=reason):
            read_table(path)


@pytest.mark.parametrize("text", ["1_0", "１２", "٣", "nan", "inf", "1e999", "0x10", "", "1,5", "- 1", "1e", "."])
def test_what_people_do_not_write_for_a_number_is_none(text):
    """Python's own float takes the first four."""
    with pytest.raises(ValueError, match="number"):
        number_in(text)
    with pytest.raises(ValueError, match="number"):
        whole_number_in(text)


def test_numbers_are_read_as_they_are_written():
    """With sign, point and exponent."""
    assert [number_in(text) for text in ("1", "-.5", "+2.", "1e-3", " 7 ")] == [1.0, -0.5, 2.0, 0.001, 7.0]
    assert [whole_number_in(text) for text in ("0", "-12", " 7")] == [0, -12, 7]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:00", "1:00"), ("190:20:30.15", "190:20:30.15"), ("0x10", "0x10"), ("010", "010"), ("1_000", "1_000"),
        ("0b11", "0b11"), ("2001-12-14", "2001-12-14"), (".inf", ".inf"), (".nan", ".nan"), ("１２", "１２"),
        ("12", 12), ("-7", -7), ("1.5", 1.5), ("-.5", -0.5), ("2e3", 2000.0), ("1.5e-3", 0.0015), ("0", 0),
        ("true", True), ("null", None), ("60-100", "60-100"),
    ],
)  # fmt: skip
def test_a_scalar_of_a_condition_file_is_what_json_would_have_it(text, value):
    """What YAML 1.1 alone takes for a number, a time or a date is text."""
    import yaml

    found = yaml.load(f"a: {text}", Loader=strict_loader())["a"]
    assert (found, type(found)) == (value, type(value))


def test_references_in_a_condition_file_are_refused(tmp_path):
    """With ten lines of them a page stands for a billion words."""
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n")
    with pytest.raises(UsageError, match=r"line 2: references .* are not read"):
        read_conditions(path)


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    """Names get a quote in front; numbers, also negative ones as text, stay."""
    names = ["=1+1.pdb", "+x", "-x.pdb", "@SUM(A1)", "\tx", "\rx", "a=b", "-2", "+1.5", "-1_0", ""]
    expected = ["'=1+1.pdb", "'+x", "'-x.pdb", "'@SUM(A1)", "'\tx", "\\rx", "a=b", "-2", "+1.5", "'-1_0", ""]
    assert [plain_cell(name) for name in names] == expected
    write_csv(tmp_path / "a.csv", ["file", "x"], [{"file": name, "x": -0.5} for name in names])
    with (tmp_path / "a.csv").open(newline="") as lines:
        import csv

        rows = list(csv.reader(lines))[1:]
    assert rows == [[name, "-0.5"] for name in expected]
