"""Measures this host with psutil, as metrics of config.yaml.

Rates come from two readings of counters: `rates_between` is pure, `read_counters` and `read_levels` read the host. What
this host cannot measure is left out, never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

BYTES_PER_MB = 1e6
SECONDS_PER_DAY = 86_400
ROOT = "/"  # disk_usage_pct is the root file system's

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of the host.

    seconds: a monotonic clock. cpu: CPU seconds of all processors by state. java: CPU seconds of every Java process, by
    process id and start time. received_bytes and sent_bytes: over all network interfaces except loopback.
    """

    seconds: float
    cpu: Mapping[str, float]
    java: Mapping[tuple[int, float], float]
    received_bytes: int
    sent_bytes: int


def read_counters() -> Counters:
    received, sent = _count_network()
    return Counters(
        seconds=time.monotonic(),
        cpu=psutil.cpu_times()._asdict(),
        java=_count_java(),
        received_bytes=received,
        sent_bytes=sent,
    )


def read_levels() -> Metrics:
    """Metrics that need a single reading: memory, swap, disk, load, uptime, CLOSE_WAIT sockets."""
    return {
        "mem_used_pct": psutil.virtual_memory().percent,
        "swap_used_pct": psutil.swap_memory().percent,
        "disk_usage_pct": psutil.disk_usage(ROOT).percent,
        "load_average": psutil.getloadavg()[0],
        "uptime_days": (time.time() - psutil.boot_time()) / SECONDS_PER_DAY,
        **_count_sockets(),
    }


def rates_between(before: Counters, now: Counters) -> Metrics:
    """CPU in percent of all processors and traffic in MB/s between two readings.

    If a counter decreased (a reboot, a removed interface), the traffic metric is left out; a CPU state that decreased
    counts as zero, as Linux' iowait occasionally does.
    """
    return {**_cpu_rates(before, now), **_network_rates(before, now)}


def count_close_wait(sockets: Iterable[tuple[str, int]]) -> Metrics:
    """CLOSE_WAIT sockets by side, from the status and local port of every TCP socket.

    Front: on a port this host listens on, left by its clients. Back: the others, left by servers it connected to.
    """
    sockets = list(sockets)
    listening = {port for status, port in sockets if status == psutil.CONN_LISTEN}
    waiting = [port for status, port in sockets if status == psutil.CONN_CLOSE_WAIT]
    front = sum(port in listening for port in waiting)
    return {"front_close_wait": float(front), "back_close_wait": float(len(waiting) - front)}


def _cpu_rates(before: Counters, now: Counters) -> Metrics:
    spent = {state: max(0.0, now.cpu[state] - before.cpu.get(state, 0.0)) for state in now.cpu}
    total = sum(seconds for state, seconds in spent.items() if not state.startswith("guest"))  # user includes guest
    if total <= 0:
        return {}
    rates = {
        "cpu_user_pct": _share(spent, total, "user", "nice"),
        "cpu_sys_pct": _share(spent, total, "system", "irq", "softirq"),
        "cpu_idle_pct": _share(spent, total, "idle"),
        "java_cpu_pct": min(100.0, 100 * _java_seconds(before, now) / total),
    }
    if "iowait" in spent:
        rates["cpu_iowait_pct"] = _share(spent, total, "iowait")
    return rates


def _share(spent: Mapping[str, float], total: float, *states: str) -> float:
    return 100 * sum(spent.get(state, 0.0) for state in states) / total


def _java_seconds(before: Counters, now: Counters) -> float:
    """For processes still running; one that started in between counts from its start."""
    return sum(max(0.0, seconds - before.java.get(process, 0.0)) for process, seconds in now.java.items())


def _network_rates(before: Counters, now: Counters) -> Metrics:
    seconds = now.seconds - before.seconds
    received = now.received_bytes - before.received_bytes
    sent = now.sent_bytes - before.sent_bytes
    if seconds <= 0 or received < 0 or sent < 0:
        return {}
    return {"net_in_mb_s": received / seconds / BYTES_PER_MB, "net_out_mb_s": sent / seconds / BYTES_PER_MB}


def _count_network() -> tuple[int, int]:
    interfaces = [
        counted for name, counted in psutil.net_io_counters(pernic=True).items() if not name.lower().startswith("lo")
    ]
    return sum(counted.bytes_recv for counted in interfaces), sum(counted.bytes_sent for counted in interfaces)


def _count_java() -> dict[tuple[int, float], float]:
    seconds = {}
    for process in psutil.process_iter(["name", "create_time", "cpu_times"]):
        times = process.info["cpu_times"]
        if process.info["name"] == "java" and times is not None:  # None: not ours to see
            seconds[process.pid, process.info["create_time"]] = times.user + times.system
    return seconds


def _count_sockets() -> Metrics:
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return {}
    return count_close_wait((socket.status, socket.laddr[1]) for socket in sockets if socket.laddr)
