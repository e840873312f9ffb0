"""The real daemon under `kill -9` while collectors feed it: their slots are those of a daemon that was never killed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests
from support.collectors import read_slots
from support.daemon import DaemonProcess, free_port
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.slot_oracle import Oracle, Samples

from nordiq_watch.config.schema import DEFAULT_METRICS

pytestmark = pytest.mark.slow

INTERVAL, SLOTS = 300, 8
CORES, DEVICES = ("0", "1"), ("eth0", "eth1")


def series_since(begin: float, step: float) -> dict[str, Samples]:
    """What a node_exporter says each `step` seconds, from a little after `begin` on."""
    moments = [begin + 7 + number * step for number in range(int(SLOTS * INTERVAL / step))]
    growing = {
        "user 0": 0.2, "idle 0": 0.8, "user 1": 0.6, "idle 1": 0.4, "bytes eth0": 2e6, "bytes eth1": 3e6
    }  # fmt: skip
    counters = {name: [(at, 1e6 + rate * (at - begin)) for at in moments] for name, rate in growing.items()}
    gauges = {name: [(at, (at - begin) % 97) for at in moments] for name in ("load", "free")}
    return {**counters, **gauges, "total": [(at, 100.0) for at in moments]}


def labels_of(name: str) -> dict[str, str]:
    kind, _, part = name.partition(" ")
    own = {
        "user": {"__name__": "node_cpu_seconds_total", "cpu": part, "mode": "user"},
        "idle": {"__name__": "node_cpu_seconds_total", "cpu": part, "mode": "idle"},
        "bytes": {"__name__": "node_network_receive_bytes_total", "device": part},
        "load": {"__name__": "node_load1"},
        "free": {"__name__": "node_memory_MemAvailable_bytes"},
        "total": {"__name__": "node_memory_MemTotal_bytes"},
    }
    return {"instance": "web1:9100", **own[kind]}


def requests_of(series: Mapping[str, Samples]) -> list[bytes]:
    """Two shards, each with every second series: of each moment first the one, then the other."""
    bodies = []
    for moment in range(len(series["load"])):
        for shard in (0, 1):
            names = list(series)[shard::2]
            bodies.append(pack(write_v1(Sent(labels_of(name), [series[name][moment]]) for name in names)))
    return bodies


def expected(series: Mapping[str, Samples]) -> dict[tuple[int, str], float]:
    oracle, values = Oracle(series), {}
    for slot in oracle.slots():
        rates = {name: oracle.rate(name, slot) for name in series}
        means = {name: oracle.mean(name, slot) or 0.0 for name in series}
        values[slot, "load_average"] = means["load"]
        values[slot, "mem_used_pct"] = 100 - means["free"]
        if rates["user 0"] is not None:
            user, idle = (sum(rates[f"{mode} {core}"] or 0.0 for core in CORES) for mode in ("user", "idle"))
            values[slot, "cpu_user_pct"] = 100 * user / (user + idle)
            values[slot, "cpu_idle_pct"] = 100 * idle / (user + idle)
            values[slot, "net_in_mb_s"] = sum(rates[f"bytes {device}"] or 0.0 for device in DEVICES) / 1e6
    return values


class Sender:
    """As Prometheus: what was not answered with 2xx is sent again, in the old order, and nothing else."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon

    def send(self, body: bytes) -> bool:
        headers = V1_HEADERS | {"X-API-Key": self._daemon.key}
        try:
            return requests.post(f"{self._daemon.url}/feed/prometheus", body, headers=headers, timeout=60).ok
        except requests.RequestException:
            return False

    def send_and_kill(self, body: bytes, *, after: float) -> bool:
        """Whether it was answered before the daemon was killed, `after` seconds from now."""
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(self.send(body)))
        thread.start()
        time.sleep(after)
        self._daemon.kill()
        thread.join()
        return answers[0]


def run(daemon: DaemonProcess, bodies: Sequence[bytes], dice: random.Random, *, kills: int, again: bool) -> None:
    """again: after each kill everything is sent again, from the begin."""
    sender, deadly = Sender(daemon), set(dice.sample(range(len(bodies)), kills))
    for number, body in enumerate(bodies):
        answered = False
        if number in deadly:
            answered = sender.send_and_kill(body, after=dice.uniform(0, 0.01))
            daemon.start()
            if again:
                assert all(sender.send(earlier) for earlier in bodies[:number])
        assert answered or sender.send(body)


@pytest.mark.parametrize(("step", "again"), [(300, False), (300, True), (60, False)])
def test_slots_over_kills_are_those_of_a_daemon_that_lives(tmp_path: Path, step: int, again: bool) -> None:
    dice = random.Random(step + again)
    begin = (time.time() // INTERVAL - SLOTS - 3) * INTERVAL
    series = series_since(begin, step)
    config = {"interval_seconds": INTERVAL, "length": 288}
    with DaemonProcess(tmp_path, metrics=DEFAULT_METRICS, server={"port": free_port()}, window=config) as daemon:
        run(daemon, requests_of(series), dice, kills=2, again=again)
        daemon.kill()
        found = read_slots(daemon, interval_seconds=INTERVAL)["web1"]
    wanted = expected(series)
    assert {(slot, metric) for slot, values in found.items() for metric in values} == set(wanted)
    for (slot, metric), value in wanted.items():
        assert found[slot][metric] == pytest.approx(value, rel=1e-4, abs=1e-4), (slot, metric)
