from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from support.alerts import ALERT

from nordiq_watch.api.enums import AlertKind, Change, Check, Level, ReloadTrigger
from nordiq_watch.events import (
    AlertsChanged,
    EventBus,
    ModelQuarantined,
    ModelRejectedEvent,
    PinChanged,
    ServersRefused,
)
from nordiq_watch.host.event_log import tell_log
from nordiq_watch.records.alerts import AlertChange

VERSION = "tft_model_20250130_143000"


def test_the_log_tells_what_happened_to_models(caplog: pytest.LogCaptureFixture) -> None:
    events = EventBus()
    tell_log(events)
    with caplog.at_level(logging.INFO):
        events.publish(
            ModelRejectedEvent(
                VERSION,
                trigger=ReloadTrigger.WATCHER,
                check=Check.SHA256,
                reason="its bytes are others",
                still_live=None,
                reload_id=7,
            )
        )
        events.publish(ModelQuarantined(VERSION, reason="rolled back"))
        events.publish(PinChanged(VERSION))
        events.publish(PinChanged(None))
    rejected, quarantined, pinned, unpinned = (record.getMessage() for record in caplog.records)
    assert f"reload 7: {VERSION} was not loaded: its bytes are others" in rejected
    assert "no model is live" in rejected
    assert f"{VERSION} is quarantined: rolled back" in quarantined
    assert f"{VERSION} is pinned" in pinned
    assert "no version is pinned" in unpinned
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO", "INFO"]


def test_refused_servers_are_said_at_once_and_then_every_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    events, now = EventBus(), [0.0]
    tell_log(events, clock=lambda: now[0])
    for second in range(1300):
        now[0] = float(second)
        events.publish(ServersRefused((f"made-up-{second}", f"web{second}\n")))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert "a new name was refused 2 times, the last one 'web0\\n'" in lines[0]
    assert "a new name was refused 1200 times" in lines[1]


def test_data_that_stopped_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    events = EventBus()
    tell_log(events)
    alert = replace(ALERT, server_name="*", kind=AlertKind.SILENT, message="no server has sent anything since noon")
    events.publish(AlertsChanged((AlertChange(Change.RAISED, Level.HEALTHY, alert, 1000.0),)))
    events.publish(AlertsChanged((AlertChange(Change.RESOLVED, Level.CRITICAL, alert, 2000.0),)))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "no data: no server has sent anything since noon; forecasts are old until some come"
    ]
