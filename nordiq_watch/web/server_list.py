"""`GET /servers`: which servers are known, how each of them stands, and when it was heard last."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan

from flask import Blueprint, Response
from msgspec import UNSET

from nordiq_watch.alerting.standing import states_of
from nordiq_watch.api import servers as api
from nordiq_watch.api.enums import Level, ServerState
from nordiq_watch.api.queries import ServersQuery
from nordiq_watch.errors import RequestError
from nordiq_watch.labels import match
from nordiq_watch.live.columns import FleetColumns
from nordiq_watch.metrics import profile_of, shown_profile
from nordiq_watch.moments import write_moment
from nordiq_watch.names import tidy_name
from nordiq_watch.records.servers import Maintenance
from nordiq_watch.web.query_lists import read_known, read_labels, read_names
from nordiq_watch.web.routing import answer, query_of
from nordiq_watch.web.services import services

routes = Blueprint("server_list", __name__)

_BY_STATUS = api.Maintenance(by="status", until=None, reason="its newest record has the status maintenance", since=None)


@routes.get("/servers")
def list_servers() -> Response:
    """By name: all, or a page of those that the query selects."""
    query = query_of(ServersQuery)
    chosen = select_servers(describe_servers(), query)
    begin = 0 if query.cursor is None else bisect_right([one.server_name for one in chosen], _read_cursor(query))
    end = len(chosen) if query.limit is None else begin + query.limit
    page = chosen[begin:end]
    following = _write_cursor(page[-1].server_name) if page and end < len(chosen) else None
    groups = UNSET if query.group is None else group_servers(chosen, query.group)
    listed = api.Servers(servers=page, count=len(page), matched=len(chosen), next_cursor=following, groups=groups)
    return answer(listed)


def select_servers(known: list[api.Server], query: ServersQuery) -> list[api.Server]:
    """Those of the servers that the query selects. Raises RequestError."""
    names = read_names("servers", query.servers, read=tidy_name)
    profiles = {server.profile for server in known}
    wanted = read_known("profile", query.profile, sorted(profiles), what="profile of these servers", read=shown_profile)
    states = read_known("state", query.state, list(ServerState), what="state")
    labels = read_labels(query.label)
    return [
        server
        for server in known
        if (names is None or server.server_name in names)
        and (wanted is None or server.profile in wanted)
        and (states is None or server.state in states)
        and match(server.labels, labels)
    ]


def group_servers(servers: Sequence[api.Server], by: str) -> list[api.Group]:
    """The largest group first. RequestError unless `by` is profile, state, or label:NAME."""
    name = by.removeprefix("label:")
    if by not in ("profile", "state") and (name == by or not name):
        raise RequestError(f"group is {by!r:.60}; must be profile, state or label:NAME")
    grouped: dict[str | None, list[api.Server]] = {}
    for server in servers:
        value = server.labels.get(name) if name != by else str(getattr(server, by))
        grouped.setdefault(value, []).append(server)
    groups = [_describe_group(value, members) for value, members in grouped.items()]
    return sorted(groups, key=lambda group: (-group.servers, group.value is None, group.value))


def _describe_group(value: str | None, members: Sequence[api.Server]) -> api.Group:
    scores = [server.risk_score for server in members if server.risk_score is not None]
    states = Counter(str(server.state) for server in members)
    return api.Group(value, len(members), dict(states), max(scores, default=None))


def describe_server(name: str) -> api.Server | None:
    """One of `describe_servers`; None for a name that is unknown."""
    return next(iter(describe_servers(only=name)), None)


def describe_servers(*, only: str | None = None) -> list[api.Server]:
    """Every server of the window, and those in maintenance that have left it, by name. only: no other one."""
    daemon = services()
    attendance, orders, now = daemon.ingest.window.attendance(), daemon.roster.maintenance.now(), daemon.clock()
    by_status = attendance.said("maintenance")
    states = states_of(
        attendance,
        daemon.config.alerts,
        age=daemon.ingest.freshness.now(),
        excused=by_status.union(orders),
        ends_quietly=daemon.alerting.endings,
        now=now,
    )
    heard, columns = attendance.heard(), daemon.live.serving().answer.columns
    known = [
        api.Server(
            server_name=server,
            profile=shown_profile(profile),
            labels=dict(daemon.roster.labels.of(server)),
            state=state,
            last_seen=write_moment(min(heard[server], now)),
            maintenance=_describe_maintenance(server, orders, is_said=server in by_status),
            risk_score=score,
            level=level,
        )
        for server, profile, state in zip(attendance.servers, attendance.profiles, states, strict=True)
        if only in (None, server)
        for score, level in (_find_risk(server, columns),)
    ]
    known += [_describe_absent(server, orders) for server in orders.keys() - heard.keys() if only in (None, server)]
    return sorted(known, key=lambda server: server.server_name)


def list_maintenance() -> dict[str, api.Maintenance]:
    """Every server that is in maintenance now, by name."""
    said, orders = services().ingest.window.said("maintenance"), services().roster.maintenance.now()
    found = ((server, _describe_maintenance(server, orders, is_said=True)) for server in sorted({*said, *orders}))
    return {server: one for server, one in found if one is not None}


def maintenance_of(server: str) -> api.Maintenance | None:
    """What the server is in now."""
    is_said = server in services().ingest.window.said("maintenance")
    return _describe_maintenance(server, services().roster.maintenance.now(), is_said=is_said)


def _describe_maintenance(server: str, orders: Mapping[str, Maintenance], *, is_said: bool) -> api.Maintenance | None:
    order = orders.get(server)
    if order is None:
        return _BY_STATUS if is_said else None
    return api.Maintenance("order", write_moment(order.until), order.reason, write_moment(order.since))


def _find_risk(server: str, columns: FleetColumns | None) -> tuple[float | None, Level | None]:
    """risk_score and level."""
    row = None if columns is None else columns.row_of.get(server)
    if row is None or columns is None or columns.verdicts is None or isnan(columns.verdicts.scores[row]):
        return None, None
    return float(columns.verdicts.scores[row]), Level.of_rank(int(columns.verdicts.levels[row]))


def _describe_absent(server: str, orders: Mapping[str, Maintenance]) -> api.Server:
    """One that has left the window while it is in maintenance."""
    return api.Server(
        server_name=server,
        profile=profile_of(server),
        labels={},
        state=ServerState.MAINTENANCE,
        last_seen=None,
        maintenance=_describe_maintenance(server, orders, is_said=False),
        risk_score=None,
        level=None,
    )


def _write_cursor(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).rstrip(b"=").decode("ascii")


def _read_cursor(query: ServersQuery) -> str:
    """The name of the last server of the page before."""
    text = query.cursor or ""
    if query.limit is None:
        raise RequestError("cursor needs limit; send what the first page was asked for with, and the cursor")
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise RequestError(f"cursor is {text!r:.60}; must be the next_cursor of the page before") from None
