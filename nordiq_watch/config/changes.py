"""Differences between two configurations, and which of them a running daemon can apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from nordiq_watch.config.schema import Config

WITHOUT_RESTART = ("auth.key_file", "limits.", "logs.level", "logs.format", "logs.max_mb", "logs.keep")
"""Keys that need no restart; a dot at the end means a whole section."""


def list_changes(old: Config, new: Config) -> list[str]:
    """Dotted keys with different values, in the order of config.yaml."""
    return [key for (key, before), (_, after) in zip(_walk(old), _walk(new), strict=True) if before != after]


def needs_restart(key: str) -> bool:
    return not any(key == name or (name.endswith(".") and key.startswith(name)) for name in WITHOUT_RESTART)


def _walk(section: Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Struct):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
