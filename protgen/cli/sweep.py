"""Sweeps of `protgen train -m`: overrides with several values, as Hydra's basic sweeper reads them, one by one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from protgen.cli.train_config import require_plain_numbers
from protgen.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Combination:
    """One run of a sweep.

    Attributes:
        overrides: all overrides, `key=value` with one value each.
        swept: those that differ between runs.
    """

    overrides: tuple[str, ...]
    swept: tuple[str, ...]


def expand(overrides: Sequence[str]) -> list[Combination]:
    """Every combination of the values given: `a=1,2`, `a=choice(1,2)`, `a=range(1,4)`.

    Raises:
        ConfigError: with what Hydra says of an override it cannot read, or as `require_plain_numbers`.
        UsageError: if no override has several values.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for text in overrides:  # in `choice(1_0,2)`: the values that come of it are numbers already
        require_plain_numbers(text)
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        choices = []
        for override, text in zip(parsed, overrides, strict=True):
            key = override.get_key_element()
            several = override.is_sweep_override()
            values = [f"{key}={value}" for value in override.sweep_string_iterator()] if several else [text]
            choices.append((several, values))
    except HydraException as error:
        raise ConfigError(f"sweep: {str(error).splitlines()[0]}") from error
    if not any(several for several, _ in choices):
        raise UsageError("-m sweeps over values separated by commas, and there are none; leave -m out, or add some")
    marks = [several for several, _ in choices]
    return [
        Combination(picked, tuple(text for text, swept in zip(picked, marks, strict=True) if swept))
        for picked in product(*(values for _, values in choices))
    ]


def name_of(combination: Combination) -> str:
    """A folder name for a run: what is particular to it, without characters that a shell or file system minds."""
    return re.sub(r"[^A-Za-z0-9_.=,+-]+", "_", ",".join(combination.swept))
