"""The table of designs: the words of a verdict, its width, and records that earlier versions wrote."""

from io import StringIO

import pytest
from rich.console import Console

from protgen.cli.design_table import designs_table, in_full, legend, verdict

GOOD = {
    "length": 100, "chain_breaks": 0.0, "n_clashes": 0.0, "left_handed_helices": 0.0, "rama_favoured": 0.98, "rg": 13.1,
    "helix": 0.4, "strand": 0.2, "coil": 0.4, "faults": "", "rg_chain_ratio": 1.02, "packing": 0.97, "coil_end": 4.0,
}  # fmt: skip
BLUEPRINT = {"condition": "secondary_structure", "asked": "HHH", "got": "HLL", "difference": 2 / 3, "satisfied": False}


def record(requested=(), measured=(), **validity):
    """A record with what the table reads."""
    asked = [{"condition": name} for name in requested]
    return {"index": 7, "validity": GOOD | validity, "requested": asked, "measured": list(measured)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"chain_breaks": 1.0}, ["broken"]),
        ({"n_clashes": 3.0}, ["clash"]),
        ({"left_handed_helices": 1.0}, ["left-handed"]),
        ({"rama_favoured": 0.899}, ["Rama"]),
        ({"rama_favoured": None}, []),
        ({"faults": "open, no core"}, ["open", "no core"]),
        ({"n_clashes": 1.0, "faults": "loose end"}, ["clash", "loose end"]),
    ],
)
def test_each_fault_has_its_word(changed, words):
    """Words of the chain come first, then those of the fold."""
    assert verdict(record(**changed)) == words


def test_a_blueprint_that_is_unmet_is_said_by_who_wanted_it():
    """Asked for by the user, or drawn by the model."""
    assert verdict(record(["secondary_structure"], [BLUEPRINT])) == ["SS off"]
    assert verdict(record([], [BLUEPRINT])) == ["blueprint off"]
    assert verdict(record([], [BLUEPRINT | {"satisfied": True}])) == []


def test_the_table_fits_eighty_columns_and_cuts_no_verdict_in_silence():
    """Every fault at once, and the widest numbers."""
    every = "open, no core, in pieces, coil, loose end, unpaired strands"
    worst = record([], [BLUEPRINT], length=1284, faults=every, rg_chain_ratio=12.34, coil_end=128.0, n_clashes=99.0)
    records = [worst | {"index": 1234}, record(faults="no core, in pieces"), record(faults="unpaired strands")]
    out = StringIO()
    Console(file=out, width=200).print(designs_table(records))
    lines = out.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 79
    assert "clash +7" in lines[-4]
    assert "no core, in pieces" in lines[-3]
    assert "unpaired strands" in lines[-2]
    assert in_full(records) == [f"  1234: clash, {every}, blueprint off"]
    assert max(map(len, legend(records))) <= 80


def test_records_of_earlier_versions_have_a_line():
    """They know nothing of the fold: dashes, and no verdict on it."""
    old = record()
    for name in ("faults", "rg_chain_ratio", "packing", "coil_end"):
        del old["validity"][name]
    out = StringIO()
    Console(file=out, width=80).print(designs_table([old]))
    assert "good" in out.getvalue()
    assert verdict(old) == []
