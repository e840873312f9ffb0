"""`GET /admin/accuracy`, `/drift/…`, `/cascade/…`: what is known about the forecasts that came due."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from flask import Blueprint, Response

from nordiq_watch.api import quality as api
from nordiq_watch.api.enums import DriftState
from nordiq_watch.quality.accuracy import EXPECTED_COVERAGE
from nordiq_watch.quality.cascade import MetricCascade
from nordiq_watch.quality.drift import DriftReport, MetricDrift
from nordiq_watch.records import Book
from nordiq_watch.web.answers import write_moment, write_time
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

routes = Blueprint("quality", __name__)

_DECIMALS = 4
_MINUTE, _HOUR = 60, 3600


@routes.get("/admin/accuracy")
def show_accuracy() -> Response:
    """How right each version was, beside the last value on the same points; those that came due last are first."""
    tracker = services().accuracy
    by_version: dict[tuple[str, str], list[Book]] = {}
    for book in tracker.books:
        by_version.setdefault((book.key.model, book.key.sha256), []).append(book)
    newest_first = sorted(by_version.values(), key=lambda books: -max(book.last_at for book in books))
    return answer(
        api.Accuracy(
            versions=[_describe_books_of(books) for books in newest_first],
            count=len(by_version),
            expected_coverage=round(EXPECTED_COVERAGE, _DECIMALS),
            pending=tracker.pending,
            expired=tracker.expired,
        )
    )


@routes.get("/drift/status")
def show_drift() -> Response:
    """The four figures of drift and what follows from them."""
    return answer(api.DriftStatus(**_describe_drift(services().drift.report)))


@routes.get("/drift/report")
def show_drift_report() -> Response:
    """The same, with each metric: those that moved most are first."""
    report = services().drift.report
    ranked = sorted(report.metrics.items(), key=lambda item: -(item[1].psi or 0.0))
    metrics = {name: _describe_metric_drift(found) for name, found in ranked}
    return answer(api.DriftReport(**_describe_drift(report), points=report.points, metrics=metrics))


@routes.get("/cascade/status")
def show_cascades() -> Response:
    """The metrics in which servers leave their forecast band together, and how many do in all."""
    report = services().cascade.report
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
    """100 is a fleet that does what was forecast; null until the first slot after a forecast is over."""
    report = services().cascade.report
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

    Without `sha256` that of the bytes under this name that were compared last.
    """
    books = [book for book in services().accuracy.books if book.key.model == name]
    if books and sha256 is None:
        sha256 = max(books, key=lambda book: book.last_at).key.sha256
    return _by_metric(book for book in books if book.key.sha256 == sha256) or None


def name_horizon(seconds: int) -> str:
    """30m, 2h; seconds where it is neither whole hours nor whole minutes."""
    for unit, letter in ((_HOUR, "h"), (_MINUTE, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def _describe_books_of(books: list[Book]) -> api.VersionAccuracy:
    """`books`: all of one version."""
    key, live = books[0].key, services().live.peek()
    return api.VersionAccuracy(
        name=key.model,
        sha256=key.sha256,
        is_current=live is not None and (live.name, live.identity.sha256) == (key.model, key.sha256),
        first=write_moment(min(book.first_at for book in books)),
        last=write_moment(max(book.last_at for book in books)),
        metrics=_by_metric(books),
    )


def _by_metric(books: Iterable[Book]) -> api.AccuracyByMetric:
    described: api.AccuracyByMetric = {}
    for book in sorted(books, key=lambda book: (book.key.metric, book.key.horizon_seconds)):
        described.setdefault(book.key.metric, {})[name_horizon(book.key.horizon_seconds)] = _describe_book(book)
    return described


def _describe_book(book: Book) -> api.HorizonAccuracy:
    tally = book.tally
    return api.HorizonAccuracy(
        points=tally.points,
        mae=round(tally.absolute_error / tally.points, _DECIMALS),
        pinball=round(tally.pinball / tally.points, _DECIMALS),
        coverage=round(tally.covered / tally.points, _DECIMALS),
        last_value=api.Baseline(
            mae=round(tally.last_absolute_error / tally.points, _DECIMALS),
            pinball=round(tally.last_pinball / tally.points, _DECIMALS),
        ),
    )


def _describe_drift(report: DriftReport) -> dict[str, Any]:
    """The fields that status and report share."""
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
