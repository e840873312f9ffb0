"""The config.yaml that `init` writes: what differs from the defaults, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nordiq_watch.atomic_file import replace_file
from nordiq_watch.config.load import load_settings
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.zones import find_zone

NAME = "config.yaml"
KEPT = "config.yaml.before"

_HEAD = """\
# Written by `nordiq-watch init`. What is not here has its default: `nordiq-watch default-config` shows all of it.
"""
_MODE = 0o640
_LONG_ENCODER_SECONDS = 2 * 86_400
_HORIZON_SECONDS = 28_800
_FEWEST_STEPS = 8
_DEFAULT = Config()


def plan_changes(*, interval_seconds: int, zone: str, port: int) -> dict[str, Any]:
    """Sections with the keys that differ from the default.

    Above the default interval, encoder and horizon have fewer steps: two days in, eight hours out.
    """
    changes: dict[str, dict[str, Any]] = {}
    if port != _DEFAULT.server.port:
        changes["server"] = {"port": port}
    if interval_seconds != _DEFAULT.window.interval_seconds:
        changes["window"] = {"interval_seconds": interval_seconds}
    training: dict[str, Any] = {}
    if interval_seconds > _DEFAULT.window.interval_seconds:
        encoder = max(3 * _FEWEST_STEPS, _LONG_ENCODER_SECONDS // interval_seconds)
        training["max_encoder_length"] = min(encoder, _DEFAULT.training.max_encoder_length)
        training["max_prediction_length"] = max(_FEWEST_STEPS, _HORIZON_SECONDS // interval_seconds)
    if zone != _DEFAULT.training.calendar.zone:
        training["calendar"] = {"zone": zone}
    return changes | ({"training": training} if training else {})


def write_config(path: Path, changes: Mapping[str, Any]) -> Settings:
    """What was there is kept beside it as KEPT. Raises ConfigError if the changes are no config, OSError."""
    if path.exists():
        replace_file(path.with_name(KEPT), path.read_bytes(), mode=_MODE)
    body = yaml.safe_dump(dict(changes), sort_keys=False) if changes else ""
    replace_file(path, (_HEAD + body).encode(), mode=_MODE)
    return load_settings(path)


def check_against(settings: Settings, *, interval_seconds: int | None, zone: str | None, port: int | None) -> None:
    """Raises ConfigError if a config.yaml that is kept says otherwise than an option does."""
    config = settings.config
    for key, kept, wanted in (
        ("window.interval_seconds", config.window.interval_seconds, interval_seconds),
        ("training.calendar.zone", str(find_zone(config.training.calendar.zone)), zone),
        ("server.port", config.server.port, port),
    ):
        if wanted is not None and wanted != kept:
            raise ConfigError(
                f"{settings.file}: is there already, with {key} {kept}, not {wanted}; change it there, or give --force "
                f"to have it written anew (the old one is kept as {KEPT})"
            )
