"""Builds the shared library of the TM-score search from `native/`, where there is a C compiler.

The wheel carries the library (`hatch_build.py` calls this module by its path), so no compiler is needed to use the
package. `python -m protgen.metrics.tm_library` builds it in place: in a source folder that is not installed, or where a
compiler came later. Nothing is compiled at run time, and nothing is kept in the user's home.

One library serves every processor of its kind. It holds the search for any x86-64, for AVX2 and for AVX-512, and
chooses when it is called. All give the same bits: no flag lets the compiler change the order of sums, replace a
division, or fuse a multiplication with an addition. This module imports the standard library alone, as the build has
nothing else.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

NATIVE = Path(__file__).parent / "native"
_SEARCH = "tm_search.c"  # compiled once for each processor
_CHOICE = "tm_library.c"  # chooses among them
_HEADERS = ("tm_starts.h", "tm_score.h", "tm_align.h", "tm_lanes.h")
# IEEE arithmetic as it is written. The two -fno flags change no value: errno and traps are not looked at.
_FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-fPIC")
# Eight lanes with AVX2; AVX-512 adds masks and registers, which save a tenth of the time.
_X86 = {
    "baseline": (),
    "avx2": ("-mavx2",),
    "avx512": ("-mavx2", "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"),
}
_COMPILE_SECONDS = 120.0


SEAL = hashlib.sha256().digest_size  # bytes at the end of a library: the SHA-256 of the others, which loaders pass over


class NoLibraryError(Exception):
    """Why the library cannot be built."""


def variants() -> dict[str, tuple[str, ...]]:
    """Kinds of processors that the library is compiled for, with the flags of each."""
    return _X86 if platform.machine().lower() in ("x86_64", "amd64") else {"baseline": ()}


def library_name(native: Path | None = None) -> str:
    """File name of the library of these sources on this system: other sources or another system have another name."""
    native = native or NATIVE
    digest = hashlib.sha256(repr((_FLAGS, _X86, SEAL)).encode())
    for name in (_SEARCH, _CHOICE, *_HEADERS):
        digest.update((native / name).read_bytes())
    return f"tm_search-{digest.hexdigest()[:16]}-{platform.system().lower()}-{platform.machine().lower()}.so"


def sealed(content: bytes) -> bytes:
    """A library with its checksum at its end; on macOS, whose signatures cover the whole file, as it is."""
    return content if platform.system() == "Darwin" else content + hashlib.sha256(content).digest()


def is_whole(library: Path) -> bool:
    """Whether a library is what was built: loading one that is cut ends the process by a signal."""
    data = library.read_bytes()
    return platform.system() == "Darwin" or hashlib.sha256(data[:-SEAL]).digest() == data[-SEAL:]


def build(folder: Path, native: Path | None = None) -> Path:
    """Compile the library into a folder: whole or not at all, however many processes do so at once.

    Args:
        folder: where the library goes.
        native: folder of the sources; that of the package by default.

    Returns:
        The path of the library.

    Raises:
        NoLibraryError: if there is no C compiler, or it fails or takes longer than two minutes.
    """
    if os.name != "posix":
        raise NoLibraryError("the compiled search needs Linux or macOS")
    native = native or NATIVE
    compiler = _compiler()
    made = folder / library_name(native)
    with TemporaryDirectory(prefix="protgen-", ignore_cleanup_errors=True) as scratch:
        objects = []
        for variant, flags in variants().items():
            objects.append(os.path.join(scratch, f"{variant}.o"))
            source = os.fspath(native / _SEARCH)
            _run([*compiler, *_FLAGS, *flags, f"-DTM_SEARCH=tm_search_{variant}", "-c", "-o", objects[-1], source])
        linked = Path(scratch) / made.name
        _run([*compiler, *_FLAGS, "-shared", "-o", os.fspath(linked), *objects, os.fspath(native / _CHOICE), "-lm"])
        temporary = folder / f".{made.name}.{os.getpid()}"
        try:
            temporary.write_bytes(sealed(linked.read_bytes()))
            temporary.chmod(0o755)
            os.replace(temporary, made)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise NoLibraryError(f"{made}: {error}") from None
    return made


def build_in_place() -> Path:
    """Compile the library to where it is looked for, if it is not there; libraries of older sources are removed.

    Raises:
        NoLibraryError: as `build`.
    """
    made = NATIVE / library_name()
    if not (made.is_file() and is_whole(made)):
        build(NATIVE)
        for old in NATIVE.glob("tm_search-*.so"):
            if old.name != made.name:
                old.unlink(missing_ok=True)
    return made


def _compiler() -> list[str]:
    """The command of a C compiler: $CC, or the first of cc, gcc and clang."""
    given = shlex.split(os.environ.get("CC", ""))
    for command in (given, ["cc"], ["gcc"], ["clang"]):
        found = shutil.which(command[0]) if command else None
        if found is None:
            continue
        # without the command line tools, macOS's /usr/bin/cc asks on the screen whether to install them
        if platform.system() == "Darwin" and found.startswith("/usr/bin/"):
            tools = subprocess.run(["/usr/bin/xcode-select", "-p"], capture_output=True, check=False)
            if tools.returncode != 0:
                continue
        return [found, *command[1:]]
    raise NoLibraryError("no C compiler")


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMPILE_SECONDS)
    except OSError as error:
        raise NoLibraryError(f"{command[0]} failed: {error}") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
        raise NoLibraryError(f"{command[0]} failed: {said[0][:200]}") from None
    except subprocess.TimeoutExpired:
        raise NoLibraryError(f"{command[0]} took more than {_COMPILE_SECONDS:.0f} s") from None


if __name__ == "__main__":
    try:
        print(build_in_place())
    except NoLibraryError as reason:
        sys.exit(f"the TM-score search stays in numpy: {reason}")
