"""Trajectories of molecular dynamics and of samplers, read and written by mdtraj.

A trajectory holds coordinates alone; its topology, a structure file with the same atoms, says what they are.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from protgen.atomic import replacing
from protgen.errors import StructureError, UsageError
from protgen.structure.adapters import frames_of, frames_to_mdtraj
from protgen.structure.protein import Protein
from protgen.structure.writer import write_cif

SUFFIXES = (".xtc", ".trr", ".dcd", ".nc", ".h5", ".binpos", ".mdcrd")
OWN_TOPOLOGY = (".h5",)  # which say themselves what their atoms are
CHUNK = 200  # frames in memory at a time


def is_trajectory(path: str | PathLike[str]) -> bool:
    """Whether a file's name says that it is a trajectory."""
    return Path(path).name.lower().endswith(SUFFIXES)


def read_trajectory(path: str | PathLike[str], top: str | PathLike[str] | None = None) -> Iterator[Protein]:
    """The structures of a trajectory, frame by frame: "md.xtc" gives md_000000, md_000001, ...

    Molecules must be whole: a chain that the periodic box cuts has chain breaks.

    Args:
        path: the trajectory, in a format of `SUFFIXES`.
        top: a structure file with the same atoms in the same order; .h5 needs none.

    Raises:
        UsageError: if there is no such file, or no topology.
        StructureError: if a file cannot be read, or the two do not fit.
    """
    import mdtraj

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if top is None and not path.name.lower().endswith(OWN_TOPOLOGY):
        raise UsageError(f"{path}: a trajectory needs a topology, a structure file with the same atoms; add --top FILE")
    if top is not None and not Path(top).is_file():
        raise UsageError(f"{top}: no such file")
    done = 0
    try:
        topology = {} if top is None else {"top": mdtraj.load_topology(str(top))}
        for chunk in mdtraj.iterload(str(path), chunk=CHUNK, **topology):
            names = [f"{path.stem}_{done + k:06d}" for k in range(chunk.n_frames)]
            yield from frames_of(chunk, names)
            done += chunk.n_frames
    except (OSError, ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        place = f"{path}: frame {done} and later" if done else f"{path}"
        with_top = "" if top is None else f" with the topology {top}"
        raise StructureError(f"{place} cannot be read{with_top}: {reason}") from None
    if not done:
        raise StructureError(f"{path}: holds no frame")


@contextmanager
def unpacked(
    paths: Sequence[str | PathLike[str]], top: str | PathLike[str] | None = None
) -> Iterator[list[str | PathLike[str]]]:
    """Paths with a folder of mmCIF files, one a frame, in the place of each trajectory; they go at the end.

    Args:
        paths: files and folders, of which some may be trajectories.
        top: topology of the trajectories.

    Raises:
        UsageError, StructureError: as `read_trajectory`; also where two trajectories have one name, or a topology is
            given for none.
    """
    moving = [path for path in paths if is_trajectory(path)]
    if top is not None and not moving:
        raise UsageError(f"--top {top}: none of the paths is a trajectory ({', '.join(SUFFIXES)})")
    if len({Path(path).stem for path in moving}) < len(moving):
        raise UsageError("two trajectories have the same name, and their frames would too; rename one")
    with tempfile.TemporaryDirectory(prefix="protgen-frames-") as folder:
        found: list[str | PathLike[str]] = []
        for path in paths:
            if path not in moving:
                found.append(path)
                continue
            inside = Path(folder) / Path(path).stem
            inside.mkdir()
            for frame in read_trajectory(path, top):
                write_cif(frame, inside / f"{frame.name}.cif")
            found.append(inside)
        yield found


def write_trajectory(frames: Sequence[Protein], path: Path) -> None:
    """Write structures that have the same atoms as the frames of an .xtc file (0.01 Å), to a temporary file first.

    Args:
        frames: one structure for each frame.
        path: ends in .xtc.

    Raises:
        StructureError: if there is no frame, atoms differ, or it cannot be written.
    """
    trajectory = frames_to_mdtraj(frames)
    try:
        with replacing(path) as temporary:
            trajectory.save_xtc(str(temporary))
    except OSError as error:
        raise StructureError(f"{path}: cannot be written: {error.strerror or error}") from None
