"""Query parameters that hold one name, or several with commas between."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nordiq_watch.errors import RequestError
from nordiq_watch.labels import split_list


def read_names(parameter: str, text: str | None, *, read: Callable[[str], str] = str.strip) -> frozenset[str] | None:
    """The names between commas; None without the parameter. RequestError for an empty one."""
    if text is None:
        return None
    names = [read(name) for name in text.split(",")]
    if not all(names):
        raise RequestError(f"{parameter} is {text!r:.60}; must be one name, or several with one comma between")
    return frozenset(names)


def read_labels(text: str | None) -> tuple[tuple[str, frozenset[str]], ...]:
    """The values that are wanted, by the labels' names; none without the parameter. RequestError for anything else."""
    try:
        return () if text is None else tuple(sorted(split_list(text).items()))
    except ValueError as error:
        raise RequestError(f"label has {error}; several stand with commas between") from None


def read_known(
    parameter: str, text: str | None, allowed: Iterable[str], *, what: str, read: Callable[[str], str] = str
) -> frozenset[str] | None:
    """As `read_names`; RequestError names the first that is not allowed. what: each of the allowed ones is."""
    names = read_names(parameter, text, read=lambda name: read(name.strip()))
    listed = list(allowed)
    for name in sorted(names or ()):
        if name not in listed:
            raise RequestError(f"{parameter} has {name!r:.60}, which is no {what}; there are {', '.join(listed)}")
    return names
