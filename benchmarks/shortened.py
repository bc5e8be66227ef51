"""Summaries of a result in few characters, for the terminal."""

from typing import Any

HIDDEN = ("command", "settings", "machine")  # what a file keeps and a reader of the terminal knows


def brief(value: Any, digits: int = 3) -> Any:
    """A result with each summary as its mean, 95 % interval and number; of one value there is no interval.

    Examples:
        >>> brief({"rg": {"mean": 1.0312, "ci_low": 0.99, "ci_high": 1.07, "n": 8}, "seed": 0})
        {'rg': '1.031 [0.990, 1.070] n=8', 'seed': 0}
        >>> brief([{"mean": 1.0312, "ci_low": float("nan"), "ci_high": float("nan"), "n": 1}], digits=2)
        ['1.03 n=1']
    """
    if isinstance(value, dict) and "ci_low" in value:
        known = value["n"] > 1
        interval = f" [{value['ci_low']:.{digits}f}, {value['ci_high']:.{digits}f}]" if known else ""
        return f"{value['mean']:.{digits}f}{interval} n={value['n']}"
    if isinstance(value, dict):
        return {key: brief(entry, digits) for key, entry in value.items() if key not in HIDDEN}
    return [brief(entry, digits) for entry in value] if isinstance(value, list) else value
