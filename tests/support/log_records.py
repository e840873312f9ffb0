"""What log records carry beside their message."""

from __future__ import annotations

import logging
from typing import Any

FACTS = ("version", "reload", "drop")


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The version, reload and drop that a line is about, of those that it names."""
    return {name: vars(record)[name] for name in FACTS if name in vars(record)}
