"""Audits the API: each request that changes something, and each that was refused.

Fed data are not audited: the journal has them. Keys are never written: holders appear by the key's id, and of a query
only the route's parameters are recorded, because people put keys into URLs by mistake.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode

from flask import Flask, Response, g, request

from nordiq_watch.api.endpoints import find_endpoint

_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_REFUSED = (401, 403, 429)
_TOLD_OF_QUERY = ("model_path", "wait")
_LONGEST_TEXT = 200


class AuditTrail(Protocol):
    """Destination of the audit lines."""

    def write(self, **facts: object) -> None: ...

    def write_refusal(self, **facts: object) -> None: ...


def audit_requests(app: Flask, audit: AuditTrail) -> None:
    """Register before the guard, so that refused requests are audited.

    Lines about requests without a key are limited per minute, whatever the answer.
    """

    @app.after_request
    def note(response: Response) -> Response:
        is_refused = response.status_code in _REFUSED
        if is_refused or (request.method in _CHANGING and _is_audited()):
            write = audit.write_refusal if is_refused or "holder" not in g else audit.write
            write(**_describe(response))
        return response


def _is_audited() -> bool:
    """True if the endpoint is audited, or if there is no endpoint."""
    endpoint = None if request.url_rule is None else find_endpoint(request.method, request.url_rule.rule)
    return endpoint is None or endpoint.audited


def _describe(response: Response) -> dict[str, object]:
    holder = g.get("holder")
    facts: dict[str, object] = {
        "action": f"{request.method} {request.path}"[:_LONGEST_TEXT],
        "query": urlencode([(name, request.args[name]) for name in _TOLD_OF_QUERY if name in request.args])[
            :_LONGEST_TEXT
        ],
        "key": holder.id if holder else None,
        "role": holder.role if holder else None,
        "from": request.remote_addr,
        "status": response.status_code,
    }
    return facts | _outcome(response)


def _outcome(response: Response) -> dict[str, object]:
    """The outcome stated by a reload's answer."""
    body = response.get_json(silent=True) if response.is_json else None
    if not isinstance(body, dict):
        return {}
    return {
        name: body[name]
        for name in ("success", "id", "message", "error", "reason", "new_model", "previous_model")
        if body.get(name) is not None
    }
