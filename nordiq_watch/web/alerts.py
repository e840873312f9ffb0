"""`GET /alerts/active`: the alerts as they are after the newest answer."""

from __future__ import annotations

from flask import Blueprint

from nordiq_watch.forecast.judge import describe_alert
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.services import services

routes = Blueprint("alerts", __name__, url_prefix="/alerts")


@routes.get("/active")
def list_active() -> Body:
    """The worst first."""
    alerts = services().alerts.active
    return {
        "timestamp": write_time(services().clock()),
        "count": len(alerts),
        "alerts": [describe_alert(alert) for alert in alerts],
    }
