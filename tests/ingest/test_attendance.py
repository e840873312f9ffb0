from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest
from support.batches import METRICS, Sample, make_batch

from nordiq_watch.ingest.attendance import Attendance, attendance_of, find_presence, lasting
from nordiq_watch.ingest.window import Window

INTERVAL = 300


def attend(*rows: str, interval_seconds: int = INTERVAL) -> Attendance:
    """One string per server, oldest slot first: x where it sent."""
    present = np.array([[sent == "x" for sent in row] for row in rows])
    names = tuple(f"s{number}" for number in range(len(rows)))
    presence = find_presence(lambda some: present[some], servers=len(rows), slots=present.shape[1])
    return Attendance(names, ("Generic",) * len(rows), presence, 1000, interval_seconds)


def silent(attendance: Attendance, seconds: float = 900) -> list[str]:
    return [attendance.servers[position] for position in attendance.silent(seconds)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (("xxxxxx", "xxx..."), ["s1"]),
        (("xxxxxx", "xxxx.."), []),
        (("xxxxxx", "......"), ["s1"]),
        (("xxx..x", "xxx..."), []),  # all were away: two slots in which nobody sent do not count
        (("xxx...xxx", "xxx......"), ["s1"]),
        (("xxx...xx.", "xxx......"), []),
        (("x..x..x..x", "x..x..x..."), []),  # sent once in three slots: one of them is missing, not three
        (("x..x..x..x", "x........."), ["s1"]),
        (("xxx", "..."), []),  # a window that is no longer than the silence shows none
    ],
)
def test_silent_is_who_sent_nothing_while_others_did(rows: tuple[str, ...], found: list[str]) -> None:
    assert silent(attend(*rows)) == found


def test_when_each_was_heard() -> None:
    attendance = attend("xxxxxx", "xx....")
    assert attendance.newest_at == 1001 * INTERVAL
    assert attendance.heard() == {"s0": 1001 * INTERVAL, "s1": 997 * INTERVAL}
    assert (attendance.silent_for(0), attendance.silent_for(1)) == (0, 4 * INTERVAL)


def test_how_long_one_is_missed() -> None:
    day = "x" * 288
    job = "." * 200 + "x" * 24 + "." * 64
    attendance = attend(day, job, "x" * 280 + "." * 8)
    assert attendance.stayed(1) == 24 * INTERVAL
    assert lasting(attendance, 1, ended_seconds=86_400) == 24 * INTERVAL
    assert lasting(attendance, 1, ended_seconds=3600) == 3600
    assert lasting(attendance, 2, ended_seconds=86_400) == 86_400  # it may have been there for years
    assert lasting(attendance, 2, ended_seconds=inf) == inf


@pytest.mark.parametrize(
    ("row", "settled"),
    [
        ("." * 270 + "x" * 12 + "." * 6, False),  # an hour at most: a job
        ("." * 270 + "x" * 13 + "." * 5, True),
        ("x" * 280 + "." * 8, True),
        ("x" * 5 + "." * 283, False),  # what is left of it in the window
    ],
)
def test_a_job_is_not_missed(row: str, settled: bool) -> None:
    assert attend("x" * 288, row).is_settled(1, 900) == settled


def test_in_a_young_or_a_short_window_everyone_who_was_there_from_the_beginning_is_missed() -> None:
    young = "." * 280 + "x" * 8
    assert attend(young, "." * 280 + "x" * 4 + "." * 4).is_settled(1, 900)
    assert not attend(young, "." * 281 + "x" * 3 + "." * 4).is_settled(1, 900)
    assert attend("x" * 12, "x" * 4 + "." * 8, interval_seconds=1).is_settled(1, 8)


def test_a_window_tells_of_silent_servers_too() -> None:
    window = Window(METRICS, interval_seconds=INTERVAL, length=6, max_servers=9, silent_seconds=300)
    empty = window.attendance()
    assert (empty.servers, len(empty.silent(900))) == ((), 0)
    samples: Any = [Sample("a", slot) for slot in range(10, 16)] + [Sample("b", 11)]
    window.apply(make_batch(samples))
    attendance = window.attendance()
    assert attendance.servers == ("a", "b")
    assert attendance.heard() == {"a": 16 * INTERVAL, "b": 12 * INTERVAL}
    assert silent(attendance) == ["b"]
    assert attendance_of(window.snapshot()).servers == ("a",)


def test_a_large_window_says_of_each_server_what_its_slots_say() -> None:
    """More servers than are looked at together, some of them gone, some with gaps; the ring has turned."""
    chance, servers, length = np.random.default_rng(0), 2500, 12
    window = Window(METRICS, interval_seconds=INTERVAL, length=length, max_servers=servers, silent_seconds=900)
    for slot in range(100, 100 + length + 5):
        there = [number for number in range(servers) if chance.random() < (number % 5) / 4]
        window.apply(make_batch([Sample(f"s{number}", slot, {METRICS[0]: 1.0}) for number in there]))
    found, present = window.attendance(), window.presence()
    assert present.shape == (len(found.servers), length)
    numbers = np.arange(length)
    assert found.presence.last.tolist() == [int(numbers[row].max(initial=-1)) for row in present]
    assert found.presence.first.tolist() == [int(numbers[row].min(initial=length)) % length for row in present]
    assert found.presence.sent.tolist() == present.any(axis=0).tolist()
    for name, row in zip(found.servers[::200], present[::200], strict=True):
        history = window.history(name)
        assert history is not None
        assert (~np.isnan(history[2]).all(axis=1)).tolist() == row.tolist()
