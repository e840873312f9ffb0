"""Every answer that a test gets is held against the Structs of its endpoint.

It is read strictly, and what was read must be what came when it is written again: a field that is missing, that no
Struct knows, that has another type or another place is found, whatever the test is about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, UnsetType
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from nordiq_watch.api.endpoint import Endpoint
from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import Media
from nordiq_watch.api.predictions import FleetForecast, FleetPart, MetricForecast, ServerForecast, answer_of, part_of
from nordiq_watch.web.openapi_schemas import alternatives

T = TypeVar("T")

_MOST_BYTES = 1_000_000
"""Larger answers are those of benchmarks, which measure the daemon and not this check."""

_ROUTES = Map(
    [Rule(endpoint.rule, methods=[endpoint.method], endpoint=name) for name, endpoint in ENDPOINTS.items()]
).bind("nordiq_watch")


def check_answer(method: str, path: str, status: int, media: str, body: bytes, *, metrics: Sequence[str]) -> None:
    """Fails the test for an answer that is not what the endpoint promises. metrics: those of the daemon's config."""
    endpoint = _find(method, path.partition("?")[0])
    if endpoint is None or media != Media.JSON or method == "HEAD":  # which has no body
        return
    if len(body) > _MOST_BYTES:
        return
    kinds = alternatives(endpoint.answer if status == 200 else endpoint.others.get(status))
    if kinds:
        faults = [_compare(body, kind, metrics=tuple(metrics)) for kind in kinds]
        assert None in faults, f"{method} {path} answers {body[:400]!r}: {'; '.join(map(str, faults))}"


def read_fleet(body: bytes, *, metrics: Sequence[str]) -> FleetForecast:
    """The forecast of a fleet with these metrics; fails the test for what is none, or has more in it."""
    fault = _compare(body, FleetForecast, metrics=tuple(metrics))
    assert fault is None, fault
    fleet: FleetForecast = _decoder(FleetForecast, tuple(metrics)).decode(body)
    return fleet


def present(value: T | UnsetType) -> T:
    """A field that this answer has."""
    assert not isinstance(value, UnsetType), "the answer has no such field"
    return value


def forecast_of(server: ServerForecast, metric: str) -> MetricForecast:
    """One metric of a server that `read_fleet` has read."""
    (name,) = (field.name for field in msgspec.structs.fields(server) if field.encode_name == metric)
    found = getattr(server, name)
    assert isinstance(found, MetricForecast), f"there is no {metric}"
    return found


def _find(method: str, path: str) -> Endpoint | None:
    try:
        name, _ = _ROUTES.match(path, method=method)
    except HTTPException:
        return None
    return ENDPOINTS[name]


def _compare(body: bytes, kind: type[Struct], *, metrics: tuple[str, ...]) -> str | None:
    """What is wrong with it; None if nothing is."""
    try:
        again = msgspec.json.encode(_decoder(kind, metrics).decode(body))
    except msgspec.ValidationError as error:
        return f"no {kind.__name__}: {error}"
    came, written = (json.loads(text, object_pairs_hook=list) for text in (body, again))
    return None if came == written else f"as a {kind.__name__} it would be {again[:400]!r}"


@cache
def _decoder(kind: type[Struct], metrics: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    if kind is FleetPart:
        return msgspec.json.Decoder(part_of(metrics))
    return msgspec.json.Decoder(answer_of(metrics) if kind is FleetForecast else kind)
