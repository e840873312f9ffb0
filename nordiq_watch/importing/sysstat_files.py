"""JSON of sysstat's `sadf -j`: what sar recorded of a host.

A value stands for the time up to its timestamp; it goes to the middle of that time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pyarrow

from nordiq_watch.errors import DatasetError
from nordiq_watch.names import find_fault, tidy_name
from nordiq_watch.tables.files import PACKED, packing_behind
from nordiq_watch.tables.source import unreadable

SUFFIXES = (".json",)

_KILOBYTES_TO_MEGABYTES = 1024 / 1e6
_BINARY = b"\x96\xd5"
"""What sysstat's own files begin with: 0xd596, of little-endian machines."""

_WRITE = "sadf -j FILE -- -u -r -S -q -n DEV -F MOUNT > FILE.json"

Row = tuple[str, int, dict[str, float]]
"""Server, time in microseconds, values."""


def is_sysstat(path: Path) -> bool:
    """Whether it begins as `sadf -j` writes it."""
    return b'"sysstat"' in _read(path, 64)


def refuse_sar(path: Path) -> None:
    """DatasetError, which says what to type, for sar's text and for sysstat's binary files."""
    head = _read(path, 200)
    if head.startswith(_BINARY):
        raise DatasetError(f"{path}: is sysstat's own file; type {_WRITE.replace('FILE', str(path))} and import that")
    first = head.lstrip().partition(b"\n")[0]
    if first.startswith(b"Linux ") and b"CPU)" in first:
        raise DatasetError(f"{path}: is text of sar; of the file that it was made from, type {_WRITE} and import that")


def read_sysstat(path: Path, *, zone: tzinfo) -> Iterator[Row]:
    """One row per record. zone: of times that are not in UTC. Raises DatasetError."""
    try:
        found = msgspec.json.decode(_read(path))
        if not isinstance(found, dict) or "sysstat" not in found:
            raise DatasetError(f"{path}: is JSON, but not of sadf -j; no other is read: type {_WRITE}, or save CSV")
        hosts = found["sysstat"]["hosts"]
        for host in hosts:
            name = tidy_name(str(host["nodename"]))
            if (fault := find_fault(name)) is not None:
                raise DatasetError(f"{path}: nodename {fault}")
            for number, record in enumerate(host["statistics"], start=1):
                try:
                    yield name, _moment_of(record["timestamp"], zone), _values_of(record)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise DatasetError(
                        f"{path}, record {number} of {name}: is not as sadf -j writes it: {error}; type {_WRITE}"
                    ) from None
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: is not as sadf -j writes it: {error}; type {_WRITE}") from None


def _moment_of(stamp: Mapping[str, Any], zone: tzinfo) -> int:
    at = datetime.fromisoformat(f"{stamp['date']}T{stamp['time']}").replace(tzinfo=UTC if stamp.get("utc") else zone)
    return round((at.timestamp() - float(stamp.get("interval", 0)) / 2) * 1e6)


def _values_of(record: Mapping[str, Any]) -> dict[str, float]:
    values: dict[str, float | None] = {
        **_cpu(record.get("cpu-load", ())),
        **_memory(record.get("memory", {})),
        **_traffic(record.get("network", {}).get("net-dev", ())),
        "load_average": record.get("queue", {}).get("ldavg-1"),
        "disk_usage_pct": _disk(record.get("filesystems", ())),
    }
    return {metric: float(value) for metric, value in values.items() if value is not None}


def _cpu(processors: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Of all together. sar's `user` and `system` are sums already; `usr` and `sys`, of -u ALL, are not."""
    whole = next((one for one in processors if one["cpu"] == "all"), None)
    if whole is None:
        return {}
    return {
        "cpu_user_pct": whole.get("user", whole.get("usr")) + whole.get("nice", 0.0),
        "cpu_sys_pct": whole["system"] if "system" in whole else whole["sys"] + whole["irq"] + whole["soft"],
        "cpu_iowait_pct": whole.get("iowait"),
        "cpu_idle_pct": whole.get("idle"),
    }


def _memory(memory: Mapping[str, Any]) -> dict[str, float | None]:
    """What is not available, as elsewhere; sar's own share of what is used, where it does not know that."""
    share, available = memory.get("memused-percent"), memory.get("avail")
    used = share
    if share and available:
        used = 100 - 100 * available * share / (100 * memory["memused"])
    swap = memory.get("swpused-percent") if memory.get("swpfree", 1) + memory.get("swpused", 0) else None
    return {"mem_used_pct": used, "swap_used_pct": swap}


def _traffic(devices: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    real = [one for one in devices if one["iface"] != "lo"]
    if not real:
        return {}
    return {
        "net_in_mb_s": sum(one["rxkB"] for one in real) * _KILOBYTES_TO_MEGABYTES,
        "net_out_mb_s": sum(one["txkB"] for one in real) * _KILOBYTES_TO_MEGABYTES,
    }


def _disk(filesystems: Sequence[Mapping[str, Any]]) -> float | None:
    """Of the root, which only -F MOUNT names."""
    root = next((one for one in filesystems if "/" in (one.get("filesystem"), one.get("mountpoint"))), None)
    if root is None:
        return None
    return next(
        (root[name] for name in ("ufsused-percent", "%ufsused", "fsused-percent", "%fsused") if name in root), None
    )


def _read(path: Path, most: int | None = None) -> bytes:
    try:
        with pyarrow.input_stream(path, compression=PACKED[packing_behind(path, SUFFIXES) or ""]) as stream:
            content: bytes = stream.read(most)
            return content
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from None
