"""A fleet of a few lasting servers and hundreds of jobs an hour, through the parts that a daemon is made of.

Everything is real but the network and the clocks: a slot is an hour, and a simulated day takes a moment.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.events import AlertsChanged, EventBus, FleetForecast, FleetJudged, WindowChanged
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.ingest.backfill import Backfill
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER
from nordiq_watch.ingest.formats.series import NAME, Series
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.ingest import Ingest
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.quality.accuracy_tracker import AccuracyTracker
from nordiq_watch.storage.accuracy import AccuracyStore
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.history_writer import HistoryWriter
from nordiq_watch.storage.journal import Journal
from support.batches import Sample, make_batch, samples_of
from support.fake_model import fake_servable
from support.serving import serving_of

HOUR, DAY = 3600, 24
METRICS = ("cpu_user_pct", "load_average")
START = 500_000  # a slot
MEGABYTE = 1e6
GROWTH = 1.1
LASTING = tuple(f"ppdb{number:03}" for number in range(20))


@dataclass(frozen=True)
class Size:
    """What the fleet costs at one moment. traced_mb: of Python's and numpy's memory."""

    traced_mb: float
    journal_mb: float
    history_mb: float
    accuracy_mb: float
    archive_mb_a_day: float
    series: int
    alerts: int


@dataclass
class Town:
    """slot: the present hour. lives: how many hours a job sends."""

    root: Path
    lasting: tuple[str, ...]
    jobs_an_hour: int
    lives: int = 3
    max_servers: int = 5000
    keep_days: int = 3
    slot: int = START
    refused: int = 0
    events: EventBus = field(default_factory=EventBus)

    def now(self) -> float:
        return (self.slot + 0.5) * HOUR

    @contextmanager
    def open(self) -> Iterator[Town]:
        self._build_stores()
        self._build_forecast()
        thread = threading.Thread(target=self.ingest.run)
        thread.start()
        tracemalloc.start()
        try:
            yield self
        finally:
            tracemalloc.stop()
            self.ingest.stop()
            thread.join(20)
            for store in (self.journal, self.history, self.store):
                store.close()

    def _build_stores(self) -> None:
        self.window = Window(
            METRICS, interval_seconds=HOUR, length=DAY, max_servers=self.max_servers, silent_seconds=2 * HOUR
        )
        self.journal = Journal(self.root / "journal.sqlite3", metrics=METRICS, interval_seconds=HOUR)
        self.archive = Archive(
            self.root / "archive", metrics=METRICS, interval_seconds=HOUR, days=self.keep_days, clock=self.now
        )
        self.history = HistoryStore(self.root / "history.sqlite3", slot_seconds=HOUR)
        self.history_writer = HistoryWriter(self.history, keep_days=self.keep_days, clock=self.now)
        self.store = AccuracyStore(self.root / "accuracy.sqlite3", interval_seconds=HOUR)
        self.keeper = AccuracyTracker(
            self.store, measured=self.window.measured, horizons_seconds=(HOUR, 4 * HOUR), max_servers=1000
        )
        self.budget = SeriesBudget(2_000_000)
        self.translator = Translator(
            NODE_EXPORTER, section="feeders.prometheus",
            names=ServerNames(section="feeders.prometheus", server_label="instance"), metrics=METRICS,
            interval_seconds=HOUR, lateness_seconds=900, max_servers=2 * self.max_servers, forget_seconds=2 * HOUR,
            budget=self.budget, clock=self.now,
        )  # fmt: skip

    def _build_forecast(self) -> None:
        live = Live()
        servable, predictor = fake_servable(max_encoder_length=4, interval_seconds=HOUR)
        predictor.snapshots = deque(maxlen=1)  # type: ignore[assignment]  # a test that looks at all would hold them
        live.swap(serving_of(servable), keep_previous=False)
        self.served = live
        self.alerts = ActiveAlerts(AlertSettings(silent_seconds=2 * HOUR))
        evaluator = RiskEvaluator(
            RiskSettings(),
            ThresholdTable(RiskSettings(), METRICS),
            self.alerts,
            self.events,
            silent_seconds=2 * HOUR,
            clock=self.now,
        )
        self.forecaster = Forecaster(
            live, self.window, self.events, evaluator=evaluator, clock=self.now, timer=self.now
        )
        sample_store = SampleStore(self.journal, self.archive, self.window, future_seconds=HOUR, clock=self.now)
        backfill = Backfill(sample_store, self.window, self.archive, clock=self.now)
        self.ingest = Ingest(sample_store, self.window, self.events, live=live, backfill=backfill)
        self.events.subscribe(WindowChanged, lambda _: self.forecaster.wake())
        self.events.subscribe(AlertsChanged, self.history_writer.note)
        self.events.subscribe(FleetJudged, self.history_writer.note)
        self.events.subscribe(FleetForecast, self.keeper.note)

    def jobs(self, hour: int) -> list[str]:
        return [f"job-{hour}-{number}" for number in range(self.jobs_an_hour)]

    def live(self, *, days: int) -> Size:
        """What it costs after so many days; each lasting server has a forecast in every hour."""
        for _ in range(days * DAY):
            self.live_an_hour()
            is_warm = self.slot >= START + 3
            assert not is_warm or set(self.lasting) <= set(self.forecast_servers())
        return self.size()

    def forecast_servers(self) -> tuple[str, ...]:
        columns = self.served.serving().answer.columns
        return () if columns is None else columns.servers

    def live_an_hour(self) -> None:
        """Everybody sends once, by the feed and by Prometheus; a forecast is made; the workers do what waits."""
        names = [*self.lasting, *(job for hour in range(self.lives) for job in self.jobs(self.slot - hour))]
        load = {"load_average": 1.0}
        result = self.ingest.submit(
            make_batch([Sample(name, self.slot, {"cpu_user_pct": 5.0, **load}) for name in names], METRICS)
        )
        self.refused += len(result.refused)
        self.translator.settle(self.translator.translate(map(self._series, names)).readings, kept=True)
        for _ in range(5):  # as every other request of a feed does
            self.translator.forget_silent()
        self.forecaster.step()
        self.history_writer.step()
        self.keeper.step()
        self.slot += 1

    def _series(self, server: str) -> Series:
        return Series({NAME: "node_load1", "instance": f"{server}:9100"}, [(self.now(), 1.0)])

    def size(self) -> Size:
        gc.collect()
        traced, _ = tracemalloc.get_traced_memory()
        days = [path.stat().st_size for path in self.archive.files().values()]
        return Size(
            traced_mb=traced / MEGABYTE,
            journal_mb=self._megabytes("journal"),
            history_mb=self._megabytes("history"),
            accuracy_mb=self._megabytes("accuracy"),
            archive_mb_a_day=max(days) / MEGABYTE,
            series=self.budget.held,
            alerts=len(self.alerts.active),
        )

    def _megabytes(self, store: str) -> float:
        return sum(path.stat().st_size for path in self.root.glob(f"{store}.sqlite3*")) / MEGABYTE


def assert_bounded(before: Size, after: Size) -> None:
    for field_ in fields(Size):
        assert getattr(after, field_.name) <= GROWTH * getattr(before, field_.name), (field_.name, before, after)


def assert_lasting_servers_lost_nothing(town: Town) -> None:
    assert town.refused == 0
    assert town.window.servers_tracked == town.max_servers, "the window is full, and new ones are let in all the same"
    last = town.slot - 1
    assert all(len(town.window.slots_of(name, until=last)) == DAY for name in town.lasting)
    for batch in town.archive.replay(last - DAY, last - 3):  # the newest slots are in the journal still
        assert set(town.lasting) <= {sample.server for sample in samples_of(batch)}
    assert all(town.history.risks(name, since=town.now() - DAY * HOUR) for name in town.lasting)
