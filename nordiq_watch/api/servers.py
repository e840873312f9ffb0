"""The servers that are known, and orders about single ones. Times are ISO 8601 with their zone."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from nordiq_watch.api.enums import Level, ServerState

LONGEST_REASON = 500


class Forgotten(Struct, frozen=True):
    """The outcome of forgetting a server. forgotten: the parts that knew it. pending: those that have not answered;
    they forget it once they work, unless the daemon ends before. success: nothing is pending.
    """

    success: bool
    server_name: str
    forgotten: list[str]
    pending: list[str]


class Maintenance(Struct, frozen=True):
    """No alert of the server is raised. by: an order, which says until when, or the status of its own records."""

    by: Literal["order", "status"]
    until: str | None
    reason: str
    since: str | None


class Server(Struct, frozen=True):
    """One server. last_seen: the end of the newest slot that has a sample of it, at most now; null if none is in the
    window. risk_score, level: of the newest forecast; null where there is none.
    """

    server_name: str
    profile: str
    labels: dict[str, str]
    state: ServerState
    last_seen: str | None
    risk_score: float | None
    level: Level | None
    maintenance: Maintenance | None


class Group(Struct, frozen=True):
    """Some of the servers that a query selects. value: what they have in common; null for those without the label.
    states: how many are in each. max_risk_score: the highest; null where none is forecast.
    """

    value: str | None
    servers: int
    states: dict[str, int]
    max_risk_score: float | None


class Servers(Struct, frozen=True):
    """By name. matched: the servers that the query selects, on all pages. next_cursor: of the next page; null after the
    last one. groups: of all that match, if the query asks for them, the largest first.
    """

    servers: list[Server]
    count: int
    matched: int
    next_cursor: str | None
    groups: list[Group] | UnsetType = UNSET


class MaintenanceOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /servers/SERVER/maintenance`. until: ISO 8601, or Unix seconds; of no zone, it is UTC."""

    until: str | float
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)] = ""


class Maintained(Struct, frozen=True):
    """The outcome of an order about maintenance. maintenance: as it is now; null for none."""

    success: bool
    server_name: str
    maintenance: Maintenance | None
