"""Order, results and the death of a worker."""

import os

import pytest

from protgen.errors import UsageError
from protgen.parallel import run


def square(x: int) -> int:
    return x * x


def square_or_die(x: int) -> int:
    if x == 5:
        os._exit(9)
    return x * x


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_has_its_result(jobs):
    """Results carry the index of their item, whatever order they come in."""
    outcomes = {o.index: o.result for o in run(square, list(range(40)), jobs=jobs)}
    assert outcomes == {i: i * i for i in range(40)}


def test_a_dead_worker_costs_its_own_item_alone():
    """One item kills its process: it alone is lost, and named."""
    outcomes = {o.index: o for o in run(square_or_die, list(range(12)), jobs=2)}
    assert sorted(outcomes) == list(range(12))
    assert [i for i, o in outcomes.items() if o.died] == [5]
    assert all(o.result == i * i for i, o in outcomes.items() if not o.died)


def test_jobs_must_be_positive():
    """Zero jobs is a mistake of the user."""
    with pytest.raises(UsageError, match="jobs"):
        run(square, [1], jobs=0)


def test_exceptions_are_raised():
    """A bug in the function is not hidden."""
    with pytest.raises(TypeError):
        list(run(square, ["a", "b"], jobs=1))
