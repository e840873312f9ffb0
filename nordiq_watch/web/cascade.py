"""`GET /cascade/…`: is the fleet in trouble together?"""

from __future__ import annotations

from flask import Blueprint

from nordiq_watch.quality.cascade import MetricCascade
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.services import services

routes = Blueprint("cascade", __name__, url_prefix="/cascade")


@routes.get("/status")
def show_status() -> Body:
    """The metrics in which servers leave their forecast band together, and how many do in all."""
    report = services().cascade.report
    cascades = [
        {
            "metric": metric,
            "direction": found.direction,
            "affected_count": found.affected_count,
            "affected_servers": list(found.affected),
            "correlation": found.correlation,
        }
        for metric, found in report.active.items()
    ]
    return {
        "cascade_detected": bool(cascades),
        "timestamp": write_time(report.at),
        "model_version": report.model,
        "cascades": cascades,
        "metrics": {metric: _describe(found) for metric, found in report.metrics.items()},
    }


@routes.get("/health")
def show_health() -> Body:
    """100 is a fleet that does what was forecast; null until the first slot after a forecast is over."""
    report = services().cascade.report
    return {
        "health_score": report.health,
        "timestamp": write_time(report.at),
        "model_version": report.model,
        "metrics": {metric: found.health for metric, found in report.metrics.items()},
    }


def _describe(found: MetricCascade) -> Body:
    return {
        "servers": found.servers,
        "share_up": found.share_up,
        "share_down": found.share_down,
        "correlation": found.correlation,
        "health": found.health,
    }
