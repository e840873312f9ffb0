from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.alerts import ALERT, ENDED, LIFE

from nordiq_watch.api.enums import AlertKind, Change, Level
from nordiq_watch.errors import StorageError
from nordiq_watch.records.alerts import AlertChange
from nordiq_watch.storage.history import HistoryStore

NAN = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    opened = HistoryStore(tmp_path / "history.sqlite3", slot_seconds=300)
    yield opened
    opened.close()


def add_moment(store: HistoryStore, at: float, scores: dict[str, float], **environment: Any) -> None:
    store.add_moment(
        at, environment, {"avg_risk_score": 1.0, "top_5_risks": []},
        servers=tuple(scores), scores=np.array(list(scores.values())),
    )  # fmt: skip


def test_an_alert_s_life_is_one_row_with_its_changes(store: HistoryStore) -> None:
    for change in LIFE:
        store.add_changes([change])
    (past,) = store.alerts(since=0)
    assert past.alert == ENDED
    assert [(change.change, change.previous_level, change.level) for change in past.changes] == [
        ("raised", "healthy", "warning"),
        ("escalated", "warning", "critical"),
        ("resolved", "critical", "critical"),
    ]


def test_the_same_server_may_be_an_alert_again_and_in_two_ways(store: HistoryStore) -> None:
    silent = replace(ALERT, kind=AlertKind.SILENT, raised_at=1100.0)
    store.add_changes([*LIFE, AlertChange(Change.RAISED, Level.HEALTHY, silent, 1100.0)])
    again = replace(ALERT, raised_at=3000.0)
    store.add_changes([AlertChange(Change.RAISED, Level.HEALTHY, again, 3000.0)])
    assert [(past.alert.kind, past.alert.raised_at, past.alert.ended_at) for past in store.alerts(since=0)] == [
        ("risk", 3000, None),
        ("silent", 1100, None),
        ("risk", 1000, 2000),
    ]
    assert set(store.unfinished()) == {again, silent}


def test_a_range_has_what_was_active_in_it(store: HistoryStore) -> None:
    store.add_changes(LIFE)
    other = replace(ALERT, server_name="other", raised_at=500)
    store.add_changes([AlertChange(Change.RAISED, Level.HEALTHY, other, 500)])
    assert [past.alert.server_name for past in store.alerts(since=2001)] == ["other"]
    assert [past.alert.server_name for past in store.alerts(since=1999)] == ["ppdb001", "other"]
    assert [past.alert.server_name for past in store.alerts(since=0, server="ppdb001")] == ["ppdb001"]


def test_a_forgotten_server_has_no_past_and_others_keep_theirs(store: HistoryStore) -> None:
    other = replace(ALERT, server_name="other")
    store.add_changes([*LIFE, AlertChange(Change.RAISED, Level.HEALTHY, other, 1000.0)])
    add_moment(store, 900.0, {"ppdb001": 70.0, "other": 20.0})
    assert store.forget("ppdb001")
    assert not store.forget("ppdb001")
    assert store.risks("ppdb001", since=0) == ()
    assert store.risks("other", since=0) == ((900.0, 20.0),)
    assert [past.alert.server_name for past in store.alerts(since=0)] == ["other"]
    add_moment(store, 1800.0, {"other": 30.0, "new": 5.0, "ppdb001": 10.0})
    assert store.risks("ppdb001", since=0) == ((1800.0, 10.0),)
    assert store.risks("new", since=0) == ((1800.0, 5.0),)
    assert store.risks("other", since=0) == ((900.0, 20.0), (1800.0, 30.0))


def test_changes_are_kept_together_or_not_at_all(store: HistoryStore) -> None:
    broken: Any = replace(ALERT, server_name=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        store.add_changes([LIFE[0], AlertChange(Change.RAISED, Level.HEALTHY, broken, 1.0)])
    assert store.alerts(since=0) == ()


def test_one_moment_a_slot_the_last_one(store: HistoryStore) -> None:
    add_moment(store, 600, {"a": 1}, prob_30m=0.1)
    add_moment(store, 650, {"a": 2}, prob_30m=0.2)
    add_moment(store, 900, {"a": 3}, prob_30m=0.3)
    assert [(moment.at, moment.environment["prob_30m"]) for moment in store.moments(since=0)] == [
        (650, 0.2),
        (900, 0.3),
    ]
    assert store.moments(since=651)[0].at == 900
    assert store.moments(since=0)[0].summary == {"avg_risk_score": 1.0}


def test_each_server_s_risk_is_found_in_a_fleet_that_changes(store: HistoryStore) -> None:
    add_moment(store, 300, {"a": 12.3, "b": 99.99})
    add_moment(store, 600, {"b": 100.0, "a": NAN})
    add_moment(store, 900, {"b": 0.0})
    assert store.risks("a", since=0) == ((300, 12.3), (600, None))
    assert store.risks("b", since=301) == ((600, 100.0), (900, 0.0))
    assert store.risks("nobody", since=0) == ()


def test_ten_thousand_servers_take_kilobytes(store: HistoryStore, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    scores = np.where(chance.uniform(size=10_000) < 0.05, chance.uniform(0, 100, 10_000).round(1), 0.0)
    servers = [f"vm-{number:05}" for number in range(10_000)]
    for slot in range(20):
        store.add_moment(slot * 300.0, {}, {}, servers=servers, scores=scores)
    (size,) = store._store.connection.execute("SELECT max(length(risks)) FROM moments").fetchone()
    assert size < 5_000
    assert store.risks("vm-00007", since=0)[3] == (900, float(scores[7]))


def test_a_fleet_whose_names_come_and_go_takes_little_more_than_one_that_stays(tmp_path: Path) -> None:
    def fill(name: str, *, changing: int) -> int:
        store = HistoryStore(tmp_path / name, slot_seconds=300)
        servers = [f"host-{number:06}.example" for number in range(1000)]
        for slot in range(200):
            for number in range(changing):
                servers[(slot * changing + number) % 1000] = f"host-{slot:03}-{number:02}.example"
            store.add_moment(slot * 300.0, {}, {}, servers=servers, scores=np.zeros(1000))
        store.close()
        return (tmp_path / name).stat().st_size

    stays, changes = fill("stays", changing=0), fill("changes", changing=1)
    assert changes - stays < 200 * 500, "bytes for each name that came; a list of all names is 24,000"
    assert fill("restless", changing=40) - stays < 200 * 40 * 500


def test_a_number_goes_to_the_next_server_a_day_after_its_last_one_and_the_past_stays(store: HistoryStore) -> None:
    for day in range(4):
        add_moment(store, day * 86_401.0, {f"job-{day}": float(day), "stays": 50.0})
    numbers = dict(store._store.connection.execute("SELECT server, number FROM leases").fetchall())
    assert numbers["job-0"] == numbers["job-2"]
    assert max(numbers.values()) <= 3
    for day in range(4):
        assert store.risks(f"job-{day}", since=0) == ((day * 86_401.0, float(day)),)
    assert [risk for _, risk in store.risks("stays", since=0)] == [50.0] * 4


def test_a_server_that_is_away_for_an_hour_keeps_its_number(store: HistoryStore) -> None:
    for slot in range(0, 2000, 13):
        add_moment(store, slot * 300.0, {"stays": 1.0, "flaps": 2.0} if slot % 2 else {"stays": 1.0, "new": 3.0})
    assert store._store.connection.execute("SELECT count(*), max(number) FROM leases").fetchone() == (3, 2)
    assert {risk for _, risk in store.risks("flaps", since=0)} == {2.0}


def test_numbers_survive_a_restart_and_a_transaction_that_failed(store: HistoryStore, tmp_path: Path) -> None:
    add_moment(store, 300, {"a": 1, "b": 2})
    with pytest.raises(TypeError):
        add_moment(store, 600, {"c": 3, "a": 1}, broken=object())
    add_moment(store, 600, {"d": 4, "a": 1})
    again = HistoryStore(tmp_path / "history.sqlite3", slot_seconds=300)
    add_moment(again, 900, {"c": 5, "d": 6, "b": 7})
    again.close()
    assert [store.risks(name, since=0) for name in "abcd"] == [
        ((300, 1), (600, 1)), ((300, 2), (900, 7)), ((900, 5),), ((600, 4), (900, 6)),
    ]  # fmt: skip


def test_a_clock_that_was_ahead_mixes_up_no_servers(store: HistoryStore) -> None:
    ahead = 40 * 86_400.0
    add_moment(store, 300, {"a": 1, "b": 2})
    add_moment(store, ahead, {"c": 3, "b": 4})
    hours = [600 + hour * 3600.0 for hour in range(24 * 42)]
    for at in hours:
        add_moment(store, at, {"d": 5, "c": 6, "b": 7})
    assert store.risks("a", since=0) == ((300, 1),)
    assert [risk for at, risk in store.risks("b", since=0) if at in (300, ahead)] == [2, 4]
    for name, risk in (("d", 5), ("c", 6), ("b", 7)):
        assert [at for at, found in store.risks(name, since=0) if found == risk] == hours


def test_slots_of_another_length_replace_nothing_of_before(store: HistoryStore, tmp_path: Path) -> None:
    add_moment(store, 60_000, {"a": 1})
    shorter = HistoryStore(tmp_path / "history.sqlite3", slot_seconds=60)
    for at in (12_000, 66_000, 66_060):
        add_moment(shorter, at, {"a": 2})
    shorter.close()
    assert [at for at, _ in store.risks("a", since=0)] == [12_000, 60_000, 66_000, 66_060]


def test_a_server_s_last_hour_does_not_read_the_rest(store: HistoryStore) -> None:
    for slot in range(300):
        add_moment(store, slot * 300.0, {"a": 1.0, f"job-{slot}": 2.0})
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def reading_steps(since: float) -> int:
        nonlocal steps
        steps = 0
        with store._store.reading() as connection:
            connection.set_progress_handler(count, 1)
            store._read_risks(connection, "a", since)
        return steps

    assert reading_steps(since=299 * 300 - 3600) < reading_steps(since=0) / 10


def test_numbers_that_no_risk_uses_any_more_are_deleted_with_the_risks(store: HistoryStore) -> None:
    for day in range(10):
        add_moment(store, day * 86_400.0, {f"job-{day}": 1.0})
    store.prune(before=8 * 86_400.0)
    rows = store._store.connection.execute("SELECT server FROM leases ORDER BY 1").fetchall()
    assert rows == [("job-7",), ("job-8",), ("job-9",)], "the lease of the seventh day reaches into the eighth"
    store.prune(before=90 * 86_400.0)
    assert store._store.connection.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def test_what_is_too_old_is_deleted_but_not_what_is_still_open(store: HistoryStore) -> None:
    store.add_changes([*LIFE, AlertChange(Change.RAISED, Level.HEALTHY, replace(ALERT, server_name="open"), 1000.0)])
    add_moment(store, 1500, {"a": 1})
    add_moment(store, 3000, {"b": 1})
    store.prune(before=2500)
    assert [past.alert.server_name for past in store.alerts(since=0)] == ["open"]
    assert [moment.at for moment in store.moments(since=0)] == [3000]
    assert store.risks("a", since=0) == ()


def test_the_newest_thing(store: HistoryStore) -> None:
    assert store.newest() is None
    add_moment(store, 1500, {"a": 1})
    store.add_changes(LIFE)
    assert store.newest() == 2000


def test_readers_see_whole_alerts_while_the_writer_writes(store: HistoryStore) -> None:
    """Each transaction raises and ends an alert: nobody may see one that is open."""
    problems: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if any(past.alert.ended_at is None or len(past.changes) != 3 for past in store.alerts(since=0)):
                problems.append("half an alert")

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        store.add_changes(LIFE)
    done.set()
    reader.join(60)
    assert problems == []
    assert not reader.is_alive()


def test_an_alert_with_a_word_of_another_version_is_named(store: HistoryStore) -> None:
    store.add_changes(LIFE[:1])
    with store._store.writing() as connection:
        connection.execute("UPDATE alerts SET state = replace(state, '\"risk\"', '\"rumour\"')")
    with pytest.raises(StorageError, match="an alert in it cannot be read: Invalid enum value 'rumour'"):
        store.unfinished()


def test_renamed_servers_keep_their_alerts_and_risks(store: HistoryStore) -> None:
    open_one = replace(ALERT, raised_at=3000.0)
    store.add_changes([*LIFE, AlertChange(Change.RAISED, Level.HEALTHY, open_one, 3000.0)])
    add_moment(store, 1000.0, {ALERT.server_name: 50.0, "other": 20.0})
    new = f"{ALERT.server_name}@x"
    for _ in range(2):
        store.rename({ALERT.server_name: new})
    assert [past.alert.server_name for past in store.alerts(0, server=new)] == [new, new]
    assert store.unfinished() == (replace(open_one, server_name=new),)
    assert [score for _, score in store.risks(new, 0)] == [50.0]
    assert not store.risks(ALERT.server_name, 0)
    add_moment(store, 1300.0, {new: 60.0, "other": 20.0})
    assert [score for _, score in store.risks(new, 0)] == [50.0, 60.0]
