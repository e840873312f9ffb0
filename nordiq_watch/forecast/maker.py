"""Makes the forecast of the whole fleet: the live model's, and the built-in baseline's for all others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from nordiq_watch.forecast.baseline import Baseline
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.bands import FactorsFor, never_adapt, scale_bands
from nordiq_watch.live.servable import Servable
from nordiq_watch.live.sources import join
from nordiq_watch.records.forecasts import Forecasting

_PATIENCE_SECONDS = 30.0


class ForecastMaker:
    """factors_for: of a model's adaptive bands. baseline: None if it is turned off."""

    def __init__(
        self, window: Window, *, factors_for: FactorsFor = never_adapt, baseline: Baseline | None = None
    ) -> None:
        self._window = window
        self._factors_for = factors_for
        self._baseline = baseline
        self._forecasting = threading.Lock()

    def make(self, model: Servable | None) -> Forecasting | None:
        """Of the window as it is now, as it is served; None if without a model there is nothing to say."""
        if model is not None:
            return self.make_by(model)
        if self._baseline is None:
            return None
        snapshot = self._window.snapshot()
        return Forecasting(snapshot, self._baseline.forecast(snapshot)) if snapshot.servers else None

    def make_by(self, model: Servable) -> Forecasting:
        """The same by this model."""
        snapshot = self._window.snapshot()
        return self.complete(model, Forecasting(snapshot, model.forecast(snapshot)), in_place=True)

    def complete(self, model: Servable, made: Forecasting, *, in_place: bool = False) -> Forecasting:
        """A model's forecast with the bands that are served now, and with the servers that it lacks.

        in_place: nothing else holds it yet.
        """
        forecast = scale_bands(made.forecast, self._factors_for(model), in_place=in_place)
        others = self._baseline.complete(forecast, made.snapshot) if self._baseline else None
        return replace(made, forecast=forecast if others is None else join(forecast, others, in_place=in_place))

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Two forecasts of the whole fleet at once would need memory for two answers more than are served.

        If the other one hangs, this waits for it no longer than _PATIENCE_SECONDS.
        """
        held = self._forecasting.acquire(timeout=_PATIENCE_SECONDS)
        try:
            yield
        finally:
            if held:
                self._forecasting.release()

    def is_newest(self, made: Forecasting | None) -> bool:
        """Whether it was made from the window as it is now."""
        return made is not None and self._window.is_newest(made.snapshot)
