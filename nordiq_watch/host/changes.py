"""What changed in the settings, and which of it a running daemon can take over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from nordiq_watch.config import Config

WITHOUT_RESTART = ("auth.key_file", "limits.", "logs.level", "logs.format", "logs.max_mb", "logs.keep")
"""Keys, and sections with a dot at their end."""


def list_changes(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ, as they stand in config.yaml."""
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
