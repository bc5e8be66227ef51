"""Commands from templates: what is filled in, and every way of failing in one line."""

import sys
import time

import pytest

from protgen.errors import ConfigError, ToolError
from protgen.external import ExternalCommand

PLACES = ("given", "made")


def command(code: str, arguments: str = "{given} {made}", **options) -> ExternalCommand:
    return ExternalCommand(f'"{sys.executable}" -c "{code}" {arguments}', places=PLACES, **options)


def test_places_are_filled_in_word_by_word_and_no_shell_reads_them(tmp_path):
    """A value with blanks, quotes, braces and a shell's own signs arrives as it is, as one word."""
    value = "a b'\";$(touch bad) {made} >x"
    run = command("import sys; open(sys.argv[2], 'w').write(repr(sys.argv[1:]))")
    run.run({"given": value, "made": tmp_path / "m n"}, tmp_path)
    assert (tmp_path / "m n").read_text() == repr([value, str(tmp_path / "m n")])
    assert not list(tmp_path.glob("bad"))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", ["empty"]),
        ("echo 'open {given}", ["quote"]),
        ("echo {givne}", ["{givne}", "did you mean '{given}'"]),
        ("echo {made}", ["{given}"]),
        ("no-such-program-here {given}", ["no-such-program-here", "PATH"]),
        ("{given}", ["PATH"]),
    ],
)
def test_a_template_that_cannot_work_is_refused_before_it_runs(template, words):
    with pytest.raises(ConfigError) as caught:
        ExternalCommand(template, places=PLACES, one_of=[("given",)])
    assert all(word in str(caught.value) for word in words)


def test_braces_that_are_no_place_stay():
    """JSON among the arguments is none of ours."""
    ExternalCommand("""echo {given} '{"A": [1]}'""", places=PLACES)


def test_failure_has_status_and_the_end_of_stderr(tmp_path):
    """The last words are reported in one line, however long the output was; stdout stands in where stderr is empty."""
    run = command("import sys; sys.stderr.write('x' * 5000 + '\\n\\nout of\\nmemory'); sys.exit(7)", "")
    with pytest.raises(ToolError, match=r"exit status 7: \.\.\. x+ out of memory$") as caught:
        run.run({}, tmp_path)
    assert len(str(caught.value)) < 400
    with pytest.raises(ToolError, match=r"exit status 1: said here$"):
        command("print('said here'); raise SystemExit(1)", "").run({}, tmp_path)
    with pytest.raises(ToolError, match="signal 9"):
        command("import os; os.kill(os.getpid(), 9)", "").run({}, tmp_path)


def test_time_limit_ends_the_program_and_its_children(tmp_path):
    """A grandchild that keeps writing is there before the limit and writes nothing after it."""
    beats = tmp_path / "beats"
    inner = f"import time\nfor _ in range(1200): open(r'{beats}', 'a').write('x'); time.sleep(0.05)"
    script = tmp_path / "parent.py"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {inner!r}])\n")
    run = ExternalCommand(f'"{sys.executable}" -S "{script}"', places=(), timeout=3.0)
    begun = time.monotonic()
    with pytest.raises(ToolError, match="not done after 3 s"):
        run.run({}, tmp_path)
    assert time.monotonic() - begun < 30
    size = beats.stat().st_size
    assert size > 0
    time.sleep(0.5)
    assert beats.stat().st_size == size
