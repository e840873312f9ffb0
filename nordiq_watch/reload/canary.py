"""The last check before a model goes live: it forecasts the live window, and the forecast must make sense.

A flipped bit or a block of zeros in the weights loads without complaint; only the network's output reveals it.
docs/decisions/0016 explains what is compared with what, and why measurements have the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np

from nordiq_watch.api.enums import Check
from nordiq_watch.config.schema import CanarySettings
from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.backtest import Backtest, BacktestPlan, plan_backtest, run_backtest
from nordiq_watch.reload.exclusions import (
    find_absurd,
    find_unforecast,
    select_forecasting,
    select_servers,
    snapshot_without,
    without_servers,
)
from nordiq_watch.reload.losses import find_losses
from nordiq_watch.reload.plausibility import (
    find_broken_servers,
    find_deafness,
    find_distance,
    find_exchanged,
    find_nonsense,
    match_servers,
)
from nordiq_watch.reload.synthetic_window import synthetic_window
from nordiq_watch.reload.target_forecasts import TargetForecast, split_targets

SAMPLED_SERVERS = 64
_NAMED = 3

OnLoss = Literal["warn", "refuse"]


class Remarks(Protocol):
    """Receives skipped checks and lost capabilities: the reload's record."""

    def remark(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class Unheard:
    """Discards remarks."""

    def remark(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class Canary:
    """Runs a candidate on a sample of the live window.

    `snapshot` returns the present window; `latest` the newest served forecast with its snapshot, so that the live model
    need not compute another one while it serves requests.
    """

    def __init__(
        self,
        limits: CanarySettings,
        *,
        snapshot: Callable[[], WindowSnapshot],
        latest: Callable[[], Forecasting | None],
        on_loss: OnLoss = "warn",
    ) -> None:
        self._limits = limits
        self._snapshot = snapshot
        self._latest = latest
        self._on_loss = on_loss

    def check(
        self, candidate: Servable, *, against: Servable | None, named: bool = False, remarks: Remarks | None = None
    ) -> Forecasting | None:
        """Raises ModelRejected unless the candidate's forecast makes sense.

        named: an operator named the version, or it was live before: its forecast need only be finite, in order and
        possible. Returns the accepted forecast: for a small fleet it is already the candidate's first answer. None if
        the window has no warm server; a synthetic fleet is used then, and nothing is compared.
        """
        remarks = remarks or Unheard()
        published = self._latest()
        if against is None or published is None or published.forecast.model != against.identity:
            published = None
        window = published.snapshot if published else self._snapshot()
        if against is not None:
            self._weigh_losses(candidate, against, window, named=named, remarks=remarks)
        rows = choose_sample(len(window.servers), SAMPLED_SERVERS)
        snapshot = window if rows is None else select_servers(window, rows)
        live_made = None
        if published is not None:
            live_made = published if rows is None else select_forecasting(published, rows)
        elif against is not None:
            live_made = Forecasting(snapshot, against.forecast(snapshot))
        trial = _Trial(candidate, against, snapshot, live_made, limits=self._limits)
        trial.set_aside(remarks)
        made = Forecasting(snapshot, trial.forecast(named=named), whole=rows is None)
        if not trial.made.forecast.servers:
            self._try_on_made_up_fleet(candidate, remarks)
        else:
            problem = next(trial.find_problems(named=named, remarks=remarks), None)
            if problem:
                raise _refuse(candidate, problem, snapshot, against=against if trial.blames_live else None)
        return made if made.forecast.servers else None

    def _try_on_made_up_fleet(self, candidate: Servable, remarks: Remarks) -> None:
        remarks.remark("no server could be judged: it was tried on a made-up fleet, and held against no measurement")
        probe = synthetic_window(candidate.spec)
        made = Forecasting(probe, candidate.forecast(probe))
        problem = next(find_problems(made, limits=self._limits, named=True), None)
        if problem:
            raise _refuse(candidate, problem, None, against=None)

    def _weigh_losses(
        self, candidate: Servable, live: Servable, window: WindowSnapshot, *, named: bool, remarks: Remarks
    ) -> None:
        losses = list(find_losses(candidate, live, sending=window.servers))
        if losses and self._on_loss == "refuse" and not named:
            error = ModelRejected(
                candidate.name,
                check=Check.LOSS,
                found=f"{'; '.join(losses)} (reload.on_loss is refuse)",
                remedy="Train with what is missing, or name it in `nordiq-watch reload NAME` to load it all the same.",
            )
            error.judged_in = _judged_in(window)
            error.judged_against = live.content_sha256
            raise error
        for loss in losses:
            remarks.warn(loss)


class _Trial:
    """One candidate on one window, beside the live model on the same window, if there is one.

    made: the candidate's forecast of the servers that count. blames_live: the last problem was found by comparing with
    the live model.
    """

    def __init__(
        self,
        candidate: Servable,
        live: Servable | None,
        snapshot: WindowSnapshot,
        live_made: Forecasting | None,
        *,
        limits: CanarySettings,
    ) -> None:
        self.made: Forecasting
        self._candidate = candidate
        self._live = live
        self._snapshot = snapshot
        self._live_made = live_made
        self._limits = limits
        self._excluded: frozenset[str] = frozenset()
        self._plan: BacktestPlan | None = None
        self._tested: Forecast | None = None
        self.blames_live = False

    def set_aside(self, remarks: Remarks) -> None:
        """Excludes the servers that count for no model."""
        snapshot = self._snapshot
        absurd = find_absurd(snapshot, self._candidate.spec.metrics)
        unforecast: frozenset[str] = frozenset()
        if self._live is not None and self._live_made is not None:
            unforecast = find_unforecast(self._live_made, encoder=self._live.spec.max_encoder_length) - absurd
        for servers, why in (
            (absurd, "their samples are absurd"),
            (unforecast, "the live model gives no numbers either"),
        ):
            if servers:
                names = ", ".join(sorted(servers)[:_NAMED]) + (", …" if len(servers) > _NAMED else "")
                remarks.remark(f"{len(servers)} of {len(snapshot.servers)} servers do not count ({names}): {why}")
        self._excluded = absurd | unforecast
        if self._live_made is not None:
            self._live_made = without_servers(self._live_made, self._excluded)

    def forecast(self, *, named: bool) -> Forecast:
        """The candidate's forecast of the window, of all servers.

        What the backtest needs is forecast along with it: for four servers and 245 MB of weights, one pass takes 0.6 of
        the processor time of two, for sixteen 0.8.
        """
        if not named:
            self._plan = plan_backtest(snapshot_without(self._snapshot, self._excluded), self._candidate.spec)
        if self._plan is None:
            forecast = self._candidate.forecast(self._snapshot)
        else:
            forecast, self._tested = self._candidate.forecast_each([self._snapshot, self._plan.past])
        self.made = without_servers(Forecasting(self._snapshot, forecast), self._excluded)
        return forecast

    def find_problems(self, *, named: bool, remarks: Remarks) -> Iterator[str]:
        encoder = self._candidate.spec.max_encoder_length
        yield from find_problems(self.made, limits=self._limits, named=named, encoder=encoder)
        if named:
            return
        backtest = self._plan.judge(self._tested) if self._plan and self._tested else None
        if not backtest:
            remarks.remark("p50 was not held against what was measured: the window is too short for it")
        for test in (backtest or {}).values():
            yield from test.find_problem(self._limits.max_error)
        yield from self._find_distances(backtest or {})

    def _find_distances(self, backtest: dict[str, Backtest]) -> Iterator[str]:
        """Only where the live model is closer to the measurements than the candidate: a bad one has no say."""
        if self._live is None or self._live_made is None:
            return
        encoder = self._live.spec.max_encoder_length
        before = {judged.target: judged for judged in split_targets(self._live_made, encoder=encoder)}
        live_backtest: dict[str, Backtest] | None = None
        for judged in split_targets(self.made, encoder=self._candidate.spec.max_encoder_length):
            live = before.get(judged.target)
            problem = live and next(find_distance(judged, live, self._limits), None)
            if not live or not problem:
                continue
            if live_backtest is None:
                live_backtest = run_backtest(self._live, self.made.snapshot) or {} if backtest else {}
            ours, theirs = backtest.get(judged.target), live_backtest.get(judged.target)
            if _is_nearer(ours, theirs) if ours and theirs else _is_nearer_to_levels(judged, live):
                continue
            self.blames_live = True
            yield problem


def _is_nearer(ours: Backtest, theirs: Backtest) -> bool:
    return ours.error <= theirs.error


def _is_nearer_to_levels(ours: TargetForecast, theirs: TargetForecast) -> bool:
    """Without measurements after an origin: whose forecast is closer to the present measurements."""
    rows, places = match_servers(ours.servers, theirs.servers)
    levels = ours.levels[rows, None]
    return bool(
        np.median(np.abs(ours.served_p50[rows] - levels)) <= np.median(np.abs(theirs.served_p50[places] - levels))
    )


def _refuse(
    candidate: Servable, problem: str, snapshot: WindowSnapshot | None, *, against: Servable | None
) -> ModelRejected:
    """snapshot: the window it was judged on; None for a synthetic one, which will give the same result again."""
    error = ModelRejected(
        candidate.name, check=Check.CANARY, found=problem, remedy="Look at its training and its weights."
    )
    error.judged_in = _judged_in(snapshot) if snapshot else None
    error.judged_against = against.content_sha256 if against else None
    return error


def _judged_in(snapshot: WindowSnapshot) -> tuple[int, int]:
    """The newest slot of the window, and its number of slots."""
    return snapshot.last_slot, snapshot.values.shape[1]


def choose_sample(servers: int, count: int) -> list[int] | None:
    """Rows of `count` servers, evenly spread, so that the canary costs the same for every fleet; None for all."""
    if servers <= count:
        return None
    rows: list[int] = np.linspace(0, servers - 1, count).astype(np.int64).tolist()
    return rows


def find_problems(
    made: Forecasting, *, limits: CanarySettings, named: bool = False, encoder: int | None = None
) -> Iterator[str]:
    """Every reason not to trust the forecast by itself, in plain words."""
    forecast = made.forecast
    if forecast.values.shape[:2] != (len(forecast.servers), len(forecast.targets)):
        yield f"its output has the shape {forecast.values.shape}"
        return
    if not forecast.servers:
        yield "it forecasts no server, not even of a made-up fleet"
        return
    by_target = {judged.target: judged for judged in split_targets(made, encoder=encoder)}
    for judged in by_target.values():
        broken = int(find_broken_servers(judged).sum())
        if broken:
            yield f"{judged.target} is not finite for {broken} of {len(judged.servers)} servers"
            continue
        yield from find_nonsense(judged, limits)
        if not named:
            yield from find_deafness(judged)
    if not named:
        yield from find_exchanged(by_target)
