"""Conditional requests: an empty 304 as long as nothing has changed."""

from __future__ import annotations

from flask import Flask, Response, request


def answer_conditionally(app: Flask) -> None:
    """Adds an ETag to JSON answers to GET that have none, and honours If-None-Match."""

    @app.after_request
    def tag(response: Response) -> Response:
        if request.method != "GET" or response.status_code != 200 or response.mimetype != "application/json":
            return response
        if "ETag" not in response.headers:
            response.add_etag()
            response.headers.setdefault("Cache-Control", "private, no-cache")
            response.make_conditional(request)
        return response
