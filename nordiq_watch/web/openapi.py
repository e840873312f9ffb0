"""`GET /openapi.json`: the API as a document that programs read, made from what answers and validates.

Paths, methods, roles, queries, bodies and answers come from the table of endpoints, words from the docstrings of the
views. What is for the console alone is not in it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from flask import Blueprint, Flask, current_app
from werkzeug.routing import Rule

from nordiq_watch import __version__
from nordiq_watch.api.endpoint import Body as RequestBody
from nordiq_watch.api.endpoint import Endpoint
from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import Media
from nordiq_watch.config import Config
from nordiq_watch.metrics import STATUSES
from nordiq_watch.names import MAX_NAME_LENGTH
from nordiq_watch.web.answers import Body
from nordiq_watch.web.auth import KEY_HEADER
from nordiq_watch.web.routing import SWITCH
from nordiq_watch.web.services import services

routes = Blueprint("openapi", __name__)

Schema = dict[str, Any]

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
_TEMPLATE = "#/components/schemas/{name}"
_ERROR = {"$ref": _TEMPLATE.format(name="Error")}


@routes.get("/openapi.json")
def show_document() -> Body:
    """This document."""
    daemon = services()
    return describe_api(current_app, daemon.config, public=daemon.config.auth.public)


def describe_api(app: Flask, config: Config, *, public: tuple[str, ...]) -> Body:
    """An OpenAPI 3.1 document of the endpoints that are documented."""
    endpoints = sorted((found for found in ENDPOINTS.values() if found.documented), key=lambda found: found.rule)
    schemas, components = _components(endpoints)
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


def _components(endpoints: Sequence[Endpoint]) -> tuple[Mapping[Any, Schema], Mapping[str, Schema]]:
    """Struct → its schema, for every body and answer; and the components that these refer to."""
    kinds = [kind for found in endpoints for kind in (found.answer, found.body and found.body.kind) if kind is not None]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_TEMPLATE)
    return dict(zip(unique, schemas, strict=True)), components


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
    """The fields of the endpoint's query; a parameter is left out rather than null."""
    for field in () if endpoint.query is None else msgspec.structs.fields(endpoint.query):
        schema = msgspec.json.schema(field.type, ref_template=_TEMPLATE)
        kinds = schema.pop("anyOf", [schema])
        (kind,) = (found for found in kinds if found != {"type": "null"})
        (definition,) = schema.pop("$defs", {"": kind}).values()
        if definition == {"type": "boolean"}:
            definition = {"type": "string", "enum": list(SWITCH)}
        yield {"name": field.encode_name, "in": "query", "required": False, "schema": definition}


def _request_body(body: RequestBody, schemas: Mapping[Any, Schema]) -> Body:
    schema = body.schema if body.kind is None else schemas[body.kind]
    return {"required": body.required, "content": {str(body.media): {"schema": dict(schema)}}}


def _statuses(endpoint: Endpoint) -> list[str]:
    return sorted({*_ALWAYS, *_BY_METHOD[endpoint.method], *map(str, endpoint.statuses)})


def _answer(endpoint: Endpoint, status: str, schemas: Mapping[Any, Schema]) -> Body:
    if status in ("204", "304"):
        return {"description": _REASONS[status]}
    if not status.startswith("2"):
        return {"description": _REASONS[status], "content": {str(Media.JSON): {"schema": _ERROR}}}
    whole: Schema = schemas[endpoint.answer] if status == "200" and endpoint.answer is not None else {"type": "object"}
    content = {
        str(media): {"schema": dict(whole) if media is Media.JSON else {"type": "string"}} for media in endpoint.media
    }
    return {"description": _REASONS[status], "content": content}


def _schemas(config: Config) -> Body:
    """Those of no Struct: errors, and what a feed may hold with this config."""
    error = {"error": {"type": "string"}, "detail": {"type": "string"}}
    return {
        "Error": {"type": "object", "properties": error, "required": list(error)},
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
        "description": f"At least one metric. Times without a zone are UTC, at most {config.window.future_seconds:g} s "
        "ahead of the daemon's clock, and not older than its window.",
        "required": ["timestamp", "server_name"],
        "properties": {
            "timestamp": {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"},
            "server_name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH},
            "status": {"type": "string", "examples": list(STATUSES)},
            "profile": {"type": "string"},
            **{metric: {"type": ["number", "null"]} for metric in config.metrics},
        },
    }
