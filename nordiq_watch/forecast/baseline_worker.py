"""The thread of the built-in baseline: it learns from the fleet's own past, and is booked beside a live model.

It learns anew whenever the past has grown by a quarter, and once a day. It reads what is served, and never the window
that requests write into. Beside a live model it forecasts the servers whose accuracy is followed, from the same data as
the model, and where the starter takes its place, that too: `/admin/accuracy` compares them on the same points.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np

from nordiq_watch.events import BaselineForecast, EventBus
from nordiq_watch.forecast.baseline import Baseline, Learned
from nordiq_watch.forecast.fleet_past import read_fleet_past, window_past
from nordiq_watch.live.published import Live, Serving
from nordiq_watch.live.sources import STARTER, made_by_each, made_by_model
from nordiq_watch.network.baseline.fit import fit_map
from nordiq_watch.network.baseline.rival import judge_starter
from nordiq_watch.network.calendar import DAY_SECONDS
from nordiq_watch.parts import Part
from nordiq_watch.quality.accuracy import choose_rows
from nordiq_watch.quantiles import SERVED_QUANTILES
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.worker import Worker

log = logging.getLogger(__name__)

_SERVERS = 256
"""That a fit learns from, at most."""
_GROWTH = 1.25
_MOST_SLOTS = 288
_FEWEST_SLOTS = 2
_RESTS = 9.0
"""Times as long as the last work took: it never takes more than a tenth of a core for long."""


@dataclass(frozen=True, slots=True)
class _Learned:
    slots: int
    day: int
    horizon: int


class BaselineWorker(Worker):
    """learned: called when there is something new to forecast with. days: the archive's files. booked_servers: how many
    are followed beside a live model.
    """

    def __init__(
        self,
        baseline: Baseline,
        live: Live,
        events: EventBus,
        *,
        learned: Callable[[], None],
        days: Callable[[], Mapping[str, Path]],
        booked_servers: int,
        timer: Callable[[], float] = time.monotonic,
        part: Part | str = "baseline",
    ) -> None:
        super().__init__(part)
        self._baseline = baseline
        self._live = live
        self._events = events
        self._on_learned = learned
        self._days = days
        self._booked_servers = booked_servers
        self._timer = timer
        self._last: _Learned | None = None
        self._looked_at = -1
        self._booked: tuple[ModelIdentity | None, Callable[[], object]] = (None, lambda: None)
        self._rest_until = 0.0

    def round(self) -> float | None:
        return self.step()

    def step(self) -> float | None:
        """Learns if that is due, and books. Returns the seconds until it may work again; None: until it is woken."""
        rest = self._rest_until - self._timer()
        if rest > 0:
            return rest
        serving, started = self._live.serving(), self._timer()
        if serving.made is None:
            return None
        self._learn(serving)
        self._book(serving)
        finished = self._timer()
        self._rest_until = finished + min(_RESTS * (finished - started), float(serving.made.snapshot.interval_seconds))
        return None

    def _learn(self, serving: Serving) -> None:
        assert serving.made is not None
        snapshot = serving.made.snapshot
        steps = serving.model.spec.max_prediction_length if serving.model else 0
        horizon = max(self._baseline.horizon, steps)
        if self._looked_at == snapshot.last_slot and self._last and self._last.horizon == horizon:
            return
        self._looked_at = snapshot.last_slot
        rows = choose_rows(snapshot.servers, _SERVERS)
        now = _Learned(
            slots=window_past(snapshot, rows).length,
            day=snapshot.last_slot * snapshot.interval_seconds // DAY_SECONDS,
            horizon=horizon,
        )
        if now.slots >= _FEWEST_SLOTS and self._is_due(now):
            self._fit(snapshot, rows, now)

    def _is_due(self, now: _Learned) -> bool:
        last = self._last
        return last is None or now.slots >= _GROWTH * last.slots or (now.day, now.horizon) != (last.day, last.horizon)

    def _fit(self, snapshot: WindowSnapshot, rows: IntArray, now: _Learned) -> None:
        started = self._timer()
        past = read_fleet_past(snapshot, rows, self._days())
        slots = min(_MOST_SLOTS, snapshot.values.shape[1])
        found, starter = fit_map(past, slots=slots, horizon=now.horizon), self._baseline.starter
        learned = Learned(found, None if starter is None else judge_starter(starter, past, found, slots=slots))
        self._baseline.learn(learned)
        self._last = now
        log.info(
            "the built-in baseline learned from %d slots of %d servers in %.1f s; a linear map forecasts %s; "
            "the starter forecasts %s",
            past.length, len(rows), self._timer() - started, _name_those(found.is_linear, found.targets),
            _name_those(learned.starter_forecasts, found.targets),
        )  # fmt: skip
        self._on_learned()

    def _book(self, serving: Serving) -> None:
        """Beside a live model. Without one, the forecaster announces what is served."""
        made = serving.made
        assert made is not None
        booked, of = self._booked
        if serving.model is None or (booked == serving.model.identity and of() is made.snapshot):
            return
        self._booked = (serving.model.identity, weakref.ref(made.snapshot))  # it is not kept for this
        own = made_by_model(made).forecast
        some = choose_rows(own.servers, self._booked_servers)
        if not len(some):
            return
        in_shape = partial(
            self._baseline.forecast_as,
            made.snapshot, own.rows[some], targets=own.targets, steps=own.values.shape[2], levels=SERVED_QUANTILES,
        )  # fmt: skip
        parts = made_by_each(Forecasting(made.snapshot, in_shape(), whole=False))
        by_starter = [part for part in parts if part.forecast.model.name == STARTER]
        for part in (Forecasting(made.snapshot, in_shape(alone=True), whole=False), *by_starter):
            if not np.isnan(part.forecast.bands).all():
                beside = replace(part.forecast, model=replace(part.forecast.model, sha256=own.model.sha256))
                self._events.publish(BaselineForecast(replace(part, forecast=beside)))


def _name_those(chosen: BoolArray, targets: Sequence[str]) -> str:
    return ", ".join(compress(targets, chosen.tolist())) or "no metric yet"
