"""Freed memory stays with the process: each step of a sampler or a training asks again for what the last one freed.

By default glibc gives freed memory back to the kernel from 128 kB on, and takes larger blocks from it anew each time.
A step of a network frees and asks for the same megabytes, and pays for each page again. A run of four designs of 100
residues by `flow-pairing` has 2,000 page faults in place of 370,000, and takes 1.11 CPU s a design in place of 1.31
(`benchmarks/allocator.py`); a design that is the only one of its run takes as long as before.
"""

import ctypes
import os
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT = 256 << 20  # bytes at the top of a heap, beyond which they are given back
MAPPED = 32 << 20  # bytes of a block, from which on it is the kernel's; glibc takes no more
OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, once; False where a user has set the allocator, or it is not glibc's."""
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in OWN):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another libc
        return False
    return bool(set_option(TRIM_THRESHOLD, KEPT)) and bool(set_option(MMAP_THRESHOLD, MAPPED))
