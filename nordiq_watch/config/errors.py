"""Turns parsed YAML into a Config; an error names the file or variable, the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

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
            section = _section_at(key.rpartition(".")[0])
            allowed = ", ".join(section.__struct_fields__)
            raise ConfigError(f"{_place(key, path, sources)}: unknown key {key!r}; allowed here: {allowed}") from None
        raise ConfigError(
            f"{_place(key, path, sources)}: {key} is {_value_at(tree, key)!r}, but: {_plain(problem)}"
        ) from None


def _place(key: str, path: Path, sources: Mapping[str, str]) -> str:
    return sources.get(key.partition("[")[0], str(path))


def _section_at(key: str) -> type[Struct]:
    section: type[Struct] = Config
    for part in filter(None, key.replace("[...]", "[]").split(".")):
        name, *inside = part.split("[]")
        default = getattr(section(), name)
        for _ in inside:  # any entry of a table: all are alike
            default = next(iter(default.values()))
        section = type(default)
    return section


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
