"""Connects Flask with the endpoints of `api`: queries become typed values, Structs become answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, request

from nordiq_watch.api.endpoints import ENDPOINTS, find_endpoint
from nordiq_watch.conversion import converter
from nordiq_watch.errors import RequestError
from nordiq_watch.records.models import ModelIdentity

Q = TypeVar("Q", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()
_queries = {endpoint.query for endpoint in ENDPOINTS.values() if endpoint.query is not None}
_READ: Mapping[type[msgspec.Struct], Callable[[Any], Any]] = {kind: converter(kind) for kind in _queries}
SWITCH = {"true": True, "1": True, "false": False, "0": False}
"""Spellings of a truth value in a query, in any case."""

_WHOLE = re.compile("[0-9]{1,9}")  # of more digits none is allowed, and reading them takes long
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_FIELD = re.compile(r"\$\.(\w+)")


def answer(body: msgspec.Struct, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A Struct as the JSON of an answer."""
    return Response(encode(body), status=status, headers=headers, mimetype="application/json")


def encode(body: msgspec.Struct) -> bytes:
    """The bytes of an answer."""
    return _encoder.encode(body) + b"\n"


def name_model(model: ModelIdentity | None) -> dict[str, str]:
    """Headers that name the model behind an answer; none without one."""
    if model is None:
        return {}
    return {"X-Model-Version": model.name, "X-Model-Generation": str(model.generation)}


def check_queries(app: Flask, note_refused: Callable[[str, str], None]) -> None:
    """Reads the query of each request before its view: RequestError for a parameter that the route does not take, after
    `note_refused` was told the route and what is wrong.

    Register it after the guard, so that a caller without a key learns nothing about parameters.
    """

    @app.before_request
    def read() -> None:
        rule = request.url_rule
        endpoint = None if rule is None else find_endpoint(request.method, rule.rule)
        if endpoint is not None and endpoint.query is not None:
            try:
                g.query = read_query(endpoint.query, request.args.to_dict(flat=False))
            except RequestError as error:
                note_refused(endpoint.name.partition(" ")[2], str(error))
                raise


def query_of(kind: type[Q]) -> Q:
    """The query of the present request, for a view whose endpoint takes a `kind`."""
    assert isinstance(g.query, kind)  # the endpoint's, by check_queries
    return g.query


def read_query(kind: type[Q], sent: Mapping[str, list[str]]) -> Q:
    """Parameters as a Struct. Raises RequestError with the parameter and what is allowed."""
    known = _parameters_of(kind)
    for name, values in sent.items():
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise RequestError(f"this route has no query parameter {name!r:.60}; {takes}")
        if len(values) > 1:
            raise RequestError(f"{name} stands {len(values)} times in the query; send it once")
    text = {name: values[0] for name, values in sent.items()}
    try:
        return _READ[kind]({name: _read_text(known[name], text[name]) for name in text})  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        match = _FIELD.search(str(error))
        assert match is not None  # the names are known, so the fault is in a field
        name = match[1]
        raise RequestError(f"{name} is {text[name]!r:.40}; must be {_describe(known[name])}") from None


@cache
def _parameters_of(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Parameter → its type. Describing a type takes longer than a small answer."""
    return {field.encode_name: _plain_type(field.type) for field in msgspec.structs.fields(kind)}


def _plain_type(kind: Any) -> Any:
    """msgspec's description of a parameter's type, without its being optional."""
    found = msgspec.inspect.type_info(kind)
    if isinstance(found, msgspec.inspect.UnionType):
        (found,) = (part for part in found.types if not isinstance(part, msgspec.inspect.NoneType))
    return found


def _read_text(kind: Any, text: str) -> Any:
    """Parses the text as JSON; the text itself if it is none."""
    match kind:
        case msgspec.inspect.BoolType():
            return SWITCH.get(text.lower(), text)
        case msgspec.inspect.IntType():
            return int(text) if _WHOLE.fullmatch(text) else text
        case msgspec.inspect.FloatType():
            return float(text) if _DECIMAL.fullmatch(text) else text
    return text


def _describe(kind: Any) -> str:
    """The allowed values of a query parameter, in words."""
    match kind:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case msgspec.inspect.EnumType(cls=words):
            return f"one of {', '.join(word.value for word in words)}"
    raise AssertionError(f"no words for a parameter of the type {kind}")  # a test reads every query of the API
