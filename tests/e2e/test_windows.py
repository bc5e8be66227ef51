"""The command line starts where POSIX alone has a module or a function, as on Windows."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses")
FUNCTIONS = ("killpg", "getuid", "geteuid", "getgid", "fork", "setsid", "getpgid", "getloadavg", "sched_getaffinity")
SIGNALS = ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGCHLD")

# The standard library and third-party packages are loaded first: they know what system they are on.
PROGRAM = f"""
import os, signal, subprocess, sys
import mdtraj, numpy, rich.console, scipy.spatial, torch, typer
for name in {MODULES}:
    sys.modules[name] = None
for name in {FUNCTIONS}:
    if hasattr(os, name):
        delattr(os, name)
for name in {SIGNALS}:
    if hasattr(signal, name):
        delattr(signal, name)
import pkgutil, importlib, protgen.cli
for module in pkgutil.iter_modules(protgen.cli.__path__, "protgen.cli."):
    importlib.import_module(module.name)
from protgen.cli.main import run
for command in sys.argv[1:]:
    print("exit code of", command, "is", run(command.split()))
"""
COMMANDS = ("--help", "evaluate --help", "models", "doctor")


def test_runs_without_posix():
    """Help, the list of models and the self-test exit with 0 with POSIX modules, functions and signals hidden."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *COMMANDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert f"exit code of {command} is 0" in done.stdout
    assert "error" not in done.stderr


def test_memory_is_unknown_where_nothing_tells_it():
    """Peak memory is a number of MB here, and None without `resource`."""
    code = "import sys; sys.modules['resource'] = None; from protgen.cli.check import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
    from protgen.cli.check import peak_memory

    assert 20 < (peak_memory() or 0) < 100_000
