"""The last proof before a model goes live: it forecasts the live window, and the forecast must make sense.

A flipped bit or a block of zeros in the weights loads without complaint; only what comes out of the network shows it.
docs/decisions/0016 says what is held against which version, and why measurements have the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np

from nordiq_watch.config import CanaryLimits
from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.servable import Servable
from nordiq_watch.records import Forecast, Forecasting, WindowSnapshot
from nordiq_watch.reload.backtest import Backtest, run_backtest
from nordiq_watch.reload.judged import Judged, split_targets
from nordiq_watch.reload.losses import find_losses
from nordiq_watch.reload.plausibility import (
    find_broken_servers,
    find_deafness,
    find_distance,
    find_exchanged,
    find_nonsense,
    match_servers,
)
from nordiq_watch.reload.probe import probe_snapshot
from nordiq_watch.reload.set_aside import (
    drop_servers,
    find_absurd,
    find_unforecast,
    select_servers,
    without_servers,
)

SAMPLED_SERVERS = 64
_NAMED = 3

OnLoss = Literal["warn", "refuse"]


class Remarks(Protocol):
    """Where the canary says what it left out, and what is lost: the reload's record."""

    def remark(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class Unheard:
    """Remarks that are not kept."""

    def remark(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class Canary:
    """Runs a candidate on a sample of the live window.

    `snapshot` gives the window as it is now; `latest` the newest forecast that was published and what it was made from,
    so that the live model need not be asked again while it has requests to answer.
    """

    def __init__(
        self,
        limits: CanaryLimits,
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

        named: a person named the version, or it was live before: what it says need only be finite, in order and
        possible. Returns the forecast that passed: of a small fleet it is the candidate's first answer already. None if
        the window has no warm server; then a made-up fleet stands in, and there is nothing to compare with.
        """
        remarks = remarks or Unheard()
        published = self._latest()
        if against is None or published is None or published.forecast.model != against.identity:
            published = None
        window = published.snapshot if published else self._snapshot()
        if against is not None:
            self._weigh_losses(candidate, against, window, named=named, remarks=remarks)
        snapshot = sample_servers(window, SAMPLED_SERVERS)
        forecast = candidate.forecast(snapshot)
        trial = _Trial(candidate, against, snapshot, forecast, published=published, limits=self._limits)
        kept = trial.set_aside(remarks)
        if not kept.servers:
            self._try_on_made_up_fleet(candidate, remarks)
        else:
            problem = next(trial.find_problems(kept, named=named, remarks=remarks), None)
            if problem:
                raise _refuse(candidate, problem, snapshot, against=against if trial.blames_live else None)
        return Forecasting(snapshot, forecast, whole=snapshot is window) if forecast.servers else None

    def _try_on_made_up_fleet(self, candidate: Servable, remarks: Remarks) -> None:
        remarks.remark("no server could be judged: it was tried on a made-up fleet, and held against no measurement")
        probe = probe_snapshot(candidate.spec)
        problem = next(
            find_problems(candidate.forecast(probe), probe, live=None, limits=self._limits, named=True), None
        )
        if problem:
            raise _refuse(candidate, problem, None, against=None)

    def _weigh_losses(
        self, candidate: Servable, live: Servable, window: WindowSnapshot, *, named: bool, remarks: Remarks
    ) -> None:
        losses = list(find_losses(candidate, live, sending=window.servers))
        if losses and self._on_loss == "refuse" and not named:
            error = ModelRejected(
                candidate.name,
                check="loss",
                found=f"{'; '.join(losses)} (reload.on_loss is refuse)",
                remedy="Train with what is missing, or name it in `nordiq-watch reload NAME` to load it all the same.",
            )
            error.judged_in = _judged_in(window)
            error.judged_against = live.content_sha256
            raise error
        for loss in losses:
            remarks.warn(loss)


class _Trial:
    """One candidate on one window. blames_live: its last problem was found by comparing it with the live model."""

    def __init__(
        self,
        candidate: Servable,
        live: Servable | None,
        snapshot: WindowSnapshot,
        forecast: Forecast,
        *,
        published: Forecasting | None,
        limits: CanaryLimits,
    ) -> None:
        self._candidate = candidate
        self._live = live
        self._snapshot = snapshot
        self._forecast = forecast
        self._limits = limits
        self._live_forecast = published.forecast if published else live.forecast(snapshot) if live else None
        self.blames_live = False

    def set_aside(self, remarks: Remarks) -> Forecast:
        """The forecast without the servers that count for no model."""
        absurd = find_absurd(self._snapshot, self._candidate.spec.metrics)
        unforecast: frozenset[str] = frozenset()
        if self._live is not None and self._live_forecast is not None:
            encoder = self._live.spec.max_encoder_length
            unforecast = find_unforecast(self._live_forecast, self._snapshot, encoder=encoder) - absurd
        for servers, why in (
            (absurd, "their samples are absurd"),
            (unforecast, "the live model gives no numbers either"),
        ):
            if servers:
                names = ", ".join(sorted(servers)[:_NAMED]) + (", …" if len(servers) > _NAMED else "")
                remarks.remark(f"{len(servers)} of {len(self._snapshot.servers)} servers do not count ({names}): {why}")
        self._snapshot = drop_servers(self._snapshot, absurd | unforecast)
        return without_servers(self._forecast, absurd | unforecast)

    def find_problems(self, forecast: Forecast, *, named: bool, remarks: Remarks) -> Iterator[str]:
        spec = self._candidate.spec
        yield from find_problems(
            forecast,
            self._snapshot,
            live=None,
            limits=self._limits,
            named=named,
            encoder=spec.max_encoder_length,
        )
        if named:
            return
        backtest = run_backtest(self._candidate, self._snapshot)
        if not backtest:
            remarks.remark("p50 was not held against what was measured: the window is too short for it")
        for test in (backtest or {}).values():
            yield from test.find_problem(self._limits.max_error)
        yield from self._find_distances(forecast, backtest or {})

    def _find_distances(self, forecast: Forecast, backtest: dict[str, Backtest]) -> Iterator[str]:
        """Only where the live model is nearer to what was measured than the candidate: a bad one has no say."""
        if self._live is None or self._live_forecast is None:
            return
        encoder = self._live.spec.max_encoder_length
        before = {
            judged.target: judged for judged in split_targets(self._live_forecast, self._snapshot, encoder=encoder)
        }
        live_backtest: dict[str, Backtest] | None = None
        for judged in split_targets(forecast, self._snapshot, encoder=self._candidate.spec.max_encoder_length):
            live = before.get(judged.target)
            problem = live and next(find_distance(judged, live, self._limits), None)
            if not live or not problem:
                continue
            if live_backtest is None:
                live_backtest = run_backtest(self._live, self._snapshot) or {} if backtest else {}
            ours, theirs = backtest.get(judged.target), live_backtest.get(judged.target)
            if _is_nearer(ours, theirs) if ours and theirs else _is_nearer_to_levels(judged, live):
                continue
            self.blames_live = True
            yield problem


def _is_nearer(ours: Backtest, theirs: Backtest) -> bool:
    return ours.error <= theirs.error


def _is_nearer_to_levels(ours: Judged, theirs: Judged) -> bool:
    """Where nothing was measured after an origin: whose forecast is nearer to what is measured now."""
    rows, places = match_servers(ours.servers, theirs.servers)
    levels = ours.levels[rows, None]
    return bool(
        np.median(np.abs(ours.served_p50[rows] - levels)) <= np.median(np.abs(theirs.served_p50[places] - levels))
    )


def _refuse(
    candidate: Servable, problem: str, snapshot: WindowSnapshot | None, *, against: Servable | None
) -> ModelRejected:
    """snapshot: the window that it was judged on; None for a made-up one, which will say the same again."""
    error = ModelRejected(candidate.name, check="canary", found=problem, remedy="Look at its training and its weights.")
    error.judged_in = _judged_in(snapshot) if snapshot else None
    error.judged_against = against.content_sha256 if against else None
    return error


def _judged_in(snapshot: WindowSnapshot) -> tuple[int, int]:
    """The newest slot of the window, and how many it has."""
    return snapshot.last_slot, snapshot.values.shape[1]


def sample_servers(snapshot: WindowSnapshot, count: int) -> WindowSnapshot:
    """At most `count` servers, evenly spread, so that the canary costs the same for every fleet."""
    total = len(snapshot.servers)
    if total <= count:
        return snapshot
    return select_servers(snapshot, np.linspace(0, total - 1, count).astype(np.int64).tolist())


def find_problems(
    forecast: Forecast,
    snapshot: WindowSnapshot,
    *,
    live: Forecast | None,
    limits: CanaryLimits,
    named: bool = False,
    encoder: int | None = None,
) -> Iterator[str]:
    """Every reason not to trust the forecast by itself, and beside the live model's; in plain words."""
    if forecast.values.shape[:2] != (len(forecast.servers), len(forecast.targets)):
        yield f"its output has the shape {forecast.values.shape}"
        return
    if not forecast.servers:
        yield "it forecasts no server, not even of a made-up fleet"
        return
    before = {judged.target: judged for judged in split_targets(live, snapshot)} if live else {}
    by_target = {judged.target: judged for judged in split_targets(forecast, snapshot, encoder=encoder)}
    for judged in by_target.values():
        broken = int(find_broken_servers(judged).sum())
        if broken:
            yield f"{judged.target} is not finite for {broken} of {len(judged.servers)} servers"
            continue
        yield from find_nonsense(judged, limits)
        if not named:
            yield from find_deafness(judged)
        if judged.target in before:
            yield from find_distance(judged, before[judged.target], limits)
    if not named:
        yield from find_exchanged(by_target)
