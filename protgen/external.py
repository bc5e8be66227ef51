"""Run external programs: a command line with placeholders, a time limit, and one line of error.

No shell is involved. The template is split into words as a shell would split it, and then the placeholders are filled
in. So a blank or a quote in a path stays within its word.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from protgen.errors import ConfigError, ToolError
from protgen.registry import nearest

TAIL = 300  # characters of a program's last words that an error quotes
_PLACE = re.compile(r"\{([a-z_]+)\}")


class ExternalCommand:
    """A program with its arguments, some of which are filled in for each run.

    Args:
        template: such as `fold --in {fasta} --out {pdb}`; `{name}` marks a place.
        places: the names that may be filled in.
        one_of: for each entry, at least one of its names must be in the template.
        timeout: seconds after which a run is ended, with every process it has started in its group.

    Raises:
        ConfigError: if the template is empty or not closed, names an unknown place or lacks one, or if there is no
            such program.
    """

    def __init__(
        self, template: str, *, places: Sequence[str], one_of: Sequence[Sequence[str]] = (), timeout: float = 3600.0
    ) -> None:
        try:
            self.words = shlex.split(template)
        except ValueError as error:
            raise ConfigError(f"command {template!r}: {str(error).lower()}; close every quote") from None
        if not self.words:
            raise ConfigError("command is empty: give a program and its arguments")
        if not 0 < timeout < float("inf"):
            raise ConfigError(f"time limit {timeout}: give seconds above 0")
        known = [f"{{{name}}}" for name in places]
        used = {name for word in self.words for name in _PLACE.findall(word)}
        for name in sorted(used - set(places)):
            raise ConfigError(f"command {template!r}: no place {{{name}}} to fill in: {nearest(f'{{{name}}}', known)}")
        for names in one_of:
            if not used & set(names):
                wanted = " or ".join(f"{{{name}}}" for name in names)
                raise ConfigError(f"command {template!r}: has no {wanted}, which names the program's input or output")
        if _PLACE.search(self.words[0]) or shutil.which(self.words[0]) is None:
            raise ConfigError(
                f"command {template!r}: no program {self.words[0]!r} on PATH; install it or give its path"
            )
        self.template = template
        self.timeout = timeout

    @property
    def program(self) -> str:
        """Its name, for messages."""
        return Path(self.words[0]).name

    def run(self, values: Mapping[str, str | Path | int], scratch: Path) -> None:
        """Run it to its end, in the current working directory.

        Args:
            values: what goes into the places.
            scratch: a folder for what it prints.

        Raises:
            ToolError: if it cannot be started, does not end in time, or ends with a status other than 0; the message
                has the end of what it printed on stderr, or on stdout if that is empty.
        """
        words = [_PLACE.sub(lambda found: str(values[found[1]]), word) for word in self.words]
        printed = [scratch / "stdout.txt", scratch / "stderr.txt"]
        # Files rather than pipes: a grandchild that outlives the program cannot keep us waiting for the end of a pipe.
        with printed[0].open("wb") as out, printed[1].open("wb") as err:
            try:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                raise ToolError(f"{self.program}: cannot be started: {error.strerror or error}") from None
            try:
                status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                raise ToolError(f"{self.program}: not done after {self.timeout:g} s and ended") from None
            except BaseException:
                _end(process)
                raise
        if status != 0:
            how = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
            said = _tail(printed[1]) or _tail(printed[0])
            raise ToolError(f"{self.program}: {how}: {said}" if said else f"{self.program}: {how}, and no message")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program of ours and what is in its process group."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _tail(path: Path) -> str:
    """The end of a text in one line."""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 8 * TAIL))
        text = " ".join(handle.read().decode("utf-8", "replace").split())
    return text if len(text) <= TAIL else "... " + text[-TAIL:]
