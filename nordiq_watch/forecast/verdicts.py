"""What the forecaster expects of the room that adds risk and alerts to a forecast."""

from __future__ import annotations

from typing import Protocol

from nordiq_watch.live.fleet_answer import Annotations
from nordiq_watch.records.forecasts import Forecasting


class Evaluator(Protocol):
    """Adds verdicts to forecasts. Only `preview` is called outside of the forecaster's thread."""

    def __call__(self, made: Forecasting) -> Annotations: ...

    def preview(self, made: Forecasting) -> Annotations:
        """What a call would return now, without any consequence."""

    def watch(self) -> None:
        """Looks at what needs no forecast."""

    def say_nothing(self, servers: int) -> Annotations:
        """The verdicts while the data say nothing about now."""
