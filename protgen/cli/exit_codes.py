"""Exit codes of every command; scripts rely on them."""

DONE = 0
INTERNAL = 1  # a bug of ours, never a user's mistake
USAGE = 2  # bad usage, configuration, model or data
SOME_FAILED = 3  # some inputs failed, each named
ALL_FAILED = 4
INTERRUPTED = 130  # Ctrl-C
TERMINATED = 143  # SIGTERM, as cluster schedulers send it


def of_failures(failed: int, n: int) -> int:
    """The code of a run over n inputs of which some failed."""
    if not failed:
        return DONE
    return ALL_FAILED if failed == n else SOME_FAILED
