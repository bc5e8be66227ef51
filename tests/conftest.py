"""Shared small inputs: tests build their own data and never need a download."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from protgen.metrics.tm_library import NoLibraryError, build_in_place

torch.set_num_threads(1)


def pytest_configure() -> None:
    """Compiles the TM-score search of a source folder that is not installed, so that tests of sets take seconds."""
    with suppress(NoLibraryError):
        build_in_place()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real structures for extra checks, where a machine has them."""
    folder = Path(os.environ.get("PROTGEN_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("no shared data on this machine")
    return folder


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator on the CPU."""
    return torch.Generator().manual_seed(0)
