"""`GET /openapi.json`: the API as a document that programs read, made from what answers and validates.

Paths and methods come from the URL map, roles from `access`, words from the docstrings of the views, bodies from the
structures that decode them, and bounds from the constants that are compared with. What is for the console alone is not
in it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from flask import Blueprint, Flask, current_app
from werkzeug.routing import Rule

from nordiq_watch import __version__
from nordiq_watch.config import Config
from nordiq_watch.metrics import STATUSES
from nordiq_watch.names import MAX_NAME_LENGTH
from nordiq_watch.web import admin, historical
from nordiq_watch.web.access import needed_role
from nordiq_watch.web.answers import Body
from nordiq_watch.web.auth import KEY_HEADER
from nordiq_watch.web.services import services

routes = Blueprint("openapi", __name__)

Schema = dict[str, Any]

_JSON = "application/json"
_OF_THE_CONSOLE = ("console", "console_views")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

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
_MORE: Mapping[str, tuple[str, ...]] = {
    "POST /admin/reload-model": ("202", "404"),
    "POST /admin/rollback": ("202", "404"),
    "POST /admin/unpin": ("202",),
}
_OTHER_CONTENT: Mapping[str, tuple[str, ...]] = {
    "GET /metrics": ("text/plain",),
    "GET /historical/export/alerts": (_JSON, "text/csv"),
    "GET /historical/export/environment": (_JSON, "text/csv"),
}

_SPAN: Schema = {"type": "string", "enum": list(historical.TIME_RANGES)}
_FORMAT: Schema = {"type": "string", "enum": list(historical.EXPORT_FORMATS)}
_WAIT: Schema = {"type": "string", "enum": sorted(admin.SWITCH)}
_QUERIES: Mapping[str, Mapping[str, Schema]] = {
    "GET /admin/reloads": {"limit": {"type": "integer", "minimum": 1, "maximum": admin.MOST_RELOADS}},
    "POST /admin/reload-model": {"model_path": {"type": "string"}, "wait": _WAIT},
    "POST /admin/rollback": {"wait": _WAIT},
    "POST /admin/unpin": {"wait": _WAIT},
    "GET /historical/summary": {"time_range": _SPAN},
    "GET /historical/alerts": {"time_range": _SPAN},
    "GET /historical/environment": {"time_range": _SPAN},
    "GET /historical/server/<path:server>": {"time_range": _SPAN},
    "GET /historical/export/alerts": {"time_range": _SPAN, "format": _FORMAT},
    "GET /historical/export/environment": {"time_range": _SPAN, "format": _FORMAT},
    "GET /explain/<path:server>": {
        "target": {"type": "string"},
        "step": {"type": "integer", "minimum": 0, "maximum": 999_999},
    },
}


_TEMPLATE = "#/components/schemas/{name}"


def _reference(name: str) -> Schema:
    return {"$ref": _TEMPLATE.format(name=name)}


_BODIES: Mapping[str, tuple[str, Schema, bool]] = {
    "POST /admin/reload-model": (_JSON, _reference("ReloadRequest"), False),
    "POST /feed/data": (_JSON, _reference("Feed"), True),
    "POST /feed/prometheus": (
        "application/x-protobuf",
        {"type": "string", "format": "binary", "description": "prometheus.WriteRequest, packed with snappy"},
        True,
    ),
    "POST /feed/telegraf": (
        _JSON,
        {"type": "object", "description": "What Telegraf's outputs.http sends with data_format = json"},
        True,
    ),
}
"""Content type, schema, and whether it must be there."""


@routes.get("/openapi.json")
def show_document() -> Body:
    """This document."""
    daemon = services()
    return describe_api(current_app, daemon.config, public=daemon.config.auth.public)


def describe_api(app: Flask, config: Config, *, public: tuple[str, ...]) -> Body:
    """An OpenAPI 3.1 document of the app's routes."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in _api_rules(app):
        for method in sorted((rule.methods or set()).intersection(_METHODS)):
            path = _PARAMETER.sub(r"{\1}", rule.rule)
            paths.setdefault(path, {})[method.lower()] = _describe(app, rule, method, public=rule.rule in public)
    return {
        "openapi": "3.1.0",
        "info": {"title": "nordiq_watch", "version": __version__, "description": "docs/api.md has examples."},
        "paths": paths,
        "components": {
            "schemas": _schemas(config),
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": KEY_HEADER}},
        },
    }


def _api_rules(app: Flask) -> Iterator[Rule]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint.partition(".")[0] not in _OF_THE_CONSOLE:
            yield rule


def _describe(app: Flask, rule: Rule, method: str, *, public: bool) -> Body:
    name = f"{method} {rule.rule}"
    words = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    body = _request_body(name)
    described: Body = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": words.partition("\n")[0] or rule.endpoint.partition(".")[2].replace("_", " "),
        "description": f"{words}\n\nNeeds a key of the role {needed_role(method, rule.rule)}.".strip(),
        "security": [] if public else [{"key": []}],
        "parameters": [*_path_parameters(rule), *_query_parameters(name)],
        "responses": {status: _answer(name, status) for status in _statuses(name, method)},
    }
    return described if body is None else described | {"requestBody": body}


def _path_parameters(rule: Rule) -> Iterator[Body]:
    for name in _PARAMETER.findall(rule.rule):
        schema: Schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(name: str) -> Iterator[Body]:
    for parameter, schema in _QUERIES.get(name, {}).items():
        yield {"name": parameter, "in": "query", "required": False, "schema": schema}


def _request_body(name: str) -> Body | None:
    body = _BODIES.get(name)
    if body is None:
        return None
    kind, schema, required = body
    return {"required": required, "content": {kind: {"schema": schema}}}


def _statuses(name: str, method: str) -> list[str]:
    return sorted({*_ALWAYS, *_BY_METHOD[method], *_MORE.get(name, ())})


def _answer(name: str, status: str) -> Body:
    if status in ("204", "304"):
        return {"description": _REASONS[status]}
    if not status.startswith("2"):
        return {"description": _REASONS[status], "content": {_JSON: {"schema": _reference("Error")}}}
    kinds = _OTHER_CONTENT.get(name, (_JSON,))
    content = {kind: {"schema": {"type": "object" if kind == _JSON else "string"}} for kind in kinds}
    return {"description": _REASONS[status], "content": content}


def _schemas(config: Config) -> Body:
    error = {"error": {"type": "string"}, "detail": {"type": "string"}}
    _, reload_schemas = msgspec.json.schema_components([admin.ReloadRequest], ref_template=_TEMPLATE)
    return {
        **reload_schemas,
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
