"""`GET /explain/SERVER`: why the live model says what it says of one server."""

from __future__ import annotations

import re

from flask import Blueprint, Response, jsonify, request

from nordiq_watch.errors import RequestError
from nordiq_watch.web.seats import computed
from nordiq_watch.web.services import services

routes = Blueprint("explain", __name__, url_prefix="/explain")


@routes.get("/<path:server>")
@computed
def explain_server(server: str) -> Response:
    """`?target=METRIC` and `?step=K` choose the forecast; 503 with Retry-After while too many others are computed."""
    body, model = services().explanations.explain(server, target=request.args.get("target"), step=_requested_step())
    response = jsonify(body)
    if model is not None:
        response.headers["X-Model-Version"] = model.name
        response.headers["X-Model-Generation"] = str(model.generation)
    return response


def _requested_step() -> int | None:
    text = request.args.get("step")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,6}", text):
        raise RequestError(f"step is {text!r:.40}; must be a whole number from 0")
    return int(text)
