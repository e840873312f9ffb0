from __future__ import annotations

import msgspec
import pytest

from nordiq_watch.config.changes import WITHOUT_RESTART, list_changes, needs_restart
from nordiq_watch.config.schema import Config, LimitSettings, LogSettings, ReloadSettings, ServerSettings


def test_what_differs_is_named_as_in_the_file() -> None:
    new = Config(
        server=ServerSettings(port=9000),
        logs=LogSettings(level="DEBUG"),
        limits=LimitSettings(mode="always"),
        metrics=("cpu_user_pct",),
    )
    assert list_changes(Config(), new) == ["server.port", "limits.mode", "metrics", "logs.level"]
    assert list_changes(new, new) == []


def test_a_key_deep_inside_is_named_whole() -> None:
    canary = msgspec.structs.replace(Config().reload.canary, max_distance=7.0)
    assert list_changes(Config(), Config(reload=ReloadSettings(canary=canary))) == ["reload.canary.max_distance"]


@pytest.mark.parametrize("key", ["limits.mode", "limits.read_per_minute", "logs.level", "logs.format", "auth.key_file"])
def test_what_a_running_daemon_takes(key: str) -> None:
    assert not needs_restart(key)


@pytest.mark.parametrize("key", ["server.port", "logs.dir", "models.dir", "window.length", "auth.public", "limits"])
def test_what_takes_a_restart(key: str) -> None:
    assert needs_restart(key)


def test_the_list_names_keys_that_there_are() -> None:
    every_key = {f"{section}.{key}" for section in ("auth", "limits", "logs") for key in vars_of(section)}
    assert all(name in every_key or name == "limits." for name in WITHOUT_RESTART)


def vars_of(section: str) -> tuple[str, ...]:
    return getattr(Config(), section).__struct_fields__
