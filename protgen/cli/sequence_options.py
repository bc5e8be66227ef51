"""Options of `protgen design-sequences` and `protgen run`: who designs sequences, and how."""

import inspect
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import stdout, warn
from protgen.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protgen.evaluation.sequence_design import SequenceSettings
    from protgen.inverse_folding.base import InverseFolder, SequenceModel
    from protgen.types import JSON

SEQUENCES = "Sequences"


class Tied(StrEnum):
    """Which chains share their letters."""

    auto = "auto"
    all = "all"
    none = "none"


@dataclass(frozen=True)
class SequenceOptions:
    """Who designs sequences, how many, and what is kept."""

    inverse_folder: Annotated[
        str,
        typer.Option(
            "--inverse-folder",
            help="auto: proteinmpnn where installed, else graph_mpnn, which comes along. Also proteinmpnn:soluble, "
            "proteinmpnn:ca, frame2seq, command:TEMPLATE, or module:Class.",
            metavar="TOOL",
            rich_help_panel=SEQUENCES,
        ),
    ] = "auto"
    sequences: Annotated[
        int, typer.Option("--sequences", min=1, max=65_536, help="For each backbone.", rich_help_panel=SEQUENCES)
    ] = 8
    sequence_temperature: Annotated[
        float | None,
        typer.Option(
            "--sequence-temperature", min=0, help="Of the letters (0.1).", metavar="T", rich_help_panel=SEQUENCES
        ),
    ] = None
    omit: Annotated[
        str | None,
        typer.Option("--omit", help="Letters never drawn, such as C.", metavar="LETTERS", rich_help_panel=SEQUENCES),
    ] = None
    fixed: Annotated[
        str,
        typer.Option(
            "--fixed",
            help="Residues that keep the letter of their file, such as A10-20,B5; those of motifs do anyway.",
            metavar="RESIDUES",
            rich_help_panel=SEQUENCES,
        ),
    ] = ""
    redesign_motifs: Annotated[
        bool, typer.Option("--redesign-motifs", help="Give motifs new letters too.", rich_help_panel=SEQUENCES)
    ] = False
    tied: Annotated[
        Tied,
        typer.Option(
            "--tied",
            help="Chains of one length share a sequence: auto, in designs made symmetric; all; none.",
            rich_help_panel=SEQUENCES,
        ),
    ] = Tied.auto

    also_score: Annotated[
        str | None,
        typer.Option(
            "--also-score",
            help="A second designer that scores the sequences too, such as graph_mpnn, proteinmpnn or frame2seq: "
            "column second_score of sequences.csv, and the correlation of both scores.",
            metavar="TOOL",
            rich_help_panel=SEQUENCES,
        ),
    ] = None

    def second(self, tool: "InverseFolder") -> "SequenceModel | None":
        """The second designer, checked; None where none is asked for.

        Args:
            tool: the first.

        Raises:
            UsageError: if it cannot work here, gives no scores, or is the first.
        """
        if self.also_score is None:
            return None
        from protgen.evaluation.refolding import build_tool
        from protgen.inverse_folding.base import SequenceModel

        found = build_tool("inverse_folding", self.also_score)
        if not isinstance(found, SequenceModel):
            raise UsageError(f"--also-score {self.also_score}: it gives no scores; name graph_mpnn, or another network")
        if found.name == tool.name:
            raise UsageError(
                f"--also-score {self.also_score}: it designs the sequences; name another to score them too"
            )
        found.prepare()
        return found

    def tool(self) -> "InverseFolder":
        """The tool, checked.

        Raises:
            UsageError: if it cannot work here, or does not take an option that was given.
        """
        from protgen import registry
        from protgen.evaluation.refolding import build_tool
        from protgen.inverse_folding.best_installed import BEST, best_installed

        typed = {"temperature": self.sequence_temperature, "omit": self.omit}
        given = {key: value for key, value in typed.items() if value is not None}
        named = best_installed() if self.inverse_folder == BEST else self.inverse_folder
        tool = build_tool("inverse_folding", named, **given)
        taken = inspect.signature(type(tool)).parameters
        for key in given:
            if key not in taken:
                flag = {"temperature": "--sequence-temperature", "omit": "--omit"}[key]
                raise UsageError(f"{flag}: {registry.reference('inverse_folding', type(tool))} has no such option")
        tool.prepare()
        return tool

    def settings(self, seed: int, suffix: str = "pdb") -> "SequenceSettings":
        """How sequences are designed."""
        from protgen.evaluation.sequence_design import SequenceSettings

        return SequenceSettings(self.sequences, seed, self.fixed, self.tied.value, not self.redesign_motifs, suffix)


def agreement_of(
    rows: "Sequence[dict[str, Any]]", tool: "InverseFolder", second: "SequenceModel | None"
) -> "dict[str, JSON]":
    """How far both designers agree, as `agreement.json` has it; empty without a second.

    Args:
        rows: of sequences.
        tool: the first.
        second: the second.
    """
    from protgen.evaluation.second_opinion import agreement

    return {} if second is None else {"agreement": agreement(rows, tool.settings, second.settings)}


def say_agreement(rows: "Sequence[dict[str, Any]]", tool: "InverseFolder", second: "SequenceModel | None") -> None:
    """Print it, and warn of the sequences that the second could not score. Arguments are those of `agreement_of`."""
    from protgen.evaluation.second_opinion import MESSAGE, in_words

    for content in agreement_of(rows, tool, second).values():
        stdout().print(in_words(content), markup=False, soft_wrap=True)
    without = [row for row in rows if MESSAGE in row]
    if without:
        warn(f"{len(without)} sequences have no second score, the first {without[0]['name']}: {without[0][MESSAGE]}")


def check_unchanged(folder: Path, tool: "InverseFolder", settings: "SequenceSettings", *, resume: bool) -> None:
    """Raise UsageError if a folder holds sequences of another request, or any and they are not to be completed.

    Args:
        folder: of sequences.
        tool: that is to write them.
        settings: how.
        resume: whether to finish what is there.
    """
    import json

    from protgen.cli.design_folder import first_difference
    from protgen.documents import read_json
    from protgen.evaluation.sequence_design import SETTINGS, describe

    old = sorted(folder.glob("*.fasta")) if folder.is_dir() else []
    if not old:
        return
    if not resume:
        raise UsageError(
            f"{folder}: holds the sequences of {len(old)} backbones; choose another --out, or add --resume to design "
            "what is missing or --overwrite to replace them"
        )
    try:
        before = read_json(folder / SETTINGS)
    except DocumentError:
        return  # another tool's files, which are kept
    difference = first_difference(before, json.loads(json.dumps(describe(tool, settings))))
    if difference:
        raise UsageError(f"{folder}: cannot resume, those sequences had {difference}; give the same options")
