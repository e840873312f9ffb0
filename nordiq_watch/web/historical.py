"""`GET /historical/…`: what was. Ranges of time end with the newest thing that is known, and say so.

A replay of an old day, or a feeder that stopped an hour ago, has a history too: `until` tells how old it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from nordiq_watch.api.enums import ExportFormat
from nordiq_watch.api.queries import ExportQuery, PastQuery
from nordiq_watch.errors import NotFound
from nordiq_watch.forecast.thresholds import LEVELS
from nordiq_watch.storage.history import Moment, PastAlert
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.routing import query_of
from nordiq_watch.web.seats import computed
from nordiq_watch.web.services import services
from nordiq_watch.web.spreadsheet import write_csv

routes = Blueprint("historical", __name__, url_prefix="/historical")

_MOST_ALERTED = 10
_ALERT_COLUMNS = (
    "server_name",
    "kind",
    "profile",
    "metric",
    "highest_level",
    "level",
    "status",
    "raised_at",
    "ended_at",
    "duration_seconds",
    "risk_score",
    "message",
)


@routes.get("/summary")
@computed
def summarise() -> Body:
    span = _Span()
    history = services().history
    alerts, moments = history.alerts(span.since), history.moments(span.since)
    return {**span.describe(), "alerts": _summarise_alerts(alerts, span), "environment": _summarise_moments(moments)}


@routes.get("/alerts")
@computed
def list_alerts() -> Body:
    """Newest first: all that were active in the range."""
    span = _Span()
    alerts = [_describe_alert(past, span) for past in services().history.alerts(span.since)]
    return {**span.describe(), "count": len(alerts), "alerts": alerts}


@routes.get("/environment")
@computed
def list_environment() -> Body:
    span = _Span()
    points = [_describe_moment(moment) for moment in services().history.moments(span.since)]
    return {**span.describe(), "count": len(points), "points": points}


@routes.get("/server/<path:server>")
@computed
def show_server(server: str) -> Body:
    span = _Span()
    history = services().history
    risks, alerts = history.risks(server, span.since), history.alerts(span.since, server=server)
    if not risks and not alerts and not services().window.tracks(server):
        raise NotFound(f"this history has no server {server!r:.300}; its name must be exactly as in the feed")
    scores = [risk for _, risk in risks if risk is not None]
    return {
        "server_name": server,
        **span.describe(),
        "avg_risk_score": round(sum(scores) / len(scores), 1) if scores else None,
        "max_risk_score": max(scores, default=None),
        "count": len(risks),
        "points": [{"timestamp": write_time(at), "risk_score": risk} for at, risk in risks],
        "alerts": [_describe_alert(past, span) for past in alerts],
    }


@routes.get("/export/alerts")
@computed
def export_alerts() -> Body | Response:
    span = _Span()
    rows = [_describe_alert(past, span) for past in services().history.alerts(span.since)]
    return _export("alerts", span, columns=_ALERT_COLUMNS, rows=rows)


@routes.get("/export/environment")
@computed
def export_environment() -> Body | Response:
    span = _Span()
    rows = [_describe_moment(moment) for moment in services().history.moments(span.since)]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["timestamp"]
    return _export("environment", span, columns=columns, rows=rows)


class _Span:
    """The range of time that the request asks for."""

    def __init__(self) -> None:
        self.name = query_of(PastQuery).time_range
        # What was written while the clock was ahead must not hide the present.
        newest = services().history.newest(services().clock() + services().config.window.interval_seconds)
        self.until = services().clock() if newest is None else newest
        self.since = self.until - self.name.seconds

    def describe(self) -> Body:
        return {"time_range": self.name, "from": write_time(self.since), "until": write_time(self.until)}


# --- descriptions -------------------------------------------------------------------------------------------------


def _describe_alert(past: PastAlert, span: _Span) -> Body:
    alert = past.alert
    ended = alert.ended_at is not None
    return {
        "server_name": alert.server_name,
        "kind": alert.kind,
        "profile": alert.profile,
        "metric": alert.metric,
        "level": alert.level,
        "highest_level": alert.highest_level,
        "status": "resolved" if ended else "active",
        "risk_score": alert.risk_score,
        "message": alert.message,
        "raised_at": write_time(alert.raised_at),
        "ended_at": write_time(alert.ended_at),
        "duration_seconds": round((span.until if alert.ended_at is None else alert.ended_at) - alert.raised_at, 1),
        "changes": [
            {
                "timestamp": write_time(change.at),
                "change": change.change,
                "previous_level": change.previous_level,
                "level": change.level,
                "risk_score": change.risk_score,
                "message": change.message,
            }
            for change in past.changes
        ],
    }


def _describe_moment(moment: Moment) -> Body:
    return {"timestamp": write_time(moment.at), **moment.environment, **moment.summary}


def _summarise_alerts(alerts: Sequence[PastAlert], span: _Span) -> Body:
    durations = [past.alert.ended_at - past.alert.raised_at for past in alerts if past.alert.ended_at is not None]
    levels = Counter(past.alert.highest_level for past in alerts)
    servers = Counter(past.alert.server_name for past in alerts)
    happened = Counter(change.change for past in alerts for change in past.changes if change.at >= span.since)
    return {
        "total": len(alerts),
        "active": len(alerts) - len(durations),
        "resolved": len(durations),
        "by_highest_level": {level: levels[level] for level in LEVELS[1:]},
        "changes": {name: happened[name] for name in ("raised", "escalated", "de_escalated", "resolved")},
        "mean_duration_seconds": round(sum(durations) / len(durations), 1) if durations else None,
        "most_alerted": [{"server_name": name, "alerts": count} for name, count in servers.most_common(_MOST_ALERTED)],
    }


def _summarise_moments(moments: Sequence[Moment]) -> Body:
    columns = {
        "prob_30m": [moment.environment.get("prob_30m") for moment in moments],
        "prob_8h": [moment.environment.get("prob_8h") for moment in moments],
        "fleet_health": [moment.environment.get("fleet_health") for moment in moments],
        "avg_risk_score": [moment.summary.get("avg_risk_score") for moment in moments],
        "max_risk_score": [moment.summary.get("max_risk_score") for moment in moments],
        "critical_count": [moment.summary.get("critical_count") for moment in moments],
    }
    return {"points": len(moments), **{name: _describe_column(values) for name, values in columns.items()}}


def _describe_column(values: Iterable[float | None]) -> Body | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"min": min(known), "mean": round(sum(known) / len(known), 4), "max": max(known)}


# --- CSV ----------------------------------------------------------------------------------------------------------


def _export(what: str, span: _Span, *, columns: Sequence[str], rows: Sequence[Body]) -> Body | Response:
    """JSON with the CSV in it, or, for who asks for text/csv or `?format=csv`, the CSV itself."""
    wanted = query_of(ExportQuery).format
    text = write_csv(columns, rows)
    stamp = datetime.fromtimestamp(span.until, UTC).strftime("%Y%m%dT%H%M%SZ")
    filename = f"nordiq_watch_{what}_{span.name}_{stamp}.csv"
    if wanted is ExportFormat.CSV or (wanted is None and _prefers_csv()):
        disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
        return Response(text, mimetype="text/csv", headers=disposition)
    return {**span.describe(), "count": len(rows), "filename": filename, "csv_data": text}


def _prefers_csv() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
