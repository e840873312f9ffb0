"""`GET /openapi.json`: a machine-readable description of the API, derived from the code that validates and answers.

Paths, methods, roles, queries, bodies and answers come from the table of endpoints, texts from the docstrings of the
views. Routes for the console alone are left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Flask, current_app
from werkzeug.routing import Rule

from nordiq_watch import __version__
from nordiq_watch.api.endpoint import Body as RequestBody
from nordiq_watch.api.endpoint import Endpoint
from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import TABLES, Media
from nordiq_watch.api.predictions import FleetForecast, FleetPart, answer_of, part_of
from nordiq_watch.config.schema import Config
from nordiq_watch.metrics import STATUSES
from nordiq_watch.names import MAX_NAME_LENGTH
from nordiq_watch.web.answers import Body
from nordiq_watch.web.auth import KEY_HEADER
from nordiq_watch.web.openapi_schemas import TEMPLATE, Schema, alternatives, describe_structs
from nordiq_watch.web.routing import SWITCH
from nordiq_watch.web.services import services

routes = Blueprint("openapi", __name__)

_TEXT: Schema = {"type": "string"}
_BINARY: Schema = {"type": "string", "format": "binary"}
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

_REASONS = {
    "200": "Done.",
    "202": "Taken; the answer says where to look for the outcome.",
    "204": "Done; there is nothing to say.",
    "304": "Unchanged since the ETag that was sent.",
    "400": "The request cannot be read as it was sent.",
    "401": "No key, or a wrong one.",
    "403": "The key's role is not enough.",
    "404": "There is nothing of this name.",
    "406": "This installation cannot write that format.",
    "410": "The answer that this page belongs to was replaced; start again without the cursor.",
    "413": "The body is too large.",
    "415": "The body's encoding or type is none that is read.",
    "422": "It could be read, and still not be done.",
    "429": "Too many requests; Retry-After says for how long.",
    "503": "Not now; Retry-After says when.",
}
_ALWAYS = ("401", "403", "429")
_BY_METHOD = {
    "GET": ("200", "304", "400", "404", "503"),
    "POST": ("200", "400", "413", "415", "422", "503"),
    "DELETE": ("200", "400", "404", "503"),
}


@routes.get("/openapi.json")
def show_document() -> Body:
    """This document."""
    daemon = services()
    return describe_api(current_app, daemon.config, public=daemon.config.auth.public)


def describe_api(app: Flask, config: Config, *, public: tuple[str, ...]) -> Body:
    """An OpenAPI 3.1 document of the documented endpoints."""
    documented = (_with_metrics(found, config.metrics) for found in ENDPOINTS.values() if found.documented)
    endpoints = sorted(documented, key=lambda found: found.rule)
    schemas, components = describe_structs(endpoints)
    views = {f"{method} {rule.rule}": rule for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        described = _describe(endpoint, views[endpoint.name], app, schemas) | _security(endpoint, public)
        paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.rule), {})[endpoint.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "nordiq_watch", "version": __version__, "description": "docs/api.md has examples."},
        "paths": paths,
        "components": {
            "schemas": {**components, **_schemas(config)},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": KEY_HEADER}},
        },
    }


def _with_metrics(endpoint: Endpoint, metrics: tuple[str, ...]) -> Endpoint:
    """The endpoint for a config with these metrics: a server's forecast has a field for each."""
    kinds = {FleetForecast: answer_of(metrics), FleetPart: part_of(metrics)}
    if not kinds.keys() & set(alternatives(endpoint.answer)):
        return endpoint
    return replace(endpoint, answer=tuple(kinds.get(kind, kind) for kind in alternatives(endpoint.answer)))


def _describe(endpoint: Endpoint, rule: Rule, app: Flask, schemas: Mapping[Any, Schema]) -> Body:
    words = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    described: Body = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": words.partition("\n")[0] or rule.endpoint.partition(".")[2].replace("_", " "),
        "description": f"{words}\n\nNeeds a key of the role {endpoint.role}.".strip(),
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {status: _answer(endpoint, status, schemas) for status in _statuses(endpoint)},
    }
    if endpoint.body is not None:
        described["requestBody"] = _request_body(endpoint.body, schemas)
    return described


def _security(endpoint: Endpoint, public: tuple[str, ...]) -> Body:
    return {"security": [] if endpoint.rule in public else [{"key": []}]}


def _path_parameters(endpoint: Endpoint) -> Iterator[Body]:
    for name in _PARAMETER.findall(endpoint.rule):
        schema: Schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: Endpoint) -> Iterator[Body]:
    """The fields of the endpoint's query; an absent parameter is left out rather than null."""
    for field in () if endpoint.query is None else msgspec.structs.fields(endpoint.query):
        schema = msgspec.json.schema(field.type, ref_template=TEMPLATE)
        kinds = schema.pop("anyOf", [schema])
        (kind,) = (found for found in kinds if found != {"type": "null"})
        (definition,) = schema.pop("$defs", {"": kind}).values()
        if definition == {"type": "boolean"}:
            definition = {"type": "string", "enum": list(SWITCH)}
        yield {"name": field.encode_name, "in": "query", "required": False, "schema": definition}


def _request_body(body: RequestBody, schemas: Mapping[Any, Schema]) -> Body:
    schema = body.schema if body.kind is None else schemas[body.kind]
    content = {str(body.media): {"schema": dict(schema)}}
    content |= {str(media): {"schema": {"type": "string", "format": "binary"}} for media in body.also}
    return {"required": body.required, "content": content}


def _statuses(endpoint: Endpoint) -> list[str]:
    return sorted({*_ALWAYS, *_BY_METHOD[endpoint.method], *map(str, (*endpoint.statuses, *endpoint.others))})


def _answer(endpoint: Endpoint, status: str, schemas: Mapping[Any, Schema]) -> Body:
    if status in ("204", "304"):
        return {"description": _REASONS[status]}
    structs = alternatives(_find_answer(endpoint, int(status)))
    media = endpoint.media if status == "200" else (Media.JSON,)
    others = {Media.JSON: _any_of(structs, schemas), **dict.fromkeys(TABLES, _BINARY)}
    content = {str(one): {"schema": others.get(one, _TEXT)} for one in media}
    return {"description": _REASONS[status], "content": content}


def _find_answer(endpoint: Endpoint, status: int) -> Any:
    if status == HTTPStatus.OK:
        return endpoint.answer
    return endpoint.others.get(status, endpoint.failure if status >= HTTPStatus.BAD_REQUEST else None)


def _any_of(structs: tuple[Any, ...], schemas: Mapping[Any, Schema]) -> Schema:
    if len(structs) > 1:
        return {"anyOf": [dict(schemas[struct]) for struct in structs]}
    return dict(schemas[structs[0]]) if structs else {"type": "object"}


def _schemas(config: Config) -> Body:
    """Schemas that come from no Struct: the feed's content with this config."""
    return {
        "Record": _record(config),
        "Feed": {
            "type": "object",
            "required": ["records"],
            "properties": {
                "records": {
                    "type": "array",
                    "items": {
                        "description": "A Record. What is none is not taken, and named in the answer's `rejected`; "
                        "the others are kept.",
                    },
                }
            },
        },
    }


def _record(config: Config) -> Schema:
    return {
        "type": "object",
        "description": f"At least one metric. Times without a zone are {config.window.naive_zone}, at most "
        f"{config.window.future_seconds:g} s ahead of the daemon's clock, and not older than its window.",
        "required": ["timestamp", "server_name"],
        "properties": {
            "timestamp": {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"},
            "server_name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH},
            "status": {"type": "string", "examples": list(STATUSES)},
            "profile": {"type": "string"},
            **{metric: {"type": ["number", "null"]} for metric in config.metrics},
        },
    }
