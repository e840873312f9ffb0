"""Scores forecasters on the same points, origin by origin: memory is bounded by a portion of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nordiq_watch.evaluation.forecasters import Forecaster
from nordiq_watch.evaluation.losses import HOURS, Groups, LossSums, point_losses
from nordiq_watch.evaluation.origins import Horizon
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.rolling import portions
from nordiq_watch.network.calendar import local_seconds
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray

Progress = Callable[[int, int], None]
"""Called after each origin with how many are done, and how many there are."""


class Scorer:
    """Scores forecasters, each under the name that it has in the report.

    A point counts if the measurement is known, and the forecast of every forecaster that decides and forecasts this
    target up to this horizon: all of them are judged by the same points. One that does not decide counts on those of
    them that it knows.
    """

    def __init__(
        self,
        fleet: RecordedFleet,
        forecasters: Mapping[str, Forecaster],
        *,
        targets: Sequence[str],
        horizons: Sequence[Horizon],
        origins: Sequence[int],
        zone: str,
    ) -> None:
        """zone: of the hours of the day, an IANA name."""
        self._fleet = fleet
        self._forecasters = dict(forecasters)
        self._columns = [fleet.metrics.index(target) for target in targets]
        self._horizons = tuple(horizons)
        self._origins = tuple(origins)
        self._zone = zone
        self._reach = {
            name: np.array([each.steps_of(target) for target in targets])[:, None]  # (targets, 1)
            for name, each in self._forecasters.items()
        }
        profiles = sorted(set(fleet.profiles))
        self._codes: IntArray = np.array([profiles.index(profile) for profile in fleet.profiles])
        self.profiles = tuple(profiles)
        self.sums = {
            name: LossSums(
                origins=len(origins), profiles=len(profiles), targets=len(targets), horizons=len(self._horizons)
            )
            for name in self._forecasters
        }

    def run(self, progress: Progress) -> None:
        """Adds up all origins. Once."""
        for number, origin in enumerate(self._origins):
            for servers in portions(len(self._fleet.servers)):
                self._score(number, origin, servers)
            progress(number + 1, len(self._origins))

    def _score(self, number: int, origin: int, servers: range) -> None:
        steps = self._horizons[-1].steps
        truth = self._measured(origin, servers=servers, steps=steps)
        losses = {
            name: point_losses(each.bands(origin, servers=servers, steps=steps), truth)
            for name, each in self._forecasters.items()
        }
        known = {name: ~np.isnan(each[0]) for name, each in losses.items()}  # (servers, targets, steps)
        groups = Groups(number, self._codes[servers.start : servers.stop], self._hours(origin, steps))
        for index, horizon in enumerate(self._horizons):
            ahead = slice(horizon.steps)
            covered = {name: reach >= horizon.steps for name, reach in self._reach.items()}
            common = self._common_points(known, covered)[..., ahead]
            for name, each in losses.items():
                counts = common & known[name][..., ahead] & covered[name]
                self.sums[name].add(each[..., ahead], index, counts, groups)

    def _common_points(self, known: Mapping[str, BoolArray], covered: Mapping[str, BoolArray]) -> BoolArray:
        deciding = [known[name] | ~covered[name] for name, each in self._forecasters.items() if each.decides]
        common: BoolArray = np.logical_and.reduce(deciding)
        return common

    def _measured(self, origin: int, *, servers: range, steps: int) -> FloatArray:
        """(servers, targets, steps) from slot `origin` on."""
        values = self._fleet.values(origin, origin + steps, servers=servers)[..., self._columns]
        return np.moveaxis(values, 1, -1)

    def _hours(self, origin: int, steps: int) -> IntArray:
        """(steps,): the hour of the day in which each step's slot begins."""
        seconds = (origin + np.arange(steps)) * self._fleet.interval_seconds
        return local_seconds(seconds, self._zone) // 3600 % HOURS
