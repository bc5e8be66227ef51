"""Numeric options take decimal digits alone, in every command."""

import pytest
import typer

from protgen.cli.main import app
from protgen.cli.numbers import kind_of, with_plain_numbers

STRANGE = ("1_0", "\uff11\uff10", "\u0661", "0x10", "1e", "nan", "inf", "", "9" * 5000)


def options(command, path=()):
    """The numeric options of a command and those below it, by the words of the command and the flag."""
    for parameter in command.params:
        if kind_of(parameter) is not None:
            yield (*path, max(parameter.opts, key=len)), parameter
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, (*path, name))


def test_every_numeric_option_refuses_what_is_no_plain_number():
    """Plain numbers go on to the parser."""
    command = with_plain_numbers(typer.main.get_command(app))
    found = dict(options(command))
    assert {("sample", "--seed"), ("evaluate", "--cluster-tm"), ("data", "build", "--crops")} <= found.keys()
    assert len(found) >= 30
    for name, parameter in found.items():
        for text in STRANGE:
            with pytest.raises(typer.BadParameter, match="in decimal digits"):
                parameter.process_value(None, (text,) if parameter.multiple else text)
        assert kind_of(parameter) in (int, float), name


@pytest.mark.parametrize("text", ["1_0", "\uff11\uff10", "9" * 5000])
@pytest.mark.parametrize("flag", ["--seed", "-n", "--temperature", "--steps", "--length"])
def test_they_are_one_line_and_exit_2(cli, tiny_model, tmp_path, flag, text):
    given = ("--length", 20) if flag != "--length" else ()
    done = cli("sample", "--model", tiny_model, *given, flag, text, "--out", tmp_path / "o")
    done.assert_failed(2, flag.lstrip("-"))
    assert not (tmp_path / "o").exists()
