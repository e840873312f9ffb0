"""The query parameters of each route that takes any. A parameter that is not a field is refused by name."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from nordiq_watch.api.enums import ExportFormat, TimeRange

MOST_RELOADS = 1000
MOST_SERVERS_PER_PAGE = 10_000
MOST_STEPS = 999_999


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For a route without parameters."""


class WaitQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """wait: answer when the reload is over; else at once, with its id."""

    wait: bool = True


class ReloadQuery(WaitQuery, frozen=True, forbid_unknown_fields=True):
    """model_path: the version to load, as NAME or models/NAME; the latest without it."""

    model_path: str | None = None


class ReloadsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """limit: how many reloads, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=MOST_RELOADS)] = 50


class PastQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """time_range: how far back."""

    time_range: TimeRange = TimeRange.DAY


class ExportQuery(PastQuery, frozen=True, forbid_unknown_fields=True):
    """format: without it, the header Accept decides."""

    format: ExportFormat | None = None


class WriteQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """precision: what timestamps are counted in: ns, us, ms, s, m or h. The others choose InfluxDB's database, and are
    not looked at here.
    """

    precision: str = "ns"
    db: str | None = None
    rp: str | None = None
    org: str | None = None
    org_id: str | None = field(name="orgID", default=None)
    bucket: str | None = None
    consistency: str | None = None


class FleetQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the fleet; without any of these all of it. servers, profile, label, metrics, fields: one, or several
    with commas between; a label as NAME:VALUE. min_risk: the lowest risk score. limit: servers per page; cursor: what
    the page before gave.
    """

    servers: str | None = None
    profile: str | None = None
    label: str | None = None
    min_risk: Annotated[float, Meta(ge=0, le=100)] | None = None
    metrics: str | None = None
    fields: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_SERVERS_PER_PAGE)] | None = None
    cursor: str | None = None


class ServersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Some servers; without any of these all of them. servers, profile, label, state: one, or several with commas
    between. label: NAME:VALUE. limit: servers per page; cursor: what the page before gave. group: counts by `profile`,
    by `state`, or, with `label:NAME`, by the values of a label.
    """

    servers: str | None = None
    profile: str | None = None
    label: str | None = None
    state: str | None = None
    group: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_SERVERS_PER_PAGE)] | None = None
    cursor: str | None = None


class ExplainQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """target: the forecast metric to explain; step: of the horizon, from 0. Without them, what decides the risk."""

    target: str | None = None
    step: Annotated[int, Meta(ge=0, le=MOST_STEPS)] | None = None
