"""How a `protgen run` begins: what its stages share, whether a folder holds that run, backbones made elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protgen.cli.design_sequences import check_names, remove_old
from protgen.cli.options import Asked, RunOptions, SettingsOptions
from protgen.cli.sequence_options import check_unchanged
from protgen.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from protgen.evaluation.sequence_design import SequenceSettings
    from protgen.folding.base import StructurePredictor
    from protgen.inverse_folding.base import InverseFolder, SequenceModel

SOURCE = "source.json"  # of a run: where its backbones are from


@dataclass(frozen=True)
class Stages:
    """What the stages after sampling share.

    Attributes:
        out: folder of the run.
        tool: designs sequences.
        settings: how.
        predictor: folds them; None for no refolds.
        backbones: folder of structures made elsewhere; None for those of the run.
        second: another designer that scores the sequences too; None for none.
    """

    out: Path
    tool: "InverseFolder"
    settings: "SequenceSettings"
    predictor: "StructurePredictor | None"
    backbones: Path | None = None
    second: "SequenceModel | None" = None

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Of backbones, sequences and refolds."""
        return self.backbones or self.out / "backbones", self.out / "sequences", self.out / "refolds"


def check_unused(sampled: RunOptions, asked: Asked, how: SettingsOptions, *, no_filter: bool) -> None:
    """Raise UsageError if something is asked of the sampling, which there is none of.

    Args:
        sampled: model, number and seed; the seed is that of the sequences too.
        asked: conditions.
        how: settings.
        no_filter: whether --no-filter was given.
    """
    if asked.values or asked.file is not None:
        raise UsageError("--backbones are made already; leave out the conditions, or --backbones")
    of_sampling = {"model": sampled.model, **how.given()}
    given = [f"--{name.replace('_', '-')}" for name, value in of_sampling.items() if value is not None]
    given = ["--no-relax" if name == "--relax" else name for name in given]
    given += ["-n"] if sampled.n != RunOptions().n else []
    given += ["--no-filter"] if no_filter else []
    if given:
        raise UsageError(f"--backbones are made already, and all of them are judged; leave out {', '.join(given)}")


def source_of(stages: Stages) -> dict[str, str]:
    """Where the backbones of a run are from, as `source.json` has it."""
    return {"backbones": "sampled" if stages.backbones is None else str(stages.backbones.resolve())}


def check_same_run(stages: Stages) -> None:
    """Raise UsageError if a folder holds another run: of other backbones, sequences, or another predictor's refolds."""
    from protgen.cli.design_folder import first_difference
    from protgen.documents import read_json
    from protgen.evaluation.collect import CACHE_MARKER
    from protgen.evaluation.made_files import MadeFiles
    from protgen.evaluation.sequence_refolds import ABOUT

    def read(path: Path) -> Any:
        try:
            return read_json(path)
        except DocumentError:
            return {}  # nothing, or another tool's files, which are kept

    check_unchanged(stages.folders[1], stages.tool, stages.settings, resume=True)
    before, now = read(stages.out / SOURCE).get("backbones"), source_of(stages)["backbones"]
    if before is None and stages.backbones is not None and any((stages.out / "backbones").glob("*.json")):
        before = "sampled"  # and interrupted while it was
    moved = before not in (None, "sampled") and now != "sampled" and not Path(str(before)).is_dir()
    if before is not None and before != now and not moved:
        known = "sampled for it" if before == "sampled" else f"those of {before}"
        raise UsageError(f"{stages.out}: cannot resume, the backbones of that run were {known}; choose another --out")
    refolds, predictor = stages.folders[2], stages.predictor
    about = read(refolds / CACHE_MARKER)
    if predictor is not None and about.get("about") == ABOUT and MadeFiles(refolds).names:
        difference = first_difference(about.get("folder"), json.loads(json.dumps(predictor.settings)))
        if difference:
            raise UsageError(
                f"{refolds}: cannot resume, those refolds had {difference}; give the same --structure-predictor, or "
                "choose another --out"
            )


def made_elsewhere(stages: Stages, *, resume: bool, overwrite: bool) -> list[Path]:
    """Structure files of the folder that was given.

    Args:
        stages: of the run.
        resume: whether to finish an earlier run.
        overwrite: whether to replace it.

    Raises:
        UsageError: if it is no folder of structures in its top, two have one name, or an earlier run is there.
    """
    from protgen.evaluation.collect import collect_files

    folder = stages.folders[0]
    if not folder.is_dir():
        raise UsageError(f"--backbones {folder}: no such folder")
    files = [path for _, path in collect_files([folder], leave_out=[stages.out]) if path.parent == folder]
    if not files:
        raise UsageError(f"--backbones {folder}: its structures are in folders below it; name one of these")
    check_names(files)
    if overwrite:
        remove_results(stages, files)
    else:
        check_unchanged(stages.folders[1], stages.tool, stages.settings, resume=resume)
    return files


def remove_results(stages: Stages, backbones: Sequence[Path] = ()) -> None:
    """Remove what the stages after the backbones have made, and what goes by the names of these; nothing else."""
    from protgen.evaluation.made_files import MadeFiles

    _, sequences, refolds = stages.folders
    remove_old(sequences, backbones)
    if refolds.is_dir():
        with MadeFiles(refolds) as made:
            for name in made.names:
                made.remove(name)
