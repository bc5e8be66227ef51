"""The table `protgen sample` ends with: each design, what was asked, what came out, is it good."""

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from protgen.cli.console import table
from protgen.types import JSON

SS = "secondary_structure"
LEAST_OFF = 1e-6  # differences below it are of rounding
RAMA_LOW = 0.90  # natives have 0.98 on average and hardly any of them less than this


def verdict(record: JSON) -> list[str]:
    """What is wrong with a design, in a word each; empty if it is good."""
    v = record["validity"]
    asked = {entry["condition"] for entry in record["requested"]}
    checks = [
        ("broken", v["chain_breaks"]),
        ("clash", v["n_clashes"]),
        ("left-handed", v["left_handed_helices"]),
        ("Rama", number(v["rama_favoured"]) < RAMA_LOW),
    ]
    missed = [m["condition"] for m in record["measured"] if m["condition"] in asked and not m["satisfied"]]
    names = {SS: "SS off", "fractions": "fractions off", "length": "length off"}
    return [word for word, wrong in checks if wrong] + [names.get(name, f"{name} off") for name in missed]


def number(value: float | None) -> float:
    """A number from JSON, where null stands for one that does not exist."""
    return math.nan if value is None else float(value)


def percent(value: float | None) -> str:
    """A fraction as a whole percentage; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.0f}"


def agreement(record: JSON) -> str:
    """Fraction of residues with the structure asked for; in brackets with the blueprint the model drew itself."""
    found = next((m for m in record["measured"] if m["condition"] == SS), None)
    if found is None:
        return "-"
    text = percent(1 - found["difference"])
    asked = any(entry["condition"] == SS for entry in record["requested"])
    return text if asked else f"({text})"


def designs_table(records: Sequence[JSON]) -> Table:
    """One line a design, 79 columns wide at the most."""
    result = table("design", "len", "SS%", "helix%", "strand%", "Rg Å", "breaks", "clashes", "Rama%", "<verdict")
    for record in records:
        v = record["validity"]
        problems = verdict(record)
        word = Text("good", "green") if not problems else Text(in_brief(problems), "yellow")
        result.add_row(
            f"{record['index']:04d}",
            str(v["length"]),
            agreement(record),
            percent(v["helix"]),
            percent(v["strand"]),
            f"{v['rg']:.1f}",
            f"{v['chain_breaks']:.0f}",
            f"{v['n_clashes']:.0f}",
            percent(v["rama_favoured"]),
            word,
        )
    return result


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
        return brief(str(asked).partition(" ")[2], 30), f"RMSD {number(got['rmsd']):.2f} Å"
    return brief(asked), brief(got)


def off_by(value: float | None) -> str:
    """A difference as it is read: what is left by rounding, below a millionth, is 0."""
    off = number(value)
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


def in_brief(problems: Sequence[str], most: int = 14) -> str:
    """Problems in a few words: the first, and the others too or their number."""
    text = ", ".join(problems)
    return text if len(text) <= most else f"{problems[0]} +{len(problems) - 1}"


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
    return [*lines, "Rama%: residues in favoured regions of the Ramachandran plot (natives: 98)."]
