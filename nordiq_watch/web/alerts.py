"""`GET /alerts/active`: the alerts as they are after the newest answer."""

from __future__ import annotations

from flask import Blueprint

from nordiq_watch.forecast.judge import describe_alert
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.services import services

routes = Blueprint("alerts", __name__, url_prefix="/alerts")


@routes.get("/active")
def list_active() -> tuple[Body, dict[str, str]]:
    """The worst first. The headers name the model of the newest answer."""
    alerts, model = services().alerts.active, services().board.peek().model
    body = {
        "timestamp": write_time(services().clock()),
        "count": len(alerts),
        "alerts": [describe_alert(alert) for alert in alerts],
    }
    if model is None:
        return body, {}
    return body, {"X-Model-Version": model.name, "X-Model-Generation": str(model.generation)}
