"""Turns parsed YAML into a Config; an error names the file or variable, the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.inspect import DictType, NoneType, UnionType, type_info

from nordiq_watch.config.schema import Config
from nordiq_watch.conversion import converter
from nordiq_watch.errors import ConfigError

_convert = converter(Config)

_AT_KEY = re.compile(r"^(?P<problem>.*?)(?: - at (?P<name>`key` in )?`\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)


def to_config(tree: dict[str, Any], path: Path, sources: Mapping[str, str]) -> Config:
    try:
        return _convert(tree)
    except msgspec.ValidationError as error:
        match = _AT_KEY.match(str(error))
        assert match is not None  # the pattern matches any text
        problem, key = match["problem"], match["key"] or ""
        if match["name"]:
            place = key or "the file"
            raise ConfigError(f"{path}: {place} has a name that cannot be used: {_plain(problem)}") from None
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem)
        if unknown:
            key = f"{key}.{unknown[1]}".lstrip(".")
            allowed = ", ".join(_fields_at(key.rpartition(".")[0]))
            raise ConfigError(f"{_place(key, path, sources)}: unknown key {key!r}; allowed here: {allowed}") from None
        raise ConfigError(
            f"{_place(key, path, sources)}: {key} is {_value_at(tree, key)!r}, but: {_plain(problem)}"
        ) from None


def _place(key: str, path: Path, sources: Mapping[str, str]) -> str:
    return sources.get(key.partition("[")[0], str(path))


def _fields_at(key: str) -> list[str]:
    """The keys that a section, or an entry of a table or list, may have."""
    kind: Any = type_info(Config)
    for part in re.findall(r"\[[^\]]*\]|[^.\[\]]+", key):
        if part.startswith("["):  # any entry of a table or list: all are alike
            kind = _section_among(kind.value_type if isinstance(kind, DictType) else kind.item_type)
        else:
            kind = _section_among(next(field.type for field in kind.fields if field.name == part))
    return [field.name for field in kind.fields]


def _section_among(kind: Any) -> Any:
    """Without the `null` that may stand in its place."""
    return next(one for one in kind.types if not isinstance(one, NoneType)) if isinstance(kind, UnionType) else kind


def _value_at(tree: Any, key: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", key):
        if part == "...":
            break
        try:
            tree = tree[int(part)] if isinstance(tree, list) else tree[part]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return tree


def _plain(problem: str) -> str:
    """msgspec's message with Python's type names replaced by YAML's."""
    for word, plain in (
        ("`str`", "text"),
        ("`int`", "a whole number"),
        ("`float`", "a number"),
        ("`bool`", "true/false"),
        ("`object`", "a section"),
        ("`null`", "nothing"),
        ("`date`", "a date such as 2026-12-25"),
        ("Invalid RFC3339 encoded date", "expected a date such as 2026-12-25"),
    ):
        problem = problem.replace(word, plain)
    return problem[0].lower() + problem[1:]
