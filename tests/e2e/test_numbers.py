"""Numeric options take decimal digits alone, in every command."""

import pytest
import typer

from protgen.cli.main import app
from protgen.cli.numbers import kind_of, with_plain_numbers
from protgen.cli.sweep import expand
from protgen.cli.train_config import load_config, require_plain_numbers
from protgen.errors import ConfigError

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


@pytest.mark.parametrize(
    "override",
    [
        "train.steps=1_0", "train.lr=1_0e-4", "train.lr=.5_0", "encoder.dim=1_28", "encoder.dim=[16,1_28]",
        "train.steps=\uff11\uff10", "encoder.dim=\u0663", "train.dropout={length: 0_1}", "train.steps=int('1_0')",
        "encoder.dim=int(\uff11\uff16)", "family.min_t=nan", "train.minutes=-Inf", "run=2024_01",
        "train.steps=" + "9" * 5000, "data.batch=1_0",
    ],
)  # fmt: skip
def test_overrides_of_a_training_refuse_them_as_options_do(override):
    """Hydra takes `1_0` for 10 and Python the digits of other scripts: one line that shows what was typed."""
    with pytest.raises(ConfigError, match="is no number in decimal digits") as refusal:
        load_config(["experiment=flow_tiny", "data.store=x", override])
    assert override[:70] in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize("value", ["1:00", "0x10", "1e", "016", "1__0", "'1_0'"])
def test_words_that_look_like_numbers_are_refused_by_the_setting(cli, tiny_store, tmp_path, value):
    """Hydra makes words of them: a setting that counts names itself, and so does a keyword of a network."""
    given = ("train", "experiment=flow_tiny", f"data.store={tiny_store}", f"run={tmp_path / 'run'}")
    cli(*given, f"train.steps={value}").assert_failed(2, "train.steps is", "give a whole number")
    cli(*given, f"encoder.dim={value}").assert_failed(2, "dim of frame_attention", "give a whole number")
    assert not (tmp_path / "run").exists()


def test_words_and_plain_numbers_are_what_they_were():
    """Names with digits, quoted words, numbers with sign and exponent."""
    given = ["run=runs/1_0", "train.steps=+10", "train.lr=2e-4", "encoder.dim=16"]
    config = load_config(["experiment=flow_tiny", "data.store='2024_01'", *given])
    assert (str(config.run), str(config.store)) == ("runs/1_0", "2024_01")
    assert (config.settings.steps, config.settings.lr, config.model["encoder"]["dim"]) == (10, 2e-4, 16)
    require_plain_numbers("start='1_0'")


@pytest.mark.parametrize("override", ["train.steps=5,1_0", "train.steps=choice(5,1_0)", "train.steps=range(1,1_0)"])
def test_a_sweep_refuses_them_too(override):
    """Before they are expanded, since what comes of them is plain."""
    with pytest.raises(ConfigError, match="1_0 is no number"):
        expand(["experiment=flow_tiny", override])
