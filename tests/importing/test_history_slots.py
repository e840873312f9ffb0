"""What raw samples of the past make of slots is what the translator of remote write said of them last, to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.prometheus_history import Scraped, fed_live

from nordiq_watch.config.schema import Config, FeederSettings
from nordiq_watch.importing.history_slots import HistorySlots
from nordiq_watch.importing.raw_samples import RawSamples
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.series import NAME
from nordiq_watch.records.servers import GivenLabels

INTERVAL = 300
AT = 300.0 * 5_000_000
SLOTS = 24
GAUGES = {
    "node_load1": 3.0,
    "node_memory_MemAvailable_bytes": 5e9,
    "node_memory_MemTotal_bytes": 16e9,
    "node_boot_time_seconds": AT - 86_400.0,
    "node_filesystem_avail_bytes": 5e10,
    "node_filesystem_size_bytes": 2e11,
}
MODES = {"idle": 0.6, "user": 0.2, "nice": 0.05, "system": 0.1, "iowait": 0.05}
Labels = tuple[tuple[str, str], ...]
Samples = Sequence[tuple[float, float]]


def names_of(server: str, kind: str) -> Iterator[tuple[Labels, float]]:
    """Series of one server, with their level or their growth per second. kind: which of them there are."""
    where = (("instance", server), ("job", "node"))
    for cpu in "01":
        for mode, share in MODES.items():
            yield ((NAME, "node_cpu_seconds_total"), ("cpu", cpu), ("mode", mode), *where), share
    for device in ("eth0", "eth1", "lo"):
        yield ((NAME, "node_network_receive_bytes_total"), ("device", device), *where), 1e5
    for name, level in GAUGES.items():
        more = (("mountpoint", "/"),) if "filesystem" in name else ()
        yield ((NAME, name), *more, *where), level
    if kind == "replicas":
        yield ((NAME, "node_load1"), ("instance", server), ("prometheus_replica", "b")), 4.0
    yield ((NAME, "no_rule_knows_this"), *where), 1.0


def scrapes(dice: Random, kind: str) -> Scraped:
    """Two hours of two servers, with jitter, holes, births, ends, restarts, steps back, jumps and impossible values."""
    series: dict[Labels, list[tuple[float, float]]] = {}
    for server in ("web1:9100", "web2"):
        step = dice.choice([17.0, 60.0, 100.0, 170.0, 290.0, 400.0, 700.0])
        moments = [AT + number * step + dice.choice([0.0, 0.0, 1.5, 0.004, 9.0]) for number in range(int(7200 / step))]
        trouble = dice.choice([5, 40, 400])
        for labels, pace in names_of(server, kind):
            level, is_counter = dice.uniform(0, 1e5), "_total" in labels[0][1]
            born, dies = dice.choice([0, 0, 0, 9]), dice.choice([10**6, 10**6, 12])
            for number, at in enumerate(moments):
                level += pace * step * dice.choice([1.0, 1.0, 0.0, 1.05])
                what = dice.randrange(8 * trouble)
                if what < 3 and is_counter:
                    level *= (0.0, 0.999, 1.5)[what]
                value = level if is_counter else pace * dice.choice([1.0, 0.3, 0.77])
                if what in (4, 5, 6):
                    value = (float("nan"), float("inf"), -1e300)[what - 4]
                if born <= number < dies and what != 7:
                    late = 7.0 if "prometheus_replica" in dict(labels) else 0.0
                    series.setdefault(labels, []).append((round(at + late, 3), value))
    return Scraped(series)


def as_answers(scraped: Scraped, begin: float, end: float, dice: Random) -> Iterator[RawSamples]:
    found = list(scraped.between(begin, end))
    dice.shuffle(found)
    size = dice.randint(1, 20)
    for start in range(0, len(found), size):
        some = found[start : start + size]
        samples = np.array([sample for one in some for sample in one.samples])
        counts = np.array([len(one.samples) for one in some])
        yield RawSamples([one.labels for one in some], counts, samples[:, 0], samples[:, 1])


def history_of(config: Config) -> HistorySlots:
    return HistorySlots(config, "prometheus", config.feeders.prometheus, PROMETHEUS, clusters=Clusters(None))


def translated(scraped: Scraped, config: Config, dice: Random) -> dict[tuple[str, int], dict[str, float]]:
    """In parts of whole slots."""
    first = int(AT // INTERVAL)
    history, begin = history_of(config), first
    slots: dict[tuple[str, int], dict[str, float]] = {}
    while begin < first + SLOTS:
        until = min(first + SLOTS, begin + dice.choice([1, 2, 3, 8, 24]))
        found = as_answers(scraped, begin * INTERVAL, until * INTERVAL, dice)
        slots |= history.take(found, first=begin, until=until)
        begin = until
    return slots


@given(st.integers(0, 2**32), st.sampled_from(["plain", "replicas"]))
@settings(max_examples=60)
def test_the_slots_are_those_of_the_translator_of_remote_write(seed: int, kind: str) -> None:
    dice = Random(seed)
    scraped = scrapes(dice, kind)
    live = fed_live(scraped, Config(), begin=AT, end=AT + SLOTS * INTERVAL)
    assert translated(scraped, Config(), dice) == live


def raw(*series: tuple[dict[str, str], Samples]) -> RawSamples:
    samples = np.array([(AT + at, value) for _, some in series for at, value in some])
    counts = np.array([len(some) for _, some in series])
    return RawSamples([labels for labels, _ in series], counts, samples[:, 0], samples[:, 1])


def labels_of(name: str, **more: str) -> dict[str, str]:
    return {NAME: name, "instance": "web1", **more}


def test_what_is_left_out_is_counted_and_said() -> None:
    history, first = history_of(Config()), int(AT // INTERVAL)
    traffic = labels_of("node_network_receive_bytes_total", device="eth0")
    found = raw(
        (labels_of("node_load1"), [(0, float("nan")), (60, -1.0), (120, 2.0)]),
        ({NAME: "node_load1"}, [(0, 1.0)]),
        (traffic, [(0, 0.0), (60, 1e18), (120, 6e7)]),
        (labels_of("node_network_transmit_bytes_total", device="eth0"), [(0, 0.0), (700, 1.0), (1400, 2.0)]),
    )
    slots = history.take([found], first=first, until=first + 5)
    assert slots == {("web1", first): {"load_average": 2.0, "net_in_mb_s": 0.5}}
    said = "\n".join(history.notes.describe())
    for words in (
        "1 left out: not_a_number, e.g. a series of web1 is nan",
        "1 left out: out_of_range, e.g. a series of web1 is -1",
        "1 left out: series without the label instance",
        "1 left out: odd_growth, e.g. a counter of web1 jumped further than it can grow",
        "1 left out: too_sparse, e.g. a counter of web1 has samples 700 s apart",
    ):
        assert words in said


def test_growth_goes_on_over_the_parts_of_a_history() -> None:
    history, first = history_of(Config()), int(AT // INTERVAL)
    traffic = labels_of("node_network_receive_bytes_total", device="eth0")
    assert history.take([raw((traffic, [(240, 1e9)]))], first=first, until=first + 1) == {}
    slots = history.take([raw((traffic, [(300, 1.06e9)]))], first=first + 1, until=first + 2)
    assert slots == {("web1", first + 1): {"net_in_mb_s": 1.0}}


def test_series_beyond_the_most_are_refused_and_counted() -> None:
    config = Config(feeders=FeederSettings(max_series=1))
    history, first = history_of(config), int(AT // INTERVAL)
    some = [(labels_of("node_load1") | {"instance": f"web{number}"}, [(0, 1.0)]) for number in range(3)]
    assert list(history.take([raw(*some)], first=first, until=first + 1)) == [("web0", first)]
    assert history.notes.describe() == ["2 left out: series beyond feeders.max_series"]


def test_labels_of_series_are_their_servers_and_the_newest_count_over_all_parts() -> None:
    config, first = Config(feeders=FeederSettings(labels=("rack", "team"))), int(AT // INTERVAL)
    history = history_of(config)
    moved = raw((labels_of("node_load1", rack="r2"), [(200, 1.0)]), (labels_of("node_load1", rack="r1"), [(100, 1.0)]))
    history.take([moved, raw((labels_of("no_rule_knows_this", team="x"), [(250, 1.0)]))], first=first, until=first + 1)
    rest = HistorySlots(
        config, "prometheus", config.feeders.prometheus, PROMETHEUS, clusters=Clusters(None), given=history.given
    )
    rest.take([raw((labels_of("node_load1", team="web"), [(400, 1.0)]))], first=first + 1, until=first + 2)
    assert rest.given == {"web1": GivenLabels("web1", AT + 400, {"rack": "r2", "team": "web"})}
