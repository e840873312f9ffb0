"""`GET /admin/accuracy`, `/drift/…`, `/cascade/…`: results of comparing forecasts with measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import Any

import msgspec
from flask import Blueprint, Response

from nordiq_watch.api import quality as api
from nordiq_watch.api.enums import DriftState
from nordiq_watch.live.sources import BASELINE, BUILT_IN
from nordiq_watch.moments import write_moment
from nordiq_watch.quality.accuracy import EXPECTED_COVERAGE
from nordiq_watch.quality.cascade import MetricCascade
from nordiq_watch.quality.drift import DriftReport, MetricDrift
from nordiq_watch.records.accuracy import AccuracyKey, AccuracyTotals, ErrorSums
from nordiq_watch.web.answers import write_time
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

routes = Blueprint("quality", __name__)

_DECIMALS = 4
_MINUTE, _HOUR = 60, 3600


@routes.get("/admin/accuracy")
def show_accuracy() -> Response:
    """Accuracy of each version, beside the last value on the same points; versions scored last come first."""
    tracker = services().quality.accuracy
    by_version: dict[tuple[str, str], list[AccuracyTotals]] = {}
    for totals in whole_built_in(tracker.all_totals):
        by_version.setdefault((totals.key.model, totals.key.sha256), []).append(totals)
    newest_first = sorted(by_version.values(), key=lambda all_totals: -max(totals.last_at for totals in all_totals))
    return answer(
        api.Accuracy(
            versions=[_describe_totals_of(all_totals) for all_totals in newest_first],
            count=len(by_version),
            expected_coverage=round(EXPECTED_COVERAGE, _DECIMALS),
            pending=tracker.pending,
            expired=tracker.expired,
        )
    )


@routes.get("/drift/status")
def show_drift() -> Response:
    """The four figures of drift and their verdict."""
    return answer(api.DriftStatus(**_describe_drift(services().quality.drift.report)))


@routes.get("/drift/report")
def show_drift_report() -> Response:
    """As `show_drift`, with each metric, most drifted first."""
    report = services().quality.drift.report
    ranked = sorted(report.metrics.items(), key=lambda item: -(item[1].psi or 0.0))
    metrics = {name: _describe_metric_drift(found) for name, found in ranked}
    return answer(api.DriftReport(**_describe_drift(report), points=report.points, metrics=metrics))


@routes.get("/cascade/status")
def show_cascades() -> Response:
    """The metrics in which servers leave their forecast band together, and the total of such servers."""
    report = services().quality.cascade.report
    cascades = [_describe_cascade(metric, found) for metric, found in report.active.items()]
    return answer(
        api.CascadeStatus(
            cascade_detected=bool(cascades),
            timestamp=write_time(report.at),
            model_version=report.model,
            cascades=cascades,
            metrics={metric: _describe_metric_cascade(found) for metric, found in report.metrics.items()},
        )
    )


@routes.get("/cascade/health")
def show_cascade_health() -> Response:
    """100 is a fleet that behaves as forecast; null until the first slot after a forecast is over."""
    report = services().quality.cascade.report
    return answer(
        api.CascadeHealth(
            health_score=report.health,
            timestamp=write_time(report.at),
            model_version=report.model,
            metrics={metric: found.health for metric, found in report.metrics.items()},
        )
    )


def describe_version(name: str, sha256: str | None) -> api.AccuracyByMetric | None:
    """The accuracy of one version; None if none of its forecasts came due yet.

    Without `sha256`, that of the content under this name that was scored last.
    """
    all_totals = [totals for totals in services().quality.accuracy.all_totals if totals.key.model == name]
    if all_totals and sha256 is None:
        sha256 = max(all_totals, key=lambda totals: totals.last_at).key.sha256
    return _by_metric(totals for totals in all_totals if totals.key.sha256 == sha256) or None


def name_horizon(seconds: int) -> str:
    """30m, 2h; seconds where it is neither whole hours nor whole minutes."""
    for unit, letter in ((_HOUR, "h"), (_MINUTE, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def _describe_totals_of(all_totals: list[AccuracyTotals]) -> api.VersionAccuracy:
    """all_totals: those of one version."""
    key, live = all_totals[0].key, services().live.peek()
    return api.VersionAccuracy(
        name=key.model,
        sha256=key.sha256,
        is_current=live is not None and (live.name, live.identity.sha256) == (key.model, key.sha256),
        first=write_moment(min(totals.first_at for totals in all_totals)),
        last=write_moment(max(totals.last_at for totals in all_totals)),
        metrics=_by_metric(all_totals),
    )


def whole_built_in(all_totals: Iterable[AccuracyTotals]) -> list[AccuracyTotals]:
    """With one entry each for all that the baseline and the starter said, alone and beside each version."""
    found: dict[AccuracyKey, AccuracyTotals] = {}
    for totals in all_totals:
        key = replace(totals.key, sha256="") if totals.key.model in BUILT_IN else totals.key
        found[key] = _add(found[key], totals) if key in found else replace(totals, key=key)
    return list(found.values())


def _add(first: AccuracyTotals, other: AccuracyTotals) -> AccuracyTotals:
    pairs = zip(astuple(first.sums), astuple(other.sums), strict=True)
    return replace(
        first,
        sums=ErrorSums(*(own + more for own, more in pairs)),
        first_at=min(first.first_at, other.first_at),
        last_at=max(first.last_at, other.last_at),
    )


def _by_metric(all_totals: Iterable[AccuracyTotals]) -> api.AccuracyByMetric:
    described: api.AccuracyByMetric = {}
    for totals in sorted(all_totals, key=lambda totals: (totals.key.metric, totals.key.horizon_seconds)):
        described.setdefault(totals.key.metric, {})[name_horizon(totals.key.horizon_seconds)] = _describe_totals(totals)
    return described


def _describe_totals(totals: AccuracyTotals) -> api.HorizonAccuracy:
    sums = totals.sums
    return api.HorizonAccuracy(
        points=sums.points,
        mae=round(sums.absolute_error / sums.points, _DECIMALS),
        pinball=round(sums.pinball / sums.points, _DECIMALS),
        coverage=round(sums.covered / sums.points, _DECIMALS),
        last_value=api.Baseline(
            mae=round(sums.last_absolute_error / sums.points, _DECIMALS),
            pinball=round(sums.last_pinball / sums.points, _DECIMALS),
        ),
        band=_describe_band(totals.key),
        baseline=_describe_beside(totals.key),
    )


def _describe_beside(key: AccuracyKey) -> api.BesideBaseline | None:
    """What the built-in forecast said beside this version."""
    if key.model in BUILT_IN:
        return None
    wanted = replace(key, model=BASELINE)
    for totals in services().quality.accuracy.all_totals:
        if totals.key == wanted:
            mae, pinball = totals.sums.absolute_error / totals.sums.points, totals.sums.pinball / totals.sums.points
            return api.BesideBaseline(totals.sums.points, round(mae, _DECIMALS), round(pinball, _DECIMALS))
    return None


def _describe_band(key: AccuracyKey) -> api.AdaptiveBand | None:
    state = services().quality.bands.states.get(key)
    return None if state is None else api.AdaptiveBand(round(state.factor, _DECIMALS), _round(state.coverage))


def _describe_drift(report: DriftReport) -> dict[str, Any]:
    """Fields shared by status and report."""
    return {
        "status": report.status,
        "needs_retraining": report.status is DriftState.SIGNIFICANT,
        "model_version": report.model,
        "timestamp": write_time(report.at),
        "prediction_error_rate": _round(report.prediction_error_rate),
        "anomaly_rate": _round(report.anomaly_rate),
        "distribution_shift": _round(report.distribution_shift),
        "feature_drift": _round(report.feature_drift),
        "reasons": report.reasons,
        "thresholds": api.DriftThresholds(**msgspec.structs.asdict(services().config.quality.drift)),
    }


def _describe_metric_drift(found: MetricDrift) -> api.MetricDrift:
    return api.MetricDrift(psi=_round(found.psi), mean=_round(found.mean), training_mean=_round(found.training_mean))


def _describe_cascade(metric: str, found: MetricCascade) -> api.Cascade:
    assert found.direction is not None  # it is an active one
    return api.Cascade(
        metric=metric,
        direction=found.direction,
        affected_count=found.affected_count,
        affected_servers=found.affected,
        correlation=found.correlation,
    )


def _describe_metric_cascade(found: MetricCascade) -> api.MetricCascade:
    return api.MetricCascade(
        servers=found.servers,
        share_up=found.share_up,
        share_down=found.share_down,
        correlation=found.correlation,
        health=found.health,
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)
