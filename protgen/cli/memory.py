"""How much memory this process has used at the most."""

import sys

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None

MEGABYTE = 1024**2


def peak_memory() -> float | None:
    """Megabytes that this process has used at the most; None where the system does not tell."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, bytes on macOS
    return peak / MEGABYTE if sys.platform == "darwin" else peak * 1024 / MEGABYTE
