"""The table `protgen sample` ends with: each design, what was asked, what came out, is it good."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from protgen.cli.console import number_of, table
from protgen.types import JSON

SS = "secondary_structure"
LEAST_OFF = 1e-6  # differences below it are of rounding
VERDICT_WIDTH = 20  # characters; the table is 79 columns wide
VALUE_WIDTH = 6  # of it, for what designs are ranked by
BLUEPRINT = "blueprint off"
RAMA_LOW = 0.90  # natives have 0.98 on average and hardly any of them less than this


def verdict(record: JSON) -> list[str]:
    """What is wrong with a design, in a word each; empty if it is good.

    First what is wrong with the chain, then with the fold (`metrics/soundness.py`), then what of the request is unmet,
    last the blueprint that was drawn where secondary structure was left open.
    """
    v = record["validity"]
    checks = [
        ("broken", v["chain_breaks"]),
        ("clash", v["n_clashes"]),
        ("left-handed", v["left_handed_helices"]),
        ("Rama", number_of(v["rama_favoured"]) < RAMA_LOW),
    ]
    faults = str(v.get("faults") or "")  # a record of protgen 0.3 or older has none
    missed = [m["condition"] for m in record["measured"] if m["condition"] in asked_for(record) and not m["satisfied"]]
    names = {SS: "SS off", "fractions": "fractions off", "length": "length off"}
    drawn = [BLUEPRINT for m in record["measured"] if m["condition"] == SS and not m["satisfied"] and SS not in missed]
    return [
        *(word for word, wrong in checks if wrong),
        *faults.split(", ")[: None if faults else 0],
        *(names.get(name, f"{name} off") for name in missed),
        *drawn,
    ]


def asked_for(record: JSON) -> set[str]:
    """Names of the conditions of the request."""
    return {entry["condition"] for entry in record["requested"]}


def percent(value: float | None) -> str:
    """A fraction as a whole percentage; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.0f}"


def agreement(record: JSON) -> str:
    """Fraction of residues with the structure asked for; in brackets with the blueprint the model drew itself."""
    found = next((m for m in record["measured"] if m["condition"] == SS), None)
    if found is None:
        return "-"
    text = percent(1 - found["difference"])
    return text if SS in asked_for(record) else f"({text})"


def ratio(value: float | None) -> str:
    """A ratio with two digits behind the point; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


Ranked = tuple[str, Mapping[int, float]]  # a figure, and its value of each design by index


def designs_table(records: Sequence[JSON], ranked: Ranked | None = None) -> Table:
    """One line a design, 79 columns wide at the most.

    Args:
        records: of the designs, in the order of the lines.
        ranked: what they are ranked by: it has a column of its own.
    """
    by = [] if ranked is None else [ranked[0][:VALUE_WIDTH]]
    result = table("design", "len", "SS%", "H/E/C%", "Rg/nat", "packing", "ends", "Rama%", *by, "<verdict")
    for record in records:
        v = record["validity"]
        problems = verdict(record)
        word = Text("good", "green") if not problems else Text(in_brief(problems, verdict_width(ranked)), "yellow")
        result.add_row(
            f"{record['index']:04d}",
            str(v["length"]),
            agreement(record),
            "/".join(percent(v[kind]) for kind in ("helix", "strand", "coil")),
            ratio(v.get("rg_chain_ratio")),
            ratio(v.get("packing")),
            "-" if v.get("coil_end") is None else f"{v['coil_end']:.0f}",
            percent(v["rama_favoured"]),
            *([] if ranked is None else [ratio(ranked[1][record["index"]])]),
            word,
        )
    return result


def verdict_width(ranked: Ranked | None) -> int:
    """Characters that are left for a verdict."""
    return VERDICT_WIDTH if ranked is None else VERDICT_WIDTH - VALUE_WIDTH - 2


def in_full(records: Sequence[JSON], ranked: Ranked | None = None) -> list[str]:
    """The problems of each design whose verdict the table cuts."""
    most = verdict_width(ranked)
    found = [(record["index"], verdict(record)) for record in records]
    return [f"  {index:04d}: {', '.join(words)}" for index, words in found if in_brief(words, most) != ", ".join(words)]


SHOWN_ABOVE = (SS, "length", "fractions")  # conditions the table of designs refers to already


def others(records: Sequence[JSON]) -> list[str]:
    """Names of the conditions asked for that the table of designs does not show."""
    names = [entry["condition"] for record in records for entry in record["requested"]]
    return [name for name in dict.fromkeys(names) if name not in SHOWN_ABOVE]


def conditions_table(records: Sequence[JSON]) -> Table:
    """Asked, got, difference and verdict of the other conditions, a line a design and condition."""
    result = table("design", "<condition", "<asked", "<got", "off by", "<met")
    for record in records:
        for met in record["measured"]:
            if met["condition"] not in others([record]):
                continue
            result.add_row(
                f"{record['index']:04d}",
                met["condition"],
                *asked_and_got_in_brief(met),
                off_by(met["difference"]),
                Text("yes", "green") if met["satisfied"] else Text("no", "yellow"),
            )
    return result


def asked_and_got_in_brief(met: JSON) -> tuple[str, str]:
    """What was asked of a condition and what came out; of a motif its contig and its RMSD."""
    asked, got = met["asked"], met["got"]
    if met["condition"] == "motif" and isinstance(got, dict) and "rmsd" in got:
        return brief(str(asked).partition(" ")[2], 30), f"RMSD {number_of(got['rmsd']):.2f} Å"
    return brief(asked), brief(got)


def off_by(value: float | None) -> str:
    """A difference as it is read: what is left by rounding, below a millionth, is 0."""
    off = number_of(value)
    return "-" if math.isnan(off) else "0" if off < LEAST_OFF else f"{off:.3g}"


def brief(value: object, most: int = 17) -> str:
    """A value of a table in few characters: of a file its name, without the folders it is in."""
    if isinstance(value, dict):
        value = ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, list):
        value = ", ".join(str(entry) for entry in value)
    text = str(value)
    file, blank, rest = text.partition(" ")
    if "/" in file and "." in file.rsplit("/", 1)[-1]:  # a file, and what is asked of it
        text = file.rsplit("/", 1)[-1] + blank + rest
    return text if len(text) <= most else text[: most - 3] + "..."


def in_brief(problems: Sequence[str], most: int = VERDICT_WIDTH) -> str:
    """Problems in a few words: the first, and the others too or their number."""
    text = ", ".join(problems)
    return text if len(text) <= most or len(problems) == 1 else f"{problems[0]} +{len(problems) - 1}"


def asked_and_got(record: JSON, width: int) -> list[str]:
    """Secondary structure asked for above what came out, in lines that fit; empty unless missed."""
    missed = [m for m in record["measured"] if m["condition"] == SS and not m["satisfied"]]
    if not missed or not any(entry["condition"] == SS for entry in record["requested"]):
        return []
    asked, got = missed[0]["asked"], missed[0]["got"]
    per_line = width - 16
    lines = []
    for start in range(0, len(asked), per_line):
        lines.append(f"  {record['index']:04d} asked  {asked[start : start + per_line]}")
        lines.append(f"       got    {got[start : start + per_line]}")
    return lines


def legend(records: Sequence[JSON]) -> list[str]:
    """What the columns mean, where a name does not say it."""
    drawn = any(agreement(record).startswith("(") for record in records)
    asked = any(agreement(record)[0].isdigit() for record in records)
    lines = []
    if asked:
        lines.append("SS%: residues with the structure asked for.")
    if drawn:
        lines.append("SS% in brackets: residues as in the blueprint that was drawn for the design.")
    return [
        *lines,
        "H/E/C%: helix, strand, coil. Rg/nat, packing: radius of gyration and neighbours",
        "of side chains over the median of natives. ends: residues of the longer coil",
        "end. Rama%: residues in favoured regions of our Ramachandran plot (natives: 98).",
        "good: no break, clash or left-handed helix; each number of the fold within that",
        "of 19 in 20 globular natives; and what was asked for or drawn is met.",
    ]
