from __future__ import annotations

import logging

import pytest

from nordiq_watch.events import EventBus, ModelQuarantined, ModelRejectedEvent, PinChanged
from nordiq_watch.host.narrator import tell_log

VERSION = "tft_model_20250130_143000"


def test_the_log_tells_what_happened_to_models(caplog: pytest.LogCaptureFixture) -> None:
    events = EventBus()
    tell_log(events)
    with caplog.at_level(logging.INFO):
        events.publish(
            ModelRejectedEvent(
                VERSION, trigger="watch", check="hashes", reason="its bytes are others", still_live=None, reload_id=7
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
