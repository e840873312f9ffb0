from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from nordiq_watch.config.fleet_memory import AUTO_SHARE, COPIED_SERVERS, bytes_per_server, max_servers, needed_bytes
from nordiq_watch.config.schema import AnswerSettings, Config, WindowSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.events import EventBus
from nordiq_watch.ingest.build import build_ingest
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.records.samples import Batch

METRICS = ("cpu_user_pct", "mem_used_pct")
AN_HOUR = 12


def config_of(servers: int | Literal["auto"], *, steps: int = 1) -> Config:
    return Config(
        window=WindowSettings(max_servers=servers, length=AN_HOUR),
        training=TrainingSettings(max_encoder_length=AN_HOUR, max_prediction_length=steps),
        metrics=METRICS,
    )


def test_a_number_is_taken_as_it_is() -> None:
    assert max_servers(config_of(7), free_bytes=0) == 7


@pytest.mark.parametrize("free", [1_000_000_000, 2_000_000_000, 100_000_000_000])
@pytest.mark.parametrize("ahead", [0, 5_000, 10_000_000])
def test_auto_takes_what_its_share_of_the_free_memory_holds_and_not_one_server_more(free: int, ahead: int) -> None:
    config = msgspec.structs.replace(config_of("auto", steps=96), answers=AnswerSettings(render_ahead=ahead))
    servers = max_servers(config, free_bytes=free)
    assert needed_bytes(config, servers) <= AUTO_SHARE * free < needed_bytes(config, servers + 1)


def test_auto_without_memory_is_one_server() -> None:
    assert max_servers(config_of("auto"), free_bytes=0) == 1


def test_a_window_takes_no_more_than_is_reckoned() -> None:
    """Of a forecast's one step nothing worth mentioning, so that what is left is the window and a copy of it."""
    servers = 20_000
    names = tuple(map(str, range(servers)))
    window = Window(METRICS, interval_seconds=300, length=AN_HOUR, max_servers=servers, silent_seconds=3600)
    batch = Batch(
        servers=names,
        profiles=(None,) * servers,
        rows=np.arange(servers),
        slots=np.full(servers, 100),
        statuses=np.zeros(servers, dtype=np.uint8),
        values=np.ones((servers, len(METRICS)), dtype=np.float32),
        offsets=np.zeros(servers, dtype=np.int64),
    )
    tracemalloc.start()
    window.apply(batch)
    snapshot = window.snapshot()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(snapshot.servers) == servers
    floor = servers * AN_HOUR * (2 * len(METRICS) * 4 + 3 + 1)  # values twice, and what stands beside them
    assert floor < held < servers * bytes_per_server(config_of(servers), servers)


def test_the_window_of_a_daemon_has_as_many_rows_as_auto_allows(tmp_path: Path) -> None:
    config = config_of("auto")
    ingest = build_ingest(
        Settings(config=config, root=tmp_path),
        EventBus(),
        live=Live(),
        parts=Parts(),
        free_bytes=lambda: 2_000_000_000,
    )
    assert ingest.window.max_servers == max_servers(config, free_bytes=2_000_000_000) > 1000


def test_a_large_window_is_not_reckoned_twice_more_for_the_forecasts_that_read_it() -> None:
    config = msgspec.structs.replace(config_of("auto"), answers=AnswerSettings(render_ahead=0))
    config = msgspec.structs.replace(config, window=WindowSettings(length=288))
    copies = 2 * 288 * (len(METRICS) * 4 + 1)
    saved = bytes_per_server(config, COPIED_SERVERS) - bytes_per_server(config, COPIED_SERVERS + 1)
    assert saved > 0.9 * copies
