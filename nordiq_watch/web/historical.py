"""`GET /historical/…`: the past. Time ranges end with the newest known data, and say so.

A replayed old day, or a feeder that stopped an hour ago, has a history too: `until` tells how old it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from nordiq_watch.api import historical as api
from nordiq_watch.api.enums import ALERT_LEVELS, AlertStatus, Change, ExportFormat
from nordiq_watch.api.queries import ExportQuery, PastQuery
from nordiq_watch.conversion import converter
from nordiq_watch.errors import NotFound
from nordiq_watch.moments import write_moment
from nordiq_watch.storage.history import Moment, PastAlert
from nordiq_watch.web.answers import write_time
from nordiq_watch.web.request_slots import computed
from nordiq_watch.web.routing import answer, query_of
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

_read_moment = converter(api.FleetMoment)


@routes.get("/summary")
@computed
def summarise() -> Response:
    span = _Span()
    history = services().history.store
    alerts, moments = history.alerts(span.since), history.moments(span.since)
    summary = api.PastSummary(
        **span.fields(),
        alerts=_summarise_alerts(alerts, span),
        environment=_summarise_moments([_describe_moment(moment) for moment in moments]),
    )
    return answer(summary)


@routes.get("/alerts")
@computed
def list_alerts() -> Response:
    """Newest first: all that were active in the range."""
    span = _Span()
    alerts = [_describe_alert(past, span) for past in services().history.store.alerts(span.since)]
    return answer(api.PastAlerts(**span.fields(), count=len(alerts), alerts=alerts))


@routes.get("/environment")
@computed
def list_environment() -> Response:
    span = _Span()
    points = [_describe_moment(moment) for moment in services().history.store.moments(span.since)]
    return answer(api.PastEnvironment(**span.fields(), count=len(points), points=points))


@routes.get("/server/<path:server>")
@computed
def show_server(server: str) -> Response:
    span = _Span()
    history = services().history.store
    risks, alerts = history.risks(server, span.since), history.alerts(span.since, server=server)
    if not risks and not alerts and not services().ingest.window.tracks(server):
        raise NotFound(f"this history has no server {server!r:.300}; its name must be exactly as in the feed")
    scores = [risk for _, risk in risks if risk is not None]
    past = api.ServerPast(
        server_name=server,
        **span.fields(),
        avg_risk_score=round(sum(scores) / len(scores), 1) if scores else None,
        max_risk_score=max(scores, default=None),
        count=len(risks),
        points=[api.RiskPoint(timestamp=write_moment(at), risk_score=risk) for at, risk in risks],
        alerts=[_describe_alert(past, span) for past in alerts],
    )
    return answer(past)


@routes.get("/export/alerts")
@computed
def export_alerts() -> Response:
    span = _Span()
    rows = [_describe_alert(past, span) for past in services().history.store.alerts(span.since)]
    return _export("alerts", span, columns=_ALERT_COLUMNS, rows=msgspec.to_builtins(rows))


@routes.get("/export/environment")
@computed
def export_environment() -> Response:
    span = _Span()
    rows = msgspec.to_builtins([_describe_moment(moment) for moment in services().history.store.moments(span.since)])
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["timestamp"]
    return _export("environment", span, columns=columns, rows=rows)


class _Span:
    """The requested time range."""

    def __init__(self) -> None:
        self.name = query_of(PastQuery).time_range
        # What was written while the clock was ahead must not hide the present.
        newest = services().history.store.newest(services().clock() + services().config.window.interval_seconds)
        self.until = services().clock() if newest is None else newest
        self.since = self.until - self.name.seconds

    def fields(self) -> dict[str, Any]:
        """The fields of `api.Span`."""
        return {"time_range": self.name, "since": write_moment(self.since), "until": write_moment(self.until)}


# --- descriptions -------------------------------------------------------------------------------------------------


def _describe_alert(past: PastAlert, span: _Span) -> api.PastAlert:
    alert = past.alert
    return api.PastAlert(
        server_name=alert.server_name,
        kind=alert.kind,
        profile=alert.profile,
        metric=alert.metric,
        level=alert.level,
        highest_level=alert.highest_level,
        status=AlertStatus.ACTIVE if alert.ended_at is None else AlertStatus.RESOLVED,
        risk_score=alert.risk_score,
        message=alert.message,
        raised_at=write_moment(alert.raised_at),
        ended_at=write_time(alert.ended_at),
        duration_seconds=round((span.until if alert.ended_at is None else alert.ended_at) - alert.raised_at, 1),
        changes=[
            api.PastChange(
                timestamp=write_moment(change.at),
                change=change.change,
                previous_level=change.previous_level,
                level=change.level,
                risk_score=change.risk_score,
                message=change.message,
            )
            for change in past.changes
        ],
    )


def _describe_moment(moment: Moment) -> api.FleetMoment:
    return _read_moment({"timestamp": write_moment(moment.at), **moment.environment, **moment.summary})


def _summarise_alerts(alerts: Sequence[PastAlert], span: _Span) -> api.AlertsSummary:
    durations = [past.alert.ended_at - past.alert.raised_at for past in alerts if past.alert.ended_at is not None]
    levels = Counter(past.alert.highest_level for past in alerts)
    servers = Counter(past.alert.server_name for past in alerts)
    happened = Counter(change.change for past in alerts for change in past.changes if change.at >= span.since)
    return api.AlertsSummary(
        total=len(alerts),
        active=len(alerts) - len(durations),
        resolved=len(durations),
        by_highest_level=api.LevelCounts(**{level.value: levels[level] for level in ALERT_LEVELS}),
        changes=api.ChangeCounts(**{change.value: happened[change] for change in Change}),
        mean_duration_seconds=round(sum(durations) / len(durations), 1) if durations else None,
        most_alerted=[api.AlertedServer(name, count) for name, count in servers.most_common(_MOST_ALERTED)],
    )


def _summarise_moments(moments: Sequence[api.FleetMoment]) -> api.EnvironmentSummary:
    return api.EnvironmentSummary(
        points=len(moments),
        prob_30m=_describe_figure(moment.prob_30m for moment in moments),
        prob_8h=_describe_figure(moment.prob_8h for moment in moments),
        fleet_health=_describe_figure(moment.fleet_health for moment in moments),
        avg_risk_score=_describe_figure(moment.avg_risk_score for moment in moments),
        max_risk_score=_describe_figure(moment.max_risk_score for moment in moments),
        critical_count=_describe_figure(moment.critical_count for moment in moments),
    )


def _describe_figure(values: Iterable[float | msgspec.UnsetType | None]) -> api.Figures | None:
    known = [value for value in values if value is not None and value is not msgspec.UNSET]
    if not known:
        return None
    return api.Figures(min=min(known), mean=round(sum(known) / len(known), 4), max=max(known))


# --- CSV ----------------------------------------------------------------------------------------------------------


def _export(what: str, span: _Span, *, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Response:
    """JSON that contains the CSV or, for Accept: text/csv and `?format=csv`, the CSV itself."""
    wanted = query_of(ExportQuery).format
    text = write_csv(columns, rows)
    stamp = datetime.fromtimestamp(span.until, UTC).strftime("%Y%m%dT%H%M%SZ")
    filename = f"nordiq_watch_{what}_{span.name}_{stamp}.csv"
    if wanted is ExportFormat.CSV or (wanted is None and _prefers_csv()):
        disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
        return Response(text, mimetype="text/csv", headers=disposition)
    return answer(api.Export(**span.fields(), count=len(rows), filename=filename, csv_data=text))


def _prefers_csv() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
