"""Labels of servers: names and texts that people give them, such as `team: web`. What one may be, and how they select.

In queries and settings one is written `name:value`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from nordiq_watch.names import find_invisible

MOST_LABELS = 32
"""Of one server."""
LONGEST_NAME, LONGEST_VALUE = 64, 128

Labels: TypeAlias = Mapping[str, str]
"""Name → value. An empty value takes the label away."""

LabelsOf: TypeAlias = Callable[[str], Labels]
"""The labels that a server has now. Servers with the same ones have the same object."""

NO_LABELS: Labels = MappingProxyType({})

Wanted: TypeAlias = Mapping[str, frozenset[str]]
"""Name → values of which a server must have one, for each name."""

LABEL_MARK = "label:"
"""Before a label where a name could stand as well."""

_NOTHING = b"null"
_SHOWN = 40
_decode = msgspec.json.Decoder(dict[str, Any] | None).decode

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_][A-Za-z0-9_.-]*:)")


def no_labels(server: str) -> Labels:
    """Of a fleet without labels."""
    return NO_LABELS


def find_fault(name: object, value: object) -> str | None:
    """What is wrong with a label, as the end of a sentence about it; None for a good one."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        return f"has a name other than letters, digits, _, . and -, up to {LONGEST_NAME} of them, a letter or _ first"
    if not isinstance(value, str):
        return "is not a text"
    if len(value) > LONGEST_VALUE:
        return f"has {len(value)} characters; must have at most {LONGEST_VALUE}"
    if find_invisible(value) is not None:
        return "has control characters, or others that do not show"
    return None


def read_object(text: bytes | None) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The labels in an object of JSON, and what is wrong: field, and the end of a sentence about it."""
    try:
        found = _decode(text or _NOTHING) or {}
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return {}, [("labels", 'is not an object of texts, such as {"team": "web"}')]
    good: dict[str, str] = {}
    wrong = []
    for name, value in found.items():
        fault = find_fault(name, value)
        if fault is None and len(good) >= MOST_LABELS:
            fault = f"is one of more than {MOST_LABELS}"
        if fault is None:
            good[name] = value
        else:
            wrong.append((f"labels.{name[:_SHOWN]}".encode("utf-8", "replace").decode(), fault))
    return good, wrong


def split(text: str) -> tuple[str, str]:
    """`name:value` as a pair. ValueError, whose message is the end of a sentence, for anything else."""
    name, colon, value = text.strip().partition(":")
    if not colon or not value or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r:.60}, which is not NAME:VALUE")
    return name, value


def split_list(text: str) -> Wanted:
    """Several with commas between: of one name, each value is wanted; of several names, one value of each."""
    wanted: dict[str, set[str]] = {}
    for name, value in map(split, _BETWEEN.split(text)):
        wanted.setdefault(name, set()).add(value)
    return {name: frozenset(values) for name, values in wanted.items()}


def match(labels: Labels, wanted: Iterable[tuple[str, frozenset[str]]]) -> bool:
    """Whether a server with these labels is one of those that are wanted."""
    return all(labels.get(name) in values for name, values in wanted)
