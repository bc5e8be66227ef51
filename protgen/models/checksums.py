"""Whether the weights of a model folder are those that were written: `checksums.json` has size and SHA-256 of each.

`config.json` and `card.md` are not among them: settings of sampling may be edited. A folder of before has no
`checksums.json`, and is read as it is.
"""

from pathlib import Path

from protgen.errors import CheckpointError
from protgen.integrity import damage, fingerprints, is_sealed, sealed
from protgen.models.blueprints import FILE as BLUEPRINTS
from protgen.models.files import load_json, save_json
from protgen.models.renamed import OLD_BLUEPRINTS
from protgen.models.topologies import FILE as TOPOLOGIES
from protgen.types import JSON

FILE = "checksums.json"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GUIDE_WEIGHTS = "guide.safetensors"
SUMMED = (WEIGHTS, GUIDE_WEIGHTS, BLUEPRINTS, OLD_BLUEPRINTS, TOPOLOGIES)


def write_checksums(folder: Path) -> None:
    """Write the checksums of a finished model folder, of those files that are there.

    Raises:
        OSError: if a file cannot be read or written.
    """
    names = [name for name in SUMMED if (folder / name).is_file()]
    save_json(sealed({"files": fingerprints(folder, names)}), folder / FILE)


def remove_checksums(folder: Path) -> None:
    """Remove the checksums of a model folder, before files of it are replaced: a kill leaves a folder without them."""
    (folder / FILE).unlink(missing_ok=True)


def check_checksums(folder: Path) -> None:
    """Look whether the files of a model folder are what was written; one without checksums is taken as it is.

    Raises:
        CheckpointError: if a file is missing, changed, or not among those that were written.
    """
    known = _known(folder)
    while known is not None:
        problem = _problem(folder, known)
        if not problem:
            return
        again = _known(folder)
        if again == known:
            raise CheckpointError(
                f"{folder}: {problem}; get or train the model again, or remove {FILE} if the change is meant"
            )
        known = again  # a training has written the folder meanwhile


def _known(folder: Path) -> JSON | None:
    """What was written, by the name of the file; None where nothing is known."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = load_json(path)
    except CheckpointError:
        if path.exists():
            raise
        return None  # a training has begun to write the folder
    files = content.get("files")
    if not is_sealed(content) or not isinstance(files, dict) or WEIGHTS not in files or not files.keys() <= {*SUMMED}:
        raise CheckpointError(f"{path}: has other content than was written; get or train the model again")
    return files


def _problem(folder: Path, known: JSON) -> str:
    added = [name for name in SUMMED if name not in known and (folder / name).exists()]
    return f"{added[0]} is not in {FILE}" if added else damage(folder, known)
