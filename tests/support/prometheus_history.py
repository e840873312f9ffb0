"""A fleet's series as they were scraped, in real servers of history, and fed live."""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from nordiq_watch.config.schema import Config
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.build import build_translator
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.series import NAME, Series
from support.collectors import Program
from support.daemon import free_port, wait_until

MODES = {"idle": 0.6, "user": 0.25, "system": 0.1, "iowait": 0.05}
Slots = Mapping[tuple[str, int], Mapping[str, float]]


@dataclass(frozen=True)
class Scraped:
    """Series by their labels, each with (Unix seconds to the millisecond, value)."""

    series: Mapping[tuple[tuple[str, str], ...], Sequence[tuple[float, float]]]

    def between(self, begin: float, end: float) -> Iterator[Series]:
        for labels, samples in self.series.items():
            found = [one for one in samples if begin <= one[0] < end]
            if found:
                yield Series(dict(labels), found)

    def as_openmetrics(self) -> str:
        """Of each name its family, without the `_total` of counters."""
        names = dict.fromkeys(dict(labels)[NAME] for labels in self.series)
        lines = []
        for name in names:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines.append(f"# TYPE {name.removesuffix('_total')} {kind}")
            for labels, samples in self.series.items():
                if dict(labels)[NAME] == name:
                    shown = ",".join(f'{key}="{value}"' for key, value in labels if key != NAME)
                    lines += [f"{name}{{{shown}}} {value!r} {at:.3f}" for at, value in samples]
        return "\n".join([*lines, "# EOF", ""])


def scrape(servers: int, *, begin: float, end: float, seed: int = 7) -> Scraped:
    """node_exporter's series every 60 s with jitter, each server at its own moments, with a restart of the first and an
    hour in which the last is not there. Load jumps every minute, so that one sample of a slot is not its mean.
    """
    rng = random.Random(seed)
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for number in range(servers):
        instance = f"web{number}.example.net:9100"
        seconds = dict.fromkeys(((cpu, mode) for cpu in "01" for mode in MODES), 1e5 * (number + 1))
        traffic, at, gone = 1e9, begin + rng.uniform(0, 60), (begin + end) / 2
        while at < end:
            moment, now = round(at + rng.uniform(-9, 9), 3), at - begin
            if number == 0 and abs(now - (end - begin) / 3) < 30:
                seconds = dict.fromkeys(seconds, 0.0)
            load = max(0.0, 2 + math.sin(now / 4000) + rng.choice([-1.5, 0, 3]))
            busy = {mode: share * rng.uniform(0.4, 1.6) for mode, share in MODES.items()}
            for cpu, mode in seconds:
                seconds[cpu, mode] += 60 * busy[mode] / sum(busy.values())
            traffic += rng.uniform(0, 6e7)
            values: dict[tuple[tuple[str, str], ...], float] = {
                ((NAME, "node_load1"),): round(load, 2),
                ((NAME, "node_memory_MemTotal_bytes"),): 16e9,
                ((NAME, "node_memory_MemAvailable_bytes"),): round(16e9 * rng.uniform(0.2, 0.7)),
                ((NAME, "node_network_receive_bytes_total"), ("device", "eth0")): round(traffic),
                **{
                    ((NAME, "node_cpu_seconds_total"), ("cpu", cpu), ("mode", mode)): round(value, 2)
                    for (cpu, mode), value in seconds.items()
                },
            }
            if not (number == servers - 1 and gone <= at < gone + 3600):
                for labels, value in values.items():
                    series.setdefault((*labels, ("instance", instance), ("job", "node")), []).append((moment, value))
            at += 60
    return Scraped(series)


def fed_live(scraped: Scraped, config: Config, *, begin: float, end: float) -> Slots:
    """What remote write makes of the same series, sent every 15 s: the last word on each slot."""
    now = begin
    translator = build_translator(
        config, "prometheus", config.feeders.prometheus, PROMETHEUS,
        budget=SeriesBudget(10**6), clusters=Clusters(None), max_servers=1000, clock=lambda: now,
    )  # fmt: skip
    found: dict[tuple[str, int], dict[str, float]] = {}
    while now < end + 3600:
        now += 15
        translations = [translator.translate(scraped.between(now - 15, min(now, end))), translator.say_due()]
        for translation in translations:
            for reading in translation.readings:
                slot = int(reading.timestamp // config.window.interval_seconds)
                found.setdefault((reading.server, slot), {}).update(reading.values)
            translator.settle(translation.readings, kept=True)
    return found


@contextmanager
def prometheus_with(scraped: Scraped, root: Path, *options: str) -> Iterator[str]:
    """Debian's Prometheus over blocks that promtool made. Yields its URL."""
    text, data, port = root / "history.om", root / "tsdb", free_port()
    text.write_text(scraped.as_openmetrics())
    command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data))
    subprocess.run(command, check=True, capture_output=True)
    (root / "prometheus.yml").write_text("scrape_configs: []\n")
    arguments = (
        "prometheus",
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    )
    with Program(arguments, root / "prometheus.log"):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), what="Prometheus")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def victoria_metrics_with(scraped: Scraped, root: Path, *options: str) -> Iterator[str]:
    """Debian's victoria-metrics, which was sent the same in its import format. Yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = (
        "victoria-metrics",
        f"-storageDataPath={root / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=10y",
        *options,
    )
    with Program(arguments, root / "victoria.log"):
        wait_until(lambda: answers(f"{url}/health"), what="VictoriaMetrics")
        lines = [
            {
                "metric": dict(labels),
                "values": [v for _, v in samples],
                "timestamps": [round(t * 1000) for t, _ in samples],
            }
            for labels, samples in scraped.series.items()
        ]
        body = "\n".join(map(json.dumps, lines))
        requests.post(f"{url}/api/v1/import", data=body, timeout=60).raise_for_status()
        requests.get(f"{url}/internal/force_flush", timeout=60).raise_for_status()
        yield url


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
