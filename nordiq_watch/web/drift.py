"""`GET /drift/…`: has the fleet moved away from what the live model was trained on?"""

from __future__ import annotations

import msgspec
from flask import Blueprint

from nordiq_watch.quality.drift import SIGNIFICANT, MetricDrift
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.services import services

routes = Blueprint("drift", __name__, url_prefix="/drift")

_DECIMALS = 4


@routes.get("/status")
def show_status() -> Body:
    """The four figures and what follows from them."""
    report = services().drift.report
    return {
        "status": report.status,
        "needs_retraining": report.status == SIGNIFICANT,
        "model_version": report.model,
        "timestamp": write_time(report.at),
        "prediction_error_rate": _round(report.prediction_error_rate),
        "anomaly_rate": _round(report.anomaly_rate),
        "distribution_shift": _round(report.distribution_shift),
        "feature_drift": _round(report.feature_drift),
        "reasons": list(report.reasons),
        "thresholds": msgspec.to_builtins(services().config.quality.drift),
    }


@routes.get("/report")
def show_report() -> Body:
    """The same, with each metric: those that moved most are first."""
    report = services().drift.report
    ranked = sorted(report.metrics.items(), key=lambda item: -(item[1].psi or 0.0))
    return {**show_status(), "points": report.points, "metrics": {name: _describe(found) for name, found in ranked}}


def _describe(found: MetricDrift) -> Body:
    return {
        "psi": _round(found.psi),
        "mean": _round(found.mean),
        "training_mean": _round(found.training_mean),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)
