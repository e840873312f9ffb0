"""What one route of the HTTP API is: who may call it, what it takes, what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from nordiq_watch.api.enums import Media, Role
from nordiq_watch.api.failure import Failure
from nordiq_watch.api.influx import InfluxFailure
from nordiq_watch.api.otlp import RpcStatus
from nordiq_watch.api.queries import NoQuery


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request. kind: the Struct that decodes it, where one does; else `schema` describes it. also: types
    that the same may be sent in, in bytes.
    """

    media: Media = Media.JSON
    also: tuple[Media, ...] = ()
    kind: type[msgspec.Struct] | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route.

    name: `METHOD RULE`, the rule as Flask writes it. answer: the Struct of a 200 as JSON, a tuple of those of which any
    may come, None where it is no Struct. others: status → the same, for other statuses. failure: the Struct of every
    other failure. query: a Struct with one field per parameter; None where parameters are not looked at. statuses:
    those beyond what every route of the method can answer. media: content types of the answer, the default first.
    audited: whether a call that changes something is written to the audit log. documented: whether it is in the OpenAPI
    document; what is for the console alone is not.
    """

    name: str
    role: Role = Role.READ
    answer: Any = None
    others: Mapping[int, Any] = field(default_factory=dict)
    failure: type[Failure] | type[RpcStatus] | type[InfluxFailure] = Failure
    query: type[msgspec.Struct] | None = NoQuery
    body: Body | None = None
    statuses: tuple[int, ...] = ()
    media: tuple[Media, ...] = (Media.JSON,)
    audited: bool = True
    documented: bool = True

    @property
    def method(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def rule(self) -> str:
        return self.name.partition(" ")[2]
