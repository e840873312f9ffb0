"""Every route of the daemon, in one table.

The guard reads the roles, the views the queries and answers, the audit log what is audited, `/openapi.json` all of it,
and the client the answers. A test fails for a route that is not in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nordiq_watch.api import (
    alerts,
    console,
    explanations,
    feed,
    historical,
    imports,
    influx,
    models,
    otlp,
    predictions,
    quality,
    queries,
    reloads,
    servers,
    sources,
    status,
)
from nordiq_watch.api.endpoint import Body, Endpoint
from nordiq_watch.api.enums import TABLES, Media, Role
from nordiq_watch.api.failure import Failure, OrderFailure
from nordiq_watch.api.requests import ReloadRequest

_FEED = Body(also=(Media.ARROW,), schema={"$ref": "#/components/schemas/Feed"})
_REMOTE_WRITE = (
    "prometheus.WriteRequest, or io.prometheus.write.v2.Request where Content-Type says so, packed with snappy"
)
_WRITE_REQUEST = Body(
    Media.PROTOBUF,
    schema={"type": "string", "format": "binary", "description": _REMOTE_WRITE},
)
_TELEGRAF = Body(schema={"type": "object", "description": "What Telegraf's outputs.http sends with data_format = json"})
_COLLECTD = Body(schema={"type": "array", "description": "What collectd's write_http sends with Format JSON"})
_OTLP = Body(
    also=(Media.PROTOBUF,),
    schema={"type": "object", "description": "OTLP's ExportMetricsServiceRequest in its JSON mapping"},
)
_NOT_LOADED = {202: reloads.Accepted, 404: reloads.NotLoaded, 422: reloads.NotLoaded}
_EXPORT = (Media.JSON, Media.CSV)


def _write(name: str) -> Endpoint:
    """A route of InfluxDB's that takes line protocol."""
    return Endpoint(
        name=name,
        role=Role.FEED,
        query=queries.WriteQuery,
        body=Body(Media.TEXT, schema={"type": "string", "description": "InfluxDB's line protocol"}, required=False),
        answer=influx.InfluxFailure,
        failure=influx.InfluxFailure,
        statuses=(204,),
        audited=False,
    )


_API = (
    Endpoint(name="GET /health", answer=status.Health),
    Endpoint(name="GET /ready", answer=status.Ready, others={503: (status.NotReady, Failure)}),
    Endpoint(name="GET /status", answer=status.Status),
    Endpoint(name="GET /metrics", query=None, media=(Media.TEXT,)),
    Endpoint(name="GET /openapi.json"),
    Endpoint(
        name="POST /feed/data",
        role=Role.FEED,
        body=_FEED,
        answer=feed.Fed,
        others={422: feed.NothingTaken},
        audited=False,
    ),
    Endpoint(
        name="POST /feed/prometheus",
        role=Role.FEED,
        body=_WRITE_REQUEST,
        answer=feed.Fed,
        others={400: (feed.NothingTaken, Failure)},
        audited=False,
    ),
    Endpoint(
        name="POST /feed/telegraf",
        role=Role.FEED,
        body=_TELEGRAF,
        answer=(feed.Fed, feed.NothingTaken, feed.Dropped),
        audited=False,
    ),
    Endpoint(name="GET /feed/sources", answer=sources.Sources),
    Endpoint(
        name="POST /feed/collectd",
        role=Role.FEED,
        body=_COLLECTD,
        answer=feed.Fed,
        others={400: (feed.NothingTaken, Failure)},
        audited=False,
    ),
    Endpoint(
        name="POST /v1/metrics",
        role=Role.FEED,
        body=_OTLP,
        answer=otlp.Exported,
        failure=otlp.RpcStatus,
        media=(Media.JSON, Media.PROTOBUF),
        audited=False,
    ),
    _write("POST /api/v2/write"),
    _write("POST /write"),
    Endpoint(name="GET /ping", role=Role.FEED, query=None, failure=influx.InfluxFailure, statuses=(204,)),
    Endpoint(
        name="POST /query",
        role=Role.FEED,
        query=None,
        body=Body(Media.FORM, schema={"type": "object", "properties": {"q": {"type": "string"}}}),
        answer=influx.Queried,
        failure=influx.InfluxFailure,
        audited=False,
    ),
    Endpoint(
        name="GET /predictions/current",
        query=queries.FleetQuery,
        answer=(predictions.FleetForecast, predictions.FleetPart),
        statuses=(406, 410),
        media=(Media.JSON, *TABLES),
    ),
    Endpoint(name="GET /predictions/<path:server>", answer=predictions.FleetForecast),
    Endpoint(name="GET /alerts/active", answer=alerts.ActiveAlerts),
    Endpoint(name="GET /drift/status", answer=quality.DriftStatus),
    Endpoint(name="GET /drift/report", answer=quality.DriftReport),
    Endpoint(name="GET /cascade/status", answer=quality.CascadeStatus),
    Endpoint(name="GET /cascade/health", answer=quality.CascadeHealth),
    Endpoint(
        name="GET /explain/<path:server>",
        query=queries.ExplainQuery,
        answer=(explanations.Explanation, explanations.Unexplained),
    ),
    Endpoint(name="GET /admin/models", answer=models.Models),
    Endpoint(name="GET /admin/model-info", answer=(models.ModelInfo, models.NoModel)),
    Endpoint(name="GET /admin/reloads", query=queries.ReloadsQuery, answer=reloads.Reloads),
    Endpoint(name="GET /admin/reloads/<reload_id>", answer=reloads.Reload),
    Endpoint(name="GET /admin/accuracy", answer=quality.Accuracy),
    Endpoint(
        name="POST /admin/reload-model",
        role=Role.ADMIN,
        query=queries.ReloadQuery,
        body=Body(kind=ReloadRequest, required=False),
        answer=(reloads.Loaded, reloads.Unchanged),
        others=_NOT_LOADED,
        failure=OrderFailure,
    ),
    Endpoint(
        name="POST /admin/rollback",
        role=Role.ADMIN,
        query=queries.WaitQuery,
        answer=reloads.Loaded,
        others=_NOT_LOADED,
        failure=OrderFailure,
    ),
    Endpoint(
        name="POST /admin/unpin",
        role=Role.ADMIN,
        query=queries.WaitQuery,
        answer=reloads.Unpinned,
        others={202: reloads.Accepted, 422: reloads.NotLoaded},
        failure=OrderFailure,
    ),
    Endpoint(
        name="POST /admin/import",
        role=Role.ADMIN,
        body=_FEED,
        answer=imports.Imported,
        others={422: (feed.NothingTaken, Failure)},
    ),
    Endpoint(name="GET /servers", query=queries.ServersQuery, answer=servers.Servers),
    Endpoint(name="DELETE /servers/<path:server>", role=Role.ADMIN, answer=servers.Forgotten),
    Endpoint(
        name="POST /servers/<path:server>/maintenance",
        role=Role.ADMIN,
        body=Body(kind=servers.MaintenanceOrder),
        answer=servers.Maintained,
    ),
    Endpoint(name="DELETE /servers/<path:server>/maintenance", role=Role.ADMIN, answer=servers.Maintained),
    Endpoint(name="GET /historical/summary", query=queries.PastQuery, answer=historical.PastSummary),
    Endpoint(name="GET /historical/alerts", query=queries.PastQuery, answer=historical.PastAlerts),
    Endpoint(name="GET /historical/environment", query=queries.PastQuery, answer=historical.PastEnvironment),
    Endpoint(name="GET /historical/server/<path:server>", query=queries.PastQuery, answer=historical.ServerPast),
    Endpoint(name="GET /historical/export/alerts", query=queries.ExportQuery, answer=historical.Export, media=_EXPORT),
    Endpoint(
        name="GET /historical/export/environment", query=queries.ExportQuery, answer=historical.Export, media=_EXPORT
    ),
)


def _page(name: str, *, media: Media = Media.HTML) -> Endpoint:
    """A route of the console: not part of the API, and free in its parameters."""
    return Endpoint(name=name, query=None, media=(media,), documented=False)


def _view(name: str, answer: Any, *, role: Role = Role.READ) -> Endpoint:
    """What the console's scripts ask for."""
    return Endpoint(name=name, role=role, answer=answer, query=None, documented=False)


_CONSOLE = (
    _page("GET /"),
    _page("GET /servers/<path:server>"),
    _page("GET /models"),
    _page("GET /system"),
    _page("GET /glossary"),
    _view("GET /view/fleet", (console.FleetView, console.NoFleetView)),
    _view("GET /view/servers/<path:server>", (console.ServerView, console.UnknownServer)),
    _view("GET /view/system", console.SystemView),
    _view("GET /view/log", console.LogView, role=Role.ADMIN),  # the log names files of this host
    _page("GET /charts/<version>.js", media=Media.SCRIPT),
    _page("GET /console/<path:filename>"),
    _page("GET /sign-in"),
    _page("POST /sign-in"),
    _page("POST /sign-out"),
)

ENDPOINTS: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in (*_API, *_CONSOLE)}


def find_endpoint(method: str, rule: str | None) -> Endpoint | None:
    """The endpoint of a matched route, that of GET for HEAD; None for a route that is not in the table."""
    return ENDPOINTS.get(f"{'GET' if method == 'HEAD' else method} {rule}")
