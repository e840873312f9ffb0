"""Debian's collectors as they are, measuring this host and feeding a real daemon; node_exporter is read beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collectors import (
    SERVER,
    SLOT_SECONDS,
    Exporter,
    Slots,
    collectd,
    make_daemon,
    needs,
    prometheus,
    read_slots,
    vmagent,
    wait_for,
    wait_for_slots,
)
from support.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, needs("prometheus-node-exporter", program="prometheus-node-exporter")]

MEASURED = {
    "cpu_user_pct",
    "cpu_sys_pct",
    "cpu_iowait_pct",
    "cpu_idle_pct",
    "mem_used_pct",
    "disk_usage_pct",
    "net_in_mb_s",
    "net_out_mb_s",
    "load_average",
    "uptime_days",
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with make_daemon(tmp_path / "daemon") as daemon:
        yield daemon


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path).running() as exporter:
        yield exporter


def slots_of_the_one_server(daemon: DaemonProcess) -> Slots:
    """All but the first and the last, which were measured in part; none is missing."""
    daemon.kill()
    found = read_slots(daemon)
    assert set(found) == {SERVER}
    numbers = sorted(found[SERVER])
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    return {number: found[SERVER][number] for number in numbers[1:-1]}


@needs("prometheus", program="prometheus")
def test_a_pair_of_prometheus_is_one_server_whichever_of_them_and_of_the_daemon_is_down(
    tmp_path: Path, daemon: DaemonProcess, exporter: Exporter
) -> None:
    pair = [prometheus(tmp_path, daemon, {"node": exporter.url}, replica=name) for name in ("a", "b")]
    with pair[0], pair[1]:
        wait_for_slots(daemon, 2, *pair)
        pair[0].kill()
        wait_for_slots(daemon, 4, *pair)
        pair[0].start()
        daemon.stop()
        wait_for(SLOT_SECONDS / 2)
        daemon.start()
        wait_for_slots(daemon, 7, *pair)
    slots = slots_of_the_one_server(daemon)
    for number, values in slots.items():
        assert set(values) >= MEASURED
        exporter.check(number, values)


@needs("victoria-metrics", program="vmagent")
def test_what_vmagent_kept_while_the_daemon_was_away_fills_its_slots(
    tmp_path: Path, daemon: DaemonProcess, exporter: Exporter
) -> None:
    with vmagent(tmp_path, daemon, {"node": exporter.url}) as agent:
        wait_for_slots(daemon, 2, agent)
        daemon.stop()
        wait_for(1.5 * SLOT_SECONDS)
        daemon.start()
        wait_for_slots(daemon, 6, agent)
    slots = slots_of_the_one_server(daemon)
    for number, values in slots.items():
        assert set(values) >= MEASURED
        exporter.check(number, values)


@needs("collectd-core", "libyajl2", program="collectd")
@pytest.mark.parametrize("percentages", [False, True], ids=["absolute", "ValuesPercentage"])
def test_collectd_measures_what_node_exporter_measures(
    tmp_path: Path, daemon: DaemonProcess, exporter: Exporter, percentages: bool
) -> None:
    with collectd(tmp_path, daemon, percentages=percentages) as collector:
        wait_for_slots(daemon, 4, collector)
    slots = slots_of_the_one_server(daemon)
    for number, values in slots.items():
        assert set(values) >= MEASURED
        exporter.check(number, values, memory_points=12)
