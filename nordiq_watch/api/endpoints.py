"""Every route of the daemon, in one table.

The guard reads the roles, the views the queries and answers, the audit log what is audited, `/openapi.json` all of it,
and the client the answers. A test fails for a route that is not in the table.
"""

from __future__ import annotations

from collections.abc import Mapping

from nordiq_watch.api import quality, queries
from nordiq_watch.api.endpoint import Body, Endpoint
from nordiq_watch.api.enums import Media, Role
from nordiq_watch.api.requests import ReloadRequest

_FEED = Body(schema={"$ref": "#/components/schemas/Feed"})
_WRITE_REQUEST = Body(
    Media.PROTOBUF,
    schema={"type": "string", "format": "binary", "description": "prometheus.WriteRequest, packed with snappy"},
)
_TELEGRAF = Body(schema={"type": "object", "description": "What Telegraf's outputs.http sends with data_format = json"})
_EXPORT = (Media.JSON, Media.CSV)

_API = (
    Endpoint(name="GET /health"),
    Endpoint(name="GET /ready"),
    Endpoint(name="GET /status"),
    Endpoint(name="GET /metrics", query=None, media=(Media.TEXT,)),
    Endpoint(name="GET /openapi.json"),
    Endpoint(name="POST /feed/data", role=Role.FEED, body=_FEED, audited=False),
    Endpoint(name="POST /feed/prometheus", role=Role.FEED, body=_WRITE_REQUEST, audited=False),
    Endpoint(name="POST /feed/telegraf", role=Role.FEED, body=_TELEGRAF, audited=False),
    Endpoint(name="GET /predictions/current"),
    Endpoint(name="GET /predictions/<path:server>"),
    Endpoint(name="GET /alerts/active"),
    Endpoint(name="GET /drift/status", answer=quality.DriftStatus),
    Endpoint(name="GET /drift/report", answer=quality.DriftReport),
    Endpoint(name="GET /cascade/status", answer=quality.CascadeStatus),
    Endpoint(name="GET /cascade/health", answer=quality.CascadeHealth),
    Endpoint(name="GET /explain/<path:server>", query=queries.ExplainQuery),
    Endpoint(name="GET /admin/models"),
    Endpoint(name="GET /admin/model-info"),
    Endpoint(name="GET /admin/reloads", query=queries.ReloadsQuery),
    Endpoint(name="GET /admin/reloads/<reload_id>"),
    Endpoint(name="GET /admin/accuracy", answer=quality.Accuracy),
    Endpoint(
        name="POST /admin/reload-model",
        role=Role.ADMIN,
        query=queries.ReloadQuery,
        body=Body(kind=ReloadRequest, required=False),
        statuses=(202, 404),
    ),
    Endpoint(name="POST /admin/rollback", role=Role.ADMIN, query=queries.WaitQuery, statuses=(202, 404)),
    Endpoint(name="POST /admin/unpin", role=Role.ADMIN, query=queries.WaitQuery, statuses=(202,)),
    Endpoint(name="DELETE /servers/<path:server>", role=Role.ADMIN),
    Endpoint(name="GET /historical/summary", query=queries.PastQuery),
    Endpoint(name="GET /historical/alerts", query=queries.PastQuery),
    Endpoint(name="GET /historical/environment", query=queries.PastQuery),
    Endpoint(name="GET /historical/server/<path:server>", query=queries.PastQuery),
    Endpoint(name="GET /historical/export/alerts", query=queries.ExportQuery, media=_EXPORT),
    Endpoint(name="GET /historical/export/environment", query=queries.ExportQuery, media=_EXPORT),
)


def _page(name: str, *, role: Role = Role.READ, media: Media = Media.HTML) -> Endpoint:
    """A route of the console: not part of the API, and free in its parameters."""
    return Endpoint(name=name, role=role, query=None, media=(media,), documented=False)


_CONSOLE = (
    _page("GET /"),
    _page("GET /servers/<path:server>"),
    _page("GET /models"),
    _page("GET /system"),
    _page("GET /view/fleet", media=Media.JSON),
    _page("GET /view/servers/<path:server>", media=Media.JSON),
    _page("GET /view/system", media=Media.JSON),
    _page("GET /view/log", role=Role.ADMIN, media=Media.JSON),  # the log names files of this host
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
