"""History that is fetched from real servers is what remote write makes of the same series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from support.collectors import needs
from support.prometheus_history import (
    Scraped,
    Slots,
    fed_live,
    prometheus_with,
    scrape,
    victoria_metrics_with,
)

from nordiq_watch.config.schema import Config, FeederSettings
from nordiq_watch.errors import ClientError
from nordiq_watch.importing import prometheus as module
from nordiq_watch.importing.prometheus import fetch_slots
from nordiq_watch.importing.prometheus_api import PrometheusApi, Source
from nordiq_watch.importing.raw_samples import RawSamples
from nordiq_watch.importing.slot_table import SlotTable

pytestmark = pytest.mark.slow

HOURS = 10
END = 1_738_245_900.0
BEGIN = END - HOURS * 3600
DAYS = (HOURS - 3) / 24
"""Of which slots are wanted: what was scraped before is the past of the first."""

SERVERS = {
    "prometheus": pytest.param(prometheus_with, marks=needs("prometheus", program="promtool"), id="prometheus"),
    "victoria": pytest.param(
        victoria_metrics_with, marks=needs("victoria-metrics", program="victoria-metrics"), id="victoria-metrics"
    ),
}


@pytest.fixture(scope="module")
def scraped() -> Scraped:
    return scrape(3, begin=BEGIN, end=END)


@pytest.fixture(scope="module")
def live(scraped: Scraped) -> Slots:
    first = (END - DAYS * 86_400) // 300
    found = fed_live(scraped, Config(), begin=BEGIN, end=END)
    return {
        cell: {name: float(np.float32(value)) for name, value in values.items()}
        for cell, values in found.items()
        if cell[1] >= first
    }


def fetch(url: str, directory: Path, api: PrometheusApi | None = None, config: Config | None = None) -> SlotTable:
    return fetch_slots(
        api or PrometheusApi(Source(url)), config or Config(), days=DAYS, now=END + 1, directory=directory
    )


def cells_of(table: SlotTable) -> dict[tuple[str, int], Mapping[str, float]]:
    return {
        (server, int(table.slots[row])): {
            name: float(value) for name, value in zip(table.metrics, table.values[row], strict=True) if value == value
        }
        for server, rows in table.servers.items()
        for row in range(rows.start, rows.stop)
    }


@pytest.mark.parametrize("serve", SERVERS.values())
def test_the_slots_are_those_of_remote_write(
    tmp_path: Path, scraped: Scraped, live: Slots, serve: Callable[[Scraped, Path], AbstractContextManager[str]]
) -> None:
    with serve(scraped, tmp_path) as url:
        found = cells_of(fetch(url, tmp_path / "spool"))
    assert found.keys() == live.keys()
    assert {cell: values for cell, values in found.items() if values != live[cell]} == {}
    assert {name for values in found.values() for name in values} >= {
        "cpu_user_pct", "cpu_idle_pct", "mem_used_pct", "load_average", "net_in_mb_s",
    }  # fmt: skip


class BrokenOff(PrometheusApi):
    """Ends after some queries, as a lost connection does."""

    left = 35
    asked = 0

    def samples(self, name: str, *, begin: float, end: float, matchers: str = "") -> Iterator[RawSamples]:
        if self.asked == self.left:
            raise ClientError("the connection is lost")
        self.asked += 1
        return super().samples(name, begin=begin, end=end, matchers=matchers)


@needs("prometheus", program="promtool")
def test_a_fetch_that_was_broken_off_goes_on_where_it_ended(
    tmp_path: Path, scraped: Scraped, live: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_CHUNK_SECONDS", 3600)
    with prometheus_with(scraped, tmp_path) as url:
        first = BrokenOff(Source(url))
        with pytest.raises(ClientError, match="the connection is lost"):
            fetch(url, tmp_path / "spool", first)
        whole, rest = BrokenOff(Source(url)), BrokenOff(Source(url))
        whole.left = rest.left = 10**6
        found = fetch(url, tmp_path / "spool", rest)
        fetch(url, tmp_path / "other", whole)
    assert rest.asked <= whole.asked - 10
    assert cells_of(found) == live


@needs("prometheus", program="promtool")
def test_servers_have_the_labels_of_their_series_that_the_config_names(tmp_path: Path, scraped: Scraped) -> None:
    named = Config(feeders=FeederSettings(labels=("job", "rack")))
    with prometheus_with(scraped, tmp_path) as url:
        found = fetch(url, tmp_path / "spool", config=named)
        none = fetch(url, tmp_path / "other")
    assert {server: given.labels for server, given in found.labels.items()} == {
        server: {"job": "node"} for server in found.servers
    }
    assert none.labels == {}


@needs("prometheus", program="promtool")
def test_chunks_that_are_too_large_are_asked_for_in_halves(tmp_path: Path, scraped: Scraped, live: Slots) -> None:
    with prometheus_with(scraped, tmp_path, "--query.max-samples=200") as url:
        assert cells_of(fetch(url, tmp_path / "spool")) == live


@needs("prometheus", program="promtool")
def test_what_is_too_much_even_for_a_minute_is_said(tmp_path: Path, scraped: Scraped) -> None:
    with (
        prometheus_with(scraped, tmp_path, "--query.max-samples=3") as url,
        pytest.raises(ClientError, match=r"too many samples.*60 s of node_cpu_seconds_total are too much for it"),
    ):
        fetch(url, tmp_path / "spool")


@needs("prometheus", program="promtool")
def test_a_span_without_known_series_is_said(tmp_path: Path, scraped: Scraped) -> None:
    with (
        prometheus_with(scraped, tmp_path) as url,
        pytest.raises(ClientError, match=r"no rule knows any of its 0 names of series in this time, e.g. none at all"),
    ):
        fetch_slots(PrometheusApi(Source(url)), Config(), days=1, now=END - 10 * 86_400, directory=tmp_path / "spool")
