"""`GET /alerts/active`: the alerts as they are after the newest answer."""

from __future__ import annotations

from flask import Blueprint, Response

from nordiq_watch.alerting.evaluator import describe_alert
from nordiq_watch.api.alerts import ActiveAlerts
from nordiq_watch.moments import write_moment
from nordiq_watch.web.routing import answer, name_model
from nordiq_watch.web.services import services

routes = Blueprint("alerts", __name__, url_prefix="/alerts")


@routes.get("/active")
def list_active() -> Response:
    """The worst first. The headers name the model of the newest answer."""
    alerts, model = services().alerting.alerts.active, services().live.serving().answer.model
    active = ActiveAlerts(
        timestamp=write_moment(services().clock()),
        count=len(alerts),
        alerts=[describe_alert(alert) for alert in alerts],
    )
    return answer(active, headers=name_model(model))
