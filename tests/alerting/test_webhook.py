"""Against a real receiver: a small HTTP server that answers what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest
from support.receiver import Receiver, drip, misbehaving, read_request, receiving

from nordiq_watch.alerting.evaluator import alert_fields
from nordiq_watch.alerting.webhook import Webhook
from nordiq_watch.api.alerts import SentAlert, SentAlerts
from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis
from nordiq_watch.config.schema import WebhookSettings
from nordiq_watch.errors import ConfigError
from nordiq_watch.events import AlertDeliveryFailed, AlertsChanged, AlertsDelivered, EventBus
from nordiq_watch.moments import write_moment
from nordiq_watch.records.alerts import Alert, AlertChange

NOW = 1_738_246_000.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


class Sender:
    """A webhook stepped by hand; `timer` stands still unless it is moved."""

    def __init__(self, url: str, *, headers: Callable[[], dict[str, str]] = dict, **settings: Any) -> None:
        self.now = 1000.0
        self.active: list[Alert] = []
        self.failed: list[AlertDeliveryFailed] = []
        self.delivered: list[AlertsDelivered] = []
        events = EventBus()
        events.subscribe(AlertDeliveryFailed, self.failed.append)
        events.subscribe(AlertsDelivered, self.delivered.append)
        self.webhook = Webhook(
            url,
            WebhookSettings(url=url, **settings),
            events,
            active=lambda: self.active,
            headers=headers,
            clock=lambda: NOW,
            timer=lambda: self.now,
        )

    def tell(self, *changes: AlertChange) -> float | None:
        self.webhook.note(AlertsChanged(changes))
        return self.webhook.step()


def alert(level: Level = Level.WARNING, **changes: Any) -> Alert:
    known = Alert(
        server_name="ppdb001",
        kind=AlertKind.RISK,
        level=level,
        risk_score=72.0,
        profile="Database",
        metric="mem_used_pct",
        message="mem_used_pct is 97.2 %",
        time_to_issue=1800.0,
        time_to_issue_basis=TimeBasis.P50,
        raised_at=NOW - 900,
        level_since=NOW - 900,
        highest_level=level,
    )
    return replace(known, **changes)


def raised(level: Level = Level.WARNING, **changes: Any) -> AlertChange:
    return AlertChange(Change.RAISED, Level.HEALTHY, alert(level, **changes), NOW)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() - NOW


def test_alertmanager_gets_its_own_format(receiver: Receiver) -> None:
    sender = Sender(receiver.url)
    sender.tell(raised())
    ((posted,),) = receiver.bodies
    assert posted["labels"] == {
        "alertname": "nordiq_watch_risk",
        "server_name": "ppdb001",
        "severity": "warning",
        "profile": "Database",
    }
    assert posted["annotations"]["summary"] == "ppdb001 mem_used_pct is 97.2 %"
    assert all(isinstance(value, str) for value in posted["annotations"].values())
    assert (seconds(posted["startsAt"]), seconds(posted["endsAt"])) == (-900, 240)
    assert [event.count for event in sender.delivered] == [1]


def test_another_level_ends_one_alert_and_begins_another(receiver: Receiver) -> None:
    sender = Sender(receiver.url)
    escalated = alert(Level.CRITICAL, level_since=NOW)
    sender.tell(AlertChange(Change.ESCALATED, Level.WARNING, escalated, NOW))
    sender.tell(AlertChange(Change.RESOLVED, Level.CRITICAL, replace(escalated, ended_at=NOW), NOW))
    (first, second), (third,) = receiver.bodies
    assert (first["labels"]["severity"], seconds(first["endsAt"])) == ("warning", 0)
    assert (second["labels"]["severity"], seconds(second["endsAt"])) == ("critical", 240)
    assert (third["labels"]["severity"], seconds(third["endsAt"])) == ("critical", 0)


def test_what_is_below_the_level_asked_for_is_not_sent(receiver: Receiver) -> None:
    sender = Sender(receiver.url, min_level="critical")
    sender.tell(raised(Level.WARNING), raised(Level.CRITICAL, server_name="ppdb002"))
    assert [posted["labels"]["server_name"] for posted in receiver.bodies[0]] == ["ppdb002"]
    sender.tell(AlertChange(Change.DE_ESCALATED, Level.CRITICAL, alert(Level.WARNING), NOW))
    assert [(posted["labels"]["severity"], seconds(posted["endsAt"])) for posted in receiver.bodies[1]] == [
        ("critical", 0)
    ]
    sender.tell(raised(Level.WARNING))
    assert len(receiver.bodies) == 2


def test_active_alerts_are_sent_again(receiver: Receiver) -> None:
    sender = Sender(receiver.url, resend_seconds=60)
    sender.active = [alert()]
    assert sender.webhook.step() == 60
    sender.now += 30
    assert sender.webhook.step() == 30
    sender.now += 30
    sender.webhook.step()
    assert len(receiver.bodies) == 2
    sender.active = []
    sender.now += 60
    assert sender.webhook.step() == 60
    assert len(receiver.bodies) == 2


def test_plain_json(receiver: Receiver) -> None:
    sender = Sender(receiver.url, format="json")
    sender.active = [alert()]
    assert sender.tell(raised(), raised(Level.DEGRADED)) is None
    (body,) = receiver.bodies
    sent = SentAlert(change=Change.RAISED, previous_level=Level.HEALTHY, at=write_moment(NOW), **alert_fields(alert()))
    assert body == msgspec.to_builtins(SentAlerts(service="nordiq_watch", alerts=[sent]))


@pytest.mark.parametrize("status", [500, 503, 429, 302, 401, 403])
def test_what_was_not_taken_is_sent_again_in_order_and_later_and_later(receiver: Receiver, status: int) -> None:
    receiver.answers = [status] * 3
    sender = Sender(receiver.url, format="json")
    assert sender.tell(raised()) == 1
    assert sender.tell(raised(server_name="ppdb002")) == 1  # it waits: nothing is sent before its time
    pauses = []
    for _ in range(2):
        sender.now += 60
        pauses.append(sender.webhook.step())
    assert pauses == [2, 4]
    sender.now += 4
    while sender.webhook.step() == 0.0:
        pass
    names = [sent["server_name"] for body in receiver.bodies for sent in body["alerts"]]
    assert names == ["ppdb001", "ppdb002"]
    assert [event.lost for event in sender.failed] == [0, 0, 0]


def test_a_login_that_is_wrong_is_told_and_mended_without_a_restart(receiver: Receiver) -> None:
    token = ["old"]
    receiver.answers = [401]
    sender = Sender(receiver.url, headers=lambda: {"Authorization": f"Bearer {token[0]}", "X-Scope-OrgID": "fleet"})
    sender.tell(raised())
    assert sender.webhook.part.status.reason == (
        "it answers 401: it wants a login; see alerts.webhook.headers and headers_file"
    )
    token[0] = "new"
    sender.now += 60
    sender.webhook.step()
    assert sender.webhook.part.works
    assert [sent["authorization"] for sent in receiver.headers] == ["Bearer old", "Bearer new"]
    assert {sent["x-scope-orgid"] for sent in receiver.headers} == {"fleet"}
    assert len(receiver.bodies) == 1


def test_headers_that_cannot_be_read_now_lose_nothing(receiver: Receiver) -> None:
    def unreadable() -> dict[str, str]:
        raise ConfigError("alerts.webhook.headers_file: headers cannot be read (Permission denied)")

    sender = Sender(receiver.url, headers=unreadable)
    assert sender.tell(raised()) == 1
    assert sender.webhook.waiting == 1
    assert "Permission denied" in sender.failed[0].reason


def test_what_is_refused_for_good_is_counted_as_lost(receiver: Receiver) -> None:
    receiver.answers = [400]
    sender = Sender(receiver.url, format="json")
    sender.tell(raised())
    sender.tell(raised(server_name="ppdb002"))
    assert [event.lost for event in sender.failed] == [1]
    assert "400" in sender.failed[0].reason
    assert [sent["server_name"] for sent in receiver.bodies[0]["alerts"]] == ["ppdb002"]


def test_a_receiver_that_is_away_loses_nothing_and_is_not_named_with_its_password(caplog: Any) -> None:
    sender = Sender("http://user:secret@127.0.0.1:1/", format="json", queue_size=3)
    sender.tell(*[raised(server_name=f"s{number}") for number in range(2)])
    sender.tell(*[raised(server_name=f"s{number}") for number in range(5)])
    assert [event.lost for event in sender.failed] == [0]
    assert sender.webhook.waiting == 7
    assert "cannot be reached" in sender.failed[0].reason
    assert "secret" not in caplog.text


def test_a_receiver_that_does_not_answer_in_time(receiver: Receiver) -> None:
    receiver.shutdown()  # it still accepts connections
    sender = Sender(receiver.url, format="json", timeout_seconds=0.1)
    assert sender.tell(raised()) == 1
    assert "in time" in sender.failed[0].reason
    threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}).start()


def test_the_thread_sends_what_comes_and_at_the_end_what_waits(receiver: Receiver) -> None:
    sender = Sender(receiver.url, format="json")
    thread = threading.Thread(target=sender.webhook.run)
    thread.start()
    sender.webhook.note(AlertsChanged((raised(),)))
    assert receiver.came.acquire(timeout=60)
    sender.webhook.stop()
    thread.join(60)
    assert not thread.is_alive()
    sender.webhook.note(AlertsChanged((raised(server_name="last"),)))
    sender.webhook.run()
    assert receiver.bodies[-1]["alerts"][0]["server_name"] == "last"


def drain(sender: Sender) -> None:
    """Steps until nothing is due, waiting out pauses on the sender's own clock."""
    for _ in range(1000):
        rest = sender.webhook.step()
        if not sender.webhook.waiting and rest != 0.0:
            return
        sender.now += rest or 0.0
    raise AssertionError(f"{sender.webhook.waiting} changes still wait")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["alertmanager", "json"])
@pytest.mark.parametrize(("alerts", "settings"), [(400, {"queue_size": 100}), (10_000, {})])
def test_nothing_is_lost_while_the_receiver_is_well(
    receiver: Receiver, format: str, alerts: int, settings: dict[str, Any]
) -> None:
    sender = Sender(receiver.url, format=format, **settings)
    names = [f"s{number}" for number in range(alerts)]
    sender.webhook.note(AlertsChanged(tuple(raised(server_name=name) for name in names)))
    drain(sender)
    bodies = [body if format == "alertmanager" else body["alerts"] for body in receiver.bodies]
    told = [posted.get("server_name") or posted["labels"]["server_name"] for body in bodies for posted in body]
    assert told == names
    assert max(map(len, bodies)) <= 100
    assert sender.failed == []


@pytest.mark.parametrize("format", ["alertmanager", "json"])
def test_a_receiver_that_comes_back_learns_the_present_state_of_every_alert(receiver: Receiver, format: str) -> None:
    receiver.answers = [503] * 3
    sender = Sender(receiver.url, format=format, queue_size=10)
    sender.tell(raised(Level.CRITICAL, server_name="known"))
    for number in range(50):  # each of these flaps: raised, worse, over; the even ones are raised once more
        name, worse = f"s{number}", alert(Level.CRITICAL, server_name=f"s{number}")
        changes = [raised(server_name=name), AlertChange(Change.ESCALATED, Level.WARNING, worse, NOW)]
        changes.append(AlertChange(Change.RESOLVED, Level.CRITICAL, replace(worse, ended_at=NOW), NOW))
        if number % 2 == 0:
            changes.append(raised(server_name=name))
        sender.webhook.note(AlertsChanged(tuple(changes)))
    sender.webhook.note(AlertsChanged((AlertChange(Change.RESOLVED, Level.CRITICAL, alert(server_name="known"), NOW),)))
    assert sender.webhook.waiting <= 2 * 50 + 2  # one per alert, and as many again until they are merged
    drain(sender)
    firing: dict[tuple[str, str], bool] = {}
    for body in receiver.bodies:
        for posted in body if format == "alertmanager" else body["alerts"]:
            if format == "json":
                firing[posted["server_name"], ""] = posted["change"] != "resolved"
            else:
                labels = posted["labels"]
                firing[labels["server_name"], labels["severity"]] = seconds(posted["endsAt"]) > 0
    assert {name for (name, _), fires in firing.items() if fires} == {f"s{number}" for number in range(0, 50, 2)}
    assert ("known", "critical" if format == "alertmanager" else "") in firing
    if format == "json":
        assert set(firing) == {(f"s{number}", "") for number in range(50)} | {("known", "")}
    assert [event.lost for event in sender.failed] == [0, 0, 0]


def test_thousands_of_active_alerts_are_repeated_in_portions_as_they_are_then(receiver: Receiver) -> None:
    sender = Sender(receiver.url, resend_seconds=60)
    sender.active = [alert(server_name=f"s{number}") for number in range(1200)]
    assert sender.webhook.step() == 0.0
    sender.active = sender.active[:700]  # the others end while the round goes on
    while sender.webhook.step() == 0.0:
        pass
    assert [len(body) for body in receiver.bodies] == [500, 200]
    names = [posted["labels"]["server_name"] for body in receiver.bodies for posted in body]
    assert names == [f"s{number}" for number in range(700)]


def test_what_is_not_sent_when_the_daemon_stops_is_counted(receiver: Receiver) -> None:
    receiver.answers = [503] * 2
    sender = Sender(receiver.url, format="json")
    sender.webhook.note(AlertsChanged(tuple(raised(server_name=f"s{number}") for number in range(150))))
    sender.webhook.stop()
    sender.webhook.run()
    assert [event.lost for event in sender.failed] == [0, 150]
    assert "stops" in sender.failed[-1].reason


def test_all_that_waits_is_sent_when_the_daemon_stops(receiver: Receiver) -> None:
    sender = Sender(receiver.url, format="json")
    sender.webhook.note(AlertsChanged(tuple(raised(server_name=f"s{number}") for number in range(250))))
    sender.webhook.stop()
    sender.webhook.run()
    assert [len(body["alerts"]) for body in receiver.bodies] == [100, 100, 50]


@pytest.mark.parametrize("format", ["alertmanager", "json"])
def test_a_receiver_that_drips_is_given_up_in_time_and_told_everything_when_it_is_well(format: str) -> None:
    told: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        if not sender.failed:
            drip(b"X-A: b\r\n", after=b"HTTP/1.1 200 OK\r\n")(connection)
        told.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with misbehaving(behave) as rogue:
        sender = Sender(rogue.url, format=format, timeout_seconds=0.3)
        assert sender.tell(*[raised(server_name=f"s{number}") for number in range(5)]) == 1
        assert ["in time" in event.reason for event in sender.failed] == [True]
        sender.webhook.note(AlertsChanged(tuple(raised(server_name=f"s{number}") for number in range(5, 12))))
        drain(sender)
    assert all(b'"s%d"' % number in b"".join(told) for number in range(12))
    assert sum(event.count for event in sender.delivered) == 12
