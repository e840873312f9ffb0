from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nordiq_watch.ingest.read_ahead import read_ahead


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_all_items_come_in_order(count: int) -> None:
    found = list(read_ahead(range(count), at_once=3))
    assert [item for items in found for item in items] == list(range(count))
    assert all(0 < len(items) <= 3 for items in found)


def test_the_next_items_are_read_while_these_are_worked_on() -> None:
    asked = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(3):
            asked.release()
            yield number

    groups = read_ahead(items(), at_once=1)
    next(groups)
    assert asked.acquire(timeout=10)
    assert asked.acquire(timeout=10), "the second was not asked for before the first was done with"
    assert list(groups) == [[1], [2]]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk")

    found: list[list[int]] = []
    with pytest.raises(OSError, match="the disk"):
        found.extend(read_ahead(items(), at_once=5))
    assert found == [[1]]


def test_a_caller_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    groups = read_ahead(range(100), at_once=1)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
