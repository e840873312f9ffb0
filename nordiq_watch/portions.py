"""A fleet's arrays in portions: what is computed of a few hundred servers at a time stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

PORTION = 256
"""Servers. With a horizon of 96, their values of one metric in float64 take 200 kB."""


def portions(servers: int, size: int = PORTION) -> Iterator[slice]:
    """Slices of at most `size` that cover this number of servers, in order."""
    for begin in range(0, servers, size):
        yield slice(begin, min(begin + size, servers))
