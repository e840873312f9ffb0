"""Limits a request's body by its head alone, before a byte of the body is kept.

The guard decides again once the request is complete; the guard answers, counts and audits. Here it is only decided
whether the app gets a body to read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from nordiq_watch.errors import BodyTooLarge
from nordiq_watch.records.admission import BODY_LEFT_OUT, Admission
from nordiq_watch.security.keys import KeyHolder
from nordiq_watch.web.access import SAFE_METHODS, TAKES_DATA, body_limit, is_allowed, needed_role
from nordiq_watch.web.auth import presented_key
from nordiq_watch.web.bodies import check_body_is_there
from nordiq_watch.web.console.pages import OPEN_ROUTES
from nordiq_watch.web.services import Services


class Gate:
    """Decides about heads, from any thread."""

    def __init__(self, app: Flask, services: Services) -> None:
        self._urls = app.url_map.bind("localhost")
        rules = [rule for rule in app.url_map.iter_rules() if not rule.arguments]
        self._fixed = {(method, rule.rule): rule.rule for rule in rules for method in rule.methods or ()}
        self._prefix = services.config.server.url_prefix
        self._services = services
        self._max_body_bytes: int = app.config["MAX_CONTENT_LENGTH"]
        self._open: Collection[str] = {*services.config.auth.public, *OPEN_ROUTES}

    def __call__(self, head: Mapping[str, str]) -> Admission:
        """`head` has the request's method, path and headers under WSGI's names."""
        sent = Request(dict(head))
        rule, holder = self._find_rule(sent), self._find_holder(sent)
        if not self._may_send(sent.method, rule, holder):
            return Admission(0, is_known=holder is not None)
        limit = body_limit(sent.method, rule, max_body_bytes=self._max_body_bytes)
        return Admission(min(limit, self._max_body_bytes), is_known=holder is not None)

    def _may_send(self, method: str, rule: str | None, holder: KeyHolder | None) -> bool:
        if rule in self._open and method not in SAFE_METHODS:
            return True
        return holder is not None and is_allowed(holder, needed_role(method, rule))

    def _find_rule(self, sent: Request) -> str | None:
        path = self._without_prefix(sent.path)
        fixed = self._fixed.get((sent.method, path))
        if fixed is not None:
            return fixed
        try:
            rule, _ = self._urls.match(path, sent.method, return_rule=True)
        except HTTPException:  # no such route, or not by this method
            return None
        return rule.rule

    def _without_prefix(self, path: str) -> str:
        """As waitress does it for the app: a proxy may have taken the prefix away already."""
        prefix = self._prefix
        return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path

    def _find_holder(self, sent: Request) -> KeyHolder | None:
        key = presented_key(sent)
        if key is None:
            sessions = self._services.sessions
            key = sessions.key_of(sent.cookies.get(sessions.cookie))
        return self._services.security.keyring.identify(key) if key is not None else None


def refuse_missing_bodies(app: Flask) -> None:
    """Refuses requests whose body was left out. Register after the guard: the refusal of a request that is not allowed
    at all takes precedence.
    """

    @app.before_request
    def check() -> None:
        left_out = request.environ.get(BODY_LEFT_OUT)
        rule = request.url_rule.rule if request.url_rule is not None else None
        route = f"{request.method} {rule}"
        if left_out is None or rule is None or request.method in SAFE_METHODS or route in TAKES_DATA:
            return  # the routes that take data say it in their own way
        if left_out == "too_large":
            limit = body_limit(request.method, rule, max_body_bytes=app.config["MAX_CONTENT_LENGTH"])
            raise BodyTooLarge(f"bodies may have {limit} bytes here")
        check_body_is_there()
