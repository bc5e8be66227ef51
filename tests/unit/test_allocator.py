"""Freed memory is kept, where the allocator is glibc's and nobody has set it."""

import ctypes
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from protgen.allocator import OWN, keep_freed_memory
from protgen.threads import in_order


@pytest.fixture
def options(monkeypatch) -> Iterator[list[tuple[int, int]]]:
    """What is asked of an allocator that takes everything."""
    asked: list[tuple[int, int]] = []
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda k, v: asked.append((k, v)) or 1))
    keep_freed_memory.cache_clear()
    yield asked
    keep_freed_memory.cache_clear()


def test_the_allocator_is_told_once_when_work_begins(options):
    """-1 and -3 are M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h; it takes 32 MB of the second at most."""
    assert list(in_order(lambda item, _: item, [1, 2], 2)) == [1, 2]
    assert list(in_order(lambda item, _: item, [3], 1)) == [3]
    assert options == [(-1, 2**28), (-3, 2**25)]


@pytest.mark.parametrize("name", OWN)
def test_what_a_user_has_set_stays(options, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
    assert options == []


def test_other_systems_are_left_alone(options, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("looked for a library"))
    assert not keep_freed_memory()
    assert options == []
