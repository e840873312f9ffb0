from __future__ import annotations

from typing import Any

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.demo_story import Story
from nordiq_watch.client import Client
from nordiq_watch.moments import write_moment

BEGIN = 1_736_985_600
INTERVAL = 5
PATH = "/predictions/current?metrics=cpu_user_pct"


def forecast(slot: int, *, current: float) -> tuple[int, dict[str, Any]]:
    """After `slot`, of two servers, whose p50 is 20 and whose band is 10 to 30."""
    metric = {"current": current, "p10": [10.0] * 24, "p50": [20.0] * 24, "p90": [30.0] * 24}
    metadata = {"horizon_start": write_moment(BEGIN + (slot + 1) * INTERVAL), "interval_seconds": INTERVAL}
    return 200, {"predictions": {name: {"cpu_user_pct": metric} for name in ("a", "b")}, "metadata": metadata}


def alerts(*levels: str) -> tuple[int, dict[str, Any]]:
    return 200, {"alerts": [{"server_name": "a", "level": level, "message": "CPU"} for level in levels]}


@pytest.fixture
def story(stub: StubDaemon) -> Story:
    stub.answers["GET", "/alerts/active"] = alerts()
    stub.answers["GET", PATH] = forecast(0, current=11.0)
    return Story(Client(stub.url, retries=0))


def look(story: Story, stub: StubDaemon, slot: int, *, current: float) -> list[str]:
    stub.answers["GET", PATH] = forecast(slot, current=current)
    return list(story.look())


def test_a_forecast_is_compared_when_its_slot_is_measured_and_then_the_next_server_s(
    story: Story, stub: StubDaemon
) -> None:
    assert list(story.look()) == []
    assert look(story, stub, 11, current=12.0) == []
    assert look(story, stub, 12, current=29.0) == [
        "came true a: CPU is 29.0 %; 60 s ago the forecast was 20.0 % (10.0 to 30.0)"
    ]
    assert look(story, stub, 24, current=31.0) == [
        "missed    b: CPU is 31.0 %; 60 s ago the forecast was 20.0 % (10.0 to 30.0)"
    ]


def test_a_slot_that_was_passed_over_is_compared_with_nothing(story: Story, stub: StubDaemon) -> None:
    assert list(story.look()) == []
    assert look(story, stub, 13, current=12.0) == []
    assert look(story, stub, 25, current=12.0) == [
        "came true b: CPU is 12.0 %; 60 s ago the forecast was 20.0 % (10.0 to 30.0)"
    ]


def test_alerts_are_told_when_they_begin_change_and_end(story: Story, stub: StubDaemon) -> None:
    told = []
    for answer in (alerts(), alerts("warning"), alerts("warning"), alerts("critical"), alerts()):
        stub.answers["GET", "/alerts/active"] = answer
        told += list(story.look())
    assert told == ["warning   a: CPU", "critical  a: CPU", "over      a: the alert has ended"]


def test_a_daemon_without_a_forecast_is_no_failure(story: Story, stub: StubDaemon) -> None:
    stub.answers["GET", PATH] = (200, {"error": "no_model", "message": "No model is live yet", "predictions": {}})
    assert list(story.look()) == []
