"""Reads in another thread while what was read before is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T_ = TypeVar("T_")


def read_ahead(items: Iterable[T_], *, at_once: int) -> Iterator[list[T_]]:
    """The items in lists of `at_once`, the last perhaps shorter; the next list is made in another thread meanwhile.

    Errors of `items` are raised here, after the items before them.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        found: list[T_] = []
        reading = reader.submit(_take, iterator, at_once, found)
        while True:
            error, ready = reading.exception(), found
            if error is None and ready:
                found = []
                reading = reader.submit(_take, iterator, at_once, found)
            if ready:
                yield ready
            if error is not None:
                raise error
            if not ready:
                return


def _take(iterator: Iterator[T_], count: int, into: list[T_]) -> None:
    """Into a list of the caller's, which has the items before an error."""
    into.extend(islice(iterator, count))
