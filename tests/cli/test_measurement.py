from __future__ import annotations

import psutil
import pytest

from nordiq_watch.cli.measurement import Counters, count_close_wait, rates_between, read_counters, read_levels

IDLE = {"user": 0.0, "nice": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0, "irq": 0.0, "softirq": 0.0, "guest": 0.0}


def counters(
    seconds: float = 0.0,
    cpu: dict[str, float] | None = None,
    java: dict[tuple[int, float], float] | None = None,
    received: int = 0,
    sent: int = 0,
) -> Counters:
    return Counters(seconds=seconds, cpu=IDLE | (cpu or {}), java=java or {}, received_bytes=received, sent_bytes=sent)


def test_cpu_time_is_shared_out_among_the_states() -> None:
    now = counters(10, cpu={"user": 3, "nice": 1, "system": 2, "irq": 1, "softirq": 1, "idle": 10, "iowait": 2})
    rates = rates_between(counters(), now)
    assert rates["cpu_user_pct"] == pytest.approx(20)
    assert rates["cpu_sys_pct"] == pytest.approx(20)
    assert rates["cpu_idle_pct"] == pytest.approx(50)
    assert rates["cpu_iowait_pct"] == pytest.approx(10)


def test_guests_are_counted_once() -> None:
    rates = rates_between(counters(), counters(10, cpu={"user": 5, "guest": 5, "idle": 5}))
    assert rates["cpu_user_pct"] == pytest.approx(50)


def test_only_the_time_in_between_counts() -> None:
    rates = rates_between(counters(0, cpu={"user": 90, "idle": 10}), counters(10, cpu={"user": 91, "idle": 19}))
    assert rates["cpu_user_pct"] == pytest.approx(10)


def test_iowait_that_goes_back_is_no_negative_percentage() -> None:
    rates = rates_between(counters(0, cpu={"iowait": 5}), counters(10, cpu={"iowait": 4, "idle": 10}))
    assert rates["cpu_iowait_pct"] == 0
    assert rates["cpu_idle_pct"] == pytest.approx(100)


def test_a_host_without_iowait_has_no_such_metric() -> None:
    cpu = {"user": 1.0, "system": 1.0, "idle": 2.0}
    before = Counters(seconds=0, cpu=dict.fromkeys(cpu, 0.0), java={}, received_bytes=0, sent_bytes=0)
    now = Counters(seconds=1, cpu=cpu, java={}, received_bytes=0, sent_bytes=0)
    assert "cpu_iowait_pct" not in rates_between(before, now)


def test_java_processes_are_added_in_percent_of_the_whole_host() -> None:
    before = counters(0, java={(1, 0.0): 100.0, (2, 0.0): 50.0, (3, 0.0): 7.0})
    now = counters(10, cpu={"idle": 32, "user": 8}, java={(1, 0.0): 104.0, (2, 0.0): 52.0, (4, 9.0): 2.0})
    assert rates_between(before, now)["java_cpu_pct"] == pytest.approx(20)  # 4 + 2 + 2 of 40 CPU seconds


def test_a_reused_process_id_is_another_process() -> None:
    before = counters(0, java={(1, 0.0): 100.0})
    now = counters(10, cpu={"idle": 10}, java={(1, 8.0): 1.0})
    assert rates_between(before, now)["java_cpu_pct"] == pytest.approx(10)


def test_traffic_is_in_megabytes_a_second() -> None:
    rates = rates_between(counters(5, received=1_000_000, sent=0), counters(15, received=21_000_000, sent=5_000_000))
    assert rates["net_in_mb_s"] == pytest.approx(2)
    assert rates["net_out_mb_s"] == pytest.approx(0.5)


def test_a_counter_that_was_reset_is_not_measured() -> None:
    rates = rates_between(counters(0, received=100, sent=100), counters(10, received=5, sent=200))
    assert "net_in_mb_s" not in rates


def test_no_time_gone_measures_nothing() -> None:
    assert rates_between(counters(1), counters(1)) == {}


def test_close_wait_is_split_by_the_side_that_listens() -> None:
    sockets = [
        (psutil.CONN_LISTEN, 443),
        (psutil.CONN_CLOSE_WAIT, 443),
        (psutil.CONN_CLOSE_WAIT, 443),
        (psutil.CONN_CLOSE_WAIT, 50123),
        (psutil.CONN_ESTABLISHED, 443),
    ]
    assert count_close_wait(iter(sockets)) == {"front_close_wait": 2, "back_close_wait": 1}


def test_this_very_host_can_be_measured() -> None:
    before = read_counters()
    sum(number * number for number in range(300_000))
    rates = rates_between(before, read_counters())
    levels = read_levels()
    assert all(0 <= value <= 100 for name, value in (rates | levels).items() if name.endswith("_pct"))
    assert {"mem_used_pct", "swap_used_pct", "disk_usage_pct", "load_average", "uptime_days"} <= set(levels)
    assert levels["mem_used_pct"] > 0
